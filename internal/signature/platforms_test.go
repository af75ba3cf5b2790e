package signature_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
	. "github.com/draysync/dray/internal/signature"
)

// TestPlatforms: with Platforms each manifest of an index counts, and the index does not.
func TestPlatforms(t *testing.T) {
	good, bad := ellipticSigner(t, "good"), ellipticSigner(t, "bad")
	store := func(w *world, raw string) image.Digest {
		d := image.DigestOf([]byte(raw), "")
		w.manifests[d] = []byte(raw)
		return d
	}
	child := func(w *world, name string) image.Digest {
		return store(w, `{"mediaType":"`+image.MediaTypeOCIManifest+`","config":{},"layers":[],"annotations":{"name":"`+name+`"}}`)
	}
	entry := func(mediaType string, d image.Digest) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1,"platform":{"os":"linux","OS":"x"}}`, mediaType, d)
	}
	index := func(w *world, more string, entries ...string) image.Digest {
		return store(w, `{"mediaType":"`+image.MediaTypeOCIIndex+`",`+more+`"manifests":[`+strings.Join(entries, ",")+`]}`)
	}
	sign := func(w *world, d image.Digest, by signer) {
		about := w.image
		w.image = d
		w.tag(".sig", w.simple(by, nil))
		w.image = about
	}
	const oci, list = image.MediaTypeOCIManifest, image.MediaTypeOCIIndex
	two := func(w *world) (a, b image.Digest) {
		a, b = child(w, "a"), child(w, "b")
		w.image = index(w, "", entry(oci, a), entry(oci, b), entry(oci, a))
		return a, b
	}
	tests := []struct {
		name  string
		write func(*world)
		want  Code
	}{
		{"each manifest", func(w *world) { a, b := two(w); sign(w, a, good); sign(w, b, good) }, ""},
		{"all but one", func(w *world) { a, _ := two(w); sign(w, a, good) }, None},
		{"only the index", func(w *world) { two(w); sign(w, w.image, good) }, None},
		{"one by another key", func(w *world) { a, b := two(w); sign(w, a, good); sign(w, b, bad) }, WrongKey},
		{"one with the signature of the other", func(w *world) {
			a, b := two(w)
			sign(w, a, good)
			w.tags["sha256-"+b.Encoded()+".sig"] = w.tags["sha256-"+a.Encoded()+".sig"]
		}, OtherDigest},
		{"an image of one platform", func(w *world) { w.image = child(w, "a"); sign(w, w.image, good) }, ""},
		{"a Docker manifest list", func(w *world) {
			a := child(w, "a")
			w.image = store(w, `{"mediaType":"`+image.MediaTypeDockerList+`","manifests":[`+entry(image.MediaTypeDockerManifest, a)+`]}`)
			sign(w, a, good)
		}, ""},
		{"an index in an index", func(w *world) {
			a, b := two(w)
			w.image = index(w, "", entry(list, w.image))
			sign(w, a, good)
			sign(w, b, good)
		}, ""},
		{"an index in an index, of which one is not signed", func(w *world) {
			a, _ := two(w)
			w.image = index(w, "", entry(list, w.image))
			sign(w, a, good)
		}, None},
		{"an index that the list calls an image", func(w *world) {
			a, b := two(w)
			w.image = index(w, "", entry(oci, w.image))
			sign(w, a, good)
			sign(w, b, good)
		}, None},
		{"an image that the list calls an index", func(w *world) {
			a := child(w, "a")
			w.image = index(w, "", entry(list, a))
			sign(w, a, good)
		}, ""},
		{"indexes without an end", func(w *world) {
			w.image = child(w, "a")
			sign(w, w.image, good)
			for range MaxDepth + 1 {
				w.image = index(w, "", entry(list, w.image))
			}
		}, Unreadable},
		{"an image with a list of manifests", func(w *world) {
			a := child(w, "a")
			sign(w, a, good)
			w.image = store(w, `{"mediaType":"`+oci+`","config":{},"layers":[],"manifests":[`+entry(oci, a)+`]}`)
		}, Unreadable},
		{"an index with layers", func(w *world) {
			a := child(w, "a")
			sign(w, a, good)
			w.image = index(w, `"layers":[],`, entry(oci, a))
		}, Unreadable},
		{"two lists", func(w *world) {
			a := child(w, "a")
			sign(w, a, good)
			w.image = index(w, `"manifests":[`+entry(oci, child(w, "b"))+`],`, entry(oci, a))
		}, Unreadable},
		{"two lists in two spellings", func(w *world) {
			a := child(w, "a")
			sign(w, a, good)
			w.image = index(w, `"Manifests":[`+entry(oci, child(w, "b"))+`],`, entry(oci, a))
		}, Unreadable},
		{"no manifests", func(w *world) { w.image = index(w, ""); sign(w, w.image, good) }, Unreadable},
		{"65 manifests", func(w *world) {
			entries := []string{}
			for i := range 65 {
				a := child(w, fmt.Sprint(i))
				sign(w, a, good)
				entries = append(entries, entry(oci, a))
			}
			w.image = index(w, "", entries...)
		}, TooMany},
	}
	for _, tt := range tests {
		w := newWorld()
		tt.write(w)
		for _, all := range []bool{false, true} {
			r, err := (Policy{Keys: []Key{good.Key}, Platforms: true, All: all}).Verify(t.Context(), w, w.ref())
			if err != nil || r.Code != tt.want || r.Verified != (tt.want == "") || (r.Problem == "") != r.Verified {
				t.Errorf("%s: %v, %q (%s), want %q\n%s", tt.name, err, r.Code, r.Problem, tt.want, lines(r))
			}
		}
	}
	w := newWorld()
	two(w)
	w.broken["manifest"] = errors.New("502 Bad Gateway")
	delete(w.manifests, w.image)
	if r, err := (Policy{Keys: []Key{good.Key}, Platforms: true}).Verify(t.Context(), w, w.ref()); err == nil || r.Verified {
		t.Errorf("an index that is not there: %+v", r)
	}
}

// TestAmbiguous: a text that two readers may read differently signs nothing.
func TestAmbiguous(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: false, `{"a":{"b":1},"c":{"b":1}}`: false, `{"a":[{"b":1},{"b":2}]}`: false, ` {"a":1} `: false,
		`{"a":1,"a":2}`: true, `{"a":1,"A":2}`: true, `{"x":[{"a":1,"a":2}]}`: true, `{"a":1,"\u0061":2}`: true,
		`{"open":{"a":1,"A":2}}`: false, `{"open":1,"open":2}`: true,
		`[]`: true, ``: true, `{"a":1}{}`: true, `{"a":1}x`: true, `{"a":`: true, `{"a":1`: true, `null`: true,
	} {
		if got := Ambiguous([]byte(text), "open"); got != want {
			t.Errorf("%.40s: %v", text, got)
		}
	}
	good := ellipticSigner(t, "good")
	w := newWorld()
	payload := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","predicateType":%q,"subject":[{"digest":{"sha256":%q,"SHA256":"0"}}],"predicate":{"a":1,"A":2}}`, PredicateSignature, w.image.Encoded())
	w.refer("", object{"dsseEnvelope": envelopeOf(TypeInToto, payload, good)})
	if r, err := (Policy{Keys: []Key{good.Key}}).Verify(t.Context(), w, w.ref()); err != nil || r.Code != Unreadable {
		t.Errorf("a digest in two spellings: %v, %+v", err, r)
	}
	w = newWorld()
	payload = []byte(strings.Replace(string(payload), `,"SHA256":"0"`, "", 1))
	w.refer("", object{"dsseEnvelope": envelopeOf(TypeInToto, payload, good)})
	if r, err := (Policy{Keys: []Key{good.Key}}).Verify(t.Context(), w, w.ref()); err != nil || !r.Verified {
		t.Errorf("a predicate with two spellings: %v, %+v", err, r)
	}
	w = newWorld()
	simple := strings.Replace(string(simplePayload(w.image)), `"optional":null`, `"optional":{"a":1,"A":2},"Critical":{}`, 1)
	for i, text := range []string{simple, strings.Replace(simple, `,"Critical":{}`, "", 1)} {
		l := w.layer(MediaSimpleSigning, []byte(text), map[string]string{AnnotationSignature: base64Of(good.sign([]byte(text)))})
		w.tag(".sig", l)
		if r, err := (Policy{Keys: []Key{good.Key}}).Verify(t.Context(), w, w.ref()); err != nil || r.Verified != (i == 1) {
			t.Errorf("%s: %v, %+v", text, err, r)
		}
	}
}

// TestPlatformsBomb: indexes that name each other thousands of times are asked for once each.
func TestPlatformsBomb(t *testing.T) {
	w := newWorld()
	store := func(mediaType, child string, n int) image.Digest {
		raw := `{"mediaType":"` + image.MediaTypeOCIIndex + `","manifests":[` + strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1},`, mediaType, child), n), ",") + `]}`
		d := image.DigestOf([]byte(raw), "")
		w.manifests[d] = []byte(raw)
		return d
	}
	const times = 2000
	w.image = store(image.MediaTypeOCIManifest, string(image.DigestOf([]byte("none"), "")), times)
	for range MaxDepth - 1 {
		w.image = store(image.MediaTypeOCIIndex, string(w.image), times)
	}
	counted := &countedSource{Source: w}
	if r, err := (Policy{Keys: []Key{ellipticSigner(t, "good").Key}, Platforms: true}).Verify(t.Context(), counted, w.ref()); err != nil || r.Code != None {
		t.Errorf("%s, %v", r.Code, err)
	}
	if counted.manifests > MaxDepth {
		t.Errorf("%d manifests were asked for", counted.manifests)
	}
}

type countedSource struct {
	Source
	manifests int
}

// Manifest counts.
func (c *countedSource) Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error) {
	c.manifests++
	return c.Source.Manifest(ctx, ref)
}
