package config

import (
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/draysync/dray/internal/image"
)

// preset sets missing keys to their defaults.
func preset(v reflect.Value) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		value, ok := f.Tag.Lookup("default")
		if !ok {
			continue
		}
		target := v.FieldByIndex(f.Index).Addr().Interface()
		if t, ok := target.(interface {
			where() origin
			preset(string)
		}); ok && !t.where().set {
			t.preset(value)
		}
	}
}

// inherit copies omitted options from the defaults, which are complete.
func inherit(own, defaults *options) {
	o, d := reflect.ValueOf(own).Elem(), reflect.ValueOf(defaults).Elem()
	for i := range o.NumField() {
		if f, ok := o.Field(i).Addr().Interface().(interface{ where() origin }); ok && !f.where().set {
			o.Field(i).Set(d.Field(i))
		}
	}
}

// options reads complete options into the mapping, except the tags.
func (b *builder) options(o *options, m *Mapping) {
	seen := map[image.Platform]int{}
	for i, t := range o.Platforms.Want.items {
		if !t.set {
			continue
		}
		p, err := image.ParsePlatform(t.value)
		if err != nil {
			b.invalid(t, err, "a platform such as linux/amd64")
			continue
		}
		optional := p.Optional || o.Platforms.Missing.value == "skip"
		p.Optional = false
		if first, ok := seen[p]; ok && o.Platforms.Want.items[first].value != t.value {
			b.fail(t.origin, fmt.Errorf("%s is the same platform as entry %d", quote(t.raw), first), "remove one of them")
			continue
		}
		seen[p] = i
		p.Optional = optional
		m.Platforms = append(m.Platforms, p)
	}
	m.Retag = b.retag(o.Retag)
	m.Verify = b.verify(o.Verify)
	m.Moved = Moved(o.Moved.value)
	if o.Immutable.set {
		m.Immutable = b.tagSet(tagsSection{origin: o.Immutable.origin, Include: o.Immutable})
	}
	m.Referrers = Referrers{All: o.Referrers.all, Types: b.artifactTypes(o.Referrers.types)}
	m.ReferrersInterval = b.duration(o.ReferrersInterval)
	m.ForeignLayers = o.ForeignLayers.value
	m.Timeout = b.duration(o.Timeout)
	m.Retries = o.Retries.value
}

// artifactType is a media type: RFC 6838, section 4.2.
var artifactType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$`)

func (b *builder) artifactTypes(l list[text]) []string {
	for _, t := range l.items {
		if t.set && !artifactType.MatchString(t.value) {
			b.invalid(t, fmt.Errorf("%s is not an artifact type: write a media type such as application/spdx+json", quote(t.raw)), "a media type such as application/spdx+json")
		}
	}
	return values(l)
}

func (b *builder) duration(t text) time.Duration {
	d, err := time.ParseDuration(t.value)
	if err != nil || d <= 0 {
		b.invalid(t, fmt.Errorf("%s is not a duration above zero: write a number with a unit, such as 90s, 30m or 1h30m", quote(t.raw)), "a duration such as 30m")
	}
	return d
}
