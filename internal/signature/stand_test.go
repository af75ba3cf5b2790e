package signature_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/draysync/dray/internal/image"
	. "github.com/draysync/dray/internal/signature"
)

var repo = image.Repository{Registry: "registry.example", Path: "demo/signed"}

// world is a registry with one repository.
type world struct {
	image     image.Digest
	tags      map[string]image.Digest
	manifests map[image.Digest][]byte
	blobs     map[image.Digest][]byte
	referrers []image.Referrer
	// broken has an error for what is asked: "head", "referrers", "manifest", "blob".
	broken map[string]error
	// asked are the requests.
	asked []string
}

func newWorld() *world {
	return &world{image: image.DigestOf([]byte("an image"), ""), tags: map[string]image.Digest{}, manifests: map[image.Digest][]byte{}, blobs: map[image.Digest][]byte{}, broken: map[string]error{}}
}

func (w *world) ref() image.Reference { return repo.Digest(w.image) }

func (w *world) Head(_ context.Context, r image.Reference) (image.Descriptor, error) {
	w.asked = append(w.asked, "HEAD "+r.Tag)
	d, ok := w.tags[r.Tag]
	if !ok {
		return image.Descriptor{}, orAbsent(w.broken["head"])
	}
	return image.Descriptor{Digest: d, Size: int64(len(w.manifests[d]))}, w.broken["head"]
}

func (w *world) Referrers(context.Context, image.Repository, image.Digest) ([]image.Referrer, error) {
	w.asked = append(w.asked, "referrers")
	return w.referrers, w.broken["referrers"]
}

func (w *world) Manifest(_ context.Context, r image.Reference) (image.Manifest, error) {
	w.asked = append(w.asked, "manifest "+string(r.Digest))
	raw, ok := w.manifests[r.Digest]
	if !ok {
		return image.Manifest{}, orAbsent(w.broken["manifest"])
	}
	var doc struct{ MediaType string }
	_ = json.Unmarshal(raw, &doc)
	return image.Manifest{Descriptor: image.Descriptor{MediaType: doc.MediaType, Digest: r.Digest, Size: int64(len(raw))}, Raw: raw}, w.broken["manifest"]
}

func (w *world) OpenBlob(_ context.Context, _ image.Repository, d image.Descriptor, _ int64, _ []string) (io.ReadCloser, error) {
	w.asked = append(w.asked, "blob "+string(d.Digest))
	raw, ok := w.blobs[d.Digest]
	if !ok {
		return nil, orAbsent(w.broken["blob"])
	}
	return io.NopCloser(bytes.NewReader(raw)), w.broken["blob"]
}

func orAbsent(err error) error {
	if err == nil {
		return image.ErrAbsent
	}
	return err
}

// sample is a registry as it was recorded: testdata/README.md.
func sample(t testing.TB, dir string) *world {
	t.Helper()
	w := newWorld()
	add := func(kind map[image.Digest][]byte, name string) image.Digest {
		raw := read(t, filepath.Join(dir, name))
		d := image.DigestOf(raw, "")
		kind[d] = raw
		return d
	}
	w.image = add(w.manifests, "image/index.json")
	w.tags["sha256-"+w.image.Encoded()+".sig"] = add(w.manifests, "legacy/manifest.sig.json")
	w.tags["sha256-"+w.image.Encoded()+".att"] = add(w.manifests, "legacy/manifest.att.json")
	for _, name := range []string{"payload.sig.0", "payload.sig.1", "payload.att.0"} {
		add(w.blobs, "legacy/"+name+".json")
	}
	for i := range 4 {
		add(w.manifests, fmt.Sprintf("bundle/%d-manifest.json", i))
		add(w.blobs, fmt.Sprintf("bundle/%d-bundle.json", i))
	}
	list := "bundle/fallback-tag-index.json"
	if dir == "referrers" {
		list = "bundle/referrers-api.json"
	}
	var index struct {
		Manifests []struct {
			Digest       image.Digest
			Size         int64
			ArtifactType string
			Annotations  map[string]string
		}
	}
	if err := json.Unmarshal(read(t, filepath.Join(dir, list)), &index); err != nil {
		t.Fatal(err)
	}
	for _, m := range index.Manifests {
		w.referrers = append(w.referrers, image.Referrer{Descriptor: image.Descriptor{Digest: m.Digest, Size: m.Size}, ArtifactType: m.ArtifactType, Predicate: m.Annotations[image.PredicateAnnotation]})
	}
	return w
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// keysOf reads the keys of files.
func keysOf(t testing.TB, names ...string) (keys []Key) {
	t.Helper()
	for _, name := range names {
		more, err := ParseKeys(filepath.Base(name), read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, more...)
	}
	return keys
}

// signer signs as a kind of key does.
type signer struct {
	Key
	sign func(message []byte) []byte
}

// newSigner makes a key. hash is that of its signatures, for ECDSA and RSA; pss has RSA use PSS.
func newSigner(t testing.TB, name string, private crypto.Signer, hash crypto.Hash, pss bool) signer {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return signer{keys[0], func(message []byte) []byte {
		var options crypto.SignerOpts = hash
		sum := message
		switch hash {
		case crypto.SHA256:
			s := sha256.Sum256(message)
			sum = s[:]
		case crypto.SHA384:
			s := sha512.Sum384(message)
			sum = s[:]
		case crypto.SHA512:
			s := sha512.Sum512(message)
			sum = s[:]
		}
		if pss {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: hash}
		}
		if _, ok := private.(ed25519.PrivateKey); ok && hash != 0 {
			options = &ed25519.Options{Hash: hash}
		}
		raw, err := private.Sign(rand.Reader, sum, options)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}}
}

func base64Of(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

func document(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// object is a JSON object.
type object = map[string]any

// put stores a manifest with layers.
func (w *world) put(layers ...object) image.Digest {
	raw := document(object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers, "nonce": len(w.manifests)})
	d := image.DigestOf(raw, "")
	w.manifests[d] = raw
	return d
}

// layer stores a blob, and describes it.
func (w *world) layer(mediaType string, raw []byte, annotations map[string]string) object {
	d := image.DigestOf(raw, "")
	w.blobs[d] = raw
	return object{"mediaType": mediaType, "digest": d, "size": len(raw), "annotations": annotations}
}

// simple is a layer as cosign before 3.0 signs; change alters what is signed.
func (w *world) simple(by signer, change func(critical object)) object {
	critical := object{"identity": object{"docker-reference": "registry.example/demo/signed"}, "image": object{"docker-manifest-digest": w.image}, "type": TypeSimpleSigning}
	if change != nil {
		change(critical)
	}
	payload := document(object{"critical": critical, "optional": nil})
	return w.layer(MediaSimpleSigning, payload, map[string]string{AnnotationSignature: base64.StdEncoding.EncodeToString(by.sign(payload))})
}

// tag has the tag with that suffix lead to a manifest with layers.
func (w *world) tag(suffix string, layers ...object) {
	w.tags["sha256-"+w.image.Encoded()+suffix] = w.put(layers...)
}

// enveloped is a DSSE envelope about a digest, signed by all.
func enveloped(predicate string, about image.Digest, by ...signer) object {
	payload := document(object{"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "subject": []object{{"digest": object{"sha256": about.Encoded()}}}, "predicate": object{}})
	return envelopeOf(TypeInToto, payload, by...)
}

func envelopeOf(payloadType string, payload []byte, by ...signer) object {
	signatures := []object{}
	for _, s := range by {
		signatures = append(signatures, object{"sig": base64.StdEncoding.EncodeToString(s.sign(Message(payloadType, payload)))})
	}
	return object{"payloadType": payloadType, "payload": base64.StdEncoding.EncodeToString(payload), "signatures": signatures}
}

// refer adds a referrer that is a bundle; hint is what its annotation says.
func (w *world) refer(hint string, bundle object) {
	w.referAs("application/vnd.dev.sigstore.bundle.v0.3+json", hint, w.layer("application/vnd.dev.sigstore.bundle.v0.3+json", document(bundle), nil))
}

func (w *world) referAs(artifactType, hint string, layers ...object) {
	d := w.put(layers...)
	w.referrers = append(w.referrers, image.Referrer{Descriptor: image.Descriptor{Digest: d, Size: int64(len(w.manifests[d]))}, ArtifactType: artifactType, Predicate: hint})
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curves()["P-256"], rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// onlyBlob is the one blob of a world that has one.
func (w *world) onlyBlob() image.Digest { return slices.Collect(maps.Keys(w.blobs))[0] }
