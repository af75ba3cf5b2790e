package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExcerpts(t *testing.T) {
	text := `version: 1
defaults: {schedule: "@daily"}
mappings:
  - name: first # of a secret kind
    source: docker.io/library/alpine
    # password: hunter2
    target: ${env:TARGET}/alpine
    tags: &tags
      semver: ">=3"
  - {name: flow, source: docker.io/library/busybox, target: "${file:/run/t}", tags: *tags}
`
	c, err := Parse("dray.yaml", []byte(text), Options{
		Getenv:   func(string) (string, bool) { return "registry.example", true },
		ReadFile: func(string) ([]byte, error) { return []byte("registry.example/busybox"), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"name: first\nsource: docker.io/library/alpine\ntarget: ${env:TARGET}/alpine\ntags:\n  semver: \">=3\"\n",
		"{name: flow, source: docker.io/library/busybox, target: \"${file:/run/t}\", tags: {semver: \">=3\"}}\n",
	}
	all := c.Excerpts()
	for i := range c.Mappings {
		if d := cmp.Diff(want[i], all[c.Mappings[i].Pos]); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if got := (&Config{}).Excerpts(); len(got) > 0 {
		t.Errorf("of no text: %q", got)
	}
}
