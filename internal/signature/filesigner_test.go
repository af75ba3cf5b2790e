package signature

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/draysync/dray/internal/fulltest"
)

// What minisign -G -W wrote.
const (
	ownPublic = "untrusted comment: minisign public key E8E6BB790F06DC21\nRWQh3AYPebvm6J/15HGPwfn2Nn6QZ6wr6zrQ42bEq2j8Ak6CcTpk6Kgf\n"
	ownSecret = "untrusted comment: minisign encrypted secret key\nRWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIdwGD3m75ugJo2XqIeH8z+nXLl7V7Oe1XNYL/WIzUqaC4WyoX2lz55/15HGPwfn2Nn6QZ6wr6zrQ42bEq2j8Ak6CcTpk6KgfAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
)

// TestSignFile: what is signed with a private key counts with its public key, and for no other file.
func TestSignFile(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][2]string{"minisign": {ownSecret, ownPublic}, "minisign with CRLF": {strings.ReplaceAll(ownSecret, "\n", "\r\n"), ownPublic}}
	for name, key := range map[string]any{"ed25519": edKey, "ecdsa": ecKey, "rsa": rsaKey} {
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		_, public := sshSigner(t, key)
		keys[name] = [2]string{string(pem.EncodeToMemory(block)), public}
	}
	for name, key := range keys {
		signer, err := ParseFileSigner([]byte(key[0]))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ending, text, err := signer.Sign([]byte("test"), "plant-7-0001")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for other, public := range keys {
			parsed, err := ParseFileKeys(other, []byte(public[1]))
			if err != nil {
				t.Fatal(err)
			}
			_, err = VerifyFile([]byte("test"), parsed, map[string][]byte{ending: text})
			if public[1] == key[1] != (err == nil) {
				t.Errorf("%s with the key of %s: %v", name, other, err)
			}
			if _, err := VerifyFile([]byte("text"), parsed, map[string][]byte{ending: text}); err == nil {
				t.Errorf("%s: another file is signed, by %s", name, other)
			}
		}
		signedFor(t, name, key[1], ending, text)
	}
}

// signedFor has minisign and ssh-keygen verify a signature.
func signedFor(t *testing.T, name, public, ending string, text []byte) {
	t.Helper()
	if !fulltest.Enabled() {
		return
	}
	dir := t.TempDir()
	at := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, sig := at("file", "test"), at("file"+ending, string(text))
	c := exec.Command(fulltest.Program(t, "minisign", "Debian's package minisign"), "-V", "-m", file, "-p", at("key", public)) //nolint:gosec // a program of the test
	if ending == sshEnding {
		c = exec.Command(fulltest.Program(t, "ssh-keygen", "Debian's package openssh-client"), "-Y", "verify", "-n", FileNamespace, "-I", "ann", "-f", at("allowed", "ann "+public), "-s", sig) //nolint:gosec // a program of the test
		c.Stdin = strings.NewReader("test")
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// TestNoSigner: what is no private key, or one that a password protects, signs nothing.
func TestNoSigner(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"an SSH key": string(pem.EncodeToMemory(block)), "a key of minisign": strings.Replace(ownSecret, "\nRWQAAEIy", "\nRWRTY0Iy", 1)} {
		if _, err := ParseFileSigner([]byte(text)); !errors.Is(err, errProtected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "a public key of minisign": ownPublic, "a damaged key": strings.Replace(ownSecret, "z55", "z54", 1), "a short key": ownSecret[:100],
		"a PEM file": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		if _, err := ParseFileSigner([]byte(text)); err == nil || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
