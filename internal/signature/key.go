package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// minRSA is the least size of an RSA key, in bits.
const minRSA = 2048

// Key is a public key.
type Key struct {
	// Name is where it comes from. Keys of one name belong to one signer, and count once.
	Name   string
	public crypto.PublicKey
	// sum is the SHA-256 of the key as DER (SubjectPublicKeyInfo).
	sum [sha256.Size]byte
}

// ParseKeys reads public keys as PEM, one or several: ECDSA on P-256, P-384 or P-521, RSA of at least 2048 bits, Ed25519. Its errors do not
// quote the text.
func ParseKeys(name string, text []byte) ([]Key, error) {
	text = withoutMark(text)
	var keys []Key
	whole := text
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		key, err := parseKey(block)
		if err != nil {
			return nil, err
		}
		key.Name = name
		keys, text = append(keys, key), rest
	}
	if bytes.Count(whole, []byte("-----BEGIN ")) > len(keys) {
		return nil, errors.New("has a PEM block that cannot be read")
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New(`has text that is no PEM: a public key begins with "-----BEGIN PUBLIC KEY-----"`)
	}
	if len(keys) == 0 {
		return nil, errors.New("has no key")
	}
	return keys, nil
}

// withoutMark returns a text without the byte order mark that Windows puts before it.
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

func parseKey(block *pem.Block) (Key, error) {
	var public any
	var err error
	switch {
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return Key{}, errors.New(`has a private key: only the public one is needed, which "cosign public-key" prints`)
	case block.Type == "CERTIFICATE":
		return Key{}, errors.New("has a certificate, not a public key: who signs with a certificate is named by an identity (keyless)")
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return Key{}, fmt.Errorf("has a %q, not a public key", block.Type)
	}
	if err != nil {
		return Key{}, errors.New("has a public key that cannot be read")
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return Key{}, fmt.Errorf("has an RSA key of %d bits: at least %d are needed", k.N.BitLen(), minRSA)
		}
	case *ecdsa.PublicKey:
		if size := k.Curve.Params().BitSize; size < 256 {
			return Key{}, fmt.Errorf("has an ECDSA key of %d bits: at least 256 are needed", size)
		}
	case ed25519.PublicKey:
	default:
		return Key{}, errors.New("has a key of a kind that is not supported: ECDSA, RSA and Ed25519 are")
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, errors.New("has a public key that cannot be read")
	}
	return Key{public: public, sum: sha256.Sum256(der)}, nil
}

// Fingerprint is the base64 of the SHA-256 of the key, as Sigstore bundles name keys.
func (k Key) Fingerprint() string { return base64.StdEncoding.EncodeToString(k.sum[:]) }

// id is equal for equal keys.
func (k Key) id() string { return "key " + string(k.sum[:]) }

// signed reports whether signature is one of message by the key. Signers choose the hash by the size of the key, or SHA-256 for all.
func (k Key) signed(message, signature []byte) bool {
	short, middle, long := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	sums := []struct {
		hash crypto.Hash
		sum  []byte
	}{{crypto.SHA256, short[:]}, {crypto.SHA384, middle[:]}, {crypto.SHA512, long[:]}}
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, signature) ||
			ed25519.VerifyWithOptions(public, long[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	case *ecdsa.PublicKey:
		for _, s := range sums {
			if ecdsa.VerifyASN1(public, s.sum, signature) {
				return true
			}
		}
	case *rsa.PublicKey:
		for _, s := range sums {
			if rsa.VerifyPKCS1v15(public, s.hash, s.sum, signature) == nil || rsa.VerifyPSS(public, s.hash, s.sum, signature, nil) == nil {
				return true
			}
		}
	}
	return false
}
