package config

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	e := expander{
		folder: "etc",
		getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"A": "a", "REF": "${env:A}", "YAML": "x\n- y: [z]"}[name]
			return v, ok
		},
		readFile: func(path string) ([]byte, error) {
			if text, ok := map[string]string{"etc/lf": "a\n\n", "etc/crlf": "a\r\n", "/cr": "a\r", "secret/up": "b"}[path]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("no file " + path)
		},
	}
	good := map[string]string{
		"":                       "",
		"plain $ text $$ {}":     "plain $ text $$ {}",
		"${env:A}":               "a",
		"<${env:A}${env:A}>":     "<aa>",
		"${env:REF}":             "${env:A}",
		"${env:YAML}":            "x\n- y: [z]",
		"$${env:A}":              "${env:A}",
		"$$${env:A}":             "$${env:A}",
		"$${${env:A}":            "${a",
		"${file:lf}":             "a\n",
		"${file:crlf}":           "a",
		"${file:/cr}":            "a\r",
		"${file:../secret/up}-x": "b-x",
	}
	for in, want := range good {
		if got, err := e.text(in); err != nil || got != want {
			t.Errorf("%q expands to %q, %v; want %q", in, got, err, want)
		}
	}
	bad := map[string]string{
		"${env:B}":        `variable "B" is not set`,
		"${file:none}":    `the file "none" cannot be read`,
		"${env:}":         "is not known: write",
		"${A}":            "is not known: write",
		"${ENV:A}":        "is not known: write",
		"${env:${env:A}}": "is not known: write",
		"x${env:A":        "without its }",
		"${":              "without its }",
	}
	for in, want := range bad {
		if got, err := e.text(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q expands to %q, %v; want an error with %q", in, got, err, want)
		}
	}
}

func TestExpandIsBounded(t *testing.T) {
	e := expander{getenv: func(string) (string, bool) { return strings.Repeat("x", 1<<16), true }}
	if _, err := e.text(strings.Repeat("${env:A}", 1000)); err == nil {
		t.Error("a value of 64 MB is accepted")
	}
}
