package file

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/draysync/dray/internal/emulator/medium"
)

// TestReplace: a file is replaced as a whole, with its mode where there are modes, or stays; nothing else is left in its folder.
func TestReplace(t *testing.T) {
	t.Run("here", func(t *testing.T) { testReplace(t, t.TempDir(), 0o640) })
	t.Run("FAT32", func(t *testing.T) { testReplace(t, medium.FAT32(t), 0) })
	t.Run("exFAT", func(t *testing.T) { testReplace(t, medium.ExFAT(t), 0) })
}

// testReplace tests it in a folder where files have a mode, if not 0.
func testReplace(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	name, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := Replace(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		info, statErr := os.Stat(name)
		if err != nil || statErr != nil || string(got) != text || mode != 0 && info.Mode() != mode {
			t.Errorf("%q, %v, %v, %v", got, info.Mode(), err, statErr)
		}
	}
	if err := Replace(folder, []byte("x"), 0o600); err == nil {
		t.Error("a folder is replaced")
	}
	if err := Replace(filepath.Join(dir, "none", "file"), nil, 0o600); err == nil {
		t.Error("a folder is made")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
