package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
	"github.com/draysync/dray/internal/signature"
)

// Policy says who must have signed images.
type Policy struct {
	Name string
	Pos  Position
	// Images are patterns of host and path; empty for a policy that holds only where a mapping names it.
	Images []string
	// Verify is what an image needs.
	Verify signature.Policy
	// Warn imports an image that is not verified.
	Warn bool
}

// NoPolicy is the value of [Mapping.Verify] for a mapping whose images are not verified.
const NoPolicy = "false"

var policyName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// policies returns the policies, sorted by name.
func (b *builder) policies(section dict[policySection]) []Policy {
	all := map[string]Policy{}
	holders := map[string]Position{} // of patterns
	for _, e := range section.entries {
		switch {
		case !policyName().MatchString(e.name):
			b.fail(e.keyAt, fmt.Errorf("%s cannot be the name of a policy: write 1 to 64 letters, digits, '.', '_', '-'", quote(e.name)), "")
		case e.name == "true" || e.name == NoPolicy:
			b.fail(e.keyAt, fmt.Errorf("%s cannot be the name of a policy, since mappings write it for something else", e.name), "give it another name")
		default:
			all[e.name] = b.policy(e, holders)
		}
	}
	var list []Policy
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return list
}

func (b *builder) policy(e entry[policySection], holders map[string]Position) Policy {
	s := e.value
	preset(reflect.ValueOf(&s).Elem())
	p := Policy{Name: e.name, Pos: e.keyAt.pos, Warn: s.Mode.value == "warn"}
	for _, t := range s.Images.items {
		if !t.set {
			continue
		}
		pattern, err := b.imagesPattern(t.value)
		if err != nil {
			b.invalid(t, err, "host and path, or a glob of them")
			continue
		}
		if first, ok := holders[pattern]; ok {
			b.fail(t.origin, fmt.Errorf("%s stands in line %d as well", quote(t.raw), first.Line), "one policy holds for an image: remove one of them")
			continue
		}
		holders[pattern] = t.pos
		p.Images = append(p.Images, pattern)
	}
	known := true
	for i, a := range s.Authorities.items {
		name := fmt.Sprintf("%s[%d]", e.name, i)
		if a.Keyless.set {
			identity, ok := b.identity(name, a.Keyless)
			p.Verify.Identities = append(p.Verify.Identities, identity)
			known = known && ok
			continue
		}
		if !a.Key.set {
			known = false
			continue
		}
		keys, err := signature.ParseKeys(name, []byte(a.Key.value))
		if err != nil {
			b.fail(a.Key.origin, err, "write ${file:PATH} for a file with a public key in PEM")
			known = false
		}
		p.Verify.Keys = append(p.Verify.Keys, keys...)
	}
	p.Verify.Threshold, p.Verify.Attestations = s.Threshold.value, values(s.Attestations)
	p.Verify.Platforms = s.Signed.value == "platforms"
	p.Verify.From = b.signaturesFrom(s.SignaturesFrom)
	if n := p.Verify.Different(); known && n > 0 && s.Threshold.value > n {
		b.fail(s.Threshold.origin, fmt.Errorf("is %d, which is more than there are authorities with keys or identities of their own (%d)", s.Threshold.value, n), "add authorities, or lower it")
	}
	return p
}

// identity returns whom a keyless authority lets in.
func (b *builder) identity(name string, s keylessSection) (signature.Identity, bool) {
	made := signature.Identity{Name: name}
	match := func(exact, expression text) *regexp.Regexp {
		t := exact
		matcher := signature.Exactly(exact.value)
		var err error
		if expression.set {
			t = expression
			matcher, err = signature.Matching(expression.value)
		}
		switch {
		case !t.set: // which is said already
			return nil
		case t.value == "":
			err = errors.New("is empty")
		}
		if err != nil {
			b.fail(t.origin, err, "")
			return nil
		}
		return matcher
	}
	made.Subject, made.Issuer = match(s.Subject, s.SubjectRegExp), match(s.Issuer, s.IssuerRegExp)
	if s.TrustedRoot.set {
		root, err := b.root([]byte(s.TrustedRoot.value))
		if err != nil {
			b.fail(s.TrustedRoot.origin, err, "write ${file:PATH} for a file, which \"cosign trusted-root create\" makes")
		}
		made.Root = root
	}
	return made, made.Subject != nil && made.Issuer != nil && made.Root != nil
}

// signaturesFrom returns the repository that a policy's signatures are in.
func (b *builder) signaturesFrom(t text) image.Repository {
	if !t.set {
		return image.Repository{}
	}
	ref, err := b.reference(t.value, false)
	if err == nil && single(ref) {
		err = fmt.Errorf("%s names one image", quote(t.raw))
	}
	if err != nil {
		b.invalid(t, err, "a repository such as ghcr.io/acme/signatures")
	}
	return ref.Repository
}

// imagesPattern returns a pattern of images as references name them: with the canonical host, and with library/ at Docker Hub.
func (b *builder) imagesPattern(text string) (string, error) {
	host, rest, below := strings.Cut(text, "/")
	if !below {
		return "", fmt.Errorf("%s is not host and path: write HOST/** for all images of a registry", quote(text))
	}
	if image.HoldsUserinfo(text) {
		return "", image.ErrUserinfo
	}
	canonical, err := registryKey(host)
	if err != nil {
		return "", err
	}
	if !strings.ContainsAny(rest, "*?[]{}") && !repositoryLiteral.MatchString(rest) {
		return "", fmt.Errorf("%s is not host and path: write the path in lower case, without a tag", quote(text))
	}
	if canonical == image.DockerHub && !strings.Contains(rest, "/") && rest != "**" {
		rest = "library/" + rest
	}
	return bare(canonical+"/"+rest, b.isPlain), checkRepository(rest)
}

// verify reads which policy a mapping names.
func (b *builder) verify(t text) string {
	if t.set && t.value != NoPolicy && !slices.Contains(b.policyNames, t.value) {
		hint := "write the policy into verify at the top of the file"
		if t.value == "true" {
			hint = "write the name of a policy, or leave it out for the one whose images match"
		}
		if near := nearest(t.value, b.policyNames); near != "" {
			hint = near
		}
		b.fail(t.origin, errors.New("names no policy of verify"), hint)
	}
	return t.value
}
