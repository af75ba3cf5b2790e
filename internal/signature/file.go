package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/ssh"
)

// FileNamespace is that of SSH signatures of files: what is signed for another purpose does not count (OpenSSH, PROTOCOL.sshsig).
const FileNamespace = "dray-bundle"

// The endings of the names of signatures, beside the file that they sign.
const (
	minisignEnding = ".minisig"       // minisign -S
	sshEnding      = ".sig"           // ssh-keygen -Y sign, and cosign sign-blob
	bundleEnding   = ".sigstore.json" // cosign sign-blob --bundle
)

// FileEndings are what the names of a file's signatures have after that of the file.
func FileEndings() []string { return []string{minisignEnding, sshEnding, bundleEnding} }

// MaxFileSignature is the most bytes that the signature of a file may have.
const MaxFileSignature = 1 << 20

// FileKey is a public key of who signs files: of minisign, of SSH, or of cosign.
type FileKey struct {
	// Name is where it comes from.
	Name     string
	minisign *minisignKey
	ssh      ssh.PublicKey
	pem      *Key
}

type minisignKey struct {
	id     [8]byte
	public ed25519.PublicKey
}

// ErrFileSignature says that no signature of a file is one of a key that counts.
var ErrFileSignature = errors.New("it is signed by none of the keys")

// ParseFileKeys reads public keys: as PEM, as minisign writes them, or in the lines of an authorized_keys or allowed_signers file without options. Its
// errors do not quote the text.
func ParseFileKeys(name string, text []byte) ([]FileKey, error) {
	text = withoutMark(text)
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		parsed, err := ParseKeys(name, text)
		var keys []FileKey
		for _, k := range parsed {
			keys = append(keys, FileKey{Name: name, pem: &k})
		}
		return keys, err
	}
	var keys []FileKey
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "untrusted comment:") {
			continue
		}
		key, err := parseFileKey(line)
		if err != nil {
			return nil, err
		}
		key.Name = name
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("has no key")
	}
	return keys, nil
}

// sshKinds are the kinds of SSH keys that count, also those of hardware.
func sshKinds() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	}
}

func parseFileKey(line string) (FileKey, error) {
	fields := strings.Fields(line)
	if raw, err := base64.StdEncoding.DecodeString(line); err == nil {
		if len(raw) != 2+8+ed25519.PublicKeySize || string(raw[:2]) != "Ed" {
			return FileKey{}, errors.New("has a line that is no public key of minisign")
		}
		return FileKey{minisign: &minisignKey{[8]byte(raw[2:10]), raw[10:]}}, nil
	}
	at := slices.IndexFunc(fields, func(f string) bool { return slices.Contains(sshKinds(), f) })
	if at < 0 || at > 1 || len(fields) < at+2 || at == 1 && (strings.ContainsAny(fields[0], `="`) || fields[0] == "cert-authority") {
		return FileKey{}, errors.New("has a line that is no public key of minisign or SSH, or has options")
	}
	raw, err := base64.StdEncoding.DecodeString(fields[at+1])
	if err != nil {
		return FileKey{}, errors.New("has an SSH key that cannot be read")
	}
	key, err := ssh.ParsePublicKey(raw)
	if err != nil || key.Type() != fields[at] {
		return FileKey{}, errors.New("has an SSH key that cannot be read")
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return FileKey{}, fmt.Errorf("has an RSA key of %d bits: at least %d are needed", r.N.BitLen(), minRSA)
		}
	}
	return FileKey{ssh: key}, nil
}

// VerifyFile returns the name of a key that has signed a file. The signatures are by their endings. The error wraps ErrFileSignature if no key has.
func VerifyFile(message []byte, keys []FileKey, signatures map[string][]byte) (string, error) {
	for _, ending := range FileEndings() {
		text, ok := signatures[ending]
		if !ok {
			continue
		}
		for _, k := range keys {
			if k.signed(message, ending, text) {
				return k.Name, nil
			}
		}
	}
	if len(signatures) == 0 {
		return "", fmt.Errorf("%w: there is no signature beside it (%s)", ErrFileSignature, strings.Join(FileEndings(), ", "))
	}
	return "", ErrFileSignature
}

func (k FileKey) signed(message []byte, ending string, text []byte) bool {
	switch {
	case k.minisign != nil:
		return ending == minisignEnding && k.minisign.signed(message, text)
	case k.ssh != nil:
		return ending == sshEnding && sshSigned(k.ssh, message, text)
	case ending == bundleEnding:
		var bundle struct {
			MessageSignature struct{ Signature []byte } `json:"messageSignature"`
		}
		return json.Unmarshal(text, &bundle) == nil && k.pem.signed(message, bundle.MessageSignature.Signature)
	case ending == sshEnding:
		raw, err := decode(strings.TrimSpace(string(text)))
		return err == nil && k.pem.signed(message, raw)
	}
	return false
}

// signed reports whether text is a signature of minisign: of the message, or of its BLAKE2b-512, and of that signature with its trusted comment.
func (k *minisignKey) signed(message, text []byte) bool {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
	if len(lines) != 4 {
		return false
	}
	comment, ok := strings.CutPrefix(lines[2], "trusted comment: ")
	raw, err := base64.StdEncoding.DecodeString(lines[1])
	all, errAll := base64.StdEncoding.DecodeString(lines[3])
	if !ok || errors.Join(err, errAll) != nil || len(raw) != 2+8+ed25519.SignatureSize || [8]byte(raw[2:10]) != k.id {
		return false
	}
	switch string(raw[:2]) {
	case "ED":
		sum := blake2b.Sum512(message)
		message = sum[:]
	case "Ed":
	default:
		return false
	}
	return ed25519.Verify(k.public, message, raw[10:]) && ed25519.Verify(k.public, append(slices.Clone(raw[10:]), comment...), all)
}

// sshMagic begins an SSH signature, and what it signs.
const sshMagic = "SSHSIG"

// sshEnvelope is an SSH signature after sshMagic, and sshStatement what it signs.
type (
	sshEnvelope struct {
		Version                                             uint32
		PublicKey, Namespace, Reserved, Hash, SignatureBlob string
	}
	sshStatement struct{ Namespace, Reserved, Hash, Sum string }
)

// sshSigned reports whether text is a signature by an SSH key of a message in our namespace.
func sshSigned(key ssh.PublicKey, message, text []byte) bool {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "SSH SIGNATURE" {
		return false
	}
	raw, ok := bytes.CutPrefix(block.Bytes, []byte(sshMagic))
	var s sshEnvelope
	var signature ssh.Signature
	if !ok || ssh.Unmarshal(raw, &s) != nil || ssh.Unmarshal([]byte(s.SignatureBlob), &signature) != nil {
		return false
	}
	if s.Version != 1 || s.Namespace != FileNamespace || signature.Format == ssh.KeyAlgoRSA { // with SHA-1
		return false
	}
	var sum []byte
	switch s.Hash {
	case "sha256":
		short := sha256.Sum256(message)
		sum = short[:]
	case "sha512":
		long := sha512.Sum512(message)
		sum = long[:]
	default:
		return false
	}
	signed := ssh.Marshal(sshStatement{s.Namespace, s.Reserved, s.Hash, string(sum)})
	return key.Verify(append([]byte(sshMagic), signed...), &signature) == nil
}
