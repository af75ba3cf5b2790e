package signature

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// The types of what is signed.
const (
	// predicateSignature says in a statement that it is a signature of an image.
	predicateSignature = "https://sigstore.dev/cosign/sign/v1"
	typeInToto         = "application/vnd.in-toto+json"
	typeSimpleSigning  = "cosign container image signature"
)

// envelope is a DSSE envelope (secure-systems-lab/dsse, "envelope").
type envelope struct {
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"`
	Signatures  []struct {
		Signature string `json:"sig"`
	} `json:"signatures"`
}

// message is what the signatures of an envelope sign: its pre-authentication encoding.
func (e envelope) message(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(payload), payload)
}

// statement is an in-toto statement, v0.1 or v1.
type statement struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	Subjects      []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// about reports whether the image is one of the subjects.
func (s statement) about(d image.Digest) bool {
	for _, subject := range s.Subjects {
		if strings.EqualFold(subject.Digest[d.Algorithm().String()], d.Encoded()) {
			return true
		}
	}
	return false
}

// judgeEnvelope says what an envelope is worth for an image.
func (p Policy) judgeEnvelope(d image.Digest, e envelope, found Signature) Signature {
	payload, err := decode(e.Payload)
	if err != nil || e.PayloadType != typeInToto {
		return found.not(Unreadable, "what it signs is no in-toto statement")
	}
	if len(e.Signatures) > maxSignatures {
		return found.not(TooMany, "it has more than %d signatures", maxSignatures)
	}
	message := e.message(payload)
	for _, s := range e.Signatures {
		if raw, err := decode(s.Signature); err == nil {
			found.by(p.Keys, message, raw)
		}
	}
	if len(found.signers) == 0 {
		return p.unsigned(found)
	}
	var said statement
	switch err := json.Unmarshal(payload, &said); {
	case err != nil, ambiguous(payload, "predicate", "annotations"), !slices.Contains([]string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}, said.Type):
		return found.not(Unreadable, "what it signs is no in-toto statement")
	case !said.about(d):
		return found.not(OtherDigest, "it is about another digest")
	}
	found.Predicate, found.Valid, found.Code, found.Problem = said.PredicateType, true, "", ""
	return found
}

// unsigned says why nobody of the policy has signed what was found, where that is not known yet.
func (p Policy) unsigned(found Signature) Signature {
	switch {
	case found.Code != "":
		return found
	case len(p.Keys) == 0 && len(p.Identities) > 0:
		return found.not(WrongIdentity, "it was signed with a key, and the policy has identities only")
	}
	return found.not(WrongKey, "it was not signed by a key of the policy")
}

// simpleSigning is what a signature of cosign before 3.0 signs (containers/image, "signature-json").
type simpleSigning struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// judgeSimple says what a signature over a payload is worth for an image.
func (p Policy) judgeSimple(d image.Digest, payload []byte, signature string, found Signature) Signature {
	raw, err := decode(signature)
	if err != nil {
		return found.not(Unreadable, "its signature is not base64")
	}
	found.by(p.Keys, payload, raw)
	if len(found.signers) == 0 {
		return p.unsigned(found)
	}
	var said simpleSigning
	switch err := json.Unmarshal(payload, &said); {
	case err != nil, ambiguous(payload, "optional"), said.Critical.Type != typeSimpleSigning:
		return found.not(Unreadable, "what it signs is no signature of an image")
	case said.Critical.Image.Digest != string(d):
		return found.not(OtherDigest, "it is about another digest")
	}
	found.Predicate, found.Valid, found.Code, found.Problem = predicateSignature, true, "", ""
	found.Identity = said.Critical.Identity.Reference
	if len(said.Optional) > 0 && len(said.Optional) <= maxAnnotations {
		found.Annotations = map[string]string{}
		for _, key := range slices.Sorted(maps.Keys(said.Optional)) {
			found.Annotations[key] = fmt.Sprint(said.Optional[key])
		}
	}
	return found
}

// urlSafe turns the URL-safe alphabet into the standard one: DSSE allows both.
var urlSafe = strings.NewReplacer("-", "+", "_", "/")

// decode reads base64 of either alphabet, with or without padding.
func decode(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(urlSafe.Replace(text), "=")) //nolint:wrapcheck // only whether
}
