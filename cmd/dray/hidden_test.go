package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestHiddenTarget: a registry that denies what it lacks is warned of by check, said by plan, and given the image by sync.
func TestHiddenTarget(t *testing.T) {
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	target.Inject(registry.Fault{Status: http.StatusForbidden, Match: func(r *http.Request) bool {
		return r.Method == http.MethodHead && target.Digest("team/app", "v1") == ""
	}})
	from, to := start(t, source), start(t, target)
	config := writeConfig(t, "mappings:", mapping("source: '%s/app', target: '%s/team/app', tags: [v1]", from, to))
	if a := dray(t, "check", "--online", "-c", config); a.code != exitDone || !strings.Contains(a.out, to+" does not show its content in 1 repository (team/app)") {
		t.Errorf("check: exit code %d\n%s%s", a.code, a.out, a.err)
	}
	if a := dray(t, "plan", "-c", config); !strings.Contains(a.out, "the registry does not say whether the tag is there") {
		t.Errorf("plan: %s%s", a.out, a.err)
	}
	if doc, _ := drayJSON(t, "plan", "-c", config); doc.Jobs[0].Actions[0].Reason != "hidden" || doc.Totals.Import != 1 {
		t.Errorf("plan: %+v", doc)
	}
	if doc, a := drayJSON(t, "sync", "-c", config); a.code != exitDone || doc.Totals.Import != 1 {
		t.Errorf("sync: exit code %d, %+v\n%s", a.code, doc, a.err)
	}
	if doc, _ := drayJSON(t, "sync", "-c", config); doc.Totals.Keep != 1 {
		t.Errorf("again: %+v", doc)
	}
	if a := dray(t, "check", "--online", "-c", config); a.code != exitDone || strings.Contains(a.out, "does not say") {
		t.Errorf("check: exit code %d\n%s%s", a.code, a.out, a.err)
	}
}
