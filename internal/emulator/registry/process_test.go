package registry_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
)

func TestStartProcessWithoutBinary(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := registry.StartProcess(t.Context(), t.TempDir()); !errors.Is(err, registry.ErrNoBinary) {
		t.Errorf("got %v", err)
	}
	if _, err := registry.DistributionV3.Start(t.Context(), t.TempDir()); !errors.Is(err, registry.ErrNoBinary) {
		t.Errorf("v3: got %v", err)
	}
}

// A program of the same name that is another registry is none.
func TestStartProcessWithAnotherProgram(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []registry.Program{registry.DockerRegistry, registry.DistributionV3} {
		if err := os.WriteFile(filepath.Join(dir, string(p)), []byte("#!/bin/sh\necho registry 1.0\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	for _, p := range []registry.Program{registry.DockerRegistry, registry.DistributionV3} {
		if _, err := p.Start(t.Context(), t.TempDir()); !errors.Is(err, registry.ErrNoBinary) {
			t.Errorf("%s: got %v", p, err)
		}
	}
}

// What the programs are started with: content stays over a restart, deletes are allowed, a manifest may name layers by URL and
// is refused while something that it refers to is missing.
func TestProgram(t *testing.T) {
	for _, program := range []registry.Program{registry.DockerRegistry, registry.DistributionV3} {
		t.Run(string(program), func(t *testing.T) {
			p := registrytest.RequireProgram(t, program)
			image := registry.MultiArch(1, registry.ImageOptions{Foreign: true})
			if err := image.PushTo(t.Context(), nil, p.URL, "a", "v1"); err != nil {
				t.Fatal(err)
			}
			p.Stop()
			p, err := program.Start(t.Context(), p.Dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Stop)
			c := caller{tb: t, client: http.DefaultClient, url: p.URL}
			root := image.Root()
			for _, step := range []struct {
				name, method, path, body string
				status                   int
			}{
				{"restarted", "HEAD", "/v2/a/manifests/v1", "", 200},
				{"delete a child", "DELETE", "/v2/a/manifests/" + image.Manifests[0].Digest, "", 202},
				{"an index without a child", "PUT", "/v2/a/manifests/v2", string(root.Body), 400},
				{"delete a blob", "DELETE", "/v2/a/blobs/" + image.Blobs[0].Digest, "", 202},
				{"an image without a layer", "PUT", "/v2/a/manifests/v2", string(image.Manifests[0].Body), 400},
			} {
				mediaType := root.MediaType
				if step.name == "an image without a layer" {
					mediaType = image.Manifests[0].MediaType
				}
				if a := c.do(step.method, step.path, step.body, "Content-Type", mediaType, "Accept", mediaType); a.Status != step.status {
					t.Errorf("%s: %d %s", step.name, a.Status, a.Body)
				}
			}
		})
	}
}
