package image

import (
	// Registered for digest verification: the OCI image spec, "Digests", names sha256 and sha512.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// Digest is a content identifier as the OCI image spec, "Digests", defines it: "sha256:…" or "sha512:…". The empty digest
// means "not known".
type Digest = digest.Digest

// ParseDigest checks that s is a complete digest of an algorithm that this program can verify.
func ParseDigest(s string) (Digest, error) {
	d := Digest(s)
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// DigestOf returns the digest of b by the algorithm of like, by sha256 where like is empty or unusable.
func DigestOf(b []byte, like Digest) Digest {
	if like.Validate() == nil {
		return like.Algorithm().FromBytes(b)
	}
	return digest.FromBytes(b)
}

// Hash returns the hash that computes digests of d's algorithm. d has to be valid.
func Hash(d Digest) hash.Hash { return d.Algorithm().Hash() }

// HasSum tells whether what h has taken in has the digest d.
func HasSum(d Digest, h hash.Hash) bool { return digest.NewDigest(d.Algorithm(), h) == d }

// Verifier returns what checks bytes against d while they stream; nil for a digest that cannot be verified.
func Verifier(d Digest) digest.Verifier {
	if d.Validate() != nil {
		return nil
	}
	return d.Verifier()
}

// ShortDigest is the form for people: the algorithm and the first twelve digits.
func ShortDigest(d Digest) string {
	if d.Validate() != nil {
		return string(d)
	}
	return d.Algorithm().String() + ":" + d.Encoded()[:12]
}
