package medium

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// TestMedia: a medium takes files, and refuses what its file system cannot hold.
func TestMedia(t *testing.T) {
	t.Parallel()
	for name, medium := range map[string]func(*testing.T) string{"FAT32": FAT32, "exFAT": ExFAT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := medium(t)
			if err := os.WriteFile(filepath.Join(folder, "A long name.tar"), []byte("x"), 0o600); err != nil {
				t.Error(err)
			}
			if !fulltest.Enabled() {
				return
			}
			if !mounted(t, folder) {
				t.Skip("needs the right to mount")
			}
			if err := os.WriteFile(filepath.Join(folder, "a:b"), []byte("x"), 0o600); err == nil {
				t.Error("a colon is taken")
			}
			if err := os.Symlink("x", filepath.Join(folder, "link")); err == nil {
				t.Error("a symbolic link is taken")
			}
		})
	}
}

func TestUnfit(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, name := range []string{"fits", "a:b", "dot.", "line\nbreak", "large"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Truncate(at("large"), 4<<30), os.Symlink("fits", at("link")), os.Mkdir(at("folder"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"fits": "", "folder": "", "a:b": "character", "dot.": "end", "line\nbreak": "character", "large": "4 GiB", "link": "it is a L",
	} {
		info, err := os.Lstat(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if got := unfit(info); !strings.Contains(got, want) || got != "" && want == "" {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
