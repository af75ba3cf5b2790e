package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestList(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	errs := []error{
		os.Mkdir(at("d"), 0o700), os.Mkdir(at("d/folder.yaml"), 0o700), syscall.Mkfifo(at("d/pipe.yaml"), 0o600), os.Symlink("none", at("d/link.yaml")),
		syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("many"), 0o700),
	}
	for _, name := range []string{"d/b.yaml", "d/a.yaml", "d/.c.yaml", "d/c.yml"} {
		errs = append(errs, os.WriteFile(at(name), nil, 0o600))
	}
	for i := range MaxList + 1 {
		errs = append(errs, os.WriteFile(at(fmt.Sprintf("many/%d", i)), nil, 0o600))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]string{
		"d/*.yaml": "a.yaml b.yaml folder.yaml link.yaml pipe.yaml", "d/.*": ".c.yaml", "d/[ab].y*": "a.yaml b.yaml", "d/*.json": "",
		"d/../d/c*": "c.yml", "none/*": "no such file", "pipe/*": "not a directory", "d/[": "syntax error", "many/*": ErrTooMany.Error(), "many/1?": "10 11 12 13 14 15 16 17 18 19",
	} {
		paths, err := List(dir + "/" + pattern)
		var names []string
		for _, path := range paths {
			names = append(names, filepath.Base(path))
		}
		if got := strings.Join(names, " "); err == nil && got != want || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v", pattern, got, err)
		}
	}
	t.Chdir(at("d"))
	if got, err := List("[a]*"); err != nil || !slices.Equal(got, []string{"a.yaml"}) {
		t.Errorf("%q, %v", got, err)
	}
}
