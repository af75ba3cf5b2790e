package config

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	e := expander{
		folder: "/etc",
		getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"A": "a", "CREDENTIALS_DIRECTORY": "/run/credentials/dray.service", "REF": "${env:A}", "YAML": "x\n- y: [z]"}[name]
			return v, ok
		},
		readFile: func(path string) ([]byte, error) {
			if text, ok := map[string]string{"/etc/lf": "a\n\n", "/etc/crlf": "a\r\n", "/cr": "a\r", "/bom": "\ufeffa\ufeff\r\n", "/utf16": "\xff\xfea\x00\n\x00", "/secret/up": "b", "/run/credentials/dray.service/hub": "c\n"}[path]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("no file " + path)
		},
	}
	good := map[string]string{
		"":                                     "",
		"plain $ text $$ {}":                   "plain $ text $$ {}",
		"${env:A}":                             "a",
		"<${env:A}${env:A}>":                   "<aa>",
		"${env:REF}":                           "${env:A}",
		"${env:YAML}":                          "x\n- y: [z]",
		"$${env:A}":                            "${env:A}",
		"$$${env:A}":                           "$${env:A}",
		"$${${env:A}":                          "${a",
		"${file:lf}":                           "a\n",
		"${file:crlf}":                         "a",
		"${file:/cr}":                          "a\r",
		"${file:/bom}":                         "a\ufeff",
		"${file:../secret/up}-x":               "b-x",
		"<${file:$CREDENTIALS_DIRECTORY/hub}>": "<c>",
	}
	for in, want := range good {
		if got, err := e.text(in); err != nil || got != want {
			t.Errorf("%q expands to %q, %v; want %q", in, got, err, want)
		}
	}
	bad := map[string]string{
		"${env:B}":                              `variable "B" is not set`,
		"${file:/utf16}":                        `the file "/utf16" has a zero byte`,
		"${file:none}":                          `the file "none" cannot be read`,
		"${file:$CREDENTIALS_DIRECTORY/none}":   `the file "$CREDENTIALS_DIRECTORY/none" cannot be read`,
		"${file:$CREDENTIALS_DIRECTORY/}":       "is not known: write",
		"${file:$CREDENTIALS_DIRECTORY}":        "is not known: write",
		"${file:$CREDENTIALS_DIRECTORY_/a}":     "is not known: write",
		"${file:$CREDENTIALS_DIRECTORY/$A}":     "is not known: write",
		"${file:$A/hub}":                        "is not known: write",
		"${file:/x/$CREDENTIALS_DIRECTORY/hub}": "is not known: write",
		"${env:$CREDENTIALS_DIRECTORY/hub}":     "is not known: write",
		"${env:}":                               "is not known: write",
		"${A}":                                  "is not known: write",
		"${ENV:A}":                              "is not known: write",
		"${env:${env:A}}":                       "is not known: write",
		"x${env:A":                              "without its }",
		"${":                                    "without its }",
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

// TestCredentialsDirectory: what systemd has not set is said, and never taken for the root or the config's folder.
func TestCredentialsDirectory(t *testing.T) {
	for _, value := range []string{"", "relative"} {
		e := expander{folder: "/etc", getenv: func(string) (string, bool) { return value, value != "" }, readFile: func(path string) ([]byte, error) {
			t.Errorf("%s is read", path)
			return nil, nil
		}}
		_, err := e.text("${file:$CREDENTIALS_DIRECTORY/hub}")
		if err == nil || !strings.Contains(err.Error(), `"$CREDENTIALS_DIRECTORY/hub" is nowhere`) || !strings.Contains(err.Error(), "LoadCredential=") {
			t.Errorf("with %q: %v", value, err)
		}
	}
}
