package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	sigstore "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// The bounds of keyless signatures. The library bounds log entries and timestamps by 32 each.
const (
	// maxKeyless is how often a certificate is verified for one image.
	maxKeyless = 256
	// maxPart is the size of a certificate and of a timestamp.
	maxPart = 64 << 10
	// maxProblem is how much of the library's words is kept, in bytes.
	maxProblem = 200
)

// The annotations of cosign before 3.0.
const (
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// Root is whom keyless signatures are trusted through: a trusted_root.json (sigstore/protobuf-specs, "sigstore_trustroot.proto").
type Root struct {
	sum      [sha256.Size]byte
	verifier *verify.Verifier
	logs     map[string]*root.TransparencyLog // by the ID of its key, in hex
}

// ParseRoot reads a trusted_root.json. A signature needs what it names: with transparency logs an entry in one of them, with certificate
// transparency logs a certificate that one of them has seen, and always a time that a log or a timestamp authority has signed.
func ParseRoot(text []byte) (*Root, error) {
	material, err := root.NewTrustedRootFromJSON(text)
	switch {
	case err != nil:
		return nil, errors.New("has no trusted root: it is the trusted_root.json of a Sigstore instance")
	case len(material.FulcioCertificateAuthorities()) == 0:
		return nil, errors.New("has a trusted root without certificate authorities")
	case len(material.RekorLogs())+len(material.TimestampingAuthorities()) == 0:
		return nil, errors.New("has a trusted root with neither transparency logs nor timestamp authorities, so that nothing says when something was signed")
	}
	wants := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(material.RekorLogs()) > 0 {
		wants = append(wants, verify.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		wants = append(wants, verify.WithSignedCertificateTimestamps(1))
	}
	verifier, err := verify.NewVerifier(material, wants...)
	if err != nil {
		return nil, fmt.Errorf("has a trusted root that cannot be used: %w", err)
	}
	return &Root{sha256.Sum256(text), verifier, material.RekorLogs()}, nil
}

// Identity is somebody who signs without a key of their own, with a certificate that a login has given.
type Identity struct {
	// Name is where it comes from; an identity is one signer.
	Name string
	// Issuer and Subject match what the certificate says; see [Exactly] and [Matching].
	Issuer, Subject *regexp.Regexp
	Root            *Root
}

// Exactly matches one text.
func Exactly(text string) *regexp.Regexp {
	return regexp.MustCompile(`\A` + regexp.QuoteMeta(text) + `\z`)
}

// Matching matches what a regular expression matches from beginning to end: one that is written without ^ and $ lets no longer text through.
func Matching(expression string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expression); err != nil {
		return nil, err //nolint:wrapcheck // it quotes the expression
	}
	return regexp.Compile(`\A(?:` + expression + `)\z`) //nolint:wrapcheck // it quotes the expression
}

// Fingerprint is equal for equal identities.
func (i Identity) Fingerprint() string {
	return fmt.Sprintf("%q %q %x", i.Issuer, i.Subject, i.Root.sum)
}

// certified adds the identities of the policy whose certificate has signed a bundle; else Code and Problem say why there are none. read makes the
// bundle of what was found. The image is not compared.
func (f *finder) certified(found Signature, artifact verify.ArtifactPolicyOption, read func() (*sigstore.Bundle, error)) Signature {
	if len(f.Identities) == 0 {
		return found.not(WrongKey, "it is keyless, and the policy has keys only")
	}
	b, err := read()
	if err != nil {
		return found.not(Unreadable, "%s", cut(err.Error()))
	}
	known := map[[sha256.Size]byte]answer{}
	for _, i := range f.Identities {
		result, err := f.ask(known, i.Root, b, artifact)
		switch {
		case errors.Is(err, errTooManyCertificates):
			return found.not(TooMany, "%s", err)
		case err != nil:
			if len(found.signers) == 0 && found.Code != WrongIdentity {
				found = found.not(Untrusted, "it is not what the trusted root asks for: %s", cut(err.Error()))
			}
			continue
		}
		by := result.Signature.Certificate
		found.Subject, found.Issuer, found.Time = by.SubjectAlternativeName, by.Issuer, earliest(result)
		if by.Issuer != "" && i.Issuer.MatchString(by.Issuer) && i.Subject.MatchString(by.SubjectAlternativeName) {
			found.add(fmt.Sprintf("identity %q %q", by.Issuer, by.SubjectAlternativeName), i.Name)
		} else if len(found.signers) == 0 {
			found = found.not(WrongIdentity, "it was signed by %s, of the issuer %s", cut(by.SubjectAlternativeName), cut(by.Issuer))
		}
	}
	return found
}

// answer is what a root says of a bundle.
type answer struct {
	result *verify.VerificationResult
	err    error
}

var errTooManyCertificates = fmt.Errorf("%d certificates were verified, and there are more", maxKeyless)

// ask verifies a bundle as a root wants it, once for all roots that are equal.
func (f *finder) ask(known map[[sha256.Size]byte]answer, r *Root, b *sigstore.Bundle, artifact verify.ArtifactPolicyOption) (*verify.VerificationResult, error) {
	if a, ok := known[r.sum]; ok {
		return a.result, a.err
	}
	if f.keyless >= maxKeyless {
		return nil, errTooManyCertificates
	}
	f.keyless++
	result, err := r.verify(b, artifact)
	known[r.sum] = answer{result, err}
	return result, err
}

// earliest returns the first of the times that somebody trusted has signed.
func earliest(r *verify.VerificationResult) *time.Time {
	at := slices.MinFunc(r.VerifiedTimestamps, func(a, b verify.TimestampVerificationResult) int { return a.Timestamp.Compare(b.Timestamp) }).Timestamp.UTC()
	return &at
}

// verify returns whose certificate has signed a bundle, as the root wants it.
func (r *Root) verify(b *sigstore.Bundle, artifact verify.ArtifactPolicyOption) (result *verify.VerificationResult, err error) {
	defer recovered(&err)
	result, err = r.verifier.Verify(b, verify.NewPolicy(artifact, verify.WithoutIdentitiesUnsafe()))
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // certified says what it is about
	case result.Signature.Certificate == nil:
		return nil, errors.New("it has no certificate")
	}
	if err := r.logged(b, result); err != nil {
		return nil, err
	}
	return result, nil
}

// logged checks what the library does not where an entry has a proof and no promise: that the logs' keys were valid when something was signed.
func (r *Root) logged(b *sigstore.Bundle, result *verify.VerificationResult) error {
	entries, err := b.TlogEntries()
	if err != nil {
		return err //nolint:wrapcheck // certified says what it is about
	}
	for _, entry := range entries {
		log := r.logs[hex.EncodeToString([]byte(entry.LogKeyID()))]
		if log == nil {
			continue // it proves nothing
		}
		for _, at := range result.VerifiedTimestamps {
			if at.Timestamp.Before(log.ValidityPeriodStart) || !log.ValidityPeriodEnd.IsZero() && at.Timestamp.After(log.ValidityPeriodEnd) {
				return fmt.Errorf("the key of its transparency log was not valid at %s", at.Timestamp.UTC().Format(time.RFC3339))
			}
		}
	}
	return nil
}

// recovered makes an error of a panic: a dozen parsers of the library read what anybody can push.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("it cannot be read: %v", p)
	}
}

// parseBundle reads a bundle with a certificate, strictly: unknown and repeated names are errors.
func parseBundle(raw []byte) (b *sigstore.Bundle, err error) {
	defer recovered(&err)
	b = &sigstore.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it is about
	}
	return b, bounded(b)
}

// newBundle checks a bundle as parseBundle does.
func newBundle(p *protobundle.Bundle) (b *sigstore.Bundle, err error) {
	defer recovered(&err)
	if b, err = sigstore.NewBundle(p); err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it is about
	}
	return b, bounded(b)
}

// bounded checks what the library does not.
func bounded(b *sigstore.Bundle) error {
	content, err := b.VerificationContent()
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it is about
	}
	if c := content.Certificate(); c == nil || len(c.Raw) > maxPart {
		return fmt.Errorf("it has no certificate, or one of more than %d bytes", maxPart)
	}
	stamps, err := b.Timestamps()
	for _, stamp := range stamps {
		if len(stamp) > maxPart {
			return fmt.Errorf("it has a timestamp of more than %d bytes", maxPart)
		}
	}
	return err //nolint:wrapcheck // the caller says what it is about
}

// fromAnnotations makes a bundle of what cosign before 3.0 writes beside a signature: the certificate, the entry in the transparency log with the log's
// promise to include it, and a timestamp. The chain, which is there too, counts for nothing: the trusted root has one. content is what was signed.
func fromAnnotations(annotations map[string]string, content *protobundle.Bundle) (*sigstore.Bundle, error) {
	block, _ := pem.Decode([]byte(annotations[annotationCertificate]))
	if block == nil {
		return nil, errors.New("its certificate is not PEM")
	}
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes}},
	}
	if text := annotations[annotationBundle]; text != "" {
		entry, err := logEntry([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("its transparency log entry cannot be read: %w", err)
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := annotations[annotationTimestamp]; text != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &stamp); err != nil {
			return nil, errors.New("its timestamp cannot be read")
		}
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	content.MediaType, content.VerificationMaterial = "application/vnd.dev.sigstore.bundle+json;version=0.1", material
	return newBundle(content)
}

// logEntry reads an entry of a transparency log as cosign annotates it (sigstore/cosign, "RekorBundle").
func logEntry(text []byte) (*protorekor.TransparencyLogEntry, error) {
	var said struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"` //nolint:tagliatelle // as cosign writes it
		}
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, errors.New("it is not JSON")
	}
	var body struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"` //nolint:tagliatelle // as Rekor writes it
	}
	if err := json.Unmarshal(said.Payload.Body, &body); err != nil {
		return nil, errors.New("its body is not JSON")
	}
	id, err := hex.DecodeString(said.Payload.LogID)
	if err != nil {
		return nil, errors.New("the ID of its log is not hexadecimal")
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: said.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: said.Payload.IntegratedTime, CanonicalizedBody: said.Payload.Body,
		KindVersion:      &protorekor.KindVersion{Kind: body.Kind, Version: body.Version},
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: said.SignedEntryTimestamp},
	}, nil
}

// certifiedSimple adds the identities that have signed a payload as cosign before 3.0 does.
func (f *finder) certifiedSimple(payload []byte, annotations map[string]string, found Signature) Signature {
	sum := sha256.Sum256(payload)
	return f.certified(found, verify.WithArtifactDigest("sha256", sum[:]), func() (*sigstore.Bundle, error) {
		raw, err := decode(annotations[annotationSignature])
		if err != nil {
			return nil, errors.New("its signature is not base64")
		}
		return fromAnnotations(annotations, &protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: raw,
		}}})
	})
}

// certifiedEnvelope adds the identities that have signed an envelope as cosign before 3.0 does.
func (f *finder) certifiedEnvelope(e envelope, annotations map[string]string, found Signature) Signature {
	return f.certified(found, verify.WithoutArtifactUnsafe(), func() (*sigstore.Bundle, error) {
		payload, err := decode(e.Payload)
		if err != nil || len(e.Signatures) > 1 {
			return nil, errors.New("it has a payload that is not base64, or several signatures")
		}
		signed := &protodsse.Envelope{Payload: payload, PayloadType: e.PayloadType}
		for _, s := range e.Signatures {
			raw, err := decode(s.Signature)
			if err != nil {
				return nil, errors.New("its signature is not base64")
			}
			signed.Signatures = append(signed.Signatures, &protodsse.Signature{Sig: raw})
		}
		return fromAnnotations(annotations, &protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: signed}})
	})
}

// certifiedBundle adds the identities that have signed a bundle, whose envelope must be e.
func (f *finder) certifiedBundle(raw []byte, e envelope, found Signature) Signature {
	return f.certified(found, verify.WithoutArtifactUnsafe(), func() (*sigstore.Bundle, error) {
		b, err := parseBundle(raw)
		if err != nil {
			return nil, err
		}
		signed := b.GetDsseEnvelope()
		if own, err := decode(e.Payload); err != nil || !bytes.Equal(own, signed.GetPayload()) || e.PayloadType != signed.GetPayloadType() {
			return nil, errors.New("it can be read in two ways")
		}
		return b, nil
	})
}

// cut shortens what others wrote.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxProblem {
		return text
	}
	return strings.ToValidUTF8(text[:maxProblem], "") + "…"
}
