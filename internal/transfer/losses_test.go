package transfer_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// losing is a repository of which somebody deletes between runs.
type losing struct {
	*stand
	images []emulator.Image
	tags   map[string]emulator.Image
}

// run imports what the target does not hold, as mirror has it done, and returns the tags that were.
func (l *losing) run(t *testing.T) (imported []string) {
	t.Helper()
	since := time.Now()
	observed, held := map[string]image.Digest{}, map[image.Digest]string{}
	for tag := range l.tags {
		observed[tag] = image.Digest(l.target.Digest("team/app", tag))
		if observed[tag] != "" {
			held[observed[tag]] = tag
		}
	}
	for tag, i := range l.tags {
		if observed[tag] == image.Digest(i.Digest) {
			continue
		}
		o := order("team/app", tag, i.Digest)
		o.Since, o.Observed, o.Fresh, o.Was, o.HeldAs = since, observed, len(held) == 0, observed[tag], held[o.Digest]
		for d := range held {
			o.Sibling = max(o.Sibling, d)
		}
		l.bring(t, o)
		imported = append(imported, tag)
	}
	return imported
}

// delete takes a tag away, with as much below it as chance has it: manifests, and where others deleted what they shared, blobs. Where the
// registry is strict, images may go while the tag of their index stays.
func (l *losing) delete(random *rand.Rand, tag string, strict bool) {
	i := l.tags[tag]
	gone := !strict || random.IntN(4) > 0
	if gone {
		l.target.DeleteTag("team/app", tag)
		if random.IntN(3) == 0 {
			return
		}
		l.target.DeleteManifest("team/app", i.Digest)
	}
	for _, m := range i.Manifests {
		if random.IntN(2) == 0 {
			l.target.DeleteManifest("team/app", m.Digest)
		}
	}
	for _, b := range i.Blobs {
		if gone && random.IntN(2) == 0 {
			l.target.DeleteBlob("team/app", b.Digest)
		}
	}
}

// TestWhatOthersDelete: whatever is deleted at the target between two runs, with tags that move at the source meanwhile, and new ones: what
// is put under a tag is whole, also where the registry does not look at what a manifest refers to.
func TestWhatOthersDelete(t *testing.T) {
	for seed := range fulltest.Rounds(12, 12) {
		t.Run(fmt.Sprintf("world %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 16)) //nolint:gosec // a world that can be made again
			l := &losing{stand: standOutside(emulator.Options{LaxManifests: seed%2 == 0}), tags: map[string]emulator.Image{}}
			dir := t.TempDir()
			closed := l.process(t, dir)
			base := []emulator.Layer{emulator.NewLayer(16, 16)}
			for n := range 5 {
				l.images = append(l.images, emulator.MultiArch(int64(n), emulator.ImageOptions{Base: base[:n%2], LayerSize: 16, Attestations: n == 1}))
			}
			for range 4 {
				for range 1 + random.IntN(3) { // at the source
					tag, i := fmt.Sprintf("v%d", random.IntN(4)), l.images[random.IntN(len(l.images))]
					l.push(t, i, "team/app", tag)
					l.tags[tag] = i
				}
				for _, tag := range l.run(t) {
					whole(t, l.target, "team/app", tag, l.tags[tag].Digest)
				}
				for tag := range l.tags { // at the target
					if random.IntN(3) == 0 {
						l.delete(random, tag, seed%2 == 1)
					}
				}
				if random.IntN(2) == 0 {
					closed()
					closed = l.process(t, dir)
				}
			}
		})
		if t.Failed() {
			break
		}
	}
}

// process is remembering for a process that ends before its test does.
func (s *stand) process(t *testing.T, dir string) (end func()) {
	t.Helper()
	memory := s.remembering(t, dir)
	return func() { _ = memory.Close() }
}

// TestDeletedTagCosts: where nothing was deleted nothing is asked, and a tag that was deleted alone costs no byte.
func TestDeletedTagCosts(t *testing.T) {
	s, dir := standOutside(emulator.Options{LaxManifests: true}), t.TempDir()
	s.remembering(t, dir)
	l := &losing{stand: s, tags: map[string]emulator.Image{}}
	for n := range 11 {
		i := emulator.MultiArch(int64(n), emulator.ImageOptions{LayerSize: 16})
		l.tags[fmt.Sprintf("v%d", n)] = i
		s.push(t, i, "team/app", fmt.Sprintf("v%d", n))
	}
	l.run(t)
	s.remembering(t, dir)
	s.target.Reset()
	next := emulator.MultiArch(20, emulator.ImageOptions{LayerSize: 16})
	l.tags["next"] = next
	s.push(t, next, "team/app", "next")
	if got := l.run(t); !slices.Equal(got, []string{"next"}) || count(s.target, http.MethodHead, "") > 2 { // the first manifest there is looked at, and a blob of it
		t.Errorf("%v imported with %d HEADs", got, count(s.target, http.MethodHead, ""))
	}
	s.target.DeleteTag("team/app", "v3")
	s.target.Reset()
	l.run(t)
	heads := count(s.target, http.MethodHead, "")
	if heads > len(l.tags)+1 || count(s.target, http.MethodPut, emulator.KindUpload) > 0 {
		t.Errorf("%d HEADs and %d uploads for a tag that was deleted alone", heads, count(s.target, http.MethodPut, emulator.KindUpload))
	}
	t.Logf("%d HEADs for one deleted of %d tags", heads, len(l.tags))
}

// TestLostLayer: what was deleted with one tag is missed by another image, also by one of which the index is still there.
func TestLostLayer(t *testing.T) {
	for _, test := range []struct {
		name         string
		before, next map[string]int
	}{
		{"a new image", map[string]int{"v0": 0}, map[string]int{"v0": 2, "v1": 1}},
		{"one that is held", map[string]int{"v0": 0, "v1": 1}, map[string]int{"v0": 2, "v2": 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := []emulator.Layer{emulator.NewLayer(16, 16)}
			l := &losing{stand: standOutside(emulator.Options{LaxManifests: true}), tags: map[string]emulator.Image{}}
			l.remembering(t, t.TempDir())
			for n := range 3 {
				l.images = append(l.images, emulator.MultiArch(int64(n), emulator.ImageOptions{Base: base[n/2:], LayerSize: 16}))
			}
			for _, tags := range []map[string]int{test.before, test.next} {
				for tag, n := range tags {
					l.tags[tag] = l.images[n]
					l.push(t, l.images[n], "team/app", tag)
				}
				for _, tag := range l.run(t) {
					whole(t, l.target, "team/app", tag, l.tags[tag].Digest)
				}
				l.target.DeleteTag("team/app", "v0")
				l.target.DeleteManifest("team/app", l.images[0].Digest)
				l.target.DeleteBlob("team/app", base[0].Digest)
			}
		})
	}
}

// TestDeletedByDigest: a tag that is held does not show that manifests and blobs below it were deleted by their digests: that is looked for when
// referrers are due, by one HEAD for each manifest of the index.
func TestDeletedByDigest(t *testing.T) {
	s := standOutside(emulator.Options{LaxManifests: true})
	s.remembering(t, t.TempDir())
	i := emulator.MultiArch(1, emulator.ImageOptions{LayerSize: 16})
	s.push(t, i, "team/app", "v1")
	o := withAll(order("team/app", "v1", i.Digest))
	s.bring(t, o)
	m := &meter{}
	refresh := func(least time.Duration) (heads, uploads int) {
		t.Helper()
		s.target.Reset()
		next := o
		next.Fresh, next.HeldAs, next.Since, next.ReferrersInterval = false, "v1", time.Now(), least
		if _, err := s.engine.Refresh(t.Context(), next, m); err != nil {
			t.Fatal(err)
		}
		return count(s.target, http.MethodHead, ""), count(s.target, http.MethodPut, emulator.KindUpload)
	}
	children := len(i.Manifests) - 1
	if heads, uploads := refresh(0); heads != children || uploads != 0 {
		t.Errorf("where nothing was deleted: %d HEADs, %d uploads, want %d and none", heads, uploads, children)
	}
	s.target.DeleteManifest("team/app", i.Manifests[0].Digest)
	s.target.DeleteBlob("team/app", i.Blobs[0].Digest)
	if heads, _ := refresh(time.Hour); heads != 0 {
		t.Errorf("%d HEADs before anything is due", heads)
	}
	o.ReferrersOnly = true // Azure has imported it
	if heads, uploads := refresh(0); heads != 0 || uploads != 0 {
		t.Errorf("%d HEADs and %d uploads for what another engine imports", heads, uploads)
	}
	if n := m.expected.Load(); n != 0 {
		t.Errorf("%d bytes are expected where nothing is brought", n)
	}
	o.ReferrersOnly = false
	if _, uploads := refresh(0); uploads != 1 {
		t.Errorf("%d uploads for a blob that was deleted", uploads)
	}
	if m.check(t); m.moved.Load() == 0 {
		t.Error("no byte is seen to move as a platform is brought again")
	}
	whole(t, s.target, "team/app", "v1", i.Digest)
}
