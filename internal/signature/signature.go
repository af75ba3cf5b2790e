package signature

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
)

// Code says why an image is not verified, or a signature does not count.
type Code string

// The codes.
const (
	// None says that there is nothing that signs the image.
	None Code = "none"
	// WrongKey says that it is signed, but not by a key of the policy.
	WrongKey Code = "wrong-key"
	// WrongIdentity says that it is signed, but not by an identity of the policy.
	WrongIdentity Code = "wrong-identity"
	// Untrusted says that a keyless signature is not what the trusted root asks for.
	Untrusted Code = "untrusted"
	// OtherDigest says that a signature by a signer of the policy is about another image.
	OtherDigest Code = "other-digest"
	// TooFew says that fewer signers have signed it than the policy wants.
	TooFew Code = "too-few"
	// NoAttestation says that it is signed, and an attestation that the policy wants is not.
	NoAttestation Code = "no-attestation"
	// TooMany says that there is more than is looked at.
	TooMany Code = "too-many"
	// Unreadable says that something is not in a form that can be verified.
	Unreadable Code = "unreadable"
	// Unsupported says that something is of a kind that is not verified, such as Notation.
	Unsupported Code = "unsupported"
)

// Form is how a signature is stored.
type Form string

// The forms.
const (
	// CosignTag is a tag after the image's digest: sha256-<hex>.sig or .att.
	CosignTag Form = "cosign-tag"
	// CosignReferrer is a referrer with the content of such a tag.
	CosignReferrer Form = "cosign-referrer"
	// Bundle is a referrer that is a Sigstore bundle.
	Bundle Form = "bundle"
	// Notation is a referrer of Notary Project's.
	Notation Form = "notation"
)

// Signature is something found that may sign an image.
type Signature struct {
	Form Form `json:"form"`
	// Manifest is the digest of the manifest that holds it.
	Manifest string `json:"manifest"`
	// Of is the digest that it was looked for at, where that is not the image's but one of its index.
	Of string `json:"of,omitempty"`
	// Valid says that at least one signer of the policy has signed it, and that it is about the image.
	Valid bool `json:"valid"`
	// Predicate is what a valid one says that it is: a signature, provenance, an SBOM.
	Predicate string `json:"predicate,omitempty"`
	// Keys are the names of the keys that have signed it.
	Keys []string `json:"keys,omitempty"`
	// Subject and Issuer are what a certificate that the trusted root knows says of who has signed it, and Time is when that was, at the latest.
	Subject string     `json:"subject,omitempty"`
	Issuer  string     `json:"issuer,omitempty"`
	Time    *time.Time `json:"time,omitempty"`
	// Identity is the name that the signer gave the image, which bundles do not have.
	Identity string `json:"identity,omitempty"`
	// Annotations are those that the signer added.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Code and Problem say why it does not count; empty for a valid one.
	Code    Code   `json:"code,omitempty"`
	Problem string `json:"problem,omitempty"`

	// signers are who has signed it: the name in the policy, by key or identity.
	signers map[string]string
}

// Kind says what a valid one is: "signature", or the type of an attestation.
func (s Signature) Kind() string {
	if s.Predicate == predicateSignature {
		return "signature"
	}
	return "attestation " + s.Predicate
}

// Signer is who has signed a valid one: the names of the keys, or what the certificate says.
func (s Signature) Signer() string {
	if s.Subject == "" || len(s.Keys) > 0 {
		return strings.Join(s.Keys, ", ")
	}
	return s.Subject + " (" + s.Issuer + ")"
}

// by adds the keys that have signed the message.
func (s *Signature) by(keys []Key, message, raw []byte) {
	for _, k := range keys {
		if _, known := s.signers[k.id()]; !known && k.signed(message, raw) {
			s.add(k.id(), k.Name)
			s.Keys = append(s.Keys, k.Name)
		}
	}
}

// add adds a signer, which has a name in the policy.
func (s *Signature) add(id, name string) {
	if s.signers == nil {
		s.signers = map[string]string{}
	}
	claim(s.signers, id, name)
}

func (s Signature) not(code Code, format string, args ...any) Signature {
	s.Valid, s.Code, s.Problem = false, code, fmt.Sprintf(format, args...)
	return s
}

// Policy says what an image needs.
type Policy struct {
	// Keys are those that count.
	Keys []Key
	// Identities are those that count besides the keys.
	Identities []Identity
	// Threshold is how many different signers, by their names, the image must have; 0 means 1.
	Threshold int
	// Attestations are the predicate types of which each must be there, signed by one of the signers.
	Attestations []string
	// Platforms has each manifest that an index names verified, in place of the index.
	Platforms bool
	// From has the signatures; the zero value is the image's own repository.
	From image.Repository
	// All has everything looked at, not only until the policy is satisfied.
	All bool
}

// At returns the reference of an image in the repository that has its signatures.
func (p Policy) At(ref image.Reference) image.Reference {
	if p.From != (image.Repository{}) {
		ref.Repository = p.From
	}
	return ref
}

// Different returns how many signers there can be: names with a key or an identity of their own.
func (p Policy) Different() int {
	signers := map[string]string{}
	for _, k := range p.Keys {
		claim(signers, k.id(), k.Name)
	}
	for i, identity := range p.Identities {
		claim(signers, fmt.Sprint("identity ", i), identity.Name)
	}
	return names(signers)
}

// claim gives a key or a certified identity to a name of the policy, the first that lets it in: so it counts once.
func claim(signers map[string]string, id, name string) {
	if _, taken := signers[id]; !taken {
		signers[id] = name
	}
}

// names returns how many different names there are.
func names(signers map[string]string) int {
	distinct := map[string]bool{}
	for _, name := range signers {
		distinct[name] = true
	}
	return len(distinct)
}

// Report is what was found for an image.
type Report struct {
	// Verified says that the policy is satisfied; else Code and Problem say why not.
	Verified   bool        `json:"verified"`
	Code       Code        `json:"code,omitempty"`
	Problem    string      `json:"problem,omitempty"`
	Signatures []Signature `json:"signatures"`
}

// verdict decides from what was found.
func (p Policy) verdict(found []Signature) Report {
	r := Report{Signatures: append([]Signature{}, found...)}
	signers := map[string]string{}
	attested := map[string]bool{}
	worst := None
	for _, s := range found {
		switch {
		case !s.Valid:
			worst = worse(worst, s.Code)
		case s.Predicate == predicateSignature:
			for id, name := range s.signers {
				claim(signers, id, name)
			}
		default:
			attested[s.Predicate] = true
		}
	}
	want := max(p.Threshold, 1)
	if n := names(signers); n < want {
		switch {
		case n > 0:
			r.Code, r.Problem = TooFew, fmt.Sprintf("signers: %d, the policy wants %d", n, want)
		case worst == None && len(found) > 0:
			r.Code, r.Problem = None, "nothing signs it; there are attestations, which are no signatures"
		default:
			r.Code, r.Problem = worst, problems[worst]
		}
		return r
	}
	for _, predicate := range p.Attestations {
		if predicate != predicateSignature && !attested[predicate] {
			r.Code, r.Problem = NoAttestation, "no attestation "+predicate+" that a signer of the policy has signed"
			return r
		}
	}
	r.Verified = true
	return r
}

// problems are the texts of the codes for an image.
var problems = map[Code]string{
	None:          "nothing signs it",
	WrongKey:      "it is signed, but not by a key of the policy",
	WrongIdentity: "it is signed, but not by an identity of the policy",
	Untrusted:     "it has a keyless signature that is not what the trusted root asks for",
	OtherDigest:   "it has a signature by a signer of the policy that is about another digest",
	TooMany:       "it has more signatures and attestations than are looked at, and none of those looked at satisfies the policy",
	Unreadable:    "it has something in place of a signature that cannot be read",
	Unsupported:   "it has signatures, but of a kind that dray does not verify",
}

// worse returns the code that says more.
func worse(a, b Code) Code {
	order := []Code{None, Unsupported, Unreadable, WrongKey, WrongIdentity, Untrusted, OtherDigest, TooMany}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}
