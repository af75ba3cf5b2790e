package mirror_test

import (
	"crypto/sha512"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// named are the digests that a HEAD may name in the place of a tag's, none of which GET knows.
func named(i emulator.Image) map[string]string {
	sum := sha512.Sum512(i.Root().Body)
	return map[string]string{
		"a manifest that is gone":       emulator.Sum([]byte("gone")),
		"the manifest's sum by SHA-512": "sha512:" + hex.EncodeToString(sum[:]),
		"another sum by SHA-512":        "sha512:" + strings.Repeat("0", 128),
	}
}

// TestHeadNamesWhatIsGone syncs from a registry whose HEAD names a digest that its GET does not know. What GET gives for the tag is imported, once, and
// costs two requests more.
func TestHeadNamesWhatIsGone(t *testing.T) {
	probe := emulator.MultiArch(1, emulator.ImageOptions{})
	for name, digest := range named(probe) {
		for _, platforms := range [][]image.Platform{nil, {{OS: "linux", Architecture: "amd64"}}} {
			t.Run(name+map[bool]string{true: ", by platform"}[platforms != nil], func(t *testing.T) {
				inBubble(t, func(t *testing.T, s *stand) {
					s.a = emulator.New(emulator.Options{Referrers: true, Heads: emulator.HeadOptions{Digest: digest}})
					s.renew(t)
					i := push(t, s.a, 1, "x", "v1")
					j := job(t, "j", "x", []string{"v1"}, hostA, hostB)
					j.Platforms, j.Referrers = platforms, plan.Referrers{All: true}
					planned := s.mirror.Plan(t.Context(), []plan.Job{j})
					if d := cmp.Diff([]string{"192.0.2.2/x:v1 absent import"}, lines(planned)); d != "" {
						t.Error("plan:", d)
					}
					s.renew(t)
					s.a.Reset()
					if d := cmp.Diff([]string{"192.0.2.2/x:v1 absent imported"}, s.sync(t, j)); d != "" {
						t.Error(d)
					}
					want := i.Digest
					if platforms != nil {
						want = string(planned[0].Outcomes[0].Digest)
					}
					whole(t, s.b, "x", "v1", want)
					manifests := len(i.Manifests)
					if platforms != nil {
						manifests = 2 // the index and that of the platform
					}
					if got := count(s.a, "GET", emulator.KindManifest); got != manifests+2 {
						t.Errorf("%d manifests are fetched, want %d, and one that is not there, and one by tag", got, manifests)
					}
					s.b.Reset()
					if d := cmp.Diff([]string{"192.0.2.2/x:v1 unchanged kept"}, s.sync(t, j)); d != "" {
						t.Error("again:", d)
					}
					if n := writes(s.b); n > 0 {
						t.Errorf("a second sync writes %d times", n)
					}
				})
			})
		}
	}
}

// TestHeadNamesWhatIsGoneHeeds: an import of what GET gives is decided on as any other.
func TestHeadNamesWhatIsGoneHeeds(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(j *plan.Job)
		held bool // the target's tag holds another image
		want []string
	}{
		"a tag that must not move": {func(j *plan.Job) { j.RefuseMoved = true }, true, []string{"192.0.2.2/x:v1 moved refused"}},
		"no tag there":             {func(j *plan.Job) { j.RefuseMoved = true }, false, []string{"192.0.2.2/x:v1 absent imported"}},
		"a digest that the config names": {func(j *plan.Job) {
			j.Source = j.Source.Repository.Tag("v1").WithDigest(image.Digest(emulator.Sum([]byte("gone"))))
			j.Targets = []image.Reference{j.Targets[0].Repository.Tag("v1")}
		}, false, []string{"192.0.2.2/x:v1 absent-at-source absent"}},
		"a platform that it lacks": {func(j *plan.Job) { j.Platforms = []image.Platform{{OS: "linux", Architecture: "mips"}} }, false, []string{"192.0.2.2/x:v1 platform-missing refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				s.a = emulator.New(emulator.Options{Referrers: true, Heads: emulator.HeadOptions{Digest: emulator.Sum([]byte("gone"))}})
				s.renew(t)
				push(t, s.a, 1, "x", "v1")
				if c.held {
					push(t, s.b, 2, "x", "v1")
				}
				j := job(t, "j", "x", []string{"v1"}, hostA, hostB)
				c.edit(&j)
				if d := cmp.Diff(c.want, s.sync(t, j)); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// TestSyncApprovedOfWhatMoved: what was planned is imported, and nothing else that GET gives meanwhile.
func TestSyncApprovedOfWhatMoved(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		s.a = emulator.New(emulator.Options{Referrers: true, Heads: emulator.HeadOptions{Digest: emulator.Sum([]byte("gone"))}})
		s.renew(t)
		jobs := []plan.Job{job(t, "j", "x", []string{"v1", "v2"}, hostA, hostB)}
		push(t, s.a, 1, "x", "v1")
		push(t, s.a, 2, "x", "v2")
		approved := map[string][]diff.Action{}
		for _, out := range s.mirror.Plan(t.Context(), jobs)[0].Outcomes {
			approved["j"] = append(approved["j"], out.Action)
		}
		push(t, s.a, 3, "x", "v2")
		got := lines(s.mirror.SyncApproved(t.Context(), jobs, approved))
		if want := []string{"192.0.2.2/x:v1 absent imported", "192.0.2.2/x:v2 not-planned refused"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestTwoAlgorithms: a target that names what a tag holds by another algorithm than the source is compared by content, once for each image. What differs
// is imported.
func TestTwoAlgorithms(t *testing.T) {
	for name, heads := range map[string][2]emulator.HeadOptions{"the source": {{SHA512: true}, {}}, "the target": {{}, {SHA512: true}}, "both": {{SHA512: true}, {SHA512: true}}} {
		for _, platforms := range [][]image.Platform{nil, {{OS: "linux", Architecture: "amd64"}}} {
			for _, refuse := range []bool{false, true} {
				inBubble(t, func(t *testing.T, s *stand) {
					s.a, s.b = emulator.New(emulator.Options{Heads: heads[0]}), emulator.New(emulator.Options{Heads: heads[1]})
					s.renew(t)
					push(t, s.a, 1, "x", "v1")
					j := job(t, "j", "x", []string{"v1"}, hostA, hostB)
					j.Platforms, j.RefuseMoved = platforms, refuse
					if d := cmp.Diff([]string{"192.0.2.2/x:v1 absent imported"}, s.sync(t, j)); d != "" {
						t.Error(name, d)
					}
					if err := s.b.Whole("x", "v1"); err != nil {
						t.Error(name, err)
					}
					s.renew(t)
					s.b.Reset()
					for range 2 {
						if d := cmp.Diff([]string{"192.0.2.2/x:v1 unchanged kept"}, s.sync(t, j)); d != "" {
							t.Error(name, "again:", d)
						}
					}
					if n := count(s.b, "GET", emulator.KindManifest); n > 1 || writes(s.b) > 0 {
						t.Errorf("%s: two syncs fetch %d manifests of the target, and write %d times", name, n, writes(s.b))
					}
					push(t, s.a, 2, "x", "v1")
					want := "192.0.2.2/x:v1 moved imported"
					if refuse {
						want = "192.0.2.2/x:v1 moved refused"
					}
					if d := cmp.Diff([]string{want}, s.sync(t, j)); d != "" {
						t.Error(name, "moved:", d)
					}
				})
			}
		}
	}
}

// TestTagsOnly syncs from a registry that refuses the digest of a manifest that has a tag.
func TestTagsOnly(t *testing.T) {
	for _, status := range []int{400, 404, 405} {
		inBubble(t, func(t *testing.T, s *stand) {
			s.a = emulator.New(emulator.Options{Referrers: true, TagsOnly: status})
			s.renew(t)
			i := push(t, s.a, 1, "x", "v1")
			j := job(t, "j", "x", []string{"v1"}, hostA, hostB)
			if d := cmp.Diff([]string{"192.0.2.2/x:v1 absent imported"}, s.sync(t, j)); d != "" {
				t.Error(status, d)
			}
			whole(t, s.b, "x", "v1", i.Digest)
		})
	}
}
