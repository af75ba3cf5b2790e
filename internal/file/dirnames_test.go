package file

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDirNames(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return dir + "/" + name }
	for _, name := range []string{"out", "other/deep"} {
		if err := os.MkdirAll(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"link": at("out"), "relative": "out", "twice": "link", "later": at("not/yet"), "round": "round", "up": "other/../out", "into": at("other"),
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"out": "out", "link": "out", "relative": "out", "twice": "out", "up": "out", "out/../out": "out", "out/.": "out", "other/deep/../../out": "out",
		"into/deep": "other/deep", "into/new/one": "other/new/one", "not/yet": "not/yet", "later": "not/yet", "later/image": "not/yet/image",
		"round": "round", "new": "new",
	} {
		var p DirNames
		if got := p.Name(at(name)); got != at(want) {
			t.Errorf("%s is %s, want %s", name, got, at(want))
		}
	}
}

// TestDirNamesMounted: a directory that is there under two names, as through a bind mount, has the first one. A link to a directory stands for
// that here: to mount takes a root.
func TestDirNamesMounted(t *testing.T) {
	dir := t.TempDir()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := DirNames{known: []dirName{{info, "/first"}}}
	if got := p.Name(dir + "/image"); got != "/first/image" {
		t.Error(got)
	}
}
