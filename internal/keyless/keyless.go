// Package keyless verifies what somebody has signed without a key of their own, through the trusted root of a Sigstore instance. It is the only package
// that knows Sigstore's library; package signature looks for signatures and decides.
package keyless

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	sigstore "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/draysync/dray/internal/signature"
)

// maxPart is the size of a certificate and of a timestamp, in bytes. The library bounds log entries and timestamps by 32 each.
const maxPart = 64 << 10

// Root is whom keyless signatures are trusted through: a trusted_root.json (sigstore/protobuf-specs, "sigstore_trustroot.proto").
type Root struct {
	sum      [sha256.Size]byte
	verifier *verify.Verifier
	logs     map[string]*root.TransparencyLog // by the ID of its key, in hex
}

// ParseRoot reads a trusted_root.json. A signature needs what it names: with transparency logs an entry in one of them, with certificate
// transparency logs a certificate that one of them has seen, and always a time that a log or a timestamp authority has signed.
func ParseRoot(text []byte) (signature.Root, error) {
	material, err := root.NewTrustedRootFromJSON(bytes.TrimPrefix(text, []byte("\ufeff"))) // which Windows writes
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

// Fingerprint is equal for equal roots.
func (r *Root) Fingerprint() string { return hex.EncodeToString(r.sum[:]) }

// Certificate returns whose certificate has signed something, if all is as the root wants it. Its error wraps [signature.ErrUnreadable] if what was found
// is in no form that can be verified.
func (r *Root) Certificate(signed signature.Keyless) (signature.Certificate, error) {
	b, err := read(signed)
	if err != nil {
		return signature.Certificate{}, unreadable{err}
	}
	artifact := verify.WithoutArtifactUnsafe() // an envelope's statement names it
	if !signed.Envelope {
		sum := sha256.Sum256(signed.Payload)
		artifact = verify.WithArtifactDigest("sha256", sum[:])
	}
	result, err := r.verify(b, artifact)
	if err != nil {
		return signature.Certificate{}, err
	}
	by := result.Signature.Certificate
	return signature.Certificate{Subject: by.SubjectAlternativeName, Issuer: by.Issuer, Time: earliest(result)}, nil
}

// unreadable is an error about a form.
type unreadable struct{ error }

func (unreadable) Is(target error) bool { return target == signature.ErrUnreadable }

// read makes a bundle of what was found.
func read(signed signature.Keyless) (*sigstore.Bundle, error) {
	switch {
	case signed.Bundle != nil:
		b, err := parseBundle(signed.Bundle)
		if err != nil {
			return nil, err
		}
		if own := b.GetDsseEnvelope(); !bytes.Equal(signed.Payload, own.GetPayload()) || signed.PayloadType != own.GetPayloadType() {
			return nil, errors.New("it can be read in two ways")
		}
		return b, nil
	case signed.Envelope:
		envelope := &protodsse.Envelope{Payload: signed.Payload, PayloadType: signed.PayloadType}
		for _, raw := range signed.Signatures {
			envelope.Signatures = append(envelope.Signatures, &protodsse.Signature{Sig: raw})
		}
		return fromAnnotations(signed.Annotations, &protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope}})
	}
	sum := sha256.Sum256(signed.Payload)
	return fromAnnotations(signed.Annotations, &protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: signed.Signatures[0],
	}}})
}

// earliest returns the first of the times that somebody trusted has signed.
func earliest(r *verify.VerificationResult) time.Time {
	return slices.MinFunc(r.VerifiedTimestamps, func(a, b verify.TimestampVerificationResult) int { return a.Timestamp.Compare(b.Timestamp) }).Timestamp.UTC()
}

// verify returns whose certificate has signed a bundle, as the root wants it.
func (r *Root) verify(b *sigstore.Bundle, artifact verify.ArtifactPolicyOption) (result *verify.VerificationResult, err error) {
	defer recovered(&err)
	result, err = r.verifier.Verify(b, verify.NewPolicy(artifact, verify.WithoutIdentitiesUnsafe()))
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // the caller says what it is about
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
		return err //nolint:wrapcheck // the caller says what it is about
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
	block, _ := pem.Decode([]byte(annotations[signature.AnnotationCertificate]))
	if block == nil {
		return nil, errors.New("its certificate is not PEM")
	}
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes}},
	}
	if text := annotations[signature.AnnotationBundle]; text != "" {
		entry, err := logEntry([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("its transparency log entry cannot be read: %w", err)
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := annotations[signature.AnnotationTimestamp]; text != "" {
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
