package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/draysync/dray/internal/image"
)

// TestAdoptBlob: a file becomes a blob by a new name or a link, and where there is a damaged one, in place of that.
func TestAdoptBlob(t *testing.T) {
	blob := image.Descriptor{Digest: image.DigestOf([]byte("layer"), ""), Size: 5}
	for name, tt := range map[string]struct {
		move    bool
		damaged bool
		there   bool // the file, afterwards
		links   int
	}{
		"moved": {move: true, links: 1}, "linked": {there: true, links: 2},
		"moved over a damaged one": {move: true, damaged: true, links: 1}, "copied over a damaged one": {damaged: true, there: true, links: 1},
	} {
		dir := t.TempDir()
		s, repo, path := New(), image.Repository{Path: filepath.Join(dir, "layout")}, filepath.Join(dir, "file")
		must(t, os.WriteFile(path, []byte("layer"), 0o600))
		if tt.damaged {
			must(t, New().PutBlob(t.Context(), repo, blob, opener("layer")))
			must(t, os.WriteFile(BlobPath(repo, blob.Digest), []byte("LAYER"), 0o600))
		}
		must(t, s.AdoptBlob(t.Context(), repo, blob, path, tt.move))
		has, err := New().HasBlob(t.Context(), repo, blob)
		if err != nil || !has {
			t.Errorf("%s: it is there: %t, %v", name, has, err)
		}
		if _, err := os.Stat(path); (err == nil) != tt.there {
			t.Errorf("%s: the file: %v", name, err)
		}
		info, err := os.Stat(BlobPath(repo, blob.Digest))
		must(t, err)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Nlink) != tt.links {
			t.Errorf("%s: %d links", name, stat.Nlink)
		}
	}
}

// TestSetTags: all tags are set, or none where anything below one of them is missing or damaged.
func TestSetTags(t *testing.T) {
	repo := image.Repository{Path: t.TempDir()}
	blob := image.Descriptor{Digest: image.DigestOf([]byte("layer"), ""), Size: 5}
	s := New()
	must(t, s.PutBlob(t.Context(), repo, blob, opener("layer")))
	child := manifestOf(`{"layers":[{"digest":"` + string(blob.Digest) + `","size":5}]}`)
	must(t, s.PutManifest(t.Context(), repo.Digest(child.Digest), child))
	index := manifestOf(`{"manifests":[{"digest":"` + string(child.Digest) + `","size":` + fmt.Sprint(child.Size) + `}]}`)
	must(t, writeFile(repo.Path, blobPath(repo.Path, index.Digest), index.Raw))
	other := manifestOf(`{"schemaVersion":2}`)
	must(t, s.PutManifest(t.Context(), repo.Tag("b"), other))
	all := []Tagged{{"b", other.Descriptor}, {"a", index.Descriptor}}
	path := BlobPath(repo, blob.Digest)
	for name, harm := range map[string]func() error{
		"damaged": func() error { return os.WriteFile(path, []byte("LAYER"), 0o600) },
		"missing": func() error { return os.Remove(path) },
	} {
		must(t, harm())
		if err := New().SetTags(t.Context(), repo, all); err == nil {
			t.Errorf("%s: tags were set", name)
		} else if missing, ok := errors.AsType[*partsError](err); !ok || missing.part != blob.Digest {
			t.Errorf("%s: %v", name, err)
		}
		if tags, err := s.Tags(repo); err != nil || len(tags) != 1 {
			t.Errorf("%s: %q, %v", name, tags, err)
		}
		must(t, New().PutBlob(t.Context(), repo, blob, opener("layer")))
	}
	must(t, New().SetTags(t.Context(), repo, all))
	if d, err := s.Head(repo.Tag("a")); err != nil || d.Digest != index.Digest {
		t.Errorf("%v, %v", d, err)
	}
}
