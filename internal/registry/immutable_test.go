package registry

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// forgetful answers the first PUT of a manifest that the registry takes with 502.
type forgetful struct {
	next http.Handler
	done atomic.Bool
}

// ServeHTTP answers in the registry's place, once.
func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if requests(http.MethodPut, emulator.KindManifest)(r) && !f.done.Swap(true) {
		f.next.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	f.next.ServeHTTP(w, r)
}

// TestImmutableTag: a tag that a registry lets nobody move is put once, with a way out; and if it holds what was to be put, that was done, such
// as by the request whose answer was lost.
func TestImmutableTag(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := emulator.New(emulator.Options{ImmutableTags: true, LaxManifests: true})
		c := client(t, emulator.Network{home: &forgetful{next: r}}, Options{})
		put := func(seed int64, tag string) error {
			m := emulator.SingleArch(seed, "linux/amd64", emulator.ImageOptions{}).Root()
			return c.PutManifest(t.Context(), at("app").Tag(tag), image.Manifest{
				Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: image.Digest(m.Digest), Size: int64(len(m.Body))}, Raw: m.Body,
			})
		}
		for _, what := range []string{"an answer is lost", "it is put again"} {
			if err := put(1, "v1"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := put(1, "v2"); err != nil {
			t.Errorf("another tag: %v", err)
		}
		refused := func(q emulator.Request) bool { return q.Status == http.StatusBadRequest }
		before := r.Count(refused)
		e := failure(t, put(2, "v1"))
		contains(t, e.Error(), "TAG_INVALID", "immutable there", "moved: refuse")
		if n := r.Count(refused) - before; n != 1 || e.Temporary() {
			t.Errorf("asked %d times, temporary: %v", n, e.Temporary())
		}
		if d, err := c.Held(t.Context(), at("app").Tag("v1")); err != nil || d.Digest != image.Digest(emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{}).Root().Digest) {
			t.Errorf("the tag holds %s, %v", d.Digest, err)
		}
	})
}
