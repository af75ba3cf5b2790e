package signature

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The bounds of keyless signatures.
const (
	// maxKeyless is how often a certificate is verified for one image.
	maxKeyless = 256
	// maxProblem is how much of the words of a root is kept, in bytes.
	maxProblem = 200
)

// The annotations of cosign before 3.0.
const (
	AnnotationCertificate = "dev.sigstore.cosign/certificate"
	AnnotationBundle      = "dev.sigstore.cosign/bundle"
	AnnotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// Root is whom keyless signatures are trusted through. Package keyless has the one of Sigstore.
type Root interface {
	// Fingerprint is equal for equal roots.
	Fingerprint() string
	// Certificate returns whose certificate has signed something, if all is as the root wants it. Its error wraps [ErrUnreadable] if what was found is in
	// no form that can be verified.
	Certificate(Keyless) (Certificate, error)
}

// ErrUnreadable says that something is not in a form that can be verified.
var ErrUnreadable = errors.New("unreadable")

// Keyless is something found that a certificate has signed.
type Keyless struct {
	// Bundle is a Sigstore bundle. Without one the certificate and what proves it are in Annotations, as cosign before 3.0 writes them.
	Bundle      []byte
	Annotations map[string]string
	// Payload was signed: as it is, or in a DSSE envelope with PayloadType, which must be that of the bundle.
	Payload     []byte
	Envelope    bool
	PayloadType string
	// Signatures are those beside the annotations; one at most in an envelope, and one otherwise.
	Signatures [][]byte
}

// Certificate is what a certificate says of who has signed something.
type Certificate struct {
	Subject, Issuer string
	// Time is when that was, at the latest.
	Time time.Time
}

// Identity is somebody who signs without a key of their own, with a certificate that a login has given.
type Identity struct {
	// Name is where it comes from; an identity is one signer.
	Name string
	// Issuer and Subject match what the certificate says; see [Exactly] and [Matching].
	Issuer, Subject *regexp.Regexp
	Root            Root
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
	return fmt.Sprintf("%q %q %s", i.Issuer, i.Subject, i.Root.Fingerprint())
}

// certified adds the identities of the policy whose certificate has signed something; else Code and Problem say why there are none. read makes it of what
// was found. The image is not compared.
func (f *finder) certified(found Signature, read func() (Keyless, error)) Signature {
	if len(f.Identities) == 0 {
		return found.not(WrongKey, "it is keyless, and the policy has keys only")
	}
	signed, err := read()
	if err != nil {
		return found.not(Unreadable, "%s", err)
	}
	known := map[string]answer{}
	for _, i := range f.Identities {
		by, err := f.ask(known, i.Root, signed)
		switch {
		case errors.Is(err, errTooManyCertificates):
			return found.not(TooMany, "%s", err)
		case errors.Is(err, ErrUnreadable):
			return found.not(Unreadable, "%s", cut(err.Error()))
		case err != nil:
			if len(found.signers) == 0 && found.Code != WrongIdentity {
				found = found.not(Untrusted, "it is not what the trusted root asks for: %s", cut(err.Error()))
			}
			continue
		}
		found.Subject, found.Issuer, found.Time = by.Subject, by.Issuer, &by.Time
		if by.Issuer != "" && i.Issuer.MatchString(by.Issuer) && i.Subject.MatchString(by.Subject) {
			found.add(fmt.Sprintf("identity %q %q", by.Issuer, by.Subject), i.Name)
		} else if len(found.signers) == 0 {
			found = found.not(WrongIdentity, "it was signed by %s, of the issuer %s", cut(by.Subject), cut(by.Issuer))
		}
	}
	return found
}

// answer is what a root says.
type answer struct {
	by  Certificate
	err error
}

var errTooManyCertificates = fmt.Errorf("%d certificates were verified, and there are more", maxKeyless)

// ask asks a root, once all that are equal.
func (f *finder) ask(known map[string]answer, r Root, signed Keyless) (Certificate, error) {
	if a, ok := known[r.Fingerprint()]; ok {
		return a.by, a.err
	}
	if f.keyless >= maxKeyless {
		return Certificate{}, errTooManyCertificates
	}
	f.keyless++
	by, err := r.Certificate(signed)
	known[r.Fingerprint()] = answer{by, err}
	return by, err
}

// certifiedSimple adds the identities that have signed a payload as cosign before 3.0 does.
func (f *finder) certifiedSimple(payload []byte, annotations map[string]string, found Signature) Signature {
	return f.certified(found, func() (Keyless, error) {
		raw, err := decode(annotations[annotationSignature])
		if err != nil {
			return Keyless{}, errors.New("its signature is not base64")
		}
		return Keyless{Annotations: annotations, Payload: payload, Signatures: [][]byte{raw}}, nil
	})
}

// certifiedEnvelope adds the identities that have signed an envelope as cosign before 3.0 does.
func (f *finder) certifiedEnvelope(e envelope, annotations map[string]string, found Signature) Signature {
	return f.certified(found, func() (Keyless, error) {
		payload, err := decode(e.Payload)
		if err != nil || len(e.Signatures) > 1 {
			return Keyless{}, errors.New("it has a payload that is not base64, or several signatures")
		}
		signed := Keyless{Annotations: annotations, Payload: payload, Envelope: true, PayloadType: e.PayloadType}
		for _, s := range e.Signatures {
			raw, err := decode(s.Signature)
			if err != nil {
				return Keyless{}, errors.New("its signature is not base64")
			}
			signed.Signatures = append(signed.Signatures, raw)
		}
		return signed, nil
	})
}

// certifiedBundle adds the identities that have signed a bundle, whose envelope must be e.
func (f *finder) certifiedBundle(raw []byte, e envelope, found Signature) Signature {
	return f.certified(found, func() (Keyless, error) {
		payload, err := decode(e.Payload)
		if err != nil {
			return Keyless{}, errors.New("it has a payload that is not base64")
		}
		return Keyless{Bundle: raw, Payload: payload, Envelope: true, PayloadType: e.PayloadType}, nil
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
