package bundle

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

func receipt(t *testing.T, into string) Receipt {
	t.Helper()
	r, err := MakeReceipt(t.Context(), into, "plant-7")
	must(t, err)
	return r
}

func acknowledge(t *testing.T, from, text string) Acknowledged {
	t.Helper()
	a, err := Acknowledge(from, "plant-7", text, false)
	must(t, err)
	return a
}

func inJSON(t *testing.T, r Receipt) string {
	t.Helper()
	raw, err := json.Marshal(r)
	must(t, err)
	return string(raw)
}

// untag takes a tag out of a layout, as a prune does.
func untag(t *testing.T, dir, tag string) {
	t.Helper()
	path := filepath.Join(dir, "index.json")
	raw, err := os.ReadFile(path)
	must(t, err)
	var doc map[string]json.RawMessage
	must(t, json.Unmarshal(raw, &doc))
	var entries []json.RawMessage
	must(t, json.Unmarshal(doc["manifests"], &entries))
	entries = slices.DeleteFunc(entries, func(e json.RawMessage) bool { return strings.Contains(string(e), `"`+tag+`"`) })
	doc["manifests"], err = json.Marshal(entries)
	must(t, err)
	raw, err = json.Marshal(doc)
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o600))
}

// blobsIn are the blobs in the volumes of a bundle, sorted.
func blobsIn(b *Bundle) (all []image.Digest) {
	in := b.inVolumes()
	for _, c := range b.Blobs {
		if in[c.Digest] {
			all = append(all, c.Digest)
		}
	}
	slices.Sort(all)
	return all
}

func digestsOf(blobs []registry.Blob) (all []image.Digest) {
	for _, b := range blobs {
		all = append(all, image.Digest(b.Digest))
	}
	slices.Sort(all)
	return all
}

// TestDelta: once a site has acknowledged a bundle, by whatever kind of receipt, the next one has the new blobs only, and all manifests.
func TestDelta(t *testing.T) {
	fulltest.Long(t)
	for name, told := range map[string]func(r Receipt) string{
		"code":            func(r Receipt) string { return r.Code() },
		"spelt otherwise": func(r Receipt) string { return strings.ToLower(strings.ReplaceAll(r.Code(), "-", " ")) + "\n" },
		"of a line":       func(r Receipt) string { return "\ufeffplant-7-0001: " + r.Code() + "\r\n" },
		"JSON":            func(r Receipt) string { return inJSON(t, r) },
	} {
		from, one, two, into := stage(t, 6, 20_000), t.TempDir(), t.TempDir(), t.TempDir()
		create(t, from, one, 0)
		load(t, into, one)
		old := tagsOf(t, from)
		news := registry.MultiArch(77, registry.ImageOptions{LayerSize: 20_000})
		put(t, filepath.Join(from, "app"), "v2", news)
		untag(t, filepath.Join(from, "app"), "v4")
		if again := create(t, from, t.TempDir(), 0); again.Base != nil || again.Seq != 2 {
			t.Errorf("%s: nothing was acknowledged, and %s needs %v", name, again.Name(), again.Base)
		}
		r := receipt(t, into)
		if a := acknowledge(t, from, told(r)); a.Seq != 1 || a.Known || a.Missing != 0 || a.Held != len(r.Held) {
			t.Errorf("%s: %+v", name, a)
		}
		if a := acknowledge(t, from, told(r)); !a.Known {
			t.Errorf("%s: a receipt was new twice", name)
		}
		done := create(t, from, two, MinVolume)
		if done.Base == nil || done.Base.Seq != 1 || len(done.Volumes) < 2 || done.Seq != 3 {
			t.Fatalf("%s: %s with %d volumes needs %v", name, done.Name(), len(done.Volumes), done.Base)
		}
		if diff := cmp.Diff(digestsOf(news.Blobs), blobsIn(done.Bundle)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		c := done.Changes()
		if len(c.Added) != 0 || len(c.Moved) != 1 || c.Was(c.Moved[0]) != old["app:v2"] || len(c.Removed) != 1 || c.Removed[0].String() != "app:v4" {
			t.Errorf("%s: %+v", name, c)
		}
		if v, err := Verify(t.Context(), []string{two}, false); err != nil || !v.Whole() {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		l := load(t, into, two)
		if !l.Whole() || len(l.Problems) > 0 || len(l.Removed) != 1 {
			t.Errorf("%s: %v", name, l)
		}
		want := tagsOf(t, from)
		want["app:v4"] = old["app:v4"] // what is removed at the near side stays
		if diff := cmp.Diff(want, tagsOf(t, into)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestReceipts: only the receipt of a bundle that was made here is accepted, and none goes back.
func TestReceipts(t *testing.T) {
	from, one, two, into := stage(t, 2, 1000), t.TempDir(), t.TempDir(), t.TempDir()
	if _, err := MakeReceipt(t.Context(), into, "plant-7"); !errors.Is(err, ErrNothingLoaded) {
		t.Errorf("nothing was loaded: %v", err)
	}
	create(t, from, one, 0)
	load(t, into, one)
	if _, err := MakeReceipt(t.Context(), into, "plant-8"); !errors.Is(err, ErrNothingLoaded) {
		t.Errorf("nothing was loaded for that site: %v", err)
	}
	first := receipt(t, into)
	document, err := os.ReadFile(filepath.Join(from, stateDir, sentDir, "plant-7-0001"+documentEnding))
	must(t, err)
	put(t, filepath.Join(from, "app"), "v0", registry.MultiArch(77, registry.ImageOptions{}))
	create(t, from, two, 0)
	load(t, into, two)
	second := receipt(t, into)
	other := second
	other.State = first.State
	foreign := second
	foreign.ID = "plant-8"
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if _, err := Acknowledge(elsewhere, "plant-7", second.Code(), false); !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), "none was made from "+elsewhere) {
		t.Errorf("at another place: %v", err)
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("a folder was made")
	}
	for name, text := range map[string]string{
		"nothing": "", "some letters": "AAAAA-AAAAA-AAAAA-AAAAA", "a typing error": "A" + second.Code()[1:], "half of it": second.Code()[:11],
		"another state": inJSON(t, other), "another site": inJSON(t, foreign), "not JSON": "{", "a number that was not made": strings.Replace(inJSON(t, second), `"seq":2`, `"seq":9`, 1),
	} {
		if a, err := Acknowledge(from, "plant-7", text, false); err == nil {
			t.Errorf("%s was accepted: %+v", name, a)
		}
	}
	if _, err := Acknowledge(from, "plant-8", second.Code(), false); !errors.Is(err, ErrReceipt) {
		t.Errorf("the receipt of another site: %v", err)
	}
	if len(second.Code()) != codeLength+3 {
		t.Errorf("the code is %q", second.Code())
	}
	if _, err := Acknowledge(from, "plant-7", "stick/reciept.json", false); err == nil || !strings.Contains(err.Error(), `"stick/reciept.json" is neither 20 characters nor a file`) {
		t.Errorf("a file that is not there: %v", err)
	}
	must(t, os.Truncate(filepath.Join(from, stateDir, sentDir, "plant-7-0001"+documentEnding), 100))
	acknowledge(t, from, second.Code())
	must(t, os.WriteFile(filepath.Join(from, stateDir, sentDir, "plant-7-0001"+documentEnding), document, 0o600))
	for _, old := range []string{first.Code(), inJSON(t, first)} {
		if _, err := Acknowledge(from, "plant-7", old, false); !errors.Is(err, ErrOlderReceipt) {
			t.Errorf("an older receipt: %v", err)
		}
	}
	if a, err := Acknowledge(from, "plant-7", first.Code(), true); err != nil || a.Seq != 1 {
		t.Errorf("an older receipt, as asked for: %+v, %v", a, err)
	}
	if _, err := Create(t.Context(), CreateOptions{From: from, To: two, ID: "plant-7", Since: 7}); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("since a bundle that was not made: %v", err)
	}
	done, err := Create(t.Context(), CreateOptions{From: from, To: two, ID: "plant-7", Since: 2})
	must(t, err)
	if done.Base.Seq != 2 || len(blobsIn(done.Bundle)) != 0 {
		t.Errorf("since the last bundle: %v, %d blobs", done.Base, len(blobsIn(done.Bundle)))
	}
	if done, err = Create(t.Context(), CreateOptions{From: from, To: two, ID: "plant-7", Full: true}); err != nil || done.Base != nil {
		t.Errorf("a full one: %v, %v", done.Base, err)
	}
}

// TestGone: what was loaded and is gone since, the receipt says, and the next bundle brings it.
func TestGone(t *testing.T) {
	from, one, two, into := stage(t, 2, 1000), t.TempDir(), t.TempDir(), t.TempDir()
	create(t, from, one, 0)
	load(t, into, one)
	gone := registry.MultiArch(0, registry.ImageOptions{LayerSize: 1000}).Blobs[0]
	must(t, os.WriteFile(layout.BlobPath(image.Repository{Path: filepath.Join(into, "app")}, image.Digest(gone.Digest)), []byte("damaged"), 0o600))
	r := receipt(t, into)
	if len(r.Missing) != 1 || r.Missing[0] != image.Digest(gone.Digest) || r.Code() != "" {
		t.Errorf("missing: %q, code %q", r.Missing, r.Code())
	}
	if a := acknowledge(t, from, inJSON(t, r)); a.Missing != 1 {
		t.Errorf("%+v", a)
	}
	if done := create(t, from, two, 0); !slices.Equal(blobsIn(done.Bundle), r.Missing) {
		t.Errorf("the next bundle has %q", blobsIn(done.Bundle))
	}
}

// TestWithoutBase: of a bundle whose base the far side lacks, nothing moves that needs it. What a load asks for completes it.
func TestWithoutBase(t *testing.T) {
	from, one, two, three, into, other := stage(t, 4, 1000), t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	create(t, from, one, 0)
	load(t, other, one)
	acknowledge(t, from, receipt(t, other).Code())
	put(t, filepath.Join(from, "app"), "v0", registry.MultiArch(77, registry.ImageOptions{}))
	create(t, from, two, 0)
	l := load(t, into, two)
	if l.Whole() || l.Request == "" || len(l.Missing) == 0 {
		t.Fatalf("%v", l)
	}
	if got := tagsOf(t, into); len(got) != 1 || got["app:v0"] != tagsOf(t, from)["app:v0"] {
		t.Errorf("%v was loaded", got)
	}
	asked, err := ReadRequest(l.Request)
	must(t, err)
	done, err := Create(t.Context(), CreateOptions{From: from, To: three, ID: "plant-7", For: asked})
	must(t, err)
	missing := slices.Sorted(slices.Values(l.Missing))
	if diff := cmp.Diff(missing, blobsIn(done.Bundle)); diff != "" {
		t.Error(diff)
	}
	if l := load(t, into, three); !l.Whole() {
		t.Errorf("%v", l)
	}
	if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
		t.Error(diff)
	}
	if left, _ := filepath.Glob(filepath.Join(into, stateDir, "*request*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := Create(t.Context(), CreateOptions{From: from, To: three, ID: "plant-8", For: asked}); err == nil || !strings.Contains(err.Error(), `of the site "plant-7"`) {
		t.Errorf("a bundle for what another site asks for: %v", err)
	}
}

// TestCompare: two bundles are compared by what they lead to, not by what is in their volumes.
func TestCompare(t *testing.T) {
	ref := func(name, text string) Ref {
		return Ref{Repository: name, Tag: "v1", Digest: image.DigestOf([]byte(text), "")}
	}
	older := &Bundle{Refs: []Ref{ref("a", "1"), ref("b", "2"), ref("c", "3")}, Blobs: []Content{{image.DigestOf([]byte("1"), ""), 10}}}
	newer := &Bundle{Refs: []Ref{ref("a", "1"), ref("b", "5"), ref("d", "3")}, Blobs: []Content{{image.DigestOf([]byte("1"), ""), 10}, {image.DigestOf([]byte("2"), ""), 7}}}
	c := Compare(older, newer)
	if diff := cmp.Diff([][]Ref{{ref("d", "3")}, {ref("b", "5")}, {ref("c", "3")}}, [][]Ref{c.Added, c.Moved, c.Removed}); diff != "" {
		t.Error(diff)
	}
	if c.Bytes != 7 || c.Was(ref("b", "5")) != ref("b", "2").Digest {
		t.Errorf("%d bytes, was %s", c.Bytes, c.Was(ref("b", "5")))
	}
}

// TestSitesInTurn: what is loaded of a site stays while the bundle of another one is completed in the same folder.
func TestSitesInTurn(t *testing.T) {
	from, to, into := stage(t, 4, 50_000), t.TempDir(), t.TempDir()
	done := create(t, from, to, 200_000)
	last := done.Volumes[len(done.Volumes)-1].Name
	aside := filepath.Join(t.TempDir(), last)
	must(t, os.Rename(filepath.Join(to, last), aside))
	if l := load(t, into, to); l.Whole() {
		t.Fatal("nothing is missing")
	}
	other, otherTo := t.TempDir(), t.TempDir()
	put(t, filepath.Join(other, "app"), "v9", registry.SingleArch(9, "linux/amd64", registry.ImageOptions{LayerSize: 1000}))
	_, err := Create(t.Context(), CreateOptions{From: other, To: otherTo, ID: "plant-8", Tool: "test", Now: time.Unix(1e9, 0)})
	must(t, err)
	if l := load(t, into, otherTo); !l.Whole() {
		t.Fatalf("%+v", l.Problems)
	}
	alone := t.TempDir()
	must(t, os.Rename(aside, filepath.Join(alone, last)))
	if l := load(t, into, alone); !l.Whole() || len(l.Problems) > 0 {
		t.Errorf("the last volume does not complete it: %+v", l.Problems)
	}
	if left, err := os.ReadDir(filepath.Join(into, stateDir, poolsDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", left)
	}
}

// TestPrune: tags that the near side has removed stay, unless they are to be removed. One that somebody else has moved meanwhile stays in any case, and so do
// all while something is missing.
func TestPrune(t *testing.T) {
	from, to, into := stage(t, 6, 50_000), t.TempDir(), t.TempDir()
	create(t, from, to, 0)
	load(t, into, to)
	acknowledge(t, from, receipt(t, into).Code())
	app := filepath.Join(from, "app")
	untag(t, app, "v2")
	untag(t, app, "v4")
	put(t, app, "v9", registry.MultiArch(9, registry.ImageOptions{LayerSize: 50_000}))
	put(t, filepath.Join(into, "app"), "v4", registry.SingleArch(44, "linux/amd64", registry.ImageOptions{LayerSize: 1000}))
	next := t.TempDir()
	done := create(t, from, next, MinVolume)
	pruned := func() []Ref {
		t.Helper()
		l, err := Load(t.Context(), LoadOptions{Paths: []string{next}, Into: into, Prune: true})
		must(t, err)
		return l.Pruned
	}
	last := filepath.Join(next, done.Volumes[len(done.Volumes)-1].Name)
	must(t, os.Rename(last, last+".aside"))
	if got := pruned(); len(got) > 0 || tagsOf(t, into)["app:v2"] == "" {
		t.Errorf("incomplete, and %v are removed", got)
	}
	must(t, os.Rename(last+".aside", last))
	if l := load(t, into, next); !l.Whole() || len(l.Pruned) > 0 || tagsOf(t, into)["app:v2"] == "" {
		t.Errorf("not asked for, and %v are removed", l.Pruned)
	}
	if got := pruned(); len(got) != 1 || got[0].String() != "app:v2" {
		t.Errorf("%v are removed", got)
	}
	tags := tagsOf(t, into)
	if tags["app:v2"] != "" || tags["app:v4"] == "" || tags["app:v9"] == "" || len(tags) != 6 {
		t.Errorf("%v", tags)
	}
	if got := pruned(); len(got) > 0 {
		t.Errorf("again: %v are removed", got)
	}
}
