package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/draysync/dray/internal/fulltest"
)

// What minisign wrote about the file with the text "test" (jedisct1/go-minisign, its tests).
const (
	minisignPublic = "untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"
	minisignLegacy = "untrusted comment: signature from minisign secret key\nRWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n" +
		"trusted comment: timestamp:1635442742\tfile:test\n0YteLgV960ia80vnA/fHbvkyjl/IoP/HNOCaZfrF0CdhAlp7ok+Tpkya+VpWPX5C/Is3q8a/kEDSY7fBmmgJCg==\n"
	minisignHashed = "untrusted comment: signature from minisign secret key\nRUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n" +
		"trusted comment: timestamp:1635443258\tfile:test\thashed\n/cj37GK60vryibFn+ftOgbCvW9NKhKYgjVpFFQUcWPAnjO23wrvVDTt7cloNC06maoBli9q6qwZDXXoaxweICQ==\n"
)

// sshSignature signs as ssh-keygen -Y sign does.
func sshSignature(t *testing.T, signer ssh.Signer, namespace, algorithm string, message []byte) []byte {
	t.Helper()
	sum := sha512.Sum512(message)
	signed := append([]byte(sshMagic), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{namespace, "", "sha512", string(sum[:])})...)
	s, err := signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, signed, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	raw := append([]byte(sshMagic), ssh.Marshal(struct {
		Version                                         uint32
		PublicKey, Namespace, Reserved, Hash, Signature string
	}{1, string(signer.PublicKey().Marshal()), namespace, "", "sha512", string(ssh.Marshal(s))})...)
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: raw})
}

func sshSigner(t *testing.T, key any) (ssh.Signer, string) {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// TestVerifyFile: a signature counts with its own key and file, and with no other.
func TestVerifyFile(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ed, edLine := sshSigner(t, edKey)
	ec, ecLine := sshSigner(t, ecKey)
	rs, rsLine := sshSigner(t, rsaKey)
	der, err := x509.MarshalPKIXPublicKey(&ecKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	cosign := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	message := []byte("test")
	sum := sha256.Sum256(message)
	raw, err := ecKey.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	blob := base64.StdEncoding.EncodeToString(raw)
	keys := map[string]string{"minisign": minisignPublic, "ed25519": edLine, "ecdsa": "ann@example.org " + ecLine, "rsa": "# a comment\n" + rsLine, "cosign": cosign}
	for name, tt := range map[string]struct {
		key, ending, text string
		wrong             bool
	}{
		"minisign":                   {"minisign", minisignEnding, minisignHashed, false},
		"minisign, old":              {"minisign", minisignEnding, minisignLegacy, false},
		"minisign with CRLF":         {"minisign", minisignEnding, strings.ReplaceAll(minisignHashed, "\n", "\r\n"), false},
		"minisign, other comment":    {"minisign", minisignEnding, strings.Replace(minisignHashed, "1635443258", "1635443259", 1), true},
		"minisign, legacy as hashed": {"minisign", minisignEnding, strings.Replace(minisignLegacy, "\nRWQ", "\nRUQ", 1), true},
		"minisign, other key's id":   {"minisign", minisignEnding, strings.Replace(minisignHashed, "\nRUQf6", "\nRUQf7", 1), true},
		"minisign, short":            {"minisign", minisignEnding, minisignHashed[:200], true},
		"minisign under .sig":        {"minisign", sshEnding, minisignHashed, true},
		"SSH":                        {"ed25519", sshEnding, string(sshSignature(t, ed, FileNamespace, ssh.KeyAlgoED25519, message)), false},
		"SSH, ECDSA":                 {"ecdsa", sshEnding, string(sshSignature(t, ec, FileNamespace, ssh.KeyAlgoECDSA256, message)), false},
		"SSH, RSA":                   {"rsa", sshEnding, string(sshSignature(t, rs, FileNamespace, ssh.KeyAlgoRSASHA512, message)), false},
		"SSH, RSA with SHA-1":        {"rsa", sshEnding, string(sshSignature(t, rs, FileNamespace, ssh.KeyAlgoRSA, message)), true},
		"SSH for another purpose":    {"ed25519", sshEnding, string(sshSignature(t, ed, "git", ssh.KeyAlgoED25519, message)), true},
		"SSH, another file":          {"ed25519", sshEnding, string(sshSignature(t, ed, FileNamespace, ssh.KeyAlgoED25519, []byte("text"))), true},
		"SSH, nothing":               {"ed25519", sshEnding, "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", true},
		"cosign":                     {"cosign", sshEnding, blob + "\n", false},
		"cosign's bundle":            {"cosign", bundleEnding, `{"messageSignature":{"signature":"` + blob + `"}}`, false},
		"cosign, another file":       {"cosign", sshEnding, base64.StdEncoding.EncodeToString(raw[:len(raw)-1]), true},
		"cosign, no bundle":          {"cosign", bundleEnding, "{}", true},
	} {
		for of, text := range keys {
			parsed, err := ParseFileKeys("keys of "+of, []byte(text))
			if err != nil {
				t.Fatalf("%s: %v", of, err)
			}
			signer, err := VerifyFile(message, parsed, map[string][]byte{tt.ending: []byte(tt.text)})
			if want := of == tt.key && !tt.wrong; want != (err == nil) || want && signer != "keys of "+of || !want && !errors.Is(err, ErrFileSignature) {
				t.Errorf("%s by %s: %q, %v", name, of, signer, err)
			}
			if _, err := VerifyFile([]byte("Test"), parsed, map[string][]byte{tt.ending: []byte(tt.text)}); err == nil {
				t.Errorf("%s by %s: it holds for another file", name, of)
			}
		}
	}
	if _, err := VerifyFile(message, nil, map[string][]byte{}); !errors.Is(err, ErrFileSignature) {
		t.Error(err)
	}
}

// TestParseFileKeys: what is no public key is refused, and so are options, which dray would not heed.
func TestParseFileKeys(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, line := sshSigner(t, key)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err) // Go may refuse to
	}
	_, short := sshSigner(t, weak)
	for name, text := range map[string]string{
		"nothing": "# a comment\n", "words": "these are words", "an option": `ann@example.org valid-before="20200101" ` + line, "an option first": `namespaces="git" ` + line,
		"an authority": "cert-authority " + line, "another kind": strings.Replace(line, "ssh-ed25519 ", "ssh-rsa ", 1), "a short RSA key": short,
		"minisign's secret key": "untrusted comment: minisign encrypted secret key\n" + base64.StdEncoding.EncodeToString(make([]byte, 158)), "half a key": line[:40],
		"a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
	} {
		if keys, err := ParseFileKeys(name, []byte(text)); err == nil {
			t.Errorf("%s: %d keys", name, len(keys))
		}
	}
	if keys, err := ParseFileKeys("two", []byte("\ufeff"+strings.ReplaceAll(line+"\n"+minisignPublic, "\n", "\r\n"))); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// TestSSHKeygen: what ssh-keygen signs is verified, with its own keys.
func TestSSHKeygen(t *testing.T) {
	keygen := fulltest.Program(t, "ssh-keygen", "Debian's package openssh-client")
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		dir := t.TempDir()
		key, path := filepath.Join(dir, "key"), filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"-q", "-t", kind, "-N", "", "-f", key}, {"-q", "-Y", "sign", "-n", FileNamespace, "-f", key, path}} {
			if out, err := exec.Command(keygen, args...).CombinedOutput(); err != nil {
				t.Fatal(fmt.Errorf("%w: %s", err, out))
			}
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path + sshEnding)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := ParseFileKeys("key.pub", public)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyFile([]byte("text"), keys, map[string][]byte{sshEnding: text}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// FuzzFileSignature: no text is a signature but one that was made.
func FuzzFileSignature(f *testing.F) {
	keys, err := ParseFileKeys("key", []byte(minisignPublic))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(minisignHashed, ".minisig")
	f.Add("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----\n", ".sig")
	f.Fuzz(func(t *testing.T, text, ending string) {
		_, err := VerifyFile([]byte("test!"), keys, map[string][]byte{ending: []byte(text)})
		if err == nil {
			t.Error("it is taken for a signature")
		}
		_, _ = ParseFileKeys("text", []byte(text))
		sshSigned(nobody{}, []byte("test"), []byte(text))
	})
}

// nobody is a key that has signed nothing.
type nobody struct{ ssh.PublicKey }

func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("no") }
