package convert

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// maxTemplate bounds what a template writes, in bytes.
const maxTemplate = 64 << 10

// expand runs one of regsync's templates. What it takes from the environment or from a file becomes dray's reference to that;
// data is what it may refer to.
func expand(text string, data any) (string, error) {
	if !strings.Contains(text, "{{") {
		return escape(text), nil
	}
	t, err := template.New("").Funcs(functions()).Parse(escape(text))
	if err != nil {
		return "", trimmed(err)
	}
	var out bounded
	if err := t.Execute(&out, data); err != nil {
		return "", trimmed(err)
	}
	return out.String(), nil
}

func functions() template.FuncMap {
	return template.FuncMap{
		"env": func(name string) (string, error) { return reference("env", name) },
		"file": func(path string) (string, error) {
			return reference("file", path)
		},
		"default": func(fallback, value any) (any, error) {
			if value == nil || value == "" {
				return fallback, nil
			}
			if text, ok := value.(string); ok && strings.Contains(text, "${") {
				return nil, errors.New("dray has no defaults for variables")
			}
			return value, nil
		},
		"trimSpace": strings.TrimSpace,
		"lower":     func(s string) (string, error) { return strings.ToLower(s), known(s) },
		"upper":     func(s string) (string, error) { return strings.ToUpper(s), known(s) },
		"split":     func(s, by string) ([]string, error) { return strings.Split(s, by), known(s) },
		"join":      func(s []string, by string) (string, error) { return strings.Join(s, by), known(s...) },
	}
}

// reference writes dray's ${env:NAME} or ${file:PATH}.
func reference(kind, name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "${}\n") {
		return "", fmt.Errorf("dray cannot refer to %s %q", kind, name)
	}
	return "${" + kind + ":" + name + "}", nil
}

// known refuses what is not known before dray reads its config.
func known(texts ...string) error {
	for _, text := range texts {
		if strings.Contains(text, "${") {
			return errors.New("dray has no functions on variables or files")
		}
	}
	return nil
}

// trimmed takes the template package's own place out of an error.
func trimmed(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return errors.New(printable(text))
}

// bounded is a buffer with an end.
type bounded struct{ strings.Builder }

// Write refuses what would make it too long.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTemplate {
		return 0, fmt.Errorf("the template produces more than %d bytes", maxTemplate)
	}
	return b.Builder.Write(p)
}
