package main

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestRetag brings tags under other names: a second run has nothing to do, also where they are immutable, a tag that moves is followed under its
// new name, and two writers of one tag are refused, whatever the tags are called at the sources. Templates of the target are filled for each.
func TestRetag(t *testing.T) {
	t.Parallel()
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	push := func(seed int64, repo, tag string) {
		t.Helper()
		if err := registry.SingleArch(seed, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, repo, tag); err != nil {
			t.Fatal(err)
		}
	}
	for i, tag := range []string{"1.0", "1.1", "edge"} {
		push(int64(i), "team/app", tag)
		push(int64(10+i), "team/tool", tag)
	}
	push(20, "other", "1.0-m")
	config := writeConfig(t, "mappings:",
		mapping("name: many, source: '%s/team', repositories: ['**', '!tool'], target: '%s/all/{{.Repository}}', tags: ['1.*', edge], immutable: ['1.?'], retag: '{{.Tag}}-m'", from, to),
		mapping("name: one, source: '%s/team/tool:edge', target: '%s/{{.Registry}}.d/{{.Repository}}', retag: 'm-{{.Tag}}'", from, to))
	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitDone || doc.Totals.Import != 4 {
		t.Fatalf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	same := func() {
		t.Helper()
		host, _, _ := strings.Cut(from, ":")
		for _, tag := range []string{"1.0", "1.1", "edge"} {
			if want, got := source.Digest("team/app", tag), target.Digest("all/team/app", tag+"-m"); got != want {
				t.Errorf("%s-m is %q, want %s", tag, got, want)
			}
		}
		if want, got := source.Digest("team/tool", "edge"), target.Digest(host+".d/team/tool", "m-edge"); got != want {
			t.Errorf("m-edge is %q, want %s", got, want)
		}
	}
	same()
	if got := target.Digest("all/team/app", "1.0"); got != "" {
		t.Errorf("1.0 is %s", got)
	}
	requests := len(source.Requests())
	doc, a = drayJSON(t, "sync", "-c", config)
	if a.code != exitDone || doc.Totals.Import != 0 || doc.Totals.Keep != 4 {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	for _, r := range source.Requests()[requests:] {
		if strings.Contains(r.Path, "/app/manifests/1.") {
			t.Errorf("an immutable tag was asked for: %+v", r)
		}
	}
	push(30, "team/app", "edge")
	push(31, "team/tool", "edge")
	if doc, a = drayJSON(t, "sync", "-c", config); a.code != exitDone || doc.Totals.Import != 2 {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	same()
	config = writeConfig(t, "mappings:",
		mapping("name: many, source: '%s/team/app', target: '%s/all/team/app', tags: ['1.*'], retag: '{{.Tag}}-m'", from, to),
		mapping("name: other, source: '%s/other', target: '%s/all/team/app', tags: ['*']", from, to))
	if doc, a = drayJSON(t, "sync", "-c", config); a.code != exitPartly || doc.Totals.Refuse != 2 || !strings.Contains(a.out, "two-writers") {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.out)
	}
}
