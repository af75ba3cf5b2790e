package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/signature"
)

// signer returns a function that signs a file, and the public key.
func signer(t *testing.T) (sign func(path string), keys []signature.FileKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	must(t, err)
	keys, err = signature.ParseFileKeys("key.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	must(t, err)
	return func(path string) {
		t.Helper()
		raw, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path+".sig", []byte(base64.StdEncoding.EncodeToString(ed25519.Sign(private, raw))), 0o600))
	}, keys
}

// TestSigned: with keys, nothing is written of a bundle that none of them has signed, and the document that is kept for later volumes is no
// exception.
func TestSigned(t *testing.T) {
	from, to := stage(t, 2, 50_000), t.TempDir()
	done := create(t, from, to, 150_000)
	sign, keys := signer(t)
	other, _ := signer(t)
	good, err := os.ReadFile(done.Document)
	must(t, err)
	refused := func(name string, into string, paths ...string) {
		t.Helper()
		if _, err := Verify(t.Context(), []string{to}, false, keys...); !errors.Is(err, signature.ErrFileSignature) {
			t.Errorf("%s: verify: %v", name, err)
		}
		if l, err := Load(t.Context(), LoadOptions{Paths: paths, Into: into, Keys: keys}); !errors.Is(err, signature.ErrFileSignature) {
			t.Errorf("%s: load: %v, %v", name, l.Refs, err)
		}
	}
	into := filepath.Join(t.TempDir(), "into")
	refused("no signature", into, to)
	other(done.Document)
	refused("another key", into, to)
	sign(done.Document)
	must(t, os.WriteFile(done.Document, sealed(bytes.Replace(good, []byte(`"tag":"v0"`), []byte(`"tag":"v9"`), 1)), 0o600))
	refused("changed after it was signed", into, to)
	if _, err := os.Stat(into); err == nil {
		t.Error("something was written")
	}
	must(t, os.WriteFile(done.Document, good, 0o600))
	if v, err := Verify(t.Context(), []string{to}, false, keys...); err != nil || v.Signer != "key.pub" {
		t.Errorf("signed by %q, %v", v.Signer, err)
	}
	last := filepath.Join(to, done.Volumes[len(done.Volumes)-1].Name)
	stick := t.TempDir()
	must(t, os.Rename(last, filepath.Join(stick, filepath.Base(last))))
	l, err := Load(t.Context(), LoadOptions{Paths: []string{to}, Into: into, Keys: keys})
	if err != nil || l.Whole() || l.Signer != "key.pub" {
		t.Errorf("%v, %v", l, err)
	}
	kept := filepath.Join(into, stateDir, receivedDir, filepath.Base(done.Document)+".sig")
	text, err := os.ReadFile(kept)
	must(t, err)
	other(filepath.Join(into, stateDir, receivedDir, filepath.Base(done.Document)))
	if _, err := Load(t.Context(), LoadOptions{Paths: []string{stick}, Into: into, Keys: keys}); !errors.Is(err, signature.ErrFileSignature) {
		t.Errorf("a document that was kept: %v", err)
	}
	must(t, os.WriteFile(kept, text, 0o600))
	if l, err = Load(t.Context(), LoadOptions{Paths: []string{stick}, Into: into, Keys: keys}); err != nil || !l.Whole() {
		t.Errorf("%v, %v", l.Problems, err)
	}
	if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
		t.Error(diff)
	}
	if left, _ := filepath.Glob(filepath.Join(into, stateDir, receivedDir, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSignedReceipt: with keys, a receipt counts if one of them has signed it.
func TestSignedReceipt(t *testing.T) {
	sign, keys := signer(t)
	other, _ := signer(t)
	path := filepath.Join(t.TempDir(), "receipt.json")
	must(t, os.WriteFile(path, []byte("{}"), 0o600))
	for name, tt := range map[string]struct {
		by func(string)
		ok bool
	}{"nobody": {func(string) {}, false}, "another": {other, false}, "the site": {sign, true}} {
		tt.by(path)
		if text, err := ReadReceipt(path, keys); (err == nil) != tt.ok || tt.ok && text != "{}" {
			t.Errorf("signed by %s: %q, %v", name, text, err)
		}
		must(t, errors.Join(os.WriteFile(path+".sig", nil, 0o600), os.Remove(path+".sig")))
		if _, err := ReadReceipt(path, nil); err != nil {
			t.Error(err)
		}
	}
}
