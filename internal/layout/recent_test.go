package layout

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// TestManyTags: to look at one tag of thousands does not cost what all of them do. What another process writes is seen at once, and what one has read
// is its own.
func TestManyTags(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"schemaVersion":2,"layers":[]}`)
	must(t, s.PutManifest(t.Context(), repo.Tag("one"), m))
	ix, err := readIndex(repo.Path)
	must(t, err)
	for i := range 3000 {
		ix.set(Tagged{fmt.Sprintf("v%d", i), m.Descriptor})
	}
	_, err = ix.write(repo.Path)
	must(t, err)
	path := filepath.Join(repo.Path, indexFile)
	looks := func() {
		t.Helper()
		if d, err := s.Head(repo.Tag("v2999")); err != nil || d.Digest != m.Digest {
			t.Errorf("%v, %v", d, err)
		}
	}
	if got := testing.AllocsPerRun(10, looks); got > 300 {
		t.Errorf("to look at a tag takes %v allocations", got)
	}
	past := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(path, past, past)) // then it is not read
	looks()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		looks()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 10; got > 100_000 {
		t.Errorf("to look at a tag takes %d bytes", got)
	}
	raw, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path+".new", bytes.Replace(raw, []byte(`"v2998"`), []byte(`"w2998"`), 1), 0o600))
	must(t, os.Chtimes(path+".new", past, past))
	must(t, os.Rename(path+".new", path)) // another file of the same size and time
	if _, err := s.Head(repo.Tag("v2998")); !errors.Is(err, image.ErrAbsent) {
		t.Errorf("a tag that is gone: %v", err)
	}
	_, err = s.Head(repo.Tag("v1"))
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o600)) // the same file, whose time is set back: whoever writes loses nothing
	must(t, os.Chtimes(path, past, past))
	must(t, s.PutManifest(t.Context(), repo.Tag("v1"), m))
	if d, err := s.Head(repo.Tag("v2998")); err != nil || d.Digest != m.Digest {
		t.Errorf("a tag that was there before a write: %v, %v", d, err)
	}
	other := manifestOf(`{"schemaVersion":2,"layers":[],"annotations":{}}`)
	must(t, New().PutManifest(t.Context(), repo.Tag("v7"), other))
	if d, err := s.Head(repo.Tag("v7")); err != nil || d.Digest != other.Digest {
		t.Errorf("another writer's tag: %v, %v", d, err)
	}
	mine, err := s.indexes.read(repo.Path)
	must(t, err)
	mine.set(Tagged{"v8", other.Descriptor})
	if d, err := s.Head(repo.Tag("v8")); err != nil || d.Digest != m.Digest {
		t.Errorf("a tag that was not written: %v, %v", d, err)
	}
}

// TestLookup: what is found at once is what a search finds.
func TestLookup(t *testing.T) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1)) //nolint:gosec // any will do
	names := []string{"", "a", "b", "x.io/app:a", "y.io/app:a", "x.io/app:b", "x.io/app", "x.io/app@sha256:" + strings.Repeat("0", 64), "b:a"}
	digests := []image.Digest{image.DigestOf([]byte("1"), ""), image.DigestOf([]byte("2"), ""), "bad"}
	for range 2000 {
		l := &lookup{index: newIndex()}
		for range random.IntN(6) {
			e := entry{Digest: digests[random.IntN(len(digests))], Annotations: map[string]string{refName: names[random.IntN(len(names))]}}
			l.entries = append(l.entries, e)
		}
		var all []image.Reference
		for _, name := range append(names, "c") {
			all = append(all, image.Reference{Tag: name})
		}
		for _, d := range digests {
			all = append(all, image.Reference{Digest: d}, image.Reference{Tag: "a", Digest: d})
		}
		for _, r := range all {
			part := l.of(r)
			want, found := l.find(r)
			got, ok := part.find(r)
			if ok != found || !reflect.DeepEqual(got, want) {
				t.Errorf("%v in %v: %v, %t; want %v, %t", r, l.entries, got, ok, want, found)
			}
			if got, want := fmt.Sprint(part.ambiguous(r.Tag)), fmt.Sprint(l.ambiguous(r.Tag)); r.Digest == "" && got != want {
				t.Errorf("%v in %v: %s, want %s", r, l.entries, got, want)
			}
		}
	}
}

// TestSet: several tags at once are set as one after the other.
func TestSet(t *testing.T) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1)) //nolint:gosec // any will do
	names := []string{"a", "b", "c", "x.io/app:a", ""}
	for range 2000 {
		one, all := newIndex(), newIndex()
		for range random.IntN(6) {
			e := entry{Size: random.Int64N(9), Annotations: map[string]string{refName: names[random.IntN(len(names))]}}
			one.entries, all.entries = append(one.entries, e), append(all.entries, e)
		}
		var tags []Tagged
		for range random.IntN(4) {
			tags = append(tags, Tagged{names[random.IntN(3)], image.Descriptor{Size: random.Int64N(9)}})
		}
		before := fmt.Sprint(one.entries)
		for _, t := range tags {
			one.set(t)
		}
		all.set(tags...)
		named := map[string]int{}
		for _, e := range all.entries {
			named[e.name()]++
		}
		for _, tag := range tags {
			e, ok := all.find(image.Reference{Tag: tag.Tag})
			if last := tags[len(tags)-1]; !ok || named[tag.Tag] != 1 || tag.Tag == last.Tag && e.Size != last.Size {
				t.Errorf("%s and %v: %v", before, tags, all.entries)
			}
		}
		if !reflect.DeepEqual(one.entries, all.entries) && len(one.entries)+len(all.entries) > 0 {
			t.Errorf("%s and %v: %v, one by one %v", before, tags, all.entries, one.entries)
		}
	}
}

// TestRecentIsBounded: what is remembered takes no more bytes than it may.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	for _, step := range []struct {
		dir   string
		bytes int
		want  []string
	}{
		{"a", maxRecent / 2, []string{"a"}}, {"b", maxRecent / 4, []string{"a", "b"}}, {"a", maxRecent * 3 / 4, []string{"a", "b"}},
		{"c", 1, []string{"c"}}, {"d", maxRecent + 1, []string{"c"}}, {"c", maxRecent, []string{"c"}}, {"c", 2, []string{"c"}}, {"e", maxRecent - 2, []string{"c", "e"}},
	} {
		r.remember(step.dir, recentIndex{raw: make([]byte, step.bytes)})
		if diff := cmp.Diff(step.want, slices.Sorted(maps.Keys(r.all))); diff != "" {
			t.Errorf("after %s: %s", step.dir, diff)
		}
	}
}
