package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	sigroot "github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/keyless"
	. "github.com/draysync/dray/internal/signature"
)

// identity is one of the policy of a test.
func identity(name, issuer, subject string, r Root) Identity {
	return Identity{name, regexp.MustCompile(`\A(?:` + issuer + `)\z`), regexp.MustCompile(`\A(?:` + subject + `)\z`), r}
}

// maxPart is that of package keyless.
const maxPart = 64 << 10

const mediaV03 = "application/vnd.dev.sigstore.bundle.v0.3+json"

// TestKeyless has each way in which a keyless signature is right or wrong, in both forms.
func TestKeyless(t *testing.T) {
	i, stranger := newInstance(t), newInstance(t)
	own := i.trust(t)
	changed := func(change func(*trust)) trust {
		c := own
		c.logs, c.ct = maps.Clone(own.logs), maps.Clone(own.ct)
		change(&c)
		return c
	}
	ended := func() *sigroot.FulcioCertificateAuthority {
		ended := *own.authorities[0].(*sigroot.FulcioCertificateAuthority) //nolint:forcetypeassert // as made
		return &ended
	}
	past := func(tr *trust) {
		c := ended()
		c.ValidityPeriodEnd = time.Now().Add(-time.Minute)
		tr.authorities = []sigroot.CertificateAuthority{c}
	}
	exactly := Exactly
	tests := []struct {
		name            string
		subject, issuer *regexp.Regexp
		trust           trust
		change          func(*signing)
		want            Code
	}{
		{name: "the workflow"},
		{name: "any release of the workflow", subject: regexp.MustCompile(`\A(?:^https://github\.com/acme/[^/]+/\.github/workflows/release\.yml@refs/tags/.*)\z`)},
		{name: "another repository", change: func(s *signing) { s.subject = strings.Replace(workflow, "acme/app", "acme/fork", 1) }, want: WrongIdentity},
		{name: "another owner, whose name begins alike", change: func(s *signing) { s.subject = strings.Replace(workflow, "acme", "acme-evil", 1) }, want: WrongIdentity},
		{name: "another branch", change: func(s *signing) { s.subject = strings.Replace(workflow, "tags/v1", "heads/x", 1) }, want: WrongIdentity},
		{name: "a longer subject", change: func(s *signing) { s.subject += "0" }, want: WrongIdentity},
		{name: "another issuer", change: func(s *signing) { s.issuer = "https://accounts.google.com" }, want: WrongIdentity},
		{name: "an issuer whose name begins alike", change: func(s *signing) { s.issuer += ".evil.example" }, want: WrongIdentity},
		{name: "no issuer", change: func(s *signing) { s.issuer = "" }, want: WrongIdentity},
		{name: "a mail address", subject: exactly("ann@acme.example"), change: func(s *signing) { s.subject = "ann@acme.example" }},
		{name: "another mail address", subject: exactly("ann@acme.example"), change: func(s *signing) { s.subject = "bob@acme.example" }, want: WrongIdentity},
		{name: "a certificate that is valid now", change: func(s *signing) { s.to = 5 * time.Minute }},
		{name: "signed after the certificate has expired", change: func(s *signing) { s.at = -5 * time.Second }, want: Untrusted},
		{name: "signed before the certificate was valid", change: func(s *signing) { s.at = -105 * time.Second }, want: Untrusted},
		{name: "expired, with a timestamp from when it was valid", trust: changed(func(tr *trust) { tr.logs = nil }), change: func(s *signing) { s.to, s.promise, s.proof, s.stamp = 5*time.Minute, false, false, true }},
		{name: "expired, with a timestamp from later", trust: changed(func(tr *trust) { tr.logs = nil }), change: func(s *signing) { s.promise, s.proof, s.stamp = false, false, true }, want: Untrusted},
		{name: "expired, without any time", trust: changed(func(tr *trust) { tr.logs = nil }), change: func(s *signing) { s.promise, s.proof = false, false }, want: Untrusted},
		{name: "the log's time and a timestamp that contradicts it", change: func(s *signing) { s.stamp = true }, want: Untrusted},
		{name: "the log's time and a timestamp", change: func(s *signing) { s.to, s.stamp = 5*time.Minute, true }},
		{name: "a timestamp, and no entry in the log", change: func(s *signing) { s.to, s.promise, s.proof, s.stamp = 5*time.Minute, false, false, true }, want: Untrusted},
		{name: "a timestamp of an authority that is not trusted", trust: changed(func(tr *trust) { tr.logs, tr.stamps = nil, stranger.TimestampingAuthorities() }), change: func(s *signing) { s.to, s.promise, s.proof, s.stamp = 5*time.Minute, false, false, true }, want: Untrusted},
		{name: "no certificate transparency", change: func(s *signing) { s.sct = false }, want: Untrusted},
		{name: "no certificate transparency, and none is asked for", trust: changed(func(tr *trust) { tr.ct = nil }), change: func(s *signing) { s.sct = false }},
		{name: "another certificate transparency log", trust: changed(func(tr *trust) { tr.ct = stranger.trust(t).ct }), want: Untrusted},
		{name: "the authority is gone from the trusted root", trust: changed(func(tr *trust) { tr.authorities = stranger.trust(t).authorities }), want: Untrusted},
		{name: "the authority had ended in the trusted root", trust: changed(past), change: func(s *signing) { s.at = -30 * time.Second }, want: Untrusted},
		{name: "the authority ended later", trust: changed(past), change: func(s *signing) { s.at = -90 * time.Second }},
		{name: "the log is gone from the trusted root", trust: changed(func(tr *trust) { tr.logs = stranger.trust(t).logs }), want: Untrusted},
		{name: "the log's key had ended", trust: changed(func(tr *trust) {
			for id, log := range tr.logs {
				c := *log
				c.ValidityPeriodEnd = time.Now().Add(-time.Minute)
				tr.logs[id] = &c
			}
		}), want: Untrusted},
		{name: "keys were rotated: a new authority and log beside the old ones", trust: changed(func(tr *trust) {
			other := stranger.trust(t)
			tr.authorities = append(other.authorities, tr.authorities...)
			maps.Copy(tr.logs, other.logs)
			maps.Copy(tr.ct, other.ct)
		})},
		{name: "the entry is about something else", change: func(s *signing) {
			s.entry = func(e *protorekor.TransparencyLogEntry) { e.CanonicalizedBody = otherEntry(t, i) }
		}, want: Untrusted},
	}
	for _, tt := range tests {
		for _, form := range []Form{Bundle, CosignTag, CosignReferrer} {
			t.Run(tt.name+"/"+string(form), func(t *testing.T) {
				w := newWorld()
				s := i.signing(PredicateSignature, w.image)
				if tt.change != nil {
					tt.change(&s)
				}
				trusted := tt.trust
				if trusted.authorities == nil {
					trusted = own
				}
				subject, issuer := tt.subject, tt.issuer
				if subject == nil {
					subject = exactly(workflow)
				}
				if issuer == nil {
					issuer = exactly(actions)
				}
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
				r, err := (Policy{Identities: []Identity{{"acme", issuer, subject, trusted.root(t)}}}).Verify(t.Context(), w, w.ref())
				if err != nil {
					t.Fatal(err)
				}
				if r.Code != tt.want || r.Verified != (tt.want == "") {
					t.Errorf("%q (%s), want %q:\n%s", r.Code, r.Problem, tt.want, lines(r))
				}
				if r.Verified && (r.Signatures[0].Subject != s.subject || r.Signatures[0].Issuer != s.issuer || r.Signatures[0].Time == nil || r.Signatures[0].Problem != "") {
					t.Errorf("%+v", r.Signatures[0])
				}
				other := newWorld() // the same on another image
				other.image = image.DigestOf([]byte("another"), "")
				other.manifests, other.blobs, other.referrers = w.manifests, w.blobs, w.referrers
				for _, d := range w.tags {
					other.tags["sha256-"+other.image.Encoded()+".sig"] = d
				}
				if r, err := (Policy{Identities: []Identity{{"acme", issuer, subject, trusted.root(t)}}}).Verify(t.Context(), other, other.ref()); err != nil || r.Verified || tt.want == "" && r.Code != OtherDigest {
					t.Errorf("on another image: %v, %+v", err, r)
				}
			})
		}
	}
}

// otherEntry is the entry of the log for another signature.
func otherEntry(t *testing.T, i *instance) []byte {
	t.Helper()
	return i.signing(PredicateSignature, image.DigestOf([]byte("x"), "")).bundle(t).GetVerificationMaterial().GetTlogEntries()[0].GetCanonicalizedBody()
}

// TestKeylessBundles has what is only wrong with a bundle.
func TestKeylessBundles(t *testing.T) {
	i := newInstance(t)
	trusted := i.trust(t)
	key := ellipticSigner(t, "key")
	acme := identity("acme", actions, workflow, trusted.root(t))
	changed := func(change func(*protobundle.Bundle)) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			b := i.signing(PredicateSignature, w.image).bundle(t)
			change(b)
			text, err := protojson.Marshal(b)
			ok(t, err)
			w.referAs(mediaV03, "", w.layer(mediaV03, text, nil))
		}
	}
	text := func(change func(string) string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			w.referAs(mediaV03, "", w.layer(mediaV03, []byte(change(string(i.signing(PredicateSignature, w.image).json(t)))), nil))
		}
	}
	entry := func(b *protobundle.Bundle) *protorekor.TransparencyLogEntry {
		return b.GetVerificationMaterial().GetTlogEntries()[0]
	}
	tests := []struct {
		name   string
		policy Policy
		write  func(*testing.T, *world)
		want   Code
	}{
		{"as it was signed", Policy{}, changed(func(*protobundle.Bundle) {}), ""},
		{"a changed payload", Policy{}, changed(func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = append(b.GetDsseEnvelope().GetPayload(), ' ')
		}), Untrusted},
		{"a changed signature", Policy{}, changed(func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures[0].Sig[9] ^= 1 }), Untrusted},
		{"a changed certificate", Policy{}, changed(func(b *protobundle.Bundle) {
			raw := b.GetVerificationMaterial().GetCertificate().GetRawBytes()
			raw[len(raw)-1] ^= 1
		}), Untrusted},
		{"another certificate of the same subject", Policy{}, changed(func(b *protobundle.Bundle) {
			c, _ := i.signing(slsa, image.DigestOf(nil, "")).certificate(t)
			b.GetVerificationMaterial().GetCertificate().RawBytes = c.Raw
		}), Untrusted},
		{"two signatures", Policy{}, changed(func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Signatures = append(b.GetDsseEnvelope().Signatures, b.GetDsseEnvelope().Signatures[0])
		}), Untrusted},
		{"no signature", Policy{}, changed(func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures = nil }), Untrusted},
		{"no inclusion proof", Policy{}, changed(func(b *protobundle.Bundle) { entry(b).InclusionProof = nil }), Unreadable},
		{"no promise, and no timestamp", Policy{}, changed(func(b *protobundle.Bundle) { entry(b).InclusionPromise = nil }), Untrusted},
		{"a changed promise", Policy{}, changed(func(b *protobundle.Bundle) { entry(b).InclusionPromise.SignedEntryTimestamp[9] ^= 1 }), Untrusted},
		{"a changed time", Policy{}, changed(func(b *protobundle.Bundle) { entry(b).IntegratedTime++ }), Untrusted},
		{"a changed root hash", Policy{}, changed(func(b *protobundle.Bundle) { entry(b).InclusionProof.RootHash[0] ^= 1 }), Untrusted},
		{"a changed checkpoint", Policy{}, changed(func(b *protobundle.Bundle) {
			c := entry(b).InclusionProof.Checkpoint
			c.Envelope = strings.Replace(c.GetEnvelope(), "42", "43", 1)
		}), Untrusted},
		{"no entry", Policy{}, changed(func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }), Untrusted},
		{"the same entry twice", Policy{}, changed(func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, entry(b))
		}), Untrusted},
		{"33 entries", Policy{}, changed(func(b *protobundle.Bundle) {
			for range 32 {
				b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, entry(b))
			}
		}), Unreadable},
		{"a public key in place of the certificate", Policy{}, text(func(s string) string {
			return regexp.MustCompile(`"certificate": *\{[^}]*\}`).ReplaceAllString(s, `"publicKey":{"hint":"x"}`)
		}), WrongIdentity},
		{"a large certificate", Policy{}, func(t *testing.T, w *world) {
			s := i.signing(PredicateSignature, w.image)
			s.subject += strings.Repeat("a", maxPart)
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
		}, Unreadable},
		{"a large timestamp", Policy{}, changed(func(b *protobundle.Bundle) {
			b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: make([]byte, maxPart+1)}}}
		}), Unreadable},
		{"a timestamp that is none, beside the log's time", Policy{}, changed(func(b *protobundle.Bundle) {
			b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: bytes.Repeat([]byte{0x30, 0x80}, maxPart/2)}}}
		}), ""},
		{"an entry that is nested deeply", Policy{}, changed(func(b *protobundle.Bundle) { entry(b).CanonicalizedBody = bytes.Repeat([]byte("["), 100_000) }), Unreadable},
		{"a version that is not known", Policy{}, text(func(s string) string { return strings.Replace(s, "bundle.v0.3", "bundle.v0.9", 1) }), Unreadable},
		{"two envelopes", Policy{}, text(func(s string) string {
			return strings.Replace(s, `{`, `{"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]},`, 1)
		}), Unreadable},
		{"an envelope in two spellings", Policy{}, text(func(s string) string {
			return s[:strings.LastIndex(s, "}")] + `,"DSSEEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`
		}), Unreadable},
		{"provenance in place of a signature", Policy{}, func(t *testing.T, w *world) {
			w.referAs(mediaV03, PredicateSignature, w.layer(mediaV03, i.signing(slsa, w.image).json(t), nil))
		}, None},
		{"provenance as well", Policy{Attestations: []string{slsa}}, func(t *testing.T, w *world) {
			for _, predicate := range []string{slsa, PredicateSignature} {
				w.referAs(mediaV03, predicate, w.layer(mediaV03, i.signing(predicate, w.image).json(t), nil))
			}
		}, ""},
		{"provenance by another repository", Policy{Attestations: []string{slsa}}, func(t *testing.T, w *world) {
			s := i.signing(slsa, w.image)
			s.subject = strings.Replace(workflow, "app", "fork", 1)
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
			w.referAs(mediaV03, "", w.layer(mediaV03, i.signing(PredicateSignature, w.image).json(t), nil))
		}, NoAttestation},
		{"provenance by tag", Policy{Attestations: []string{slsa}}, func(t *testing.T, w *world) {
			w.referAs(mediaV03, "", w.layer(mediaV03, i.signing(PredicateSignature, w.image).json(t), nil))
			w.tag(".att", attached(t, w, i.signing(slsa, w.image)))
		}, ""},
		{"provenance by tag of another repository", Policy{Attestations: []string{slsa}}, func(t *testing.T, w *world) {
			s := i.signing(slsa, w.image)
			s.subject = strings.Replace(workflow, "app", "fork", 1)
			w.referAs(mediaV03, "", w.layer(mediaV03, i.signing(PredicateSignature, w.image).json(t), nil))
			w.tag(".att", attached(t, w, s))
		}, NoAttestation},
		{"another payload type", Policy{}, changed(func(b *protobundle.Bundle) { b.GetDsseEnvelope().PayloadType = "application/json" }), Unreadable},
		{"a key and an identity", Policy{Threshold: 2, Keys: []Key{key.Key}}, func(t *testing.T, w *world) {
			w.tag(".sig", w.simple(key, nil))
			w.referAs(mediaV03, "", w.layer(mediaV03, i.signing(PredicateSignature, w.image).json(t), nil))
		}, ""},
		{"an identity twice, and no key", Policy{Threshold: 2, Keys: []Key{key.Key}}, func(t *testing.T, w *world) {
			for range 2 {
				w.referAs(mediaV03, "", w.layer(mediaV03, i.signing(PredicateSignature, w.image).json(t), nil))
			}
		}, TooFew},
		{"one certificate that two identities let in", Policy{Threshold: 2, Identities: []Identity{identity("all", ".*", ".*", acme.Root)}}, func(t *testing.T, w *world) {
			w.referAs(mediaV03, "", w.layer(mediaV03, i.signing(PredicateSignature, w.image).json(t), nil))
		}, TooFew},
		{"two identities", Policy{Threshold: 2, Identities: []Identity{identity("ann", ".*", "ann@.*", acme.Root)}}, func(t *testing.T, w *world) {
			s := i.signing(PredicateSignature, w.image)
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
			s.subject = "ann@acme.example"
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
		}, ""},
		{"a signature by a key, which the policy has not", Policy{}, func(t *testing.T, w *world) { w.tag(".sig", w.simple(key, nil)) }, WrongIdentity},
		{"a wrong one before the right one", Policy{}, func(t *testing.T, w *world) {
			s := i.signing(PredicateSignature, w.image)
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
			s.subject = "mallory@evil.example"
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
		}, ""},
		{"Rekor's second version", Policy{}, func(t *testing.T, w *world) {
			w.referAs(mediaV03, "", w.layer(mediaV03, second(t, i, w.image, false), nil))
		}, ""},
		{"Rekor's second version, without a timestamp", Policy{}, func(t *testing.T, w *world) {
			w.referAs(mediaV03, "", w.layer(mediaV03, second(t, i, w.image, true), nil))
		}, Untrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			tt.write(t, w)
			p := tt.policy
			p.Identities = append([]Identity{acme}, p.Identities...)
			if strings.HasPrefix(tt.name, "Rekor's") {
				tr := trusted
				tr.authorities, tr.ct = i.FulcioCertificateAuthorities(), nil
				p.Identities = []Identity{identity("ann", actions, "ann@acme.example", tr.root(t))}
			}
			r, err := p.Verify(t.Context(), w, w.ref())
			if err != nil {
				t.Fatal(err)
			}
			if r.Code != tt.want || r.Verified != (tt.want == "") {
				t.Errorf("%q (%s), want %q:\n%s", r.Code, r.Problem, tt.want, lines(r))
			}
		})
	}
}

// attached is an attestation as cosign before 3.0 writes it.
func attached(t *testing.T, w *world, s signing) object {
	t.Helper()
	b := s.bundle(t)
	e := b.GetVerificationMaterial().GetTlogEntries()[0]
	return w.layer(MediaDSSE, document(object{"payloadType": TypeInToto, "payload": s.payload, "signatures": []object{{"sig": b.GetDsseEnvelope().GetSignatures()[0].GetSig()}}}), map[string]string{
		AnnotationCertificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.GetVerificationMaterial().GetCertificate().GetRawBytes()})),
		AnnotationBundle: string(document(object{"SignedEntryTimestamp": e.GetInclusionPromise().GetSignedEntryTimestamp(), "Payload": object{
			"body": e.GetCanonicalizedBody(), "integratedTime": e.GetIntegratedTime(), "logIndex": e.GetLogIndex(), "logID": hex.EncodeToString(e.GetLogId().GetKeyId()),
		}})),
	})
}

// second is a bundle with an entry of Rekor's second version, which has no time of its own.
func second(t *testing.T, i *instance, about image.Digest, unstamped bool) []byte {
	t.Helper()
	s := i.signing(PredicateSignature, about)
	entity, err := i.AttestHashedRekordV2("ann@acme.example", actions, s.payload)
	ok(t, err)
	b := s.bundle(t)
	content, err := entity.VerificationContent()
	ok(t, err)
	b.GetVerificationMaterial().GetCertificate().RawBytes = content.Certificate().Raw
	signed, err := entity.SignatureContent()
	ok(t, err)
	b.GetDsseEnvelope().Signatures[0].Sig = signed.Signature()
	entries, err := entity.TlogEntries()
	ok(t, err)
	b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{entries[0].TransparencyLogEntry()}
	if !unstamped {
		stamp, err := i.TimestampResponse(signed.Signature())
		ok(t, err)
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}}}
	}
	text, err := protojson.Marshal(b)
	ok(t, err)
	return text
}

// TestKeylessSamples has what cosign's library signed, in both registries.
func TestKeylessSamples(t *testing.T) {
	for _, dir := range []string{"fallback", "referrers"} {
		text := read(t, dir+"/keyless/trusted_root.json")
		var doc object
		ok(t, json.Unmarshal(text, &doc))
		delete(doc, "ctlogs") // the certificates of the samples were seen by none
		r, err := keyless.ParseRoot(document(doc))
		ok(t, err)
		strict, err := keyless.ParseRoot(text)
		ok(t, err)
		for name, tt := range map[string]struct {
			Identity
			want Code
		}{
			"the workflow":             {identity("acme", actions, workflow, r), ""},
			"another issuer":           {identity("acme", "https://accounts.google.com", workflow, r), WrongIdentity},
			"another subject":          {identity("acme", actions, strings.Replace(workflow, "app", "web", 1), r), WrongIdentity},
			"certificate transparency": {identity("acme", actions, workflow, strict), Untrusted},
		} {
			w := sample(t, dir)
			report, err := (Policy{Identities: []Identity{tt.Identity}}).Verify(t.Context(), w, w.ref())
			if err != nil || report.Code != tt.want || report.Verified != (tt.want == "") {
				t.Errorf("%s, %s: %v, %q (%s)\n%s", dir, name, err, report.Code, report.Problem, lines(report))
			}
		}
	}
}

func TestParseRoot(t *testing.T) {
	own := newInstance(t).trust(t)
	without := func(change func(*trust)) string {
		c := own
		change(&c)
		return string(c.json(t))
	}
	for text, want := range map[string]string{
		string(own.json(t)):                                        "",
		"\ufeff" + string(own.json(t)):                             "",
		without(func(tr *trust) { tr.logs = nil }):                 "",
		without(func(tr *trust) { tr.stamps = nil }):               "",
		without(func(tr *trust) { tr.authorities = nil }):          "without certificate authorities",
		without(func(tr *trust) { tr.logs, tr.stamps = nil, nil }): "neither transparency logs nor timestamp authorities",
		"":                          "has no trusted root",
		"{}":                        "has no trusted root",
		"-----BEGIN CERTIFICATE---": "has no trusted root",
		string(own.json(t)) + "\n" + string(own.json(t)): "has no trusted root",
	} {
		_, err := keyless.ParseRoot([]byte(text))
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// TestMatching: a regular expression matches from beginning to end.
func TestMatching(t *testing.T) {
	for _, tt := range []struct {
		expression, text string
		want             bool
	}{
		{"https://a", "https://a", true}, {"https://a", "https://a-evil", false}, {"^https://a", "https://a/x", false}, {"^https://a/.*", "https://a/x", true},
		{"^a$|b", "xb", false}, {"a|b", "ab", false}, {"(?m)^a$", "a\nb", false}, {"a.*", "a\nb", false}, {"", "", true}, {"", "a", false},
	} {
		r, err := Matching(tt.expression)
		ok(t, err)
		if r.MatchString(tt.text) != tt.want {
			t.Errorf("%q, %q", tt.expression, tt.text)
		}
	}
	for _, broken := range []string{"a)|(b", "(", "["} {
		if _, err := Matching(broken); err == nil {
			t.Errorf("%q compiles", broken)
		}
	}
	if Exactly("a.b").MatchString("axb") || !Exactly("a.b").MatchString("a.b") {
		t.Error("Exactly")
	}
}

// TestKeylessBudget: no more certificates are verified than a bound.
func TestKeylessBudget(t *testing.T) {
	i := newInstance(t)
	w := newWorld()
	s := i.signing(PredicateSignature, w.image)
	s.payload = simplePayload(w.image)
	l := w.layer(MediaSimpleSigning, s.payload, s.annotations(t))
	for range 5 {
		layers := []object{}
		for range 64 {
			layers = append(layers, l)
		}
		w.referAs(MediaCosignArtifact, "", layers...)
	}
	r, err := (Policy{Identities: []Identity{identity("acme", actions, "nobody", i.trust(t).root(t))}}).Verify(t.Context(), w, w.ref())
	if err != nil || r.Code != TooMany {
		t.Errorf("%v, %q (%s)", err, r.Code, r.Problem)
	}
}

// FuzzKeyless: nothing that anybody can push in place of a keyless signature counts.
func FuzzKeyless(f *testing.F) {
	i, stranger := newInstance(f), newInstance(f)
	w := newWorld()
	s := stranger.signing(PredicateSignature, w.image)
	f.Add(s.json(f), "", "", "")
	s.payload, s.stamp = simplePayload(w.image), true
	all := s.annotations(f)
	f.Add([]byte("{}"), all[AnnotationCertificate], all[AnnotationBundle], all[AnnotationTimestamp])
	r := i.trust(f).root(f)
	f.Fuzz(func(t *testing.T, raw []byte, certificate, entry, stamp string) {
		w := newWorld()
		w.referAs(mediaV03, "", w.layer(mediaV03, raw, nil))
		annotations := map[string]string{AnnotationSignature: base64.StdEncoding.EncodeToString(raw), AnnotationCertificate: certificate, AnnotationBundle: entry, AnnotationTimestamp: stamp}
		w.tag(".sig", w.layer(MediaSimpleSigning, simplePayload(w.image), annotations))
		w.tag(".att", w.layer(MediaDSSE, raw, annotations))
		if r, err := (Policy{Identities: []Identity{identity("all", ".*", ".*", r)}, All: true}).Verify(t.Context(), w, w.ref()); err != nil || r.Verified {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

// TestRetiredLogKey: a log's key proves nothing of what was signed after its end, with the log's promise or with a proof only.
func TestRetiredLogKey(t *testing.T) {
	i := newInstance(t)
	for _, promise := range []bool{true, false} {
		for ended, want := range map[time.Duration]bool{-time.Hour: false, time.Hour: true} {
			trusted := i.trust(t)
			for _, l := range trusted.logs {
				l.ValidityPeriodStart, l.ValidityPeriodEnd = time.Now().Add(-2*time.Hour), time.Now().Add(ended)
			}
			w := newWorld()
			s := i.signing(PredicateSignature, w.image)
			s.to, s.promise, s.proof, s.stamp = 5*time.Minute, promise, true, true
			w.referAs(mediaV03, "", w.layer(mediaV03, s.json(t), nil))
			r, err := Policy{Identities: []Identity{identity("x", actions, workflow, trusted.root(t))}}.Verify(t.Context(), w, w.ref())
			if err != nil || r.Verified != want || !want && r.Code != Untrusted {
				t.Errorf("promise: %t, the key's end is %s away: %t, %s, %v", promise, ended, r.Verified, r.Code, err)
			}
		}
	}
}

// TestManyAuthoritiesOfOneRoot: a certificate is verified once for all authorities whose roots are equal, so that what strangers push does not use
// up what may be verified.
func TestManyAuthoritiesOfOneRoot(t *testing.T) {
	i := newInstance(t)
	w := newWorld()
	s := i.signing(PredicateSignature, w.image)
	s.payload = simplePayload(w.image)
	stranger := s
	stranger.subject = "https://github.com/else/x"
	var layers []object
	for range 60 {
		layers = append(layers, w.layer(MediaSimpleSigning, stranger.payload, stranger.annotations(t)))
	}
	w.referAs(MediaCosignArtifact, "", append(layers, w.layer(MediaSimpleSigning, s.payload, s.annotations(t)))...)
	var p Policy
	text := i.trust(t).json(t)
	for _, subject := range []string{workflow, "a", "b", "c", "d"} {
		r, err := keyless.ParseRoot(text)
		ok(t, err)
		p.Identities = append(p.Identities, identity(subject, actions, subject, r))
	}
	if r, err := p.Verify(t.Context(), w, w.ref()); err != nil || !r.Verified {
		t.Errorf("%s, %v", r.Code, err)
	}
}

// TestOrderOfAuthorities: what is said of a signature does not depend on the order of the authorities.
func TestOrderOfAuthorities(t *testing.T) {
	i, j := newInstance(t), newInstance(t)
	w := newWorld()
	s := i.signing(PredicateSignature, w.image)
	s.payload = simplePayload(w.image)
	w.referAs(MediaCosignArtifact, "", w.layer(MediaSimpleSigning, s.payload, s.annotations(t)))
	nobody, foreign := identity("x", actions, "nobody", i.trust(t).root(t)), identity("y", actions, "nobody", j.trust(t).root(t))
	signer := identity("z", actions, workflow, i.trust(t).root(t))
	for _, c := range []struct {
		all  []Identity
		want Code
	}{
		{[]Identity{nobody, foreign}, WrongIdentity}, {[]Identity{foreign, nobody}, WrongIdentity}, {[]Identity{foreign}, Untrusted},
		{[]Identity{signer, foreign}, ""}, {[]Identity{foreign, signer}, ""},
	} {
		r, err := Policy{Identities: c.all}.Verify(t.Context(), w, w.ref())
		if err != nil || r.Code != c.want || r.Verified != (c.want == "") || len(r.Signatures) != 1 || r.Signatures[0].Code != c.want {
			t.Errorf("%s: %+v, %v", c.all[0].Name, r, err)
		}
	}
}
