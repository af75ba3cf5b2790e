package realworld

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
)

// TestRegistries has each registry be the target of 20 images with their signatures and SBOMs, and then the source of them.
func TestRegistries(t *testing.T) {
	for _, e := range slices.Concat(entries(), fronts()) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			s := e.start(t)
			w := &trial{entry: e, site: s, user: newUser(t, s.env...), images: images}
			if e.few {
				w.images = few
			}
			w.origin = newOriginOf(t, w.images, 1)
			w.origin.putLarge(t)
			if s.writable != "" {
				w.fillElsewhere(t)
				w.step(t, "refused", w.refused)
			} else {
				w.step(t, "target", w.target)
				w.step(t, "skopeo", func(t *testing.T) { s.copied(t, app, "1.0.0", w.origin.tags["1.0.0"]) })
				w.step(t, "containerd", w.containerd)
				w.step(t, "again", w.again)
				w.step(t, "moved", w.moved)
				w.step(t, "platforms", w.platforms)
				w.step(t, "mounts", w.mounts)
				w.step(t, "killed", w.killed)
				w.step(t, "wrong password", w.wrongPassword)
			}
			w.step(t, "source", w.source)
		})
	}
}

// trial is one registry under test. Its steps build on each other.
type trial struct {
	entry
	site   *site
	user   user
	images int
	origin *origin
}

func (w *trial) step(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, f)
}

// toSite is a config that brings the images to the site.
func (w *trial) toSite(t *testing.T, secret string, more string) string {
	t.Helper()
	return w.user.config(t, w.site.registries(secret), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']%s", w.origin.host, app, w.site.host, app, more))
}

func (w *trial) target(t *testing.T) {
	w.user.sync(t, w.toSite(t, password, "")).wants(t, w.images, 0)
	w.site.holds(t, app, w.origin.tags, 1)
	if w.site.writes(t) < w.images {
		t.Errorf("only %d writes were counted", w.site.writes(t))
	}
}

func (w *trial) containerd(t *testing.T) {
	if w.site.ca != nil {
		t.Skip("ctr 1.6 speaks plain HTTP to the loopback")
	}
	w.site.fetched(t, app, "1.1.0", w.origin.tags["1.1.0"])
}

// again changes nothing, and asks for little.
func (w *trial) again(t *testing.T) {
	before := w.site.writes(t)
	w.origin.Reset()
	w.user.sync(t, w.toSite(t, password, "")).wants(t, 0, w.images)
	if n := w.site.writes(t) - before; n != 0 {
		t.Errorf("the second run wrote %d times", n)
	}
	if n := w.origin.Count(func(r registry.Request) bool { return r.Method == http.MethodGet && r.Kind == registry.KindManifest }); n != 0 {
		t.Errorf("the second run fetched %d manifests", n)
	}
}

// moved follows a tag that moved, and leaves one that the source no longer has.
func (w *trial) moved(t *testing.T) {
	gone := w.origin.tags["1.5.0"]
	w.origin.put(t, "1.3.0", registry.MultiArch(9001, registry.ImageOptions{LayerSize: 5000}), 1)
	w.origin.DeleteTag(app, "1.5.0")
	w.user.sync(t, w.toSite(t, password, "")).wants(t, 1, w.images-2)
	w.site.holds(t, app, map[string]string{"1.3.0": w.origin.tags["1.3.0"], "1.5.0": gone}, 1)
}

// platforms brings one of two, the same one each time.
func (w *trial) platforms(t *testing.T) {
	config := w.user.config(t, w.site.registries(password),
		fmt.Sprintf("source: '%s/%s', target: '%s/team/arm', tags: ['1.1*'], platforms: [linux/arm64]", w.origin.host, app, w.site.host))
	chosen := 0
	for tag := range w.origin.tags {
		if strings.HasPrefix(tag, "1.1") {
			chosen++
		}
	}
	w.user.sync(t, config).wants(t, chosen, 0)
	index, err := remote.Index(w.site.tag(t, "team/arm", "1.1.0"), w.site.options()...)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.String() != "linux/arm64" {
		t.Errorf("%v, %+v", err, manifest)
	}
	if err := readIndex(index); err != nil {
		t.Error(err)
	}
	before := w.site.writes(t)
	w.user.sync(t, config).wants(t, 0, chosen)
	if n := w.site.writes(t) - before; n != 0 {
		t.Errorf("the second run wrote %d times", n)
	}
}

// mounts brings the images to another repository, without a byte of their layers.
func (w *trial) mounts(t *testing.T) {
	if w.site.counter == nil {
		t.Skip("no counter before it")
	}
	w.site.counter.Reset()
	w.user.sync(t, w.user.config(t, w.site.registries(password),
		fmt.Sprintf("source: '%s/%s', target: '%s/other/app', tags: ['1.*']", w.origin.host, app, w.site.host))).wants(t, w.images-1, 0)
	var sent int64
	for _, r := range w.site.counter.Requests() {
		if r.Kind == registry.KindUpload {
			sent += r.BytesIn
		}
	}
	if sent != 0 {
		t.Errorf("%d bytes of blobs were sent that the registry has", sent)
	}
	w.site.holds(t, "other/app", map[string]string{"1.7.0": w.origin.tags["1.7.0"]}, 1)
}

// killed ends dray in the middle of a large layer; the next run brings it.
func (w *trial) killed(t *testing.T) {
	config := w.user.config(t, w.site.registries(password), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1']", w.origin.host, bigRepo, w.site.host, bigRepo))
	w.origin.Reset()
	c := w.user.command(t.Context(), "sync", "-c", config)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Wait() }()
	w.untilSent(t, int64(len(largeLayer())/2), ended)
	_ = c.Process.Kill()
	<-ended
	if d := w.site.digest(t, bigRepo, "1"); d != "" && d != w.origin.large {
		t.Errorf("after the kill the tag has %s", d)
	}
	a := w.user.sync(t, config)
	if a.code != 0 || a.doc.Totals.Failed != 0 {
		t.Fatalf("exit code %d\n%s", a.code, tail(a.text))
	}
	image, err := remote.Image(w.site.tag(t, bigRepo, "1"), w.site.options()...)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := image.Digest(); err != nil || d.String() != w.origin.large {
		t.Errorf("%s, %v; want %s", d, err, w.origin.large)
	}
	if err := readLayers(image); err != nil {
		t.Error(err)
	}
}

// untilSent waits until the origin has handed out so many bytes, or dray has ended.
func (w *trial) untilSent(t *testing.T, bytes int64, ended <-chan struct{}) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		var sent int64
		for _, r := range w.origin.Requests() {
			sent += r.BytesOut
		}
		if sent >= bytes {
			return
		}
		select {
		case <-ended:
			return
		case <-tick.C:
		case <-t.Context().Done():
			return
		}
	}
}

// wrongPassword fails soon, and says why.
func (w *trial) wrongPassword(t *testing.T) {
	if !w.site.signedIn {
		t.Skip("it knows no passwords")
	}
	stranger := newUser(t, w.site.env...)
	a := stranger.sync(t, stranger.config(t, w.site.registries("wrong"),
		fmt.Sprintf("source: '%s/%s', target: '%s/stranger/app', tags: ['1.*']", w.origin.host, app, w.site.host)))
	if a.code != 3 || a.took > time.Minute || !strings.Contains(a.text, "401") {
		t.Errorf("exit code %d after %s\n%s", a.code, a.took, tail(a.text))
	}
	if strings.Contains(a.text, "wrong\"") || strings.Contains(a.text, password) {
		t.Errorf("a password was told:\n%s", tail(a.text))
	}
}

// fillElsewhere brings the images to where the site has them from.
func (w *trial) fillElsewhere(t *testing.T) {
	other := newUser(t)
	other.sync(t, other.config(t, "",
		fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", w.origin.host, app, w.site.writable, app),
		fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1']", w.origin.host, bigRepo, w.site.writable, bigRepo))).wants(t, w.images+1, 0)
	w.site.filled(t)
}

// refused is what a registry does that takes nothing: dray says so, once for each image.
func (w *trial) refused(t *testing.T) {
	w.site.counter.Reset()
	config := w.user.config(t, w.site.registries(password), fmt.Sprintf("source: '%s/%s', target: '%s/refused/app', tags: ['1.*']", w.origin.host, app, w.site.host))
	a := w.user.sync(t, config)
	if a.code != 3 || a.doc.Totals.Failed != w.images || a.took > time.Minute {
		t.Errorf("exit code %d after %s, %+v", a.code, a.took, a.doc.Totals)
	}
	for _, part := range w.site.refuses {
		if !strings.Contains(a.text, part) {
			t.Errorf("no word of %q:\n%s", part, tail(a.text))
		}
	}
	if n := w.site.writes(t); n > 3*w.images {
		t.Errorf("%d attempts for %d images", n, w.images)
	}
}

// source brings the images from the site to a registry of ours, twice; then a tag moves.
func (w *trial) source(t *testing.T) {
	target := registry.New(registry.Options{Referrers: true})
	host := registrytest.Start(t, target).Host
	back := newUser(t, w.site.env...)
	config := back.config(t, w.site.registries(password),
		fmt.Sprintf("source: '%s/%s', target: '%s/back/app', tags: ['1.*']", w.site.host, app, host),
		fmt.Sprintf("source: '%s/%s', target: '%s/back/big', tags: ['1']", w.site.host, bigRepo, host))
	back.sync(t, config).wants(t, w.images+1, 0)
	w.arrived(t, target)
	target.Reset()
	back.sync(t, config).wants(t, 0, w.images+1)
	if n := target.Count(func(r registry.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }); n != 0 {
		t.Errorf("the second run wrote %d times", n)
	}
	if w.site.writable != "" {
		return
	}
	other, err := remote.Get(w.site.tag(t, app, "1.0.0"), w.site.options()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Tag(w.site.tag(t, app, "1.2.0"), other, w.site.options()...); err != nil {
		t.Fatal(err)
	}
	back.sync(t, config).wants(t, 1, w.images)
	if got := target.Digest("back/app", "1.2.0"); got != other.Digest.String() {
		t.Errorf("1.2.0 is %s, want %s", got, other.Digest)
	}
}

// arrived checks what a registry of ours was given.
func (w *trial) arrived(t *testing.T, target *registry.Registry) {
	t.Helper()
	if got := target.Digest("back/big", "1"); got != w.origin.large {
		t.Errorf("the large image is %q, want %s", got, w.origin.large)
	}
	for tag, digest := range w.origin.tags {
		if got := target.Digest("back/app", tag); got != digest {
			t.Errorf("%s is %q, want %s", tag, got, digest)
			continue
		}
		for _, reference := range []string{tag, signatureTag(digest)} {
			if err := target.Whole("back/app", reference); err != nil {
				t.Errorf("%s of %s: %v", reference, tag, err)
			}
		}
	}
}

// TestSparseIndex has a registry that takes an index of which a platform is missing: the platforms that are there can be chosen, and without
// a choice the error names what is missing, at the source.
func TestSparseIndex(t *testing.T) {
	t.Parallel()
	s := counted(t, settings{more: "validation: {manifests: {indexes: {platforms: none}}}\n"}.start(t, "registry", folder(t)))
	whole := registry.MultiArch(5, registry.ImageOptions{})
	sparse := registry.Image{Digest: whole.Digest, Manifests: []registry.Manifest{whole.Manifests[0], whole.Root()}, Blobs: whole.Blobs}
	if err := sparse.PushTo(t.Context(), nil, "http://"+s.direct, app, "1"); err != nil {
		t.Fatal(err)
	}
	target := registry.New(registry.Options{})
	host, u := registrytest.Start(t, target).Host, newUser(t)
	bring := func(to, more string) answer {
		return u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1']%s", s.host, app, host, to, more)))
	}
	bring("some", ", platforms: [linux/amd64]").wants(t, 1, 0)
	if err := target.Whole("some", "1"); err != nil {
		t.Error(err)
	}
	if a := bring("all", ""); a.code != 3 || !strings.Contains(a.text, "source "+s.host+"/"+app+"@"+whole.Manifests[1].Digest) || target.Digest("all", "1") != "" {
		t.Errorf("exit code %d\n%s", a.code, tail(a.text))
	}
}
