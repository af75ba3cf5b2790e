package realworld

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const emptyType = "application/vnd.oci.empty.v1+json"

// tag names a tag at a site, for go-containerregistry, which crane and cosign are made of.
func (s *site) tag(t *testing.T, repository, tag string) name.Tag {
	t.Helper()
	options := []name.Option{}
	if s.scheme == "http" {
		options = append(options, name.Insecure)
	}
	ref, err := name.NewTag(s.direct+"/"+repository+":"+tag, options...)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// digest is what a tag stands for, "" where it is not there.
func (s *site) digest(t *testing.T, repository, tag string) string {
	t.Helper()
	d, err := remote.Head(s.tag(t, repository, tag), s.options()...)
	if err != nil {
		return ""
	}
	return d.Digest.String()
}

// holds reads tags with all that is below them, as crane does, and what cosign would find of each.
func (s *site) holds(t *testing.T, repository string, tags map[string]string, sboms int) {
	t.Helper()
	for tag, digest := range tags {
		ref := s.tag(t, repository, tag)
		index, err := remote.Index(ref, s.options()...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := index.Digest(); err != nil || got.String() != digest {
			t.Errorf("%s has digest %s (%v), the source %s", ref, got, err, digest)
		}
		if err := readIndex(index); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		s.signed(t, ref, digest, sboms)
	}
}

// readIndex reads the children of an index; the client checks all digests.
func readIndex(index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) == 0 {
		return fmt.Errorf("an index of nothing")
	}
	for _, child := range manifest.Manifests {
		image, err := index.Image(child.Digest)
		if err != nil {
			return err
		}
		if err := readLayers(image); err != nil {
			return err
		}
	}
	return nil
}

func readLayers(image v1.Image) error {
	if _, err := image.RawConfigFile(); err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		body, err := layer.Compressed()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
	}
	return nil
}

// signed looks for a signature by tag and for referrers, by the API or by the tag that stands in for it.
func (s *site) signed(t *testing.T, ref name.Tag, digest string, sboms int) {
	t.Helper()
	signature, err := remote.Image(ref.Tag(signatureTag(digest)), s.options()...)
	if err == nil {
		err = readLayers(signature)
	}
	if err != nil {
		t.Errorf("the signature of %s: %v", ref, err)
	}
	list, err := remote.Referrers(ref.Digest(digest), s.options()...)
	if err != nil {
		t.Errorf("the referrers of %s: %v", ref, err)
		return
	}
	manifest, err := list.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, d := range manifest.Manifests {
		if d.ArtifactType == sbomType || d.ArtifactType == emptyType { // zot 1.4.3 gives the config's type for it
			found++
		}
	}
	if found != sboms {
		t.Errorf("%s has %d SBOMs, want %d: %v", ref, found, sboms, manifest.Manifests)
	}
}

// copied has skopeo, as podman does, copy a tag with all its platforms to a folder; every file in it has to be what the digest says.
func (s *site) copied(t *testing.T, repository, tag, digest string) {
	t.Helper()
	skopeo := find(t, "skopeo")
	dir := t.TempDir()
	args := []string{"--insecure-policy", "copy", "--all", "-q"}
	if s.signedIn {
		args = append(args, "--src-creds", username+":"+password)
	}
	if s.ca != nil {
		certificates := t.TempDir()
		if err := os.WriteFile(filepath.Join(certificates, "ca.crt"), s.ca, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--src-cert-dir", certificates)
	}
	if s.scheme == "http" {
		args = append(args, "--src-tls-verify=false")
	}
	run(t, skopeo, append(args, "docker://"+s.direct+"/"+repository+":"+tag, "dir:"+dir)...)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := []string{}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		sums = append(sums, "sha256:"+hex.EncodeToString(sum[:]))
		if name := strings.TrimSuffix(f.Name(), ".manifest.json"); len(name) == 64 && name != hex.EncodeToString(sum[:]) {
			t.Errorf("%s is not what its name says", f.Name())
		}
	}
	if !slices.Contains(sums, digest) {
		t.Errorf("skopeo did not find %s below %s", digest, tag)
	}
}

const containerd = `version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{dir}/grpc"
  tcp_address = "{host}"
[ttrpc]
  address = "{dir}/ttrpc"
`

// fetched has containerd fetch a tag for all platforms, as a node of Kubernetes does for its own; it checks every digest itself.
func (s *site) fetched(t *testing.T, repository, tag, digest string) {
	t.Helper()
	client := find(t, "ctr")
	if os.Getuid() != 0 {
		t.Log("containerd has to be root")
		return
	}
	dir, err := os.MkdirTemp("", "ctr") // the name of a socket may not be long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	serve(t, dir, "containerd", map[string]string{"config.toml": containerd}, "-c", "{dir}/config.toml")
	args := []string{"-a", dir + "/grpc", "content", "fetch", "--all-platforms", "--plain-http"}
	if s.signedIn {
		args = append(args, "--user", username+":"+password)
	}
	run(t, client, append(args, s.direct+"/"+repository+":"+tag)...)
	if list := run(t, client, "-a", dir+"/grpc", "content", "ls", "-q"); !strings.Contains(list, digest) || strings.Count(list, "sha256:") < 5 {
		t.Errorf("containerd has\n%s", list)
	}
}
