package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// Repaired is what Repair takes out of a layout.
type Repaired struct {
	// Files are blobs and manifests of which the bytes are others than their digests say, sorted.
	Files []image.Digest
	// Tags, or whole names, are those that need something missing or broken, or what refers to them does; sorted. Untagged is how many entries without
	// a tag do.
	Tags     []string
	Untagged int
	// Index is set where index.json is missing, or could not be read and has been put aside as index.json.damaged.
	Index bool
}

// Nothing tells whether the layout was whole.
func (r Repaired) Nothing() bool {
	return len(r.Files) == 0 && len(r.Tags) == 0 && r.Untagged == 0 && !r.Index
}

// damagedIndex is where an index.json that cannot be read is put.
const damagedIndex = indexFile + ".damaged"

// aboutDigest matches tags that are about another manifest: lists of referrers, and cosign's.
var aboutDigest = regexp.MustCompile(`^(sha256|sha512)-([0-9a-f]{64,128})(\..*)?$`)

// Repair reads a whole layout, and takes out what is broken, with the tags that need it or what is missing, so that the next write of
// each begins where nothing is believed to be there; with dry it only tells. It may be killed at any moment and made again. The error
// is a *TakenError while another process writes to the layout. Where ctx ends before all is read, nothing is taken out.
func (s *Store) Repair(ctx context.Context, dir string, dry bool) (Repaired, error) {
	if err := isLayout(dir); err != nil {
		return Repaired{}, err
	}
	h, release, err := acquire(ctx, dir)
	if err != nil {
		return Repaired{}, err
	}
	defer release()
	h.index.Lock()
	defer h.index.Unlock()
	r := repair{dir: dir, broken: map[image.Digest]bool{}, trees: map[image.Digest]tree{}}
	if err := r.read(ctx); err != nil || dry {
		return r.Repaired, err
	}
	return r.Repaired, r.write()
}

// isLayout finds out before a lock file is made where no layout is: one of its two files may be lost, and not both.
func isLayout(dir string) error {
	var missing error
	for _, name := range []string{layoutFile, indexFile} {
		_, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			return nil
		}
		missing = errors.Join(missing, err)
	}
	return fmt.Errorf("%s is not an OCI layout: %w", dir, absentIfMissing(missing))
}

// repair is the state of one.
type repair struct {
	dir    string
	index  *index
	broken map[image.Digest]bool
	trees  map[image.Digest]tree
	Repaired
}

// tree is what a manifest leads to, itself included.
type tree struct {
	all   map[image.Digest]bool
	whole bool
	// lacks is set for a manifest of which something below is missing or broken.
	lacks bool
}

// read decides what to take out.
func (r *repair) read(ctx context.Context) error {
	if err := r.files(ctx); err != nil {
		return err
	}
	ix, err := readIndex(r.dir)
	switch {
	case errors.Is(err, errDamaged):
		r.Index, ix = true, newIndex()
	case errors.Is(err, image.ErrAbsent): // its other file is there: tags are lost, blobs are not
		r.Index, ix = true, newIndex()
	case err != nil:
		return err
	}
	var about []image.Digest // what a broken entry refers to: it comes again with that
	keep := func(e entry) bool {
		p := part{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}
		t := r.tree(p, 0)
		return t.whole && r.has(p) && !slices.ContainsFunc(about, func(d image.Digest) bool { return t.all[d] })
	}
	for _, e := range ix.entries {
		if m := aboutDigest.FindStringSubmatch(e.tag()); m != nil && !keep(e) {
			about = append(about, image.Digest(m[1]+":"+m[2]))
		}
	}
	entries := ix.entries
	ix.entries = nil
	for _, e := range entries {
		switch {
		case keep(e):
			ix.entries = append(ix.entries, e)
		case e.name() == "":
			r.Untagged++
		default:
			r.Tags = append(r.Tags, e.name())
		}
	}
	slices.Sort(r.Tags)
	r.Tags = slices.Compact(r.Tags)
	r.index = ix
	return nil
}

// files reads every file that is named by a digest.
func (r *repair) files(ctx context.Context) error {
	root := filepath.Join(r.dir, blobsDir)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		d := image.Digest(filepath.Base(filepath.Dir(path)) + ":" + e.Name())
		if filepath.Dir(filepath.Dir(path)) != root || d.Validate() != nil {
			return nil // of somebody else
		}
		switch right, err := matches(ctx, path, d); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrPermission):
			return err
		case err != nil || !right: // a disk that cannot give it back has not got it
			r.broken[d] = true
			r.Files = append(r.Files, d)
		}
		return nil
	})
	slices.Sort(r.Files)
	return ignoreMissing(err)
}

// matches tells whether a file has the bytes that its digest says.
func matches(ctx context.Context, path string, d image.Digest) (bool, error) {
	f, err := file.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	verifier := image.Verifier(d)
	_, err = io.Copy(verifier, until{ctx, f})
	return verifier.Verified(), err
}

// tree follows an entry of an index. What is nested too deep is not whole.
func (r *repair) tree(p part, depth int) tree {
	d := p.Digest
	if t, ok := r.trees[d]; ok {
		return t
	}
	t := tree{all: map[image.Digest]bool{d: true}}
	switch {
	case depth > image.MaxNesting || d.Validate() != nil || r.broken[d]:
	case p.isBlob(r.dir):
		t.whole = r.has(p)
	default:
		t.whole = r.below(d, depth, &t)
	}
	r.trees[d] = t
	return t
}

// below adds what a manifest leads to, and tells whether all of it is there.
func (r *repair) below(d image.Digest, depth int, t *tree) bool {
	raw, err := readBounded(blobPath(r.dir, d), maxManifest)
	if err != nil {
		return false
	}
	var doc parts
	if json.Unmarshal(raw, &doc) != nil {
		return false
	}
	whole := true
	for _, m := range doc.Manifests {
		child := r.tree(m, depth+1)
		for one := range child.all {
			t.all[one] = true
		}
		whole = whole && child.whole
	}
	for _, b := range doc.blobs() {
		whole = whole && r.has(b)
	}
	t.lacks = !whole
	return whole
}

// has tells whether a blob is there, or lies elsewhere.
func (r *repair) has(p part) bool {
	if p.Digest.Validate() != nil || r.broken[p.Digest] {
		return false
	}
	info, err := os.Stat(blobPath(r.dir, p.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return len(p.URLs) > 0
	}
	return err == nil && (p.Size == 0 || info.Size() == p.Size)
}

// write takes it out: broken files first, since one that stays would pass for what its name says once no tag is checked with it.
func (r *repair) write() error {
	for _, d := range r.Files {
		if err := ignoreMissing(os.Remove(blobPath(r.dir, d))); err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	for d, t := range r.trees { // manifests above what is missing: nobody takes them for whole
		if !t.lacks {
			continue
		}
		if err := ignoreMissing(os.Remove(blobPath(r.dir, d))); err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	if r.Index {
		if err := ignoreMissing(os.Rename(filepath.Join(r.dir, indexFile), filepath.Join(r.dir, damagedIndex))); err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	if err := checkVersion(r.dir); err != nil {
		if err := writeVersion(r.dir); err != nil {
			return err
		}
	}
	return r.index.write(r.dir)
}
