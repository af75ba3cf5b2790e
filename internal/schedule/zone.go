package schedule

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database, such as an empty container
)

// utc is the zone of schedules without one.
const utc = "UTC"

// Zone returns the time zone with an IANA name, UTC for "". It prefers the machine's database, which may be newer, to the one built in from
// the Go release.
func (p *Parser) Zone(name string) (*time.Location, error) {
	switch {
	case name == "" || name == utc:
		return time.UTC, nil
	case strings.EqualFold(name, "local"), name == "localtime", name == "posixrules":
		return nil, fmt.Errorf("%s differs from machine to machine: write the name of a zone, such as Europe/Berlin", quote(name))
	case strings.HasPrefix(name, "right/"), strings.HasPrefix(name, "posix/"):
		_, plain, _ := strings.Cut(name, "/")
		return nil, fmt.Errorf("%s is a variant that not every machine has: write %s", quote(name), quote(plain))
	}
	if known, ok := p.zones[name]; ok {
		return known, nil
	}
	location, err := time.LoadLocation(name)
	if err != nil { // its own text lists the searched directories
		return nil, fmt.Errorf("%s is not a known time zone: write an IANA name such as Europe/Berlin or America/New_York", quote(name))
	}
	if p.zones == nil {
		p.zones = map[string]*time.Location{}
	}
	p.zones[name] = location
	return location, nil
}
