package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	. "github.com/draysync/dray/internal/signature"
)

const slsa = "https://slsa.dev/provenance/v1"

func curves() map[string]elliptic.Curve {
	return map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
}

// TestSamples has what cosign wrote into two registries.
func TestSamples(t *testing.T) {
	for _, dir := range []string{"fallback", "referrers"} {
		cosign, other := dir+"/cosign.pub", dir+"/other.pub"
		foreign := ellipticSigner(t, "foreign.pub")
		bundles := func(w *world) { clear(w.tags) }
		tests := []struct {
			name      string
			policy    Policy
			change    func(*world)
			want      Code
			signs     int // valid signatures
			attests   int // valid attestations; -1 for any number
			requested int
		}{
			{"the key", Policy{Keys: keysOf(t, cosign)}, nil, "", 1, 0, 4},
			{"the other key", Policy{Keys: keysOf(t, other)}, nil, "", 1, 0, 4},
			{"both keys", Policy{Keys: keysOf(t, cosign, other), Threshold: 2}, nil, "", 2, 0, 4},
			{"one key twice is one", Policy{Keys: keysOf(t, cosign, cosign), Threshold: 2, All: true}, nil, TooFew, 2, 2, 0},
			{"a third key", Policy{Keys: []Key{foreign.Key}, All: true}, nil, WrongKey, 0, 0, 0},
			{"all that there is", Policy{Keys: keysOf(t, cosign, other), All: true}, nil, "", 3, 2, 0},
			{"a bundle", Policy{Keys: keysOf(t, cosign)}, bundles, "", 1, -1, 0},
			{"bundles of the key", Policy{Keys: keysOf(t, cosign), All: true}, bundles, "", 1, 1, 0},
			{"bundles of the other key", Policy{Keys: keysOf(t, other)}, bundles, WrongKey, 0, 0, 0},
			{"provenance", Policy{Keys: keysOf(t, cosign), Attestations: []string{slsa}}, nil, "", 1, 1, 7},
			{"provenance in a bundle", Policy{Keys: keysOf(t, cosign), Attestations: []string{slsa}}, bundles, "", 1, 1, 0},
			{"no SBOM", Policy{Keys: keysOf(t, cosign), Attestations: []string{slsa, "https://spdx.dev/Document"}}, nil, NoAttestation, 2, 2, 0},
			{"provenance by another key", Policy{Keys: keysOf(t, other), Attestations: []string{slsa}}, nil, NoAttestation, 1, 0, 0},
			{"another image", Policy{Keys: keysOf(t, cosign)}, func(w *world) {
				was := "sha256-" + w.image.Encoded()
				w.image = image.DigestOf([]byte("another"), "")
				w.tags["sha256-"+w.image.Encoded()+".sig"] = w.tags[was+".sig"]
			}, OtherDigest, 0, 0, 0},
		}
		for _, tt := range tests {
			t.Run(dir+"/"+tt.name, func(t *testing.T) {
				w := sample(t, dir)
				if tt.change != nil {
					tt.change(w)
				}
				r, err := tt.policy.Verify(t.Context(), w, w.ref())
				if err != nil {
					t.Fatal(err)
				}
				signs, attests := valid(r)
				if r.Code != tt.want || r.Verified != (tt.want == "") || signs != tt.signs || attests != tt.attests && tt.attests >= 0 {
					t.Errorf("%q (%s), %d signatures, %d attestations; want %q, %d, %d:\n%s", r.Code, r.Problem, signs, attests, tt.want, tt.signs, tt.attests, lines(r))
				}
				if tt.requested > 0 && len(w.asked) != tt.requested {
					t.Errorf("%d requests, want %d: %q", len(w.asked), tt.requested, w.asked)
				}
			})
		}
	}
}

func ellipticSigner(t *testing.T, name string) signer {
	t.Helper()
	return newSigner(t, name, ecdsaKey(t), crypto.SHA256, false)
}

// valid counts the valid signatures and attestations.
func valid(r Report) (signs, attests int) {
	for _, s := range r.Signatures {
		switch {
		case s.Valid && s.Predicate == PredicateSignature:
			signs++
		case s.Valid:
			attests++
		}
	}
	return signs, attests
}

func lines(r Report) string {
	var b strings.Builder
	for _, s := range r.Signatures {
		fmt.Fprintf(&b, "  %s valid=%v %s %q %s %s\n", s.Form, s.Valid, s.Predicate, s.Keys, s.Code, s.Problem)
	}
	return b.String()
}

// TestKinds: each kind of key, with each hash that signers choose, in both forms.
func TestKinds(t *testing.T) {
	var all []signer
	for name, curve := range curves() {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			all = append(all, newSigner(t, "ECDSA "+name+" "+hash.String(), key, hash, false))
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, newSigner(t, "RSA", key, crypto.SHA256, false), newSigner(t, "RSA SHA-512", key, crypto.SHA512, false), newSigner(t, "RSA PSS", key, crypto.SHA256, true))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, newSigner(t, "Ed25519", private, 0, false), newSigner(t, "Ed25519ph", private, crypto.SHA512, false))
	foreign := ellipticSigner(t, "foreign")
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			for form, write := range map[Form]func(*world){
				CosignTag: func(w *world) { w.tag(".sig", w.simple(s, nil)) },
				Bundle:    func(w *world) { w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, s)}) },
			} {
				w := newWorld()
				write(w)
				if r, err := (Policy{Keys: []Key{foreign.Key, s.Key}}).Verify(t.Context(), w, w.ref()); err != nil || !r.Verified {
					t.Errorf("%s: %v, %+v", form, err, r)
				}
				if r, err := (Policy{Keys: []Key{foreign.Key}}).Verify(t.Context(), w, w.ref()); err != nil || r.Verified || r.Code != WrongKey {
					t.Errorf("%s, by another key: %v, %+v", form, err, r)
				}
				w.image = image.DigestOf([]byte("another"), "")
				for tag, d := range w.tags {
					w.tags["sha256-"+w.image.Encoded()+tag[len(tag)-4:]] = d
				}
				if r, err := (Policy{Keys: []Key{s.Key}}).Verify(t.Context(), w, w.ref()); err != nil || r.Verified || r.Code != OtherDigest {
					t.Errorf("%s, about another: %v, %+v", form, err, r)
				}
			}
		})
	}
}

// TestCounterparts: what registries and signers that lie, or are merely different, have in store.
func TestCounterparts(t *testing.T) {
	good, second, bad := ellipticSigner(t, "good"), ellipticSigner(t, "second"), ellipticSigner(t, "bad")
	signed := func(w *world) object { return object{"dsseEnvelope": enveloped(PredicateSignature, w.image, good)} }
	attested := func(w *world) object { return object{"dsseEnvelope": enveloped(slsa, w.image, good)} }
	certificate := object{"certificate": object{"rawBytes": "AA=="}}
	tests := []struct {
		name   string
		policy Policy
		write  func(*world)
		want   Code
	}{
		{"nothing", Policy{}, func(*world) {}, None},
		{"only provenance", Policy{}, func(w *world) { w.refer(slsa, attested(w)) }, None},
		{"provenance that is annotated as a signature", Policy{}, func(w *world) { w.refer(PredicateSignature, attested(w)) }, None},
		{"a signature that is annotated as provenance", Policy{}, func(w *world) { w.refer(slsa, signed(w)) }, ""},
		{"a signature without annotation", Policy{}, func(w *world) { w.refer("", signed(w)) }, ""},
		{"with an empty type in the list", Policy{}, func(w *world) {
			w.referAs(MediaEmpty, "", w.layer("application/vnd.dev.sigstore.bundle.v0.3+json", document(signed(w)), nil))
		}, ""},
		{"without a type in the list", Policy{}, func(w *world) {
			w.referAs("", "", w.layer("application/vnd.dev.sigstore.bundle.v0.3+json", document(signed(w)), nil))
		}, ""},
		{"an SBOM and nothing else", Policy{}, func(w *world) {
			w.referAs("application/spdx+json", "", w.layer("application/spdx+json", []byte("{}"), nil))
		}, None},
		{"cosign's form as a referrer", Policy{}, func(w *world) { w.referAs(MediaCosignArtifact, "", w.simple(good, nil)) }, ""},
		{"about another digest", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, image.DigestOf([]byte("x"), ""), good)})
		}, OtherDigest},
		{"about another digest by a wrong key", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, image.DigestOf([]byte("x"), ""), bad)})
		}, WrongKey},
		{"a wrong one before the right one", Policy{}, func(w *world) {
			w.refer(PredicateSignature, object{"dsseEnvelope": enveloped(PredicateSignature, w.image, bad)})
			w.refer("", signed(w))
		}, ""},
		{"keyless", Policy{}, func(w *world) {
			w.refer("", object{"verificationMaterial": certificate, "dsseEnvelope": enveloped(PredicateSignature, w.image, bad)})
		}, WrongKey},
		{"keyless beside a key", Policy{}, func(w *world) {
			w.refer("", object{"verificationMaterial": certificate, "dsseEnvelope": enveloped(PredicateSignature, w.image, bad)})
			w.refer("", signed(w))
		}, ""},
		{"keyless by tag", Policy{}, func(w *world) {
			l := w.simple(bad, nil)
			l["annotations"].(map[string]string)["dev.sigstore.cosign/certificate"] = "-----BEGIN" //nolint:forcetypeassert // as made above
			w.tag(".sig", l)
		}, WrongKey},
		{"Notation", Policy{}, func(w *world) { w.referAs(MediaNotation, "") }, Unsupported},
		{"a bundle of message_signature", Policy{}, func(w *world) { w.refer("", object{"messageSignature": object{"signature": "AA=="}}) }, Unsupported},
		{"two keys of two", Policy{Threshold: 2}, func(w *world) { w.tag(".sig", w.simple(good, nil), w.simple(second, nil)) }, ""},
		{"one key of two, twice", Policy{Threshold: 2}, func(w *world) {
			w.tag(".sig", w.simple(good, nil), w.simple(good, func(c object) { c["identity"] = object{"docker-reference": "other"} }))
			w.refer("", signed(w))
		}, TooFew},
		{"two keys in two forms", Policy{Threshold: 2}, func(w *world) {
			w.tag(".sig", w.simple(good, nil))
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, second)})
		}, ""},
		{"two keys in one envelope", Policy{Threshold: 2}, func(w *world) {
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, second, good)})
		}, ""},
		{"an attestation by a wrong key", Policy{Attestations: []string{slsa}}, func(w *world) {
			w.refer("", signed(w))
			w.refer("", object{"dsseEnvelope": enveloped(slsa, w.image, bad)})
		}, NoAttestation},
		{"an attestation by tag", Policy{Attestations: []string{slsa}}, func(w *world) {
			w.tag(".sig", w.simple(good, nil))
			w.tag(".att", w.layer(MediaDSSE, document(enveloped(slsa, w.image, good)), nil))
		}, ""},
		{"an attestation without a signature", Policy{Attestations: []string{slsa}}, func(w *world) { w.refer("", attested(w)) }, None},
		{"a payload of another type", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": envelopeOf("application/json", []byte(`{}`), good)})
		}, Unreadable},
		{"a payload that is no statement", Policy{}, func(w *world) { w.refer("", object{"dsseEnvelope": envelopeOf(TypeInToto, []byte(`[]`), good)}) }, Unreadable},
		{"a statement of an unknown version", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": envelopeOf(TypeInToto, document(object{"_type": "https://in-toto.io/Statement/v9", "predicateType": PredicateSignature,
				"subject": []object{{"digest": object{"sha256": w.image.Encoded()}}}}), good)})
		}, Unreadable},
		{"a statement about two images", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": envelopeOf(TypeInToto, document(object{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": PredicateSignature,
				"subject": []object{{"digest": object{"sha256": strings.Repeat("0", 64)}}, {"digest": object{"sha256": w.image.Encoded()}}}}), good)})
		}, ""},
		{"the digest under another algorithm", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": envelopeOf(TypeInToto, document(object{"_type": "https://in-toto.io/Statement/v1", "predicateType": PredicateSignature,
				"subject": []object{{"digest": object{"sha512": w.image.Encoded()}}}}), good)})
		}, OtherDigest},
		{"a signature of something else by the key", Policy{}, func(w *world) { w.tag(".sig", w.simple(good, func(c object) { c["type"] = "a letter" })) }, Unreadable},
		{"a changed payload", Policy{}, func(w *world) {
			e := enveloped(PredicateSignature, w.image, good)
			e["payload"] = enveloped(slsa, w.image, good)["payload"]
			w.refer("", object{"dsseEnvelope": e})
		}, WrongKey},
		{"an envelope without signatures", Policy{}, func(w *world) { w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image)}) }, WrongKey},
		{"a signature that is not base64", Policy{}, func(w *world) {
			l := w.simple(good, nil)
			l["annotations"] = map[string]string{AnnotationSignature: "?"}
			w.tag(".sig", l)
		}, Unreadable},
		{"a bundle that is no JSON", Policy{}, func(w *world) {
			w.referAs("application/vnd.dev.sigstore.bundle.v0.3+json", "", w.layer("application/vnd.dev.sigstore.bundle.v0.3+json", []byte("<html>"), nil))
		}, Unreadable},
		{"a manifest that is no JSON", Policy{}, func(w *world) {
			w.tag(".sig")
			w.manifests[w.tags["sha256-"+w.image.Encoded()+".sig"]] = []byte("<html>")
		}, Unreadable},
		{"a list of what is gone", Policy{}, func(w *world) { w.refer("", signed(w)); clear(w.manifests) }, Unreadable},
		{"a blob that is gone", Policy{}, func(w *world) { w.refer("", signed(w)); clear(w.blobs) }, Unreadable},
		{"a bundle of 100 MB", Policy{}, func(w *world) {
			l := w.layer("application/vnd.dev.sigstore.bundle.v0.3+json", document(signed(w)), nil)
			l["size"] = 100 << 20
			w.referAs("application/vnd.dev.sigstore.bundle.v0.3+json", "", l)
		}, Unreadable},
		{"a bundle that is larger than it says", Policy{}, func(w *world) {
			w.refer("", object{"x": strings.Repeat("x", MaxBytes)})
		}, Unreadable},
		{"10,000 SBOMs before it", Policy{}, func(w *world) {
			for range 10_000 {
				w.referrers = append(w.referrers, image.Referrer{Descriptor: image.Descriptor{Digest: w.image}, ArtifactType: "application/spdx+json"})
			}
			w.refer("", signed(w))
		}, ""},
		{"1,000 attestations before it, annotated", Policy{}, func(w *world) {
			for range 1000 {
				w.referrers = append(w.referrers, image.Referrer{Descriptor: image.Descriptor{Digest: w.image}, ArtifactType: MediaBundle + ".v0.3+json", Predicate: slsa})
			}
			w.refer(PredicateSignature, signed(w))
		}, ""},
		{"1,000 bundles of others", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, bad)})
			for range 1000 {
				w.referrers = append(w.referrers, w.referrers[0])
			}
		}, TooMany},
		{"64 signatures of another before it", Policy{}, func(w *world) {
			w.tag(".sig", append(slices.Repeat([]object{w.simple(bad, nil)}, 64), w.simple(good, nil))...)
		}, ""},
		{"64 bundles of another before it", Policy{}, func(w *world) {
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, bad)})
			w.referrers = slices.Repeat(w.referrers, 64)
			w.refer("", signed(w))
		}, ""},
		{"URL-safe base64", Policy{}, func(w *world) {
			e := enveloped(PredicateSignature, w.image, good, good, good, good)
			for _, s := range e["signatures"].([]object) { //nolint:forcetypeassert // as made above
				s["sig"] = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(s["sig"].(string)) //nolint:forcetypeassert // as made above
			}
			w.refer("", object{"dsseEnvelope": e})
		}, ""},
		{"an image of sha512", Policy{}, func(w *world) {
			sum := sha512.Sum512([]byte("x"))
			w.image = image.Digest("sha512:" + hex.EncodeToString(sum[:]))
			w.broken["head"] = errors.New("no such request")
		}, None},
		{"1,000 signatures in one manifest", Policy{}, func(w *world) {
			l := w.simple(bad, nil)
			layers := []object{}
			for range 1000 {
				layers = append(layers, l)
			}
			w.tag(".sig", layers...)
		}, TooMany},
		{"1,000 signatures in one envelope", Policy{}, func(w *world) {
			many := make([]signer, 1000)
			for i := range many {
				many[i] = bad
			}
			w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, many...)})
		}, TooMany},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			tt.write(w)
			p := tt.policy
			p.Keys = []Key{good.Key, second.Key}
			r, err := p.Verify(t.Context(), w, w.ref())
			if err != nil {
				t.Fatal(err)
			}
			if r.Code != tt.want || r.Verified != (tt.want == "") || (r.Problem == "") != r.Verified {
				t.Errorf("%q (%s), want %q:\n%s", r.Code, r.Problem, tt.want, lines(r))
			}
			if len(w.asked) > 3*MaxManifests+10 {
				t.Errorf("%d requests", len(w.asked))
			}
		})
	}
}

// TestFailureIsNoVerdict: what cannot be looked at is an error.
func TestFailureIsNoVerdict(t *testing.T) {
	good := ellipticSigner(t, "good")
	down := errors.New("502 Bad Gateway")
	for _, broken := range []string{"head", "referrers", "manifest", "blob"} {
		w := newWorld()
		w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, good)})
		w.broken[broken] = down
		keys := []Key{good.Key}
		if broken == "head" { // then the bundle is there
			if r, err := (Policy{Keys: keys}).Verify(t.Context(), w, w.ref()); err != nil || !r.Verified {
				t.Errorf("%s: %v, %+v", broken, err, r)
			}
			keys = []Key{ellipticSigner(t, "bad").Key}
		}
		if r, err := (Policy{Keys: keys}).Verify(t.Context(), w, w.ref()); !errors.Is(err, down) {
			t.Errorf("%s: %v, %+v", broken, err, r)
		}
	}
	w := newWorld()
	w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, good)})
	w.blobs[w.onlyBlob()] = []byte("other bytes")
	if _, err := (Policy{Keys: []Key{good.Key}}).Verify(t.Context(), w, w.ref()); !errors.Is(err, image.ErrCorrupt) {
		t.Errorf("other bytes: %v", err)
	}
	w.tag(".sig", w.simple(good, nil))
	w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, good), "another": 1})
	for _, all := range []bool{false, true} {
		if r, err := (Policy{Keys: []Key{good.Key}, All: all}).Verify(t.Context(), w, w.ref()); err != nil || !r.Verified {
			t.Errorf("other bytes beside a good one: %v", err)
		}
	}
}

// TestBudget: 64 manifests of 64 signatures each, all of which name one payload, fetch it once; payloads of their own are fetched up to a bound.
func TestBudget(t *testing.T) {
	fulltest.Long(t)
	bad := ellipticSigner(t, "bad")
	blobs := func(w *world) (n int) {
		if r, err := (Policy{Keys: []Key{bad.Key}, Threshold: 2}).Verify(t.Context(), w, w.ref()); err != nil || r.Verified {
			t.Errorf("%v, %+v", err, r)
		}
		for _, asked := range w.asked {
			if strings.HasPrefix(asked, "blob ") {
				n++
			}
		}
		return n
	}
	one, many := newWorld(), newWorld()
	for range 64 {
		one.referAs(MediaCosignArtifact, "", slices.Repeat([]object{one.simple(bad, nil)}, 64)...)
		many.referAs(MediaCosignArtifact, "", many.layer(MediaSimpleSigning, bytes.Repeat([]byte{byte(len(many.blobs))}, MaxBytes), nil))
	}
	if n := blobs(one); n != 1 {
		t.Errorf("one payload was fetched %d times", n)
	}
	if n := blobs(many); n > MaxFetched/MaxBytes+1 {
		t.Errorf("%d payloads of a MiB were fetched", n)
	}
}

// TestSigners: the keys of one name are those of one signer, and a key of two names counts once.
func TestSigners(t *testing.T) {
	a, b, c := ellipticSigner(t, "one"), ellipticSigner(t, "one"), ellipticSigner(t, "two")
	again := a.Key
	again.Name = "three"
	w := newWorld()
	w.tag(".sig", w.simple(a, nil), w.simple(b, nil))
	keys := []Key{a.Key, b.Key, c.Key, again}
	if n := (Policy{Keys: keys}).Different(); n != 2 {
		t.Errorf("%d signers", n)
	}
	if r, err := (Policy{Keys: keys, Threshold: 2}).Verify(t.Context(), w, w.ref()); err != nil || r.Code != TooFew {
		t.Errorf("two keys of one signer: %v, %+v", err, r)
	}
	w.refer("", object{"dsseEnvelope": enveloped(PredicateSignature, w.image, c)})
	if r, err := (Policy{Keys: keys, Threshold: 2}).Verify(t.Context(), w, w.ref()); err != nil || !r.Verified {
		t.Errorf("two signers: %v, %+v", err, r)
	}
}

func TestParseKeys(t *testing.T) {
	pub := string(read(t, "fallback/cosign.pub"))
	other := string(read(t, "fallback/other.pub"))
	block := func(kind, body string) string {
		return "-----BEGIN " + kind + "-----\n" + body + "\n-----END " + kind + "-----\n"
	}
	const secret = "c2VjcmV0"
	tests := []struct {
		name, text string
		keys       int
		want       string
	}{
		{"one", pub, 1, ""},
		{"two", pub + "\n" + other, 2, ""},
		{"of Windows", "\ufeff" + strings.ReplaceAll(pub, "\n", "\r\n"), 1, ""},
		{"a comment before it", "release key\n" + pub, 1, ""},
		{"nothing", "", 0, "has no key"},
		{"spaces", " \n", 0, "has no key"},
		{"no PEM", secret, 0, `has text that is no PEM: a public key begins with "-----BEGIN PUBLIC KEY-----"`},
		{"cut off", pub[:60], 0, "has a PEM block that cannot be read"},
		{"broken before a good one", strings.Replace(pub, "M", "?", 1) + other, 0, "has a PEM block that cannot be read"},
		{"a private key", block("ENCRYPTED SIGSTORE PRIVATE KEY", secret), 0, `has a private key: only the public one is needed, which "cosign public-key" prints`},
		{"a certificate", block("CERTIFICATE", secret), 0, "has a certificate, not a public key: who signs with a certificate is named by an identity (keyless)"},
		{"something else", block("PGP PUBLIC KEY BLOCK", secret), 0, `has a "PGP PUBLIC KEY BLOCK", not a public key`},
		{"broken", block("PUBLIC KEY", secret), 0, "has a public key that cannot be read"},
	}
	for _, tt := range tests {
		keys, err := ParseKeys("k", []byte(tt.text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || len(keys) != tt.keys || strings.Contains(got, secret) {
			t.Errorf("%s: %d keys, %q", tt.name, len(keys), got)
		}
	}
	if diff := cmp.Diff("vsexByha5mWt62u/EpvxJzDUAMxYahkWKJcJ3yVGNsc=", keysOf(t, "fallback/cosign.pub")[0].Fingerprint()); diff != "" {
		t.Error(diff)
	}
}

// FuzzBundle: nothing that a registry serves in place of a bundle panics, and none of it counts.
func FuzzBundle(f *testing.F) {
	for i := range 4 {
		f.Add(read(f, fmt.Sprintf("referrers/bundle/%d-bundle.json", i)))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	stranger := newSigner(f, "stranger", key, crypto.SHA256, false)
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWorld()
		w.referAs("application/vnd.dev.sigstore.bundle.v0.3+json", "", w.layer("application/vnd.dev.sigstore.bundle.v0.3+json", raw, nil))
		w.tag(".sig", w.layer(MediaSimpleSigning, raw, map[string]string{AnnotationSignature: string(raw)}))
		w.tag(".att", w.layer(MediaDSSE, raw, nil))
		if r, err := (Policy{Keys: []Key{stranger.Key}, All: true}).Verify(t.Context(), w, w.ref()); err != nil || r.Verified {
			t.Errorf("%v, %+v", err, r)
		}
	})
}
