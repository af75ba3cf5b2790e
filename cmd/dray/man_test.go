package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManual has a page for each command that is shown, and one for the config file, of which the first knows.
func TestManual(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	if a := dray(t, "man", dir); a.code != exitDone {
		t.Fatal(a.err)
	}
	page := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return string(raw)
	}
	pages := 0
	for _, c := range (&app{streams: streams{getenv: func(string) (string, bool) { return "", false }}}).root().Commands() {
		if c.Hidden {
			continue
		}
		pages++
		if text := page("dray-" + c.Name() + ".1"); !strings.Contains(text, "Exit codes") {
			t.Errorf("%s does not tell the exit codes", c.Name())
		}
	}
	if pages < 10 {
		t.Errorf("%d pages", pages)
	}
	if !strings.Contains(page("dray.1"), "dray.yaml(5)") || !strings.Contains(page("dray.yaml.5"), "mappings[].tags.semver") {
		t.Error("the config file is not described")
	}
	if a := dray(t, "man"); a.code != exitUsage {
		t.Errorf("exit code %d without a folder", a.code)
	}
	if a := dray(t, "--help"); strings.Contains(a.out, "manual pages") {
		t.Error("it is shown among the commands")
	}
}
