package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// cosignKey is a key of somebody who signs images.
type cosignKey struct {
	*ecdsa.PrivateKey
	// file has the public key.
	file string
}

func newCosignKey(t *testing.T, name string) cosignKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	k := cosignKey{key, filepath.Join(t.TempDir(), name)}
	if err := os.WriteFile(k.file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k cosignKey) signature(t *testing.T, message []byte) string {
	t.Helper()
	sum := sha256.Sum256(message)
	raw, err := ecdsa.SignASN1(rand.Reader, k.PrivateKey, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// tag signs as cosign before 3.0 does, by tag.
func (k cosignKey) tag(t *testing.T, r *registry.Registry, repo, digest string) {
	t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.example/%s"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, repo, digest)
	config := []byte("{}")
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": r.PutBlob(repo, config), "size": len(config)},
		"layers": []any{map[string]any{
			"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": r.PutBlob(repo, payload), "size": len(payload),
			"annotations": map[string]string{"dev.cosignproject.cosign/signature": k.signature(t, payload)},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutManifest(repo, strings.Replace(digest, ":", "-", 1)+".sig", "application/vnd.oci.image.manifest.v1+json", manifest); err != nil {
		t.Fatal(err)
	}
}

// bundle signs as cosign 3.0 does, by a referrer.
func (k cosignKey) bundle(t *testing.T, r *registry.Registry, repo, digest, predicate string) {
	t.Helper()
	const kind = "application/vnd.in-toto+json"
	payload := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","predicateType":%q,"subject":[{"digest":{"sha256":%q}}],"predicate":{}}`, predicate, strings.TrimPrefix(digest, "sha256:"))
	signature := k.signature(t, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload))
	bundle := fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payloadType":%q,"payload":%q,"signatures":[{"sig":%q}]}}`,
		kind, base64.StdEncoding.EncodeToString(payload), signature)
	if _, err := r.PutReferrer(repo, digest, "application/vnd.dev.sigstore.bundle.v0.3+json", bundle); err != nil {
		t.Fatal(err)
	}
}

// samples is an image as cosign's library signed it.
const samples = "../../internal/signature/testdata/fallback"

// TestVerifyKeyless: what cosign's library signed without a key, at a registry.
func TestVerifyKeyless(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	r := registry.New(registry.Options{Referrers: true, LaxManifests: true})
	host := start(t, r)
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(samples, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	digest, err := r.PutManifest("app", "v1", "application/vnd.oci.image.index.v1+json", read("image/index.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := r.PutReferrer("app", digest, "application/vnd.dev.sigstore.bundle.v0.3+json", read(fmt.Sprintf("bundle/%d-bundle.json", i))); err != nil {
			t.Fatal(err)
		}
	}
	var root map[string]any
	if err := json.Unmarshal(read("keyless/trusted_root.json"), &root); err != nil {
		t.Fatal(err)
	}
	delete(root, "ctlogs") // the certificates of the samples were seen by none
	text, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	const issuer, subject = "https://token.actions.githubusercontent.com", "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1"
	for _, tt := range []struct {
		flags []string
		code  int
		want  string
	}{
		{[]string{"--issuer", issuer, "--identity", subject}, exitDone, "signature by " + subject + " (" + issuer + ")"},
		{[]string{"--issuer-regexp", `https://token\..*`, "--identity-regexp", "https://github.com/acme/.*"}, exitDone, "is verified."},
		{[]string{"--issuer", issuer, "--identity-regexp", "https://github.com/acme"}, exitPartly, "(wrong-identity)"},
		{[]string{"--issuer", issuer, "--identity", subject, "--key", samples + "/cosign.pub", "--threshold", "2"}, exitDone, "is verified."},
		{[]string{"--issuer", issuer, "--identity", subject, "--key", samples + "/other.pub", "--threshold", "2"}, exitPartly, "(too-few)"},
	} {
		if a := dray(t, append([]string{"verify", host + "/app:v1", "--trusted-root", file}, tt.flags...)...); a.code != tt.code || !strings.Contains(a.out, tt.want) {
			t.Errorf("%q: exit code %d\n%s%s", tt.flags, a.code, a.out, a.err)
		}
	}
}

const signPredicate, slsaPredicate = "https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"

// TestVerify: both forms of cosign at registries with the referrers API and without, text, JSON and exit codes.
func TestVerify(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	good, second, bad := newCosignKey(t, "good.pub"), newCosignKey(t, "second.pub"), newCosignKey(t, "bad.pub")
	for name, options := range map[string]registry.Options{"referrers API": {Referrers: true}, "fallback tag": {}} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(options)
			host := start(t, r)
			for i, tag := range []string{"tagged", "bundled", "both", "attested", "unsigned"} {
				if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: 100}).Push(r, "app", tag); err != nil {
					t.Fatal(err)
				}
			}
			good.tag(t, r, "app", r.Digest("app", "tagged"))
			good.bundle(t, r, "app", r.Digest("app", "bundled"), signPredicate)
			good.tag(t, r, "app", r.Digest("app", "both"))
			second.bundle(t, r, "app", r.Digest("app", "both"), signPredicate)
			good.bundle(t, r, "app", r.Digest("app", "attested"), slsaPredicate)
			tests := []struct {
				tag   string
				flags []string
				code  int
				want  string
			}{
				{"tagged", nil, exitDone, "✓ cosign-tag"},
				{"tagged", []string{"--key", bad.file}, exitDone, "is verified."},
				{"bundled", nil, exitDone, "✓ bundle"},
				{"both", []string{"--key", second.file, "--threshold", "2"}, exitDone, "signature by " + second.file},
				{"tagged", []string{"--key", second.file, "--threshold", "2"}, exitPartly, "signers: 1, the policy wants 2 (too-few)"},
				{"attested", nil, exitPartly, "is not verified: nothing signs it; there are attestations, which are no signatures (none)"},
				{"unsigned", nil, exitPartly, "is not verified: nothing signs it (none)"},
				{"bundled", []string{"--attestation", slsaPredicate}, exitPartly, "(no-attestation)"},
				{"no-such-tag", nil, exitFailed, ""},
			}
			for _, tt := range tests {
				a := dray(t, append([]string{"verify", host + "/app:" + tt.tag, "--key", good.file}, tt.flags...)...)
				if a.code != tt.code || !strings.Contains(a.out, tt.want) || tt.code != exitFailed && !strings.Contains(a.out, "@sha256:") {
					t.Errorf("%s %q: exit code %d\n%s%s", tt.tag, tt.flags, a.code, a.out, a.err)
				}
			}
			a := dray(t, "verify", host+"/app:both", "--key", bad.file, "-o", "json")
			var answer struct {
				Image, Digest, Code string
				Verified            bool
				Signatures          []struct {
					Form, Code string
					Valid      bool
				}
			}
			if err := json.Unmarshal([]byte(a.out), &answer); err != nil || a.code != exitPartly || answer.Verified || answer.Code != "wrong-key" || answer.Digest != r.Digest("app", "both") || len(answer.Signatures) != 2 {
				t.Errorf("exit code %d, %v\n%s", a.code, err, a.out)
			}
		})
	}
}

// TestVerifyFails: a registry that cannot say what there is has not said that the image is not signed.
func TestVerifyFails(t *testing.T) {
	t.Parallel()
	key := newCosignKey(t, "key.pub")
	r := registry.New(registry.Options{})
	host := start(t, r)
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(r, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	key.tag(t, r, "app", r.Digest("app", "v1"))
	r.Inject(registry.Fault{Match: func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, ".sig") }, Status: http.StatusForbidden})
	if a := dray(t, "verify", host+"/app:v1", "--key", key.file); a.code != exitFailed || !strings.Contains(a.err, ".sig") {
		t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
	}
}

// TestVerifyUsage: what is wrong with flags is said before anything is asked.
func TestVerifyUsage(t *testing.T) {
	t.Parallel()
	key := newCosignKey(t, "key.pub")
	private := filepath.Join(t.TempDir(), "cosign.key")
	if err := os.WriteFile(private, []byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "verify takes one IMAGE, got 0 arguments"},
		{[]string{"a", "b"}, "verify takes one IMAGE, got 2 arguments"},
		{[]string{"a:v1"}, "verify needs a public key or an identity: name the file of a key with --key"},
		{[]string{"a:v1", "--key", "/nowhere.pub"}, "/nowhere.pub: no such file"},
		{[]string{"a:v1", "--key", t.TempDir()}, "is a directory"},
		{[]string{"a:v1", "--key", private}, `has a private key: only the public one is needed, which "cosign public-key" prints`},
		{[]string{"a:v1", "--key", key.file, "--threshold", "2"}, "--threshold 2: write a number from 1 to 1, as many as there are files with a key of their own"},
		{[]string{"a:v1", "--key", key.file, "--key", key.file, "--threshold", "2"}, "write a number from 1 to 1"},
		{[]string{"A:v1", "--key", key.file}, "IMAGE: "},
		{[]string{"a:v1", "--key", key.file, "--signed", "all"}, "--signed all: write image or platforms"},
		{[]string{"a:v1", "--key", key.file, "--signatures-from", "b:v1"}, "--signatures-from: docker.io/library/b:v1 names one image: write a repository"},
		{[]string{"a:v1", "--key", key.file, "--signatures-from", "c2VjcmV0:x@ghcr.io/b"}, "--signatures-from: "},
		{[]string{"a:v1", "--policy", "acme"}, `--policy acme: the config has no such policy (its policies: [])`},
		{[]string{"a:v1", "--policy", "acme", "--key", key.file}, "[key policy]"},
		{[]string{"a:v1", "--issuer", "https://x"}, "an identity needs either --identity or --identity-regexp"},
		{[]string{"a:v1", "--identity", "x", "--identity-regexp", "x"}, "an identity needs either --identity or --identity-regexp"},
		{[]string{"a:v1", "--identity", "x"}, "an identity needs either --issuer or --issuer-regexp"},
		{[]string{"a:v1", "--identity", "x", "--issuer", "x"}, "an identity needs --trusted-root"},
		{[]string{"a:v1", "--identity-regexp", "(", "--issuer", "x", "--trusted-root", key.file}, "--identity-regexp: error parsing regexp"},
		{[]string{"a:v1", "--identity", "x", "--issuer", "x", "--trusted-root", "/nowhere.json"}, "/nowhere.json: no such file"},
		{[]string{"a:v1", "--identity", "x", "--issuer", "x", "--trusted-root", key.file}, "has no trusted root"},
		{[]string{"a:v1", "--identity", "x", "--issuer", "x", "--trusted-root", samples + "/keyless/trusted_root.json", "--threshold", "2"}, "write a number from 1 to 1"},
	} {
		if a := dray(t, append([]string{"verify"}, tt.args...)...); a.code != exitUsage || !strings.Contains(a.err, tt.want) || strings.Contains(a.err, "c2VjcmV0") {
			t.Errorf("%q: exit code %d\n%s", tt.args, a.code, a.err)
		}
	}
}
