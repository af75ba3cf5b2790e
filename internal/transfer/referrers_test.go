package transfer_test

import (
	"errors"
	"net/http"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
)

const (
	signatureType = "application/vnd.example.signature"
	sbomType      = "application/vnd.example.sbom"
)

// attach puts a referrer into the source.
func (s *stand) attach(t *testing.T, path, subject, artifactType string) string {
	t.Helper()
	digest, err := s.source.PutReferrer(path, subject, artifactType, []byte(artifactType+" of "+subject))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// refer is an image with referrers of every kind, in the source's repository team/app.
type refer struct {
	image                                       emulator.Image
	signature, sbom, witness, childSBOM, cosign string
}

func (s *stand) referred(t *testing.T) refer {
	t.Helper()
	r := refer{image: emulator.MultiArch(1, emulator.ImageOptions{})}
	s.push(t, r.image, "team/app", "v1")
	r.signature = s.attach(t, "team/app", r.image.Digest, signatureType)
	r.sbom = s.attach(t, "team/app", r.image.Digest, sbomType)
	r.witness = s.attach(t, "team/app", r.signature, sbomType) // of a referrer
	r.childSBOM = s.attach(t, "team/app", r.image.Manifests[0].Digest, sbomType)
	cosign := emulator.SingleArch(9, "linux/amd64", emulator.ImageOptions{})
	s.push(t, cosign, "team/app", cosignTag(r.image.Digest))
	r.cosign = cosign.Digest
	return r
}

func TestReferrersTravelAsOrdered(t *testing.T) {
	cases := map[string]struct {
		wanted plan.Referrers
		arrive func(r refer) []string
	}{
		"all":   {plan.Referrers{All: true}, func(r refer) []string { return []string{r.signature, r.sbom, r.witness, r.childSBOM, r.cosign} }},
		"sboms": {plan.Referrers{Types: []string{sbomType}}, func(r refer) []string { return []string{r.sbom, r.childSBOM} }},
		"signatures, and what is below them": {
			plan.Referrers{Types: []string{signatureType, sbomType}},
			func(r refer) []string { return []string{r.signature, r.sbom, r.witness, r.childSBOM} },
		},
		"another type": {plan.Referrers{Types: []string{"application/x"}}, func(refer) []string { return nil }},
		"none":         {plan.Referrers{}, func(refer) []string { return nil }},
	}
	for api, options := range both {
		for name, c := range cases {
			t.Run(api+"/"+name, func(t *testing.T) {
				inBubble(t, options, func(t *testing.T, s *stand) {
					r := s.referred(t)
					o := order("team/app", "v1", r.image.Digest)
					o.Referrers = c.wanted
					s.bring(t, o)
					whole(t, s.target, "team/app", "v1", r.image.Digest)
					arrived := map[string]bool{}
					for _, d := range c.arrive(r) {
						arrived[d] = true
						whole(t, s.target, "team/app", d, d)
					}
					for _, d := range []string{r.signature, r.sbom, r.witness, r.childSBOM, r.cosign} {
						if !arrived[d] && s.target.Digest("team/app", d) != "" {
							t.Errorf("%s has come unbidden", d)
						}
					}
					if c.wanted.None() && count(s.source, "", emulator.KindReferrers)+count(s.source, "", emulator.KindTags) > 0 {
						t.Error("referrers are looked for")
					}
					if arrived[r.signature] {
						s.listed(t, r.image.Digest, r.signature)
						s.listed(t, r.signature, r.witness)
					}
				})
			})
		}
	}
}

// listed checks that the target itself lists the referrer: by its API or by the fallback tag.
func (s *stand) listed(t *testing.T, subject, referrer string) {
	t.Helper()
	s.renew(t)
	list, err := s.client.Referrers(t.Context(), at(targetHost, "team/app"), image.Digest(subject))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if string(r.Digest) == referrer {
			return
		}
	}
	t.Errorf("the target lists %v for %s, not %s", list, subject, referrer)
}

// A new signature for an image that has not changed arrives with the next import of it, alone.
func TestLaterReferrersArriveAlone(t *testing.T) {
	inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
		r := s.referred(t)
		o := withAll(order("team/app", "v1", r.image.Digest))
		s.bring(t, o)
		later := s.attach(t, "team/app", r.image.Digest, "application/vnd.example.later")
		s.renew(t)
		s.target.Reset()
		o.Fresh, o.HeldAs = false, "v1"
		s.bring(t, o)
		whole(t, s.target, "team/app", later, later)
		puts := s.target.Count(func(q emulator.Request) bool {
			return q.Method == http.MethodPut && q.Kind == emulator.KindManifest
		})
		if puts != 2 { // the referrer and the tag
			t.Errorf("writes: %v", writes(s.target))
		}
	})
}

// A crash between an artifact and the list of its subject, where that is a tag, leaves the artifact unlisted until the next look.
func TestUnlistedReferrerIsListedAgain(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		r := s.referred(t)
		o := withAll(order("team/app", "v1", r.image.Digest))
		s.bring(t, o)
		if !s.target.DeleteTag("team/app", image.ReferrersTag(image.Digest(r.image.Digest))) {
			t.Fatal("there was no list")
		}
		s.renew(t)
		o.Fresh, o.HeldAs = false, "v1"
		s.bring(t, o)
		s.listed(t, r.image.Digest, r.signature)
		s.listed(t, r.image.Digest, r.sbom)
		s.listed(t, r.signature, r.witness)
	})
}

// Where platforms are left out, what refers to the source's index does not hold for the target's; what refers to children does.
func TestReferrersOfASelectedIndex(t *testing.T) {
	inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
		r := s.referred(t)
		o := withAll(order("team/app", "v1", r.image.Digest))
		o.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}}
		resolved, err := s.engine.Resolve(t.Context(), o.Source, image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: image.Digest(r.image.Digest)}, o.Platforms)
		if err != nil {
			t.Fatal(err)
		}
		o.Digest = resolved
		s.bring(t, o)
		whole(t, s.target, "team/app", "v1", string(resolved))
		whole(t, s.target, "team/app", r.childSBOM, r.childSBOM)
		for name, d := range map[string]string{"signature of the whole": r.signature, "other platform": r.image.Manifests[1].Digest, "index": r.image.Digest} {
			if s.target.Digest("team/app", d) != "" {
				t.Errorf("the %s has come along", name)
			}
		}
		if got := count(s.source, http.MethodGet, emulator.KindManifest); got != 3 { // index, child, its SBOM
			t.Errorf("%d manifests are fetched", got)
		}
	})
}

// A target that cannot be asked for an attachment is not taken for one that lacks it.
func TestAttachmentsAreNotWrittenBlindly(t *testing.T) {
	inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
		r := s.referred(t)
		o := withAll(order("team/app", "v1", r.image.Digest))
		o.Fresh = false
		for _, d := range []string{r.signature, cosignTag(r.image.Digest)} {
			remove := s.target.Inject(emulator.Fault{Status: http.StatusInternalServerError, Match: func(q *http.Request) bool {
				return q.Method == http.MethodHead && q.URL.Path == "/v2/team/app/manifests/"+d
			}})
			err := s.try(t.Context(), o)
			if side, ok := errors.AsType[*mirror.SideError](err); !ok || side.Side != mirror.Target {
				t.Errorf("error = %v", err)
			}
			if s.target.Digest("team/app", d) != "" || s.target.Digest("team/app", "v1") != "" {
				t.Errorf("%s or the tag is written", d)
			}
			remove()
		}
		s.bring(t, o)
		whole(t, s.target, "team/app", cosignTag(r.image.Digest), r.cosign)
	})
}

// TestReferrerThatIsGone imports an image of which the source lists a referrer that it does not have, with the others.
func TestReferrerThatIsGone(t *testing.T) {
	t.Run("fallback tag", func(t *testing.T) {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			r := s.referred(t)
			s.source.DeleteManifest("team/app", r.signature)
			s.bring(t, withAll(order("team/app", "v1", r.image.Digest)))
			whole(t, s.target, "team/app", "v1", r.image.Digest)
			whole(t, s.target, "team/app", r.sbom, r.sbom)
			s.listed(t, r.image.Digest, r.sbom)
		})
	})
	t.Run("referrers API", func(t *testing.T) {
		inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
			gone := `{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIIndex + `","manifests":[{"mediaType":"` + image.MediaTypeOCIManifest +
				`","digest":"` + emulator.Sum([]byte("gone")) + `","size":4}]}`
			s.source = emulator.New(emulator.Options{ReferrersAnswer: &emulator.Answer{Status: http.StatusOK, Body: gone}})
			s.renew(t)
			i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
			s.push(t, i, "team/app", "v1")
			s.bring(t, withAll(order("team/app", "v1", i.Digest)))
			whole(t, s.target, "team/app", "v1", i.Digest)
		})
	})
	t.Run("a manifest that HEAD names for cosign's tag", func(t *testing.T) {
		inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
			s.source = emulator.New(emulator.Options{Referrers: true, Heads: emulator.HeadOptions{Digest: emulator.Sum([]byte("gone"))}})
			s.renew(t)
			r := s.referred(t)
			s.bring(t, withAll(order("team/app", "v1", r.image.Digest)))
			whole(t, s.target, "team/app", cosignTag(r.image.Digest), r.cosign)
		})
	})
}

// TestReferrersThatCannotBeListed names the way out where a registry never lists referrers, and writes no tag.
func TestReferrersThatCannotBeListed(t *testing.T) {
	for _, status := range []int{429, 500, 503} {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			s.source = emulator.New(emulator.Options{ReferrersAnswer: &emulator.Answer{Status: status}})
			s.renew(t)
			i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
			s.push(t, i, "team/app", "v1")
			contains(t, s.try(t.Context(), withAll(order("team/app", "v1", i.Digest))), "GET referrers", "referrers: false")
			if got := s.target.Digest("team/app", "v1"); got != "" {
				t.Errorf("%d: the tag holds %s", status, got)
			}
			s.bring(t, order("team/app", "v1", i.Digest)) // without referrers
			whole(t, s.target, "team/app", "v1", i.Digest)
		})
	}
}
