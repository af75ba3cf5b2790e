package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestPlanFile makes a plan, has somebody or something change it or the config, and syncs it: what is no plan of this config is refused as a
// whole, and the target stays as it is.
func TestPlanFile(t *testing.T) {
	t.Parallel()
	source := registry.New(registry.Options{})
	for i, tag := range []string{"v1", "v2"} {
		if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{LayerSize: 16}).Push(source, "app", tag); err != nil {
			t.Fatal(err)
		}
	}
	from := start(t, source)
	replace := func(old, with string) func(string) string {
		return func(plan string) string { return strings.Replace(plan, old, with, 1) }
	}
	same := func(plan string) string { return plan }
	for name, tt := range map[string]struct {
		change func(plan string) string
		tags   string // of the mapping when the plan is synced
		job    string
		code   int
		says   string
	}{
		"nothing":             {same, "", "", exitDone, "Sync: 2 imported"},
		"the mapping":         {same, "[v1]", "", exitUsage, `is not a plan of this config: the mapping "app" has changed: make a new one`},
		"its name":            {same, "", "other", exitUsage, `the config has no mapping "app" (any more)`},
		"the fingerprint":     {replace(`"fingerprint": "`, `"fingerprint": "0`), "", "", exitUsage, `the mapping "app" has changed`},
		"no plan":             {func(string) string { return "{}" }, "", "", exitUsage, "is neither the name of a mapping nor a plan that dray plan --out has written"},
		"no JSON":             {func(string) string { return "mappings:\n" }, "", "", exitUsage, "is neither the name of a mapping nor a plan"},
		"a later version":     {replace(`"version": 1`, `"version": 2`), "", "", exitUsage, "is a plan of version 2, and this dray reads version 1: make a new one"},
		"an unknown key":      {replace(`"made"`, `"force": true, "made"`), "", "", exitUsage, `unknown field "force"`},
		"more after it":       {func(plan string) string { return plan + plan }, "", "", exitUsage, "has more after the plan"},
		"cut off":             {func(plan string) string { return plan[:len(plan)/2] }, "", "", exitUsage, "unexpected EOF"},
		"a mapping twice":     {func(plan string) string { return twice(plan) }, "", "", exitUsage, `the mapping "app" stands there twice`},
		"no reference":        {replace(from+"/app:v1@", "https://x/app:v1@"), "", "", exitUsage, "reference "},
		"a source of another": {replace(from+"/app:v1@", from+"/secret:v1@"), "", "", exitPartly, "the mapping does not choose this tag any more"},
		"a digest":            {replace(`@sha256:`, `@sha256:0`), "", "", exitUsage, "reference "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := registry.New(registry.Options{})
			to, folder := start(t, target), t.TempDir()
			file := filepath.Join(folder, "the.plan")
			write := func(job, tags string) string {
				if job == "" {
					job = "app"
				}
				if tags == "" {
					tags = "['*']"
				}
				return writeConfig(t, "mappings:", mapping("name: %s, source: '%s/app', target: '%s/app', tags: %s, referrers: false", job, from, to, tags))
			}
			if a := dray(t, "plan", "-c", write("", ""), "--out", file); a.code != exitDone || !strings.Contains(a.out, "the.plan has the plan, with 2 to import") {
				t.Fatalf("%+v", a)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if err := os.WriteFile(file, []byte(tt.change(string(raw))), 0o600); err != nil {
				t.Fatal(err)
			}
			a := dray(t, "sync", "-c", write(tt.job, tt.tags), file)
			if a.code != tt.code || !strings.Contains(a.out+a.err, tt.says) {
				t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
			}
			if there := target.Repositories(); tt.code == exitUsage && len(there) > 0 {
				t.Errorf("the target has %q", there)
			}
		})
	}
}

// twice has the job of a plan twice.
func twice(plan string) string {
	const begin = "\"jobs\": [\n"
	before, rest, _ := strings.Cut(plan, begin)
	job := strings.TrimSuffix(strings.TrimSpace(rest), "]\n}")
	return before + begin + job + "," + job + "]}"
}

// A plan that has nothing since nothing could be seen leaves no file, whose sync would be green.
func TestPlanFileOfNothing(t *testing.T) {
	t.Parallel()
	at := start(t, registry.New(registry.Options{}))
	file := filepath.Join(t.TempDir(), "the.plan")
	c := writeConfig(t, "mappings:", mapping("name: app, source: '%s/app:v1', target: '%s/copy', referrers: false", at, at))
	a := dray(t, "plan", "-c", c, "--out", file)
	if _, err := os.Stat(file); a.code != exitPartly || !os.IsNotExist(err) || !strings.Contains(a.err, "the.plan was not written") {
		t.Errorf("%+v, %v", a, err)
	}
}

// A plan that cannot be written fails, and leaves nothing; one that cannot be read is refused at once.
func TestPlanFileOutOfReach(t *testing.T) {
	t.Parallel()
	source := registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	at := start(t, source)
	folder := t.TempDir()
	c := writeConfig(t, "mappings:", mapping("name: app, source: '%s/app:v1', target: '%s/copy', referrers: false", at, at))
	if a := dray(t, "plan", "-c", c, "--out", filepath.Join(folder, "none", "the.plan")); a.code != exitFailed || !strings.Contains(a.err, "write the plan: ") {
		t.Errorf("%+v", a)
	}
	huge := filepath.Join(folder, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxPlanFile+1); err != nil {
		t.Fatal(err)
	}
	if a := dray(t, "sync", "-c", c, huge); a.code != exitUsage || !strings.Contains(a.err, fmt.Sprintf("larger than %d bytes", maxPlanFile)) {
		t.Errorf("%+v", a)
	}
	if a := dray(t, "sync", "-c", c, folder); a.code != exitUsage || !strings.Contains(a.err, "no mapping is named") {
		t.Errorf("%+v", a)
	}
}
