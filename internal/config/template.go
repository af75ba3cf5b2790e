package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// templateField matches a field of a template.
var templateField = regexp.MustCompile(`\{\{\s*\.([A-Za-z]+)\s*\}\}`)

// filled replaces the fields of a template, which are one word each.
func filled(template string, fields map[string]string) (string, error) {
	var unknown string
	value := templateField.ReplaceAllStringFunc(template, func(field string) string {
		name := templateField.FindStringSubmatch(field)[1]
		value, ok := fields[name]
		if !ok {
			unknown = field
		}
		return value
	})
	switch {
	case unknown != "":
		return "", fmt.Errorf("%s has the unknown field %s", quote(template), quote(unknown))
	case strings.Contains(value, "{{") || strings.Contains(value, "}}"):
		return "", fmt.Errorf("%s is not a template: a field is written as {{.Repository}}", quote(template))
	}
	return value, nil
}

var retagText = regexp.MustCompile(`^((?:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?)\{\{\s*\.Tag\s*\}\}([a-zA-Z0-9._-]*)$`)

// maxRetag is how much may stand around a tag, so that there is room for it.
const maxRetag = 64

func (b *builder) retag(t text) Retag {
	if !t.set {
		return Retag{}
	}
	m := retagText.FindStringSubmatch(t.value)
	switch {
	case m == nil:
		b.invalid(t, fmt.Errorf("%s is no template of a tag: write {{.Tag}} once, with letters, digits, '.', '_' and '-' before and after it", quote(t.raw)), "a template such as {{.Tag}}-mirror")
	case len(m[1])+len(m[2]) > maxRetag:
		b.invalid(t, fmt.Errorf("%s has more than %d characters around {{.Tag}}", quote(t.raw), maxRetag), "a template with less around {{.Tag}}")
	default:
		return Retag{m[1], m[2]}
	}
	return Retag{}
}

// retagged checks that the tags that a mapping names are valid at its targets.
func (b *builder) retagged(m *Mapping) {
	literals, _ := m.Tags.Literals()
	if single(m.Source) && m.Source.Tag != "" {
		literals = []string{m.Source.Tag}
	}
	for _, tag := range literals {
		if name := m.Retag.Prefix + tag + m.Retag.Suffix; !image.ValidTag(name) {
			b.fail(b.all.Retag.origin, fmt.Errorf("makes %s of the tag %s, which is no valid tag", quote(name), quote(tag)), "")
			return
		}
	}
}

// targetOf returns a target with the fields of its template replaced.
func targetOf(template string, source image.Reference, prefix bool) (string, error) {
	if !strings.Contains(template, "{{") && !strings.Contains(template, "}}") {
		return template, nil
	}
	if source.IsLayout() {
		return "", errors.New("is a template, and the source is a folder, which has no registry")
	}
	host, _, _ := strings.Cut(source.Registry, ":")
	value, err := filled(template, map[string]string{"Registry": host, "Repository": source.Path})
	if i := templateField.FindAllStringSubmatchIndex(template, -1); err == nil && prefix {
		for _, at := range i {
			if template[at[2]:at[3]] == "Repository" && at[1] != len(template) {
				return "", errors.New("has {{.Repository}} before its end, where the paths of repositories are added")
			}
		}
	}
	return value, err
}
