package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/webhook"
)

func TestCheckListen(t *testing.T) {
	long := strings.Repeat("x", maxSocket-1)
	for _, good := range []string{
		"", "127.0.0.1:8484", ":8484", "0.0.0.0:1", "localhost:0", "[::1]:8484", "[fe80::1%eth0]:1", "dray.example.com:65535", "unix:/run/dray/dray.sock", "unix:/" + long,
	} {
		if err := checkListen(good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{
		" ", "8484", "localhost", "localhost:", "localhost:http", "localhost:08484", "localhost:+1", "localhost:65536", "::1:8484", "a b:1", "-:1", "http://localhost:1",
		"unix:", "unix:dray.sock", "unix:./dray.sock", "unix:/", "unix:/run/", "unix:/x" + long, "UNIX:/run/dray.sock", "[fe80::1%]:1",
	} {
		if checkListen(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestCheckToken(t *testing.T) {
	const good = "0123456789abcde/" + "~"
	if err := checkToken(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", good[:15], good + " ", good + "\n", good + "é", good + "\x7f", strings.Repeat("x", maxToken+1)} {
		if err := checkToken(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestServerSections reads all that stands outside of mappings and registries.
func TestServerSections(t *testing.T) {
	const file = small + `server: {listen: "", token: "${env:SECRET_TOKEN}"}
jobs: 7
shutdownGrace: 0s
notifications:
  - webhook: https://hooks.example.com/a
  - {webhook: "https://hooks.example.com/b", secret: "${file:key}", on: [failed, recovered], template: '{"text": {{json .Summary}}}'}
`
	got, err := Parse("dray.yaml", []byte(file), world(""))
	if err != nil {
		t.Fatal(err)
	}
	if got.Server.Listen != "" || got.Server.Token.Reveal() != hiddenToken || got.Jobs != 7 || got.ShutdownGrace != 0 {
		t.Errorf("got %+v", got)
	}
	want := []Notification{
		{Pos: Position{"dray.yaml", 8, 5}, URL: "https://hooks.example.com/a"},
		{
			Pos: Position{"dray.yaml", 9, 5}, URL: "https://hooks.example.com/b", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLASw",
			On: []string{"failed", "recovered"}, Template: `{"text": {{json .Summary}}}`,
		},
	}
	reveal := cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() })
	if diff := cmp.Diff(want, got.Notifications, reveal); diff != "" {
		t.Error(diff)
	}
	plain, err := Parse("dray.yaml", []byte(small), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Server != (Server{Listen: "127.0.0.1:8484"}) || plain.Jobs != 4 || plain.ShutdownGrace != 25*time.Second || plain.Notifications != nil {
		t.Errorf("defaults: %+v", plain)
	}
}

// TestServed: the registry over layouts, with paths from the config's folder.
func TestServed(t *testing.T) {
	const path = "testdata/valid/server-registry.yaml"
	cfg, err := Load(path, world(path))
	if err != nil {
		t.Fatal(err)
	}
	const folder = "testdata/valid"
	want := &Served{
		Listen:  "0.0.0.0:5000",
		Layouts: []ServedLayout{{"", "/srv/stage"}, {"", folder + "/stage"}, {"plant/app", "/srv/app"}, {"plant", folder + "/apps"}, {"", folder + "/A=/srv/b"}},
		Mirrors: map[string]string{"docker.io": "hub/x", "quay.io": "", "localhost:5000": "local"}, CertFile: folder + "/tls.crt", KeyFile: "/etc/dray/tls.key",
		Users: folder + "/users", PlainHTTP: true,
	}
	if diff := cmp.Diff(want, cfg.Server.Registry); diff != "" {
		t.Error(diff)
	}
	cfg, err = Parse("dray.yaml", []byte(small+"server: {registry: {layouts: [/srv]}}\n"), world(""))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Served{Listen: "127.0.0.1:5000", Layouts: []ServedLayout{{"", "/srv"}}, Mirrors: map[string]string{}}, cfg.Server.Registry); diff != "" {
		t.Error(diff)
	}
}

// TestGrammarHasTheKindsOfEvents, as a tag cannot be made of what another package says.
func TestGrammarHasTheKindsOfEvents(t *testing.T) {
	var want []string
	for _, kind := range webhook.Kinds() {
		want = append(want, string(kind))
	}
	for _, s := range sections() {
		if s.path == "notifications[]" {
			if diff := cmp.Diff(want, split((shapes{}).of(s.t).fields["on"].Tag.Get("enum"))); diff != "" {
				t.Error(diff)
			}
			return
		}
	}
	t.Error("there is no such section")
}

// TestServerOfBrokenConfig: where a daemon listens is told also where something else is wrong.
func TestServerOfBrokenConfig(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\nserver: {listen: '127.0.0.1:1'}\nmapings: []\n": "127.0.0.1:1", "version: 1\nmapings: []\n": "127.0.0.1:8484",
		"version: 1\nserver: {listen: nowhere}\nmappings: []\n": "", "server: {listen: '127.0.0.1:1'}\n- x": "",
	} {
		cfg, err := Parse("dray.yaml", []byte(text), Options{})
		if err == nil || cfg.Server.Listen != want {
			t.Errorf("%q: %v, %q, want %q", text, err, cfg.Server.Listen, want)
		}
	}
}
