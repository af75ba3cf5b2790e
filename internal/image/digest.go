package image

import (
	"crypto/sha256"
	_ "crypto/sha512" // with sha256 the algorithms of the OCI image spec ("Digests")
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// Digest is a content identifier (OCI image spec, "Digests"): "sha256:…" or "sha512:…". The empty digest means unknown.
type Digest = digest.Digest

// Sum is a sha256 digest in binary, which takes less than half the memory. The zero Sum is none.
type Sum [sha256.Size]byte

// SumOf returns the sum of a digest; none if that is not of sha256.
func SumOf(d Digest) (s Sum) {
	if d.Validate() == nil && d.Algorithm() == digest.SHA256 {
		_, _ = hex.Decode(s[:], []byte(d.Encoded())) // it is valid
	}
	return s
}

// Digest returns the sum as a digest; empty for none.
func (s Sum) Digest() Digest {
	if s == (Sum{}) {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, s[:])
}

// ParseDigest checks that s is a complete digest of an algorithm that this program can verify.
func ParseDigest(s string) (Digest, error) {
	d := Digest(s)
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// DigestOf returns the digest of b with the algorithm of like, or sha256 if like is empty or unusable.
func DigestOf(b []byte, like Digest) Digest {
	if like.Validate() == nil {
		return like.Algorithm().FromBytes(b)
	}
	return digest.FromBytes(b)
}

// Hash returns the hash for digests with d's algorithm. d must be valid.
func Hash(d Digest) hash.Hash { return d.Algorithm().Hash() }

// HasSum reports whether h has the sum d.
func HasSum(d Digest, h hash.Hash) bool { return digest.NewDigest(d.Algorithm(), h) == d }

// Verifier returns a writer that checks bytes against d; nil for a digest that cannot be verified.
func Verifier(d Digest) digest.Verifier {
	if d.Validate() != nil {
		return nil
	}
	return d.Verifier()
}

// ShortDigest returns the algorithm and the first twelve digits, for display.
func ShortDigest(d Digest) string {
	if d.Validate() != nil {
		return string(d)
	}
	return d.Algorithm().String() + ":" + d.Encoded()[:12]
}
