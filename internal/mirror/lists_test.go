package mirror_test

import (
	"net/http"
	"strings"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// tagged is the tag of a list of referrers, or of an image that is tagged by its own digest.
func tagged(digest string) string { return image.ReferrersTag(image.Digest(digest)) }

// withoutAPI gives the stand registries that keep lists of referrers under tags.
func (s *stand) withoutAPI(t *testing.T) {
	t.Helper()
	s.a, s.b = emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
	s.renew(t)
}

func sign(t *testing.T, r *emulator.Registry, path, subject string) {
	t.Helper()
	if _, err := r.PutReferrer(path, subject, "application/signature", []byte("signed "+subject)); err != nil {
		t.Fatal(err)
	}
}

// Images that are tagged by their own digest are chosen by patterns; what they are is found out without a request.
func TestImagesTaggedByTheirDigest(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		s.withoutAPI(t)
		single, index := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{}), emulator.MultiArch(2, emulator.ImageOptions{})
		for _, i := range []emulator.Image{single, index} {
			for _, tag := range []string{"v" + i.Digest[7:9], tagged(i.Digest)} {
				if err := i.Push(s.a, "x", tag); err != nil {
					t.Fatal(err)
				}
			}
		}
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		j.Referrers = plan.Referrers{All: true}
		for _, line := range s.sync(t, j) {
			if !strings.HasSuffix(line, " imported") {
				t.Error(line)
			}
		}
		for _, i := range []emulator.Image{single, index} {
			whole(t, s.b, "x", tagged(i.Digest), i.Digest)
		}
		s.renew(t)
		s.a.Reset()
		s.sync(t, j)
		if got := count(s.a, http.MethodGet, emulator.KindManifest); got != 0 {
			t.Errorf("again, %d manifests are fetched", got)
		}
	})
}

// A list of referrers is no image: a pattern leaves it where it is, its registry keeps it, and it is looked into once. By its name it is
// chosen.
func TestListsOfReferrersAreNoImages(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		s.withoutAPI(t)
		i := push(t, s.a, 1, "x", "v1")
		sign(t, s.a, "x", i.Digest)
		other := push(t, s.a, 2, "x", "v2") // an index under a tag of that form, and no list
		odd := "sha256-" + strings.Repeat("0a", 32)
		if err := s.a.PutTag("x", odd, other.Digest); err != nil {
			t.Fatal(err)
		}
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		want(t, s.sync(t, j), hostB+"/x:"+odd+" absent imported", hostB+"/x:v1 absent imported", hostB+"/x:v2 absent imported")
		if got := s.b.Count(func(q emulator.Request) bool { return q.Reference == tagged(i.Digest) }); got != 0 {
			t.Errorf("the target was asked %d times for a list", got)
		}
		s.a.Reset()
		want(t, s.sync(t, j), hostB+"/x:"+odd+" unchanged kept", hostB+"/x:v1 unchanged kept", hostB+"/x:v2 unchanged kept")
		if got := count(s.a, http.MethodGet, emulator.KindManifest); got != 0 {
			t.Errorf("again, %d manifests are fetched", got)
		}
		want(t, s.sync(t, job(t, "x", "x", []string{tagged(i.Digest)}, hostA, hostB)), hostB+"/x:"+tagged(i.Digest)+" absent imported")

		s.renew(t)
		s.a.Inject(emulator.Fault{Status: 500, Match: func(q *http.Request) bool {
			return q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/sha256:")
		}})
		want(t, s.sync(t, j)[:1], hostB+"/x:"+odd+" unobserved failed")
	})
}

// A target without the referrers API needs the tag for its list: there the image is not put under it, before or after.
func TestListAtTheTargetIsSpared(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		s.a, s.b = emulator.New(emulator.Options{Referrers: true}), emulator.New(emulator.Options{})
		s.renew(t)
		i := push(t, s.a, 1, "x", "v1")
		sign(t, s.a, "x", i.Digest)
		if err := s.a.PutTag("x", tagged(i.Digest), i.Digest); err != nil {
			t.Fatal(err)
		}
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		j.Referrers = plan.Referrers{All: true}
		for range 2 {
			got := s.sync(t, j)
			if got[0] != hostB+"/x:"+tagged(i.Digest)+" two-writers refused" {
				t.Errorf("%q", got)
			}
			if list := s.b.Digest("x", tagged(i.Digest)); list == "" || list == i.Digest {
				t.Errorf("the list is %q", list)
			}
			whole(t, s.b, "x", "v1", i.Digest)
		}
	})
}
