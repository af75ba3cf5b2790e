package layout

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/draysync/dray/internal/image"
)

// A pipe in the place of a file, as a stick may bring it, is refused by its name and never waited for.
func TestPipe(t *testing.T) {
	const pipe = "not a regular file"
	for name, place := range map[string]func(v surveyed) string{
		"blob": func(v surveyed) string { return v.path(v.shared) }, "manifest": func(v surveyed) string { return v.path(v.root) },
		"index.json": func(v surveyed) string { return filepath.Join(v.dir, indexFile) }, "oci-layout": func(v surveyed) string { return filepath.Join(v.dir, layoutFile) },
	} {
		t.Run(name, func(t *testing.T) {
			v, s := newSurveyed(t), New()
			path := place(v)
			must(t, os.Remove(path))
			must(t, syscall.Mkfifo(path, 0o600))
			repo := image.Repository{Path: v.dir}
			got, err := Verify(t.Context(), v.dir)
			if err == nil && len(got.Problems) > 0 {
				err = errors.New(got.Problems[0].Text)
			}
			if err == nil || !strings.Contains(err.Error(), pipe) || !strings.Contains(err.Error(), path) {
				t.Errorf("verify: %+v, %v", got, err)
			}
			switch name {
			case "blob":
				_, err = s.OpenBlob(repo, image.Descriptor{Digest: v.shared, Size: 6}, 0)
			case "manifest":
				_, err = s.Manifest(repo.Digest(v.root))
			case "index.json":
				_, err = s.Tags(repo)
			}
			if err == nil || !strings.Contains(err.Error(), pipe) {
				t.Errorf("read: %v", err)
			}
			if got, err := s.Collect(t.Context(), v.dir, 0, false); err == nil && len(got.Problems) == 0 {
				t.Errorf("gc: %+v", got)
			}
			if name == "blob" {
				if got, err := s.Repair(t.Context(), v.dir, false); err != nil || len(got.Tags) == 0 {
					t.Errorf("repair: %+v, %v", got, err)
				}
			}
		})
	}
}

// A stop ends what reads a layout, which then is as it was; a blob that was being written is not there, nor any part of it.
func TestStopped(t *testing.T) {
	v, s := newSurveyed(t), New()
	must(t, os.Truncate(v.path(v.lone), 0))
	must(t, os.Remove(v.path(v.root)))
	before := names(t, v.dir)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_, verified := Verify(stopped, v.dir)
	_, collected := s.Collect(stopped, v.dir, 0, false)
	_, repaired := s.Repair(stopped, v.dir, false)
	for _, err := range []error{verified, collected, repaired} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	}
	writing, stop := context.WithCancel(t.Context())
	body, w := io.Pipe()
	go func() {
		_, _ = w.Write([]byte("ha"))
		stop()
		_, _ = w.Write([]byte("lf"))
		w.Close()
	}()
	err := s.PutBlob(writing, image.Repository{Path: v.dir}, image.Descriptor{Digest: image.DigestOf([]byte("half"), ""), Size: 4}, func() (io.ReadCloser, error) { return body, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if after := names(t, v.dir); after != before {
		t.Errorf("there is\n%s, and was\n%s", after, before)
	}
}

// names lists the files of a layout.
func names(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, path)
		}
		return err
	}))
	return strings.Join(all, "\n")
}
