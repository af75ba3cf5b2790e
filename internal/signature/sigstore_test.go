package signature_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	sigroot "github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/keyless"
	. "github.com/draysync/dray/internal/signature"
)

const (
	actions  = "https://token.actions.githubusercontent.com"
	workflow = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1"
)

// instance is a Sigstore instance in memory. The transparency log and the timestamp authority are sigstore-go's; the certificate authority is our own,
// with a certificate transparency log, which sigstore-go's lacks.
type instance struct {
	*ca.VirtualSigstore
	top, intermediate *x509.Certificate
	key               *ecdsa.PrivateKey
	// ct is the key of the certificate transparency log.
	ct *ecdsa.PrivateKey
}

func newInstance(t testing.TB) *instance {
	t.Helper()
	virtual, err := ca.NewVirtualSigstore()
	ok(t, err)
	top, topKey, err := ca.GenerateRootCa()
	ok(t, err)
	intermediate, key, err := ca.GenerateFulcioIntermediate(top, topKey)
	ok(t, err)
	return &instance{virtual, top, intermediate, key, ecdsaKey(t)}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// trust is what a trusted root names.
type trust struct {
	authorities []sigroot.CertificateAuthority
	stamps      []sigroot.TimestampingAuthority
	logs, ct    map[string]*sigroot.TransparencyLog
}

func (i *instance) trust(t testing.TB) trust {
	t.Helper()
	logs := i.RekorLogs()
	for id, log := range logs {
		raw, err := hex.DecodeString(id)
		ok(t, err)
		log.ID = raw
	}
	id := i.ctID(t)
	start := time.Now().Add(-time.Hour)
	return trust{
		[]sigroot.CertificateAuthority{&sigroot.FulcioCertificateAuthority{Root: i.top, Intermediates: []*x509.Certificate{i.intermediate}, ValidityPeriodStart: start, URI: "https://fulcio.test"}},
		i.TimestampingAuthorities(), logs,
		map[string]*sigroot.TransparencyLog{hex.EncodeToString(id): {BaseURL: "https://ct.test", ID: id, ValidityPeriodStart: start, HashFunc: crypto.SHA256, PublicKey: i.ct.Public(), SignatureHashFunc: crypto.SHA256}},
	}
}

func (tr trust) json(t testing.TB) []byte {
	t.Helper()
	made, err := sigroot.NewTrustedRoot(sigroot.TrustedRootMediaType01, tr.authorities, tr.ct, tr.stamps, tr.logs)
	ok(t, err)
	text, err := made.MarshalJSON()
	ok(t, err)
	return text
}

func (tr trust) root(t testing.TB) Root {
	t.Helper()
	r, err := keyless.ParseRoot(tr.json(t))
	ok(t, err)
	return r
}

func (i *instance) ctID(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.ct.Public())
	ok(t, err)
	id := sha256.Sum256(der)
	return id[:]
}

// signing is one keyless signature, as it is made.
type signing struct {
	*instance
	subject, issuer string
	// from and to are when the certificate is valid, and at is when the log has taken the entry, from now.
	from, to, at time.Duration
	// sct has a certificate transparency log see the certificate; promise, proof and stamp are what proves the time and the entry.
	sct, promise, proof, stamp bool
	// payload is what is signed.
	payload []byte
	// entry changes the entry before the log promises to include it; text the bundle, or the annotations, afterwards.
	entry func(*protorekor.TransparencyLogEntry)
}

// signing is one by the workflow as it should be.
func (i *instance) signing(predicate string, about image.Digest) signing {
	return signing{
		instance: i, subject: workflow, issuer: actions, from: -100 * time.Second, to: -10 * time.Second, at: -50 * time.Second, sct: true, promise: true, proof: true,
		payload: document(object{"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "subject": []object{{"digest": object{"sha256": about.Encoded()}}}, "predicate": object{}}),
	}
}

// certificate makes a certificate of the signer, and its key.
func (s signing) certificate(t testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := ecdsaKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(s.from), NotAfter: time.Now().Add(s.to),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(s.issuer)}},
	}
	if u, err := url.Parse(s.subject); err == nil && u.Scheme != "" {
		template.URIs = []*url.URL{u}
	} else {
		template.EmailAddresses = []string{s.subject}
	}
	create := func() *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, s.intermediate, key.Public(), s.key)
		ok(t, err)
		c, err := x509.ParseCertificate(der)
		ok(t, err)
		return c
	}
	if s.sct {
		template.ExtraExtensions = append(template.ExtraExtensions, s.seen(t, create().RawTBSCertificate))
	}
	return create(), key
}

// seen is the timestamp of the certificate transparency log (RFC 6962, 3.2 and 3.3).
func (s signing) seen(t testing.TB, tbs []byte) pkix.Extension {
	t.Helper()
	issuer := sha256.Sum256(s.intermediate.RawSubjectPublicKeyInfo)
	at := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(s.from).UnixMilli())) //nolint:gosec // after 1970
	signed := append([]byte{0, 0}, at...)
	signed = append(append(signed, 0, 1), issuer[:]...)
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs))) //nolint:gosec // 24 bits
	signed = append(append(signed, tbs...), 0, 0)
	sum := sha256.Sum256(signed)
	raw, err := ecdsa.SignASN1(rand.Reader, s.ct, sum[:])
	ok(t, err)
	one := append(append([]byte{0}, s.ctID(t)...), at...)
	one = append(one, 0, 0, 4, 3)
	one = append(binary.BigEndian.AppendUint16(one, uint16(len(raw))), raw...)    //nolint:gosec // short
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(one))), one...)  //nolint:gosec // short
	list = append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...) //nolint:gosec // short
	value, err := asn1.Marshal(list)
	ok(t, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}
}

func sign(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	raw, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	ok(t, err)
	return raw
}

// promised has the log promise to include an entry.
func (s signing) promised(t testing.TB, e *protorekor.TransparencyLogEntry) {
	t.Helper()
	if s.entry != nil {
		s.entry(e)
	}
	set, err := s.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody()), IntegratedTime: e.GetIntegratedTime(), LogIndex: e.GetLogIndex(), LogID: hex.EncodeToString(e.GetLogId().GetKeyId()),
	})
	ok(t, err)
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: set}
}

// bundle signs as cosign 3.0 does.
func (s signing) bundle(t testing.TB) *protobundle.Bundle {
	t.Helper()
	certificate, key := s.certificate(t)
	raw := sign(t, key, Message(TypeInToto, s.payload))
	b := &protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: certificate.Raw}},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{PayloadType: TypeInToto, Payload: s.payload, Signatures: []*protodsse.Signature{{Sig: raw}}}},
	}
	if s.promise || s.proof {
		wrapped := &dsse.Envelope{PayloadType: TypeInToto, Payload: base64.StdEncoding.EncodeToString(s.payload), Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(raw)}}}
		entry, err := s.GenerateTlogEntry(certificate, wrapped, raw, time.Now().Add(s.at).Unix(), s.proof)
		ok(t, err)
		e := entry.TransparencyLogEntry()
		e.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
		if s.promise {
			s.promised(t, e)
		}
		b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{e}
	}
	if s.stamp {
		stamp, err := s.TimestampResponse(raw)
		ok(t, err)
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}}}
	}
	return b
}

// json is the bundle as it is stored.
func (s signing) json(t testing.TB) []byte {
	t.Helper()
	text, err := protojson.Marshal(s.bundle(t))
	ok(t, err)
	return text
}

// annotations signs the payload as cosign before 3.0 does. kind is that of the entry: "hashedrekord" for simple signing.
func (s signing) annotations(t testing.TB) map[string]string {
	t.Helper()
	certificate, key := s.certificate(t)
	raw := sign(t, key, s.payload)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	all := map[string]string{
		AnnotationSignature: base64.StdEncoding.EncodeToString(raw), AnnotationCertificate: string(text),
		"dev.sigstore.cosign/chain": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.intermediate.Raw})),
	}
	if s.promise {
		sum := sha256.Sum256(s.payload)
		id, err := s.RekorLogID()
		ok(t, err)
		rawID, err := hex.DecodeString(id)
		ok(t, err)
		e := &protorekor.TransparencyLogEntry{
			LogId: &protocommon.LogId{KeyId: rawID}, LogIndex: 7, IntegratedTime: time.Now().Add(s.at).Unix(),
			CanonicalizedBody: document(object{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": object{
				"data":      object{"hash": object{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}},
				"signature": object{"content": raw, "publicKey": object{"content": text}},
			}}),
		}
		s.promised(t, e)
		all[AnnotationBundle] = string(document(object{"SignedEntryTimestamp": e.GetInclusionPromise().GetSignedEntryTimestamp(), "Payload": object{
			"body": e.GetCanonicalizedBody(), "integratedTime": e.GetIntegratedTime(), "logIndex": e.GetLogIndex(), "logID": id,
		}}))
	}
	if s.stamp {
		stamp, err := s.TimestampResponse(raw)
		ok(t, err)
		all[AnnotationTimestamp] = string(document(object{"SignedRFC3161Timestamp": stamp}))
	}
	return all
}

// simplePayload is what cosign before 3.0 signs.
func simplePayload(about image.Digest) []byte {
	return document(object{"critical": object{"identity": object{"docker-reference": "registry.example/demo/signed"}, "image": object{"docker-manifest-digest": about}, "type": TypeSimpleSigning}, "optional": nil})
}
