package config

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestImagesPattern: patterns name images as references do.
func TestImagesPattern(t *testing.T) {
	b := &builder{commons: &commons{plain: map[string]bool{"plain.example": true}}}
	tests := []struct{ text, want string }{
		{"docker.io/alpine", "docker.io/library/alpine"},
		{"docker.io/alp*", "docker.io/library/alp*"},
		{"docker.io/**", "docker.io/**"},
		{"docker.io/bitnami/*", "docker.io/bitnami/*"},
		{"index.docker.io/**", "docker.io/**"},
		{"GHCR.io:443/acme/**", "ghcr.io/acme/**"},
		{"plain.example:80/**", "plain.example/**"},
		{"other.example:80/**", "other.example:80/**"},
		{"[::1]:5000/app", "[::1]:5000/app"},
		{"localhost:5000/a", "localhost:5000/a"},
		{"**", ""},
		{"*/**", ""},
		{"ghcr.io", ""},
		{"ghcr.io/", ""},
		{"ghcr.io/acme/app:v1", ""},
		{"ghcr.io/acme/**/", ""},
		{"ghcr.io/Acme/*", ""},
		{"ghcr.io/{a,b}", ""},
		{"user:secret@ghcr.io/a", ""},
	}
	for _, tt := range tests {
		got, err := b.imagesPattern(tt.text)
		if (err != nil) != (tt.want == "") || err == nil && got != tt.want || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", tt.text, got, err)
		}
	}
}

// TestPolicyIsNotLost: a policy that an included file names in the state that runs cannot go.
func TestPolicyIsNotLost(t *testing.T) {
	key, err := os.ReadFile("../signature/testdata/fallback/cosign.pub")
	if err != nil {
		t.Fatal(err)
	}
	main := func(policy string) string {
		return "version: 1\ninclude: [/etc/team]\nverify: {" + policy + ": {authorities: [{key: '${file:/etc/key}'}]}}\nmappings: [{source: ghcr.io/a/b:v1, target: t.example/x}]\n"
	}
	const team = "version: 1\nmappings: [{source: ghcr.io/acme/app:v1, target: t.example/y, verify: %}]\n"
	files := map[string]string{"/etc/main": main("acme"), "/etc/team": strings.ReplaceAll(team, "%", "acme"), "/etc/key": string(key)}
	r := NewReader("/etc/main", Options{
		Getenv: func(string) (string, bool) { return "", false },
		ReadFile: func(name string) ([]byte, error) {
			text, ok := files[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		List: func(p string) ([]string, error) { return []string{p}, nil },
	})
	read := func(step, want string, policies ...string) {
		t.Helper()
		cfg, rejected, err := r.Read()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		got := ""
		if rejected != nil {
			got = rejected.Error()
		}
		names := []string{}
		for _, p := range cfg.Policies {
			names = append(names, p.Name)
		}
		if got != want || !slices.Equal(names, policies) || cfg.Mappings[len(cfg.Mappings)-1].Verify != policies[0] {
			t.Errorf("%s: rejected %q, want %q; policies %q", step, got, want, names)
		}
		r.Accept()
	}
	read("first", "", "acme")
	files["/etc/main"] = main("strict")
	read("renamed", `/etc/main:1:1: verify: lacks the policy "acme", which /etc/team:2:12 names; change that first`, "acme")
	files["/etc/team"] = strings.ReplaceAll(team, "%", "strict")
	read("renamed in both", "", "strict")
}
