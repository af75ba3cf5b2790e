package config

import (
	"strings"
	"testing"
)

// TestNoSecrets: without variables and files what does not depend on them is checked all the same, wherever they are used; none is looked
// for.
func TestNoSecrets(t *testing.T) {
	options := Options{
		Getenv:    func(name string) (string, bool) { t.Errorf("%s is looked up", name); return "", false },
		ReadFile:  func(name string) ([]byte, error) { t.Errorf("%s is read", name); return nil, nil },
		NoSecrets: true,
	}
	const mapping = "\nmappings:\n  - {source: docker.io/library/alpine, target: r.example/alpine, tags: [latest]}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"a password":          {"registries: {r.example: {username: u, password: '${env:PASSWORD}'}}" + mapping, ""},
		"a file":              {"registries: {r.example: {identityToken: '${file:/run/secrets/r}'}}" + mapping, ""},
		"a credential":        {"registries: {r.example: {identityToken: '${file:$CREDENTIALS_DIRECTORY/r}'}}" + mapping, ""},
		"a duration":          {"shutdownGrace: '${env:GRACE}'" + mapping, ""},
		"a part of one":       {"shutdownGrace: '${env:SECONDS}s'" + mapping, ""},
		"a choice":            {"log: {level: '${env:LEVEL}'}" + mapping, ""},
		"a URL":               {"notifications: [{webhook: '${env:HOOK}'}]" + mapping, ""},
		"a token":             {"server: {token: '${env:TOKEN}'}" + mapping, ""},
		"a ledger":            {"cluster: {ledger: '${file:/run/secrets/l}', name: '${env:HOSTNAME}', lease: '${env:LEASE}'}" + mapping, ""},
		"a layout in one":     {"cluster: {ledger: '${file:/run/secrets/l}'}\nmappings: [{source: docker.io/library/a:1, target: 'ocidir:///srv/a'}]", "one machine's disk"},
		"an address":          {"server: {listen: '${env:LISTEN}'}" + mapping, ""},
		"a whole source":      {"mappings: [{source: '${env:SOURCE}', target: r.example/a, tags: [latest]}]", ""},
		"hosts":               {"mappings: [{source: '${env:FROM}/a', target: '${env:TO}/a', tags: [latest]}, {source: '${env:FROM}/b', target: '${env:TO}/b', tags: [latest]}]", ""},
		"a tag":               {"mappings: [{source: 'docker.io/library/a:${env:TAG}', target: r.example/a}]", ""},
		"a tag and a filter":  {"mappings: [{source: docker.io/library/a, target: r.example/a, tags: ['${env:TAG}', '/${env:PATTERN}/', {semver: '${env:RANGE}'}]}]", ""},
		"a schedule":          {"mappings: [{source: docker.io/library/a, target: r.example/a, tags: [latest], schedule: '${env:CRON}', timezone: '${env:TZ}'}]", ""},
		"no such kind":        {"registries: {r.example: {identityToken: '${vault:r}'}}" + mapping, "is not known"},
		"not closed":          {"registries: {r.example: {identityToken: '${env:R'}}" + mapping, "without its }"},
		"beside it":           {"registries: {r.example: {username: '${env:USER}'}}" + mapping, "requires password"},
		"a mistake elsewhere": {"shutdownGrace: '${env:GRACE}'\njobs: 0" + mapping, "jobs: must be"},
		"an unknown key":      {"registries: {r.example: {passwort: '${env:PASSWORD}'}}" + mapping, "unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("dray.yaml", []byte("version: 1\n"+tt.text), options)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestExtensions: keys of one's own are ignored at the top of a file only.
func TestExtensions(t *testing.T) {
	_, err := Parse("dray.yaml", []byte("version: 1\nx-mine: {a: 1}\nmappings:\n  - {source: docker.io/library/a:1, target: r.example/a, x-mine: 2}\n"), Options{})
	if err == nil || !strings.Contains(err.Error(), "mappings[0].x-mine: unknown key") || strings.Contains(err.Error(), "dray.yaml:2") {
		t.Error(err)
	}
}
