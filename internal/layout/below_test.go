package layout

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// TestBelow: layouts behind symbolic links are found, by the names that they have there, and links in a circle end.
func TestBelow(t *testing.T) {
	dir := t.TempDir()
	root, elsewhere := filepath.Join(dir, "root"), filepath.Join(dir, "elsewhere")
	for _, path := range []string{"root", "root/a", "root/a/nested", "root/lost+found/x", "root/a/blobs/x", "elsewhere/one", "elsewhere/deep/two"} {
		path = filepath.Join(dir, path)
		must(t, os.MkdirAll(path, 0o700))
		must(t, writeVersion(path))
	}
	for name, to := range map[string]string{
		"root/b": filepath.Join(elsewhere, "one"), "root/c": "../elsewhere/deep", "root/alias": "a", "root/up": ".", "root/above": "..", "elsewhere/deep/round": filepath.Join(elsewhere, "deep"),
		"root/gone": "none", "root/file": "a/oci-layout", "linked": "root",
	} {
		must(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	t.Chdir(root)
	for _, from := range []string{root, root + "/", filepath.Join(dir, "linked"), root + "/../root", ".", "../root", "../linked"} {
		found, err := New().Below(image.Repository{Path: from})
		must(t, err)
		var want []string
		for _, name := range []string{"a", "a/nested", "alias", "b", "c/two", "up"} {
			want = append(want, filepath.Join(from, name))
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s: %s", from, diff)
		}
		found, err = New().Inside(image.Repository{Path: from})
		must(t, err)
		want = slices.DeleteFunc(want, func(path string) bool {
			return path == filepath.Join(from, "b") || path == filepath.Join(from, "c/two")
		})
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("inside of %s: %s", from, diff)
		}
	}
}

// TestBelowUnreadable: what cannot be read is an error that names it, also behind a link, and what is elsewhere is found.
func TestBelowUnreadable(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "z"} {
		must(t, os.Mkdir(filepath.Join(root, name), 0o700))
		must(t, writeVersion(filepath.Join(root, name)))
	}
	must(t, os.Symlink(strings.Repeat("x", 300), filepath.Join(root, "long"))) // of a name that no file can have
	found, err := New().Below(image.Repository{Path: root})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(root, "long")) {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff([]string{filepath.Join(root, "a"), filepath.Join(root, "z")}, found); diff != "" {
		t.Error(diff)
	}
}
