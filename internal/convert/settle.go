package convert

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/plan"
)

// settle leaves out what a config refuses although check has passed it: a mapping becomes a comment, and an entry of registries is emptied,
// each with the reason. So every config that Convert returns loads.
func (d *document) settle() *Error {
	for slices.ContainsFunc(d.mappings, (*mapping).live) {
		var out emitter
		out.document(d)
		cfg, err := config.Parse("dray.yaml", []byte(out.String()), config.Options{NoSecrets: true})
		if err == nil {
			_, err = plan.Compile(cfg) // finds two writers of one tag
		}
		if err == nil {
			return nil
		}
		var refused config.Errors
		if !errors.As(err, &refused) {
			return d.unreadable(err)
		}
		some, other := d.leaveOut(refused)
		if other != nil {
			return d.unreadable(other)
		}
		if !some { // it depends on values of variables
			return nil
		}
	}
	return nil
}

func (d *document) unreadable(err error) *Error {
	return &Error{File: d.files[0], Err: fmt.Errorf("makes a config that dray cannot read: %w", err), Hint: "write it by hand (see config.example.yaml)"}
}

var mappingKey = regexp.MustCompile(`^mappings\[(\d+)\]`)

// leaveOut leaves out what mistakes are about, unless it depends on variables, and reports whether it has left out anything. The error is a
// mistake about something else.
func (d *document) leaveOut(mistakes config.Errors) (some bool, other error) {
	live := slices.DeleteFunc(slices.Clone(d.mappings), func(m *mapping) bool { return m.disabled })
	for _, e := range mistakes {
		i, ok := mappingOf(e.Key)
		r := d.registryOf(e.Key)
		switch {
		case ok && i < len(live):
			if m := live[i]; !m.disabled && !m.varies() {
				d.disable(m, m.at, "no equivalent: dray refuses it: %v", e.Err)
				some = true
			}
		case r != nil:
			if !r.empty() && !r.varies() {
				*r = registry{key: r.key, remarks: r.remarks}
				d.remarkRegistry(r, value{}, "no equivalent: dray cannot read this entry: %v", e.Err)
				some = true
			}
		default:
			other = e
		}
	}
	return some, other
}

// mappingOf returns the index of the mapping that a key is of.
func mappingOf(key string) (int, bool) {
	found := mappingKey.FindStringSubmatch(key)
	if found == nil {
		return 0, false
	}
	i, err := strconv.Atoi(found[1])
	return i, err == nil
}

// registryOf returns the entry of registries that a key is of, nil for none.
func (d *document) registryOf(key string) *registry {
	for _, r := range d.registries {
		if rest, ok := strings.CutPrefix(key, "registries."+r.key); ok && (rest == "" || rest[0] == '.') {
			return r
		}
	}
	return nil
}

// live reports whether the mapping is in the config, and not in a comment.
func (m *mapping) live() bool { return !m.disabled }

// varies reports whether something of the mapping is a variable.
func (m *mapping) varies() bool {
	var body emitter
	body.mapping(m)
	return strings.Contains(body.String(), "${")
}

// varies reports whether something of the registry but its credential is a variable.
func (r *registry) varies() bool {
	open := *r
	open.username, open.password = "", ""
	var body emitter
	body.registry(&open)
	return strings.Contains(body.String(), "${")
}

// empty reports whether nothing of the registry is configured.
func (r *registry) empty() bool {
	var body emitter
	body.registry(r)
	return body.Len() == 0
}
