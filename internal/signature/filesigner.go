package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/ssh"
)

// FileSigner is a private key of who signs files: of minisign, or of SSH.
type FileSigner struct {
	id       [8]byte
	minisign ed25519.PrivateKey
	ssh      ssh.AlgorithmSigner
}

// minisignSecret is how long a secret key of minisign is (minisign, "Secret key format"): the algorithms of signature, password and checksum; salt and
// limits for the password; then what that encrypts: the key's ID, the key, and a checksum of both.
const minisignSecret = 2 + 2 + 2 + 32 + 8 + 8 + 8 + ed25519.PrivateKeySize + blake2b.Size256

// errProtected says that a private key has a password, which is not asked for.
var errProtected = errors.New("has a password: sign with minisign -S or ssh-keygen -Y sign, which ask for it")

// ParseFileSigner reads a private key without a password: of SSH, as OpenSSH or PEM has it, or of minisign. Its errors do not quote the text.
func ParseFileSigner(text []byte) (*FileSigner, error) {
	text = withoutMark(text)
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		signer, err := ssh.ParsePrivateKey(text)
		if _, protected := errors.AsType[*ssh.PassphraseMissingError](err); protected {
			return nil, errProtected
		}
		algorithm, ok := signer.(ssh.AlgorithmSigner)
		if err != nil || !ok || !slices.Contains(sshKinds(), signer.PublicKey().Type()) {
			return nil, errors.New("is no private key of SSH that can be used: Ed25519, ECDSA or RSA")
		}
		return &FileSigner{ssh: algorithm}, nil
	}
	comment, line, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil || !strings.HasPrefix(comment, "untrusted comment:") || len(raw) != minisignSecret || string(raw[:2]) != "Ed" {
		return nil, errors.New("is no private key of minisign or SSH")
	}
	if raw[2] != 0 || raw[3] != 0 {
		return nil, errProtected
	}
	secret := raw[2+2+2+32+8+8:]
	id, key := secret[:8], ed25519.PrivateKey(secret[8:8+ed25519.PrivateKeySize])
	if !key.Equal(ed25519.NewKeyFromSeed(key.Seed())) { // minisign leaves the checksum empty where there is no password
		return nil, errors.New("is a damaged private key of minisign")
	}
	return &FileSigner{id: [8]byte(id), minisign: slices.Clone(key)}, nil
}

// Sign returns a signature of a file, and what its name has after that of the file. Comment is signed as well where the signature has one, as that
// of minisign; it is a single line.
func (s *FileSigner) Sign(message []byte, comment string) (ending string, text []byte, err error) {
	if s.ssh != nil {
		text, err = s.signSSH(message)
		return sshEnding, text, err
	}
	sum := blake2b.Sum512(message)
	signed := ed25519.Sign(s.minisign, sum[:])
	encode := base64.StdEncoding.EncodeToString
	return minisignEnding, fmt.Appendf(nil, "untrusted comment: signature from a minisign secret key\n%s\ntrusted comment: %s\n%s\n",
		encode(slices.Concat([]byte("ED"), s.id[:], signed)), comment, encode(ed25519.Sign(s.minisign, slices.Concat(signed, []byte(comment))))), nil
}

// signSSH signs as ssh-keygen -Y sign does (OpenSSH, PROTOCOL.sshsig).
func (s *FileSigner) signSSH(message []byte) ([]byte, error) {
	const hash = "sha512"
	sum := sha512.Sum512(message)
	algorithm := s.ssh.PublicKey().Type()
	if algorithm == ssh.KeyAlgoRSA { // that name stands for SHA-1
		algorithm = ssh.KeyAlgoRSASHA512
	}
	signature, err := s.ssh.SignWithAlgorithm(rand.Reader, append([]byte(sshMagic), ssh.Marshal(sshStatement{FileNamespace, "", hash, string(sum[:])})...), algorithm)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	raw := append([]byte(sshMagic), ssh.Marshal(sshEnvelope{1, string(s.ssh.PublicKey().Marshal()), FileNamespace, "", hash, string(ssh.Marshal(signature))})...)
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: raw}), nil
}
