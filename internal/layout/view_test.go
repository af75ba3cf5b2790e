package layout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/image"
)

// TestLook: an index.json is read again when it has changed, and also when it may have: its time tells changes apart that lie seconds apart.
func TestLook(t *testing.T) {
	dir, repo := t.TempDir(), image.Repository{}
	repo.Path = dir
	m := manifestOf(`{"schemaVersion":2,"layers":[]}`)
	must(t, New().PutManifest(t.Context(), repo.Tag("one"), m))
	index := filepath.Join(dir, indexFile)
	raw, err := os.ReadFile(index)
	must(t, err)
	// set gives the tag another name in place, and the file a time.
	set := func(tag string, modified time.Time) {
		t.Helper()
		must(t, os.WriteFile(index, []byte(strings.Replace(string(raw), `"one"`, `"`+tag+`"`, 1)), 0o600))
		must(t, os.Chtimes(index, modified, modified))
	}
	look := func(old *View) *View {
		t.Helper()
		v, err := Look(dir, old)
		must(t, err)
		return v
	}
	now := time.Now()
	moment := now.Add(time.Hour) // it is not over, however long this takes
	set("one", moment)
	first := look(nil)
	set("two", moment)
	second := look(first)
	if first.Find("", "one") != m.Digest || first.Find("", "two") != "" || second.Find("", "two") != m.Digest || second.Find("", "one") != "" {
		t.Error("a change in the same moment goes unseen, or changes the view that was there")
	}
	long := now.Add(-time.Minute)
	set("two", long)
	second = look(second)
	if look(second) != second {
		t.Error("an index.json that has not changed for long was read again")
	}
	set("six", long.Add(time.Second))
	if v := look(second); v.Find("", "six") != m.Digest {
		t.Error("a change goes unseen")
	}
	if _, err := Look(filepath.Join(dir, "none"), second); err == nil {
		t.Error("a layout that is not there has a view")
	}
}
