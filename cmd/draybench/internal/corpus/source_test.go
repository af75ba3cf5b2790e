package corpus

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/cmd/draybench/internal/server"
	"github.com/draysync/dray/internal/fulltest"
)

func TestSource(t *testing.T) {
	fulltest.Program(t, "docker-registry", "Debian's package docker-registry")
	dir := t.TempDir()
	folder, err := tiny().Fill(t.Context(), server.Debian, dir)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	again, err := tiny().Fill(t.Context(), server.Debian, dir)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(again); err != nil || !os.SameFile(before, after) {
		t.Errorf("it was filled again: %v", err)
	}
	source, err := Open(t.Context(), server.Debian, folder)
	if err != nil {
		t.Fatal(err)
	}
	want, digests := build(t, tiny())
	if diff := cmp.Diff(want, source.Content); diff != "" {
		t.Error(diff)
	}
	rebuilt := want.Rebuilt.Repository + ":" + want.Rebuilt.Tag
	original, replacement := digests[rebuilt], want.Rebuilt.Digest
	at := func(reference string) string {
		t.Helper()
		request, err := http.NewRequest(http.MethodHead, source.URL+"/v2/"+want.Rebuilt.Repository+"/manifests/"+reference, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", mediaIndex)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.Header.Get("Docker-Content-Digest")
	}
	if got := at(want.Rebuilt.Tag); got != original {
		t.Errorf("first at %s, want %s", got, original)
	}
	if err := source.Move(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := at(want.Rebuilt.Tag); got != replacement || got == original {
		t.Errorf("moved to %s, want %s", got, replacement)
	}
	if err := source.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := at(want.Rebuilt.Tag); got != original {
		t.Errorf("moved back to %s, want %s", got, original)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
