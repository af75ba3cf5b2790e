package signature_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
	. "github.com/draysync/dray/internal/signature"
)

// apart is a registry with an image in one repository, and signatures in another.
type apart struct{ image, signatures *world }

var elsewhere = image.Repository{Registry: "other.example", Path: "signatures"}

func (a apart) of(r image.Repository) *world {
	if r == elsewhere {
		return a.signatures
	}
	return a.image
}

func (a apart) Head(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	return a.of(r.Repository).Head(ctx, r)
}

func (a apart) Referrers(ctx context.Context, r image.Repository, d image.Digest) ([]image.Referrer, error) {
	return a.of(r).Referrers(ctx, r, d)
}

func (a apart) Manifest(ctx context.Context, r image.Reference) (image.Manifest, error) {
	return a.of(r.Repository).Manifest(ctx, r)
}

func (a apart) OpenBlob(ctx context.Context, r image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error) {
	return a.of(r).OpenBlob(ctx, r, d, offset, urls)
}

// TestFrom: signatures count that are in another repository, in each form, and those beside the image do not.
func TestFrom(t *testing.T) {
	good, bad := ellipticSigner(t, "good"), ellipticSigner(t, "bad")
	i := newInstance(t)
	workflows := []Identity{{"acme", Exactly(actions), Exactly(workflow), i.trust(t).root(t)}}
	down := errors.New("502 Bad Gateway")
	signed := func(w *world, by signer, form Form) {
		switch form {
		case CosignTag:
			w.tag(".sig", w.simple(by, nil))
		case CosignReferrer:
			w.referAs(MediaCosignArtifact, "", w.simple(by, nil))
		default:
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, by)})
		}
	}
	for _, form := range []Form{CosignTag, CosignReferrer, Bundle} {
		for name, tt := range map[string]struct {
			write func(a apart)
			want  Code
			err   error
		}{
			"the key":     {func(a apart) { signed(a.signatures, good, form) }, "", nil},
			"a wrong key": {func(a apart) { signed(a.signatures, bad, form) }, WrongKey, nil},
			"absent":      {func(apart) {}, None, nil},
			"beside it":   {func(a apart) { signed(a.image, good, form) }, None, nil},
			"of another": {func(a apart) {
				a.signatures.image = image.DigestOf([]byte("other"), "")
				signed(a.signatures, good, form)
				a.moved()
			}, OtherDigest, nil},
			"that is down": {func(a apart) {
				signed(a.image, good, form)
				a.signatures.broken["head"], a.signatures.broken["referrers"] = down, down
			}, "", down},
			"a workflow": {func(a apart) {
				w, s := a.signatures, i.signing(PredicateSignature, a.image.image)
				switch form {
				case Bundle:
					w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
				case CosignTag:
					s.payload = simplePayload(w.image)
					w.tag(".sig", w.layer(MediaSimpleSigning, s.payload, s.annotations(t)))
				default:
					s.payload = simplePayload(w.image)
					w.referAs(MediaCosignArtifact, "", w.layer(MediaSimpleSigning, s.payload, s.annotations(t)))
				}
			}, "", nil},
		} {
			a := apart{newWorld(), newWorld()}
			tt.write(a)
			r, err := (Policy{Keys: []Key{good.Key}, Identities: workflows, From: elsewhere}).Verify(t.Context(), a, a.image.ref())
			if !errors.Is(err, tt.err) || r.Code != tt.want || r.Verified != (tt.want == "" && tt.err == nil) {
				t.Errorf("%s, %s: %v, %q (%s), want %q, %v", name, form, err, r.Code, r.Problem, tt.want, tt.err)
			}
			if len(a.image.asked) > 0 {
				t.Errorf("%s, %s: the repository of the image was asked for %q", name, form, a.image.asked)
			}
			if said := strings.HasSuffix(r.Problem, "; signatures were looked for at other.example/signatures"); said != (tt.want != "") {
				t.Errorf("%s, %s: %q", name, form, r.Problem)
			}
		}
	}
}

// moved has what was signed hang on the image of the test.
func (a apart) moved() {
	was := a.signatures.image
	a.signatures.image = a.image.image
	for tag, d := range a.signatures.tags {
		a.signatures.tags[strings.Replace(tag, was.Encoded(), a.image.image.Encoded(), 1)] = d
	}
}

// TestFromPlatforms: the index is read where the image is, and the signatures of what it names elsewhere.
func TestFromPlatforms(t *testing.T) {
	good := ellipticSigner(t, "good")
	a := apart{newWorld(), newWorld()}
	child := []byte(`{"mediaType":"` + image.MediaTypeOCIManifest + `","config":{},"layers":[]}`)
	d := image.DigestOf(child, "")
	index := []byte(`{"mediaType":"` + image.MediaTypeOCIIndex + `","manifests":[{"mediaType":"` + image.MediaTypeOCIManifest + `","digest":"` + string(d) + `","size":1}]}`)
	a.image.image = image.DigestOf(index, "")
	a.image.manifests[a.image.image], a.image.manifests[d] = index, child
	p := Policy{Keys: []Key{good.Key}, From: elsewhere, Platforms: true}
	if r, err := p.Verify(t.Context(), a, a.image.ref()); err != nil || r.Code != None {
		t.Errorf("%v, %+v", err, r)
	}
	a.signatures.image = d
	a.signatures.tag(".sig", a.signatures.simple(good, nil))
	if r, err := p.Verify(t.Context(), a, a.image.ref()); err != nil || !r.Verified || r.Signatures[0].Of != string(d) {
		t.Errorf("%v, %+v", err, r)
	}
}
