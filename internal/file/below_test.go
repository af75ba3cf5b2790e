package file

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRealBelow: links are followed as the system does, as long as they stay in the folder, by whatever way.
func TestRealBelow(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "a", "b"), 0o700), os.MkdirAll(filepath.Join(dir, "out", "deep"), 0o700), os.Mkdir(filepath.Join(dir, "out", "a"), 0o700)); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(dir, "linked")
	for name, to := range map[string]string{
		linked: "root", "relative": "a/b", "absolute": filepath.Join(root, "a"), "by the other name": filepath.Join(linked, "a"), "chain": "relative/..", "self": ".",
		"around": "../root/a", "loop": "loop", "none": "gone", "up": "..", "out": "../out", "outside": filepath.Join(dir, "out"), "over": "out/deep/../a", "chain out": "out/deep",
		"a/b/up": "../../a", "beside": "../root2",
	} {
		if !filepath.IsAbs(name) {
			name = filepath.Join(root, name)
		}
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		".": "", "a": "a", "a/b": "a/b", "relative": "a/b", "absolute/b": "a/b", "by the other name": "a", "chain": "a", "self": "", "self/self/a": "a", "around/b": "a/b",
		"a/b/up/b": "a/b", "up/root/a": "a",
	} {
		if got, err := RealBelow(linked, name); err != nil || got != filepath.Join(root, want) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"up": ErrOutside, "out": ErrOutside, "out/deep": ErrOutside, "outside": ErrOutside, "over": ErrOutside, "chain out": ErrOutside, "up/root2": ErrOutside, "beside": ErrOutside,
		"..": ErrOutside, "loop": syscall.ELOOP, "none": os.ErrNotExist, "missing": os.ErrNotExist,
	} {
		if got, err := RealBelow(linked, name); !errors.Is(err, want) {
			t.Errorf("%s: %s, %v, want %v", name, got, err, want)
		}
	}
}
