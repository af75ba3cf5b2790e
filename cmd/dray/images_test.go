package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestImagesOfFiles imports what a list and a manifest name, from two registries and by digest: a second run has nothing to do, a tag that moves is
// followed where it is not pinned, another mapping may not write the same tag, and a plan file has what was planned.
func TestImagesOfFiles(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	one, two, target := registry.New(registry.Options{}), registry.New(registry.Options{}), registry.New(registry.Options{})
	from, also, to := start(t, one), strings.Replace(start(t, two), "127.0.0.1", "localhost", 1), start(t, target)
	push := func(r *registry.Registry, seed int64, repo, tag string) {
		t.Helper()
		if err := registry.SingleArch(seed, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(r, repo, tag); err != nil {
			t.Fatal(err)
		}
	}
	push(one, 1, "team/app", "1")
	push(one, 2, "team/app", "2")
	push(one, 3, "team/pinned", "1")
	push(two, 4, "tool", "latest")
	pinned := one.Digest("team/pinned", "1")
	push(one, 5, "team/pinned", "1") // the tag has moved since
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("list.txt", fmt.Sprintf("%s/team/pinned@%s\n%s/tool # the newest\n", from, pinned, also))
	write("pod.yaml", fmt.Sprintf("kind: Pod\nmetadata: {}\nspec: {containers: [{image: '%s/team/app:1'}, {image: '%s/team/app:2'}, {image: '{{.X}}'}]}\n", from, from))
	images := mapping("name: cluster, imagesFrom: ['%s/*.txt', '%s/pod.yaml'], target: '%s/m', rename: '{{.Repository}}'", dir, dir, to)
	config := writeConfig(t, "mappings:", images)

	if a := dray(t, "check", "-c", config); a.code != exitDone || !strings.Contains(a.out, `cluster does not import "{{.X}}" of `+dir+"/pod.yaml:3:") {
		t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
	}
	plan := filepath.Join(dir, "plan")
	doc, a := drayJSON(t, "plan", "-c", config, "--out", plan)
	if a.code != exitDone || doc.Totals.Import != 4 {
		t.Fatalf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	if doc, a = drayJSON(t, "sync", plan, "-c", config); a.code != exitDone || doc.Totals.Import != 4 {
		t.Fatalf("exit code %d, %+v\n%s%s", a.code, doc.Totals, a.out, a.err)
	}
	same := func(repo, tag, want string) {
		t.Helper()
		if got := target.Digest(repo, tag); got != want || want == "" {
			t.Errorf("%s:%s is %q, want %s", repo, tag, got, want)
		}
	}
	same("m/team/app", "1", one.Digest("team/app", "1"))
	same("m/team/app", "2", one.Digest("team/app", "2"))
	same("m/team/pinned", "digest-"+strings.TrimPrefix(pinned, "sha256:")[:32], pinned)
	same("m/tool", "latest", two.Digest("tool", "latest"))
	if doc, a = drayJSON(t, "sync", "-c", config); a.code != exitDone || doc.Totals.Keep != 4 || doc.Totals.Import != 0 {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	push(two, 6, "tool", "latest")
	push(one, 7, "team/pinned", "1")
	if doc, a = drayJSON(t, "sync", "cluster", "-c", config); a.code != exitDone || doc.Totals.Keep != 3 || doc.Totals.Import != 1 {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	same("m/tool", "latest", two.Digest("tool", "latest"))

	// One image that is gone does not hold up the others.
	write("list.txt", fmt.Sprintf("%s/team/app:3\n%s/tool\n", from, also))
	push(two, 8, "tool", "latest")
	if doc, a = drayJSON(t, "sync", "-c", config); a.code != exitPartly || doc.Totals.Keep != 2 || doc.Totals.Import != 1 || doc.Totals.Failed != 1 {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.out)
	}
	config = writeConfig(t, "mappings:", images, mapping("name: other, source: '%s/team/app', target: '%s/m/team/app', tags: ['2']", from, to))
	if a := dray(t, "check", "-c", config); a.code != exitUsage || !strings.Contains(a.err, `it writes `+to+`/m/team/app:2, as does the mapping "cluster"`) {
		t.Errorf("exit code %d\n%s", a.code, a.err)
	}
}
