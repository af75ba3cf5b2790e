package schedule

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database, such as an empty container
)

// utc is the zone of schedules that name none.
const utc = "UTC"

// Zone returns the time zone with an IANA name, "" being UTC. It is the machine's own where the machine has one, as that may be
// newer, and otherwise the one of the Go release that built this.
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
	if err != nil { // which says where it has looked
		return nil, fmt.Errorf("%s is no known time zone: write an IANA name such as Europe/Berlin or America/New_York", quote(name))
	}
	if p.zones == nil {
		p.zones = map[string]*time.Location{}
	}
	p.zones[name] = location
	return location, nil
}
