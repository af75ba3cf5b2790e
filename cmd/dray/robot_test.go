package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestRobot imports from Quay as a robot account with a token of an OIDC provider. A token that Quay does not accept is named, and not shown.
func TestRobot(t *testing.T) {
	t.Parallel()
	for name, newer := range map[string]bool{"as ever": false, "by an exchange": true} {
		t.Run(name, func(t *testing.T) { robot(t, newer) })
	}
}

func robot(t *testing.T, newer bool) {
	source := registry.New(registry.Options{Auth: &registry.Auth{
		TokenPath: "/v2/auth", Robots: map[string]string{"acme+mirror": "subject.of.acme"}, RobotsExchange: newer,
	}})
	target := registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, "acme/app", "1"); err != nil {
		t.Fatal(err)
	}
	from, to, trusted := secured(t, source, target)
	token := filepath.Join(t.TempDir(), "token")
	config := writeConfig(t, "registries:",
		"  '"+from+"': {tls: {caFile: "+trusted+"}}", "  '"+from+"/acme': {quay: {robot: acme+mirror, tokenFile: "+token+"}}", "  '"+to+"': {tls: {caFile: "+trusted+"}}",
		"mappings:", mapping("source: '%s/acme/app:1', target: '%s/app'", from, to))
	for _, c := range []struct {
		token, says string
		code        int
	}{
		{"subject.of.eve", "check the issuer and the subject that Quay has for the robot account acme+mirror", exitPartly},
		{"subject.of.acme\n", "1 imported", exitDone},
	} {
		if err := os.WriteFile(token, []byte(c.token), 0o600); err != nil {
			t.Fatal(err)
		}
		a := dray(t, "sync", "-c", config)
		if all := a.out + a.err; a.code != c.code || !strings.Contains(all, c.says) || strings.Contains(all, strings.TrimSpace(c.token)) {
			t.Errorf("exit code %d, want %d and %q\n%s", a.code, c.code, c.says, all)
		}
	}
	if a := dray(t, "check", "--online", "-c", config); !strings.Contains(a.out+a.err, from+" as acme+mirror") && !strings.Contains(a.out+a.err, from+"/acme as acme+mirror") {
		t.Errorf("%s\n%s", a.out, a.err)
	}
}
