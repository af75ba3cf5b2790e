package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/medium"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestMedia: a bundle is written to FAT32 and exFAT, with what interrupted calls have left there, and loaded from there. On exFAT the layouts may
// be as well.
func TestMedia(t *testing.T) {
	t.Parallel()
	for name, mount := range map[string]func(*testing.T) string{"FAT32": medium.FAT32, "exFAT": medium.ExFAT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, stick := stage(t, 4, 100_000), mount(t)
			if name == "exFAT" { // that driver of FAT32 appends garbage
				must(t, os.WriteFile(filepath.Join(stick, "plant-7-0001-vol-001.tar.part"), []byte("left"), 0o600))
			}
			done := create(t, from, stick, 300_000)
			if v, err := Verify(t.Context(), []string{stick}, false); err != nil || !v.Whole() || len(v.Volumes) < 2 {
				t.Fatalf("%+v, %v", v.Problems, err)
			}
			into := t.TempDir()
			if name == "exFAT" { // for the same reason
				into = filepath.Join(stick, "far")
			}
			if l := load(t, into, filepath.Join(stick, done.documentName())); !l.Whole() || len(l.Problems) > 0 {
				t.Fatalf("%+v", l.Problems)
			}
			if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
				t.Error(diff)
			}
			if r := receipt(t, into); r.Code() == "" {
				t.Errorf("%d are missing", len(r.Missing))
			}
		})
	}
}

// TestSitesOfOneName: sites whose names differ by case only have the same files on FAT. The second one is refused before anything is written.
func TestSitesOfOneName(t *testing.T) {
	from, to, into := stage(t, 1, 1000), t.TempDir(), t.TempDir()
	create(t, from, to, 0)
	other := CreateOptions{From: from, To: to, ID: "Plant-7", Tool: "test", Now: time.Unix(1e9, 0)}
	if _, err := Create(t.Context(), other); !errors.Is(err, errCase) {
		t.Errorf("into the same folder: %v", err)
	}
	other.To = t.TempDir()
	if _, err := Create(t.Context(), other); !errors.Is(err, errCase) {
		t.Errorf("from the same folder: %v", err)
	}
	if left, err := os.ReadDir(other.To); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	load(t, into, to)
	state := filepath.Join(into, stateDir)
	must(t, os.Rename(filepath.Join(state, "loaded-plant-7.json"), filepath.Join(state, "loaded-Plant-7.json"))) // as FAT finds it
	other.From = stage(t, 1, 1000)
	if _, err := Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), LoadOptions{Paths: []string{other.To}, Into: into}); !errors.Is(err, errCase) {
		t.Errorf("loaded: %v", err)
	}
}

// TestLayoutsOfOneName: where layouts whose paths differ by case only would be one folder, none is loaded.
func TestLayoutsOfOneName(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for i, name := range []string{"team/app", "Team/app"} {
		put(t, filepath.Join(from, name), "v1", registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{LayerSize: 1000}))
	}
	create(t, from, to, 0)
	into := t.TempDir()
	load(t, into, to)
	if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
		t.Error(diff)
	}
	fulltest.Require(t)
	into = medium.ExFAT(t)
	must(t, os.Mkdir(filepath.Join(into, "case"), 0o700))
	if _, err := os.Stat(filepath.Join(into, "CASE")); err != nil {
		t.Skip("needs the right to mount")
	}
	_, err := Load(t.Context(), LoadOptions{Paths: []string{to}, Into: into})
	if err == nil || !strings.Contains(err.Error(), "are one folder here") || len(tagsOf(t, into)) > 0 {
		t.Errorf("%v, %v", err, tagsOf(t, into))
	}
}
