package mirror_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// addNames adds entries with these names to a layout, for the manifest that it has.
func addNames(t *testing.T, dir string, names ...string) {
	t.Helper()
	path := filepath.Join(dir, "index.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	list := doc["manifests"].([]any)
	for _, name := range names {
		entry := map[string]any{"annotations": map[string]any{"org.opencontainers.image.ref.name": name}}
		for _, key := range []string{"mediaType", "digest", "size"} {
			entry[key] = list[0].(map[string]any)[key]
		}
		list = append(list, entry)
	}
	doc["manifests"] = list
	if raw, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Entries of a layout whose names hold no tag cannot be selected: the log names them once, until they change.
func TestNamesOfALayoutThatAreNoTags(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		dir := filepath.Join(t.TempDir(), "stage")
		layout := image.Reference{Repository: image.Repository{Path: dir}}
		push(t, s.a, 1, "x", "v1")
		out := job(t, "out", "x", []string{"*"}, hostA)
		out.Targets = []image.Reference{layout}
		s.sync(t, out)
		digest := image.DigestOf(nil, "")
		addNames(t, dir, "docker.io/library/alpine@"+string(digest), "registry.example:5000/team/nginx", "a b", "v2")

		in := job(t, "in", "x", []string{"*"}, hostA, hostB)
		in.Source = layout
		const message = "passing over names"
		for range 2 {
			if got := s.sync(t, in); len(got) != 2 {
				t.Errorf("outcomes %q", got)
			}
			if n := strings.Count(s.log.String(), message); n != 1 {
				t.Errorf("said %d times\n%s", n, s.log)
			}
		}
		for _, want := range []string{"level=WARN", "3 names that are not tags", `alpine@` + string(digest), `registry.example:5000/team/nginx`, `a b`, "source=" + layout.String()} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("%s is not in\n%s", want, s.log)
			}
		}
		addNames(t, dir, "..", "c d")
		s.sync(t, in)
		if n := strings.Count(s.log.String(), message); n != 2 || !strings.Contains(s.log.String(), "5 names") {
			t.Errorf("said %d times after a change\n%s", n, s.log)
		}
	})
}

// A list that has nothing but such names says so where nothing is selected.
func TestOnlyNamesThatAreNoTags(t *testing.T) {
	for _, tt := range []struct {
		tags []string
		want string
	}{
		{[]string{"a b"}, `no tags, and 1 name that is not a tag: "a b"`},
		{[]string{"e f", "c d", "a b", "a b", "g\x1bh"}, `no tags, and 4 names that are not tags: "a b", "c d", "e f", …`},
		{nil, "the source has no tags"},
	} {
		t.Run(fmt.Sprint(len(tt.tags)), func(t *testing.T) {
			l := lists{plain: plain{head: func(image.Reference) bool { return true }}, tags: tt.tags}
			m := l.mirror()
			m.Observer = l
			r := m.SyncOne(t.Context(), plainJob(t, "x", 0, "*"), nil)
			if r.Err != nil || len(r.Outcomes) != 1 || r.Outcomes[0].Status != record.NothingChosen || !strings.Contains(r.Outcomes[0].Err.Error(), tt.want) {
				t.Errorf("%v %v", r.Err, r.Outcomes)
			}
		})
	}
	many := make([]string, 1200)
	for i := range many {
		many[i] = fmt.Sprintf("a %d", i)
	}
	l := lists{plain: plain{head: func(image.Reference) bool { return true }}, tags: slices.Concat(many, many)}
	m := l.mirror()
	m.Observer = l
	r := m.SyncOne(t.Context(), plainJob(t, "x", 0, "*"), nil)
	if want := "no tags, and more than 1000 names that are not tags"; len(r.Outcomes) != 1 || !strings.Contains(r.Outcomes[0].Err.Error(), want) {
		t.Errorf("%v %v", r.Err, r.Outcomes)
	}
}
