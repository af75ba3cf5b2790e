package signature

import (
	"fmt"
	"slices"
)

// Code says why an image is not verified, or a signature does not count.
type Code string

// The codes.
const (
	// None says that there is nothing that signs the image.
	None Code = "none"
	// WrongKey says that it is signed, but not by a key of the policy.
	WrongKey Code = "wrong-key"
	// OtherDigest says that a signature by a key of the policy is about another image.
	OtherDigest Code = "other-digest"
	// TooFew says that fewer signers have signed it than the policy wants.
	TooFew Code = "too-few"
	// NoAttestation says that it is signed, and an attestation that the policy wants is not.
	NoAttestation Code = "no-attestation"
	// TooMany says that there is more than is looked at.
	TooMany Code = "too-many"
	// Unreadable says that something is not in a form that can be verified.
	Unreadable Code = "unreadable"
	// Unsupported says that something is of a kind that is not verified: keyless or Notation.
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
	// Valid says that at least one key of the policy has signed it, and that it is about the image.
	Valid bool `json:"valid"`
	// Predicate is what a valid one says that it is: a signature, provenance, an SBOM.
	Predicate string `json:"predicate,omitempty"`
	// Keys are the names of the keys that have signed it.
	Keys []string `json:"keys,omitempty"`
	// Identity is the name that the signer gave the image, which bundles do not have.
	Identity string `json:"identity,omitempty"`
	// Annotations are those that the signer added.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Code and Problem say why it does not count; empty for a valid one.
	Code    Code   `json:"code,omitempty"`
	Problem string `json:"problem,omitempty"`

	// signers are the keys that have signed it.
	signers []Key
}

// Kind says what a valid one is: "signature", or the type of an attestation.
func (s Signature) Kind() string {
	if s.Predicate == predicateSignature {
		return "signature"
	}
	return "attestation " + s.Predicate
}

// by adds the keys that have signed the message.
func (s *Signature) by(keys []Key, message, raw []byte) {
	for _, k := range keys {
		known := slices.ContainsFunc(s.signers, func(other Key) bool { return other.sum == k.sum })
		if !known && k.signed(message, raw) {
			s.signers, s.Keys = append(s.signers, k), append(s.Keys, k.Name)
		}
	}
}

func (s Signature) not(code Code, format string, args ...any) Signature {
	s.Valid, s.Code, s.Problem = false, code, fmt.Sprintf(format, args...)
	return s
}

// Policy says what an image needs.
type Policy struct {
	// Keys are those that count.
	Keys []Key
	// Threshold is how many different signers, by the names of their keys, the image must have; 0 means 1.
	Threshold int
	// Attestations are the predicate types of which each must be there, signed by one of the keys.
	Attestations []string
	// All has everything looked at, not only until the policy is satisfied.
	All bool
}

// Different returns how many signers there can be: names with a key of their own.
func (p Policy) Different() int {
	sums, names := map[[32]byte]bool{}, map[string]bool{}
	for _, k := range p.Keys {
		if !sums[k.sum] {
			sums[k.sum], names[k.Name] = true, true
		}
	}
	return len(names)
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
	signers := map[string]bool{}
	attested := map[string]bool{}
	worst := None
	for _, s := range found {
		switch {
		case !s.Valid:
			worst = worse(worst, s.Code)
		case s.Predicate == predicateSignature:
			for _, k := range s.signers {
				signers[k.Name] = true
			}
		default:
			attested[s.Predicate] = true
		}
	}
	want := max(p.Threshold, 1)
	if len(signers) < want {
		switch {
		case len(signers) > 0:
			r.Code, r.Problem = TooFew, fmt.Sprintf("signers: %d, the policy wants %d", len(signers), want)
		case worst == None && len(found) > 0:
			r.Code, r.Problem = None, "nothing signs it; there are attestations, which are no signatures"
		default:
			r.Code, r.Problem = worst, problems[worst]
		}
		return r
	}
	for _, predicate := range p.Attestations {
		if predicate != predicateSignature && !attested[predicate] {
			r.Code, r.Problem = NoAttestation, "no attestation "+predicate+" that a key of the policy has signed"
			return r
		}
	}
	r.Verified = true
	return r
}

// problems are the texts of the codes for an image.
var problems = map[Code]string{
	None:        "nothing signs it",
	WrongKey:    "it is signed, but not by a key of the policy",
	OtherDigest: "it has a signature by a key of the policy that is about another digest",
	TooMany:     "it has more signatures and attestations than are looked at, and none of those looked at satisfies the policy",
	Unreadable:  "it has something in place of a signature that cannot be read",
	Unsupported: "it has signatures, but of a kind that dray does not verify: keyless or Notation",
}

// worse returns the code that says more.
func worse(a, b Code) Code {
	order := []Code{None, Unsupported, Unreadable, WrongKey, OtherDigest, TooMany}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}
