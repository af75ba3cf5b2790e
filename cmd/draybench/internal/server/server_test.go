package server

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// only leaves nothing on PATH but one program.
func only(t *testing.T, program string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
}

// TestStart pushes an image into each kind of registry, and finds it after a restart.
func TestStart(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			fulltest.Program(t, string(kind.program()), "it as .ci/run does")
			name, err := kind.Find(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(name, "distribution") {
				t.Errorf("it calls itself %q", name)
			}
			only(t, string(kind.program()))
			dir := t.TempDir()
			server, err := Start(t.Context(), kind, dir)
			if err != nil {
				t.Fatal(err)
			}
			image := registry.MultiArch(1, registry.ImageOptions{})
			if err := image.PushTo(t.Context(), nil, server.URL, "a/b", "1"); err != nil {
				t.Fatal(err)
			}
			server.Stop()
			if response, err := http.Get(server.URL); err == nil {
				_ = response.Body.Close()
				t.Error("it answers after Stop")
			}
			if server, err = Start(t.Context(), kind, dir); err != nil {
				t.Fatal(err)
			}
			defer server.Stop()
			response, err := http.Get(server.URL + "/v2/a/b/blobs/" + image.Blobs[0].Digest)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Error(response.Status)
			}
		})
	}
}
