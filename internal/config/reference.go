package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// single reports whether a source is one image.
func single(r image.Reference) bool { return r.Tag != "" || r.Digest != "" }

// source reads the source, which is a prefix if repositories are listed.
func (b *builder) source(s *mappingSection, m *Mapping) {
	if !s.Source.set {
		return
	}
	ref, err := b.reference(s.Source.value, false)
	if err == nil && s.Repositories.set && !single(ref) {
		ref, err = b.reference(s.Source.value, true)
	}
	if err != nil {
		b.invalid(s.Source, err, "a reference such as registry/repository:tag")
		return
	}
	m.Source = ref
}

// maxReference limits a reference, so that messages about it stay readable.
const maxReference = 1024

func (b *builder) reference(value string, prefix bool) (image.Reference, error) {
	if len(value) > maxReference {
		return image.Reference{}, fmt.Errorf("reference %s: has %d characters, %d are allowed", quote(value), len(value), maxReference)
	}
	var ref image.Reference
	var err error
	if prefix {
		ref.Repository, err = image.ParsePrefix(value)
	} else {
		ref, err = image.Parse(value)
	}
	ref.Registry = bare(ref.Registry, b.isPlain)
	if err == nil && ref.IsLayout() {
		ref.Path = b.dirs.Name(ref.Path)
	}
	return ref, err
}

// targets reads target or targets.
func (b *builder) targets(s *mappingSection, m *Mapping) {
	all := s.Targets.items
	if s.Target.set {
		all = append([]text{s.Target}, all...)
	}
	seen := map[image.Reference]text{}
	for _, t := range all {
		if !t.set {
			continue
		}
		ref, err := b.target(t, s, m)
		if err != nil {
			continue
		}
		if first, ok := seen[ref]; ok {
			if first.value != t.value {
				b.fail(t.origin, fmt.Errorf("%s is the same target as %s in line %d", quote(t.raw), quote(first.raw), first.pos.Line), "remove one of them")
			}
			continue
		}
		seen[ref] = t
		m.Targets = append(m.Targets, ref)
	}
}

var errReported = errors.New("has been reported")

func (b *builder) target(t text, s *mappingSection, m *Mapping) (image.Reference, error) {
	if m.Source.IsZero() && strings.Contains(t.value, "{{") {
		return image.Reference{}, errReported
	}
	value, err := targetOf(t.value, m.Source, s.Repositories.set)
	if err != nil {
		b.invalid(t, err, "a reference such as registry/repository")
		return image.Reference{}, errReported
	}
	ref, err := b.reference(value, false)
	if err == nil && s.Repositories.set && !single(ref) {
		ref, err = b.reference(value, true)
	}
	if err != nil {
		b.invalid(t, err, "a reference such as registry/repository")
		return ref, errReported
	}
	wrong, hint := "", ""
	switch {
	case m.Source.IsZero():
	case ref.Digest != "":
		wrong, hint = "%s must not have a digest, because the target always gets the source's", "write a tag, or the repository alone"
	case ref.Tag != "" && !single(m.Source):
		wrong, hint = "%s must not have a tag, because the source's tags are kept", "remove the tag, or add one to the source"
	case ref.Repository == m.Source.Repository:
		wrong, hint = "%s is the same repository as the source", "write another repository"
	case ref.Tag == "" && m.Source.Tag == "" && m.Source.Digest != "":
		if b.mayBeUntagged(m.Source, ref) {
			return ref.WithDigest(m.Source.Digest), nil
		}
		wrong, hint = "%s needs a tag, because the source is a digest", "add a tag to the target or, at a registry, set untagged: true"
	}
	if wrong != "" {
		b.fail(t.origin, fmt.Errorf(wrong, quote(t.raw)), hint)
		return ref, errReported
	}
	if ref.Tag == "" {
		if ref.Tag = m.Source.Tag; ref.Tag != "" {
			ref.Tag = m.Retag.Prefix + ref.Tag + m.Retag.Suffix
		}
	}
	return ref, nil
}
