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
	"slices"
	"syscall"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// Repaired is what Repair removes from a layout.
type Repaired struct {
	// Files are blobs and manifests whose bytes do not match their digests, or that are empty folders, sorted.
	Files []image.Digest
	// Tags are tags, or full names, that need something missing or broken, themselves or by what refers to them; sorted. Untagged counts
	// entries without a tag for which that holds.
	Tags     []string
	Untagged int
	// Index is set if index.json is missing, or was unreadable and has been renamed to index.json.damaged.
	Index bool
}

// Nothing reports whether the layout was intact.
func (r Repaired) Nothing() bool {
	return len(r.Files) == 0 && len(r.Tags) == 0 && r.Untagged == 0 && !r.Index
}

// damagedIndex is the new name of an unreadable index.json.
const damagedIndex = indexFile + ".damaged"

// aboutDigest matches tags that belong to another manifest: referrers lists, and cosign's.
var aboutDigest = lazyregexp.New(`^(sha256|sha512)-([0-9a-f]{64,128})(\..*)?$`)

// Repair reads a whole layout, and removes what is broken, and the tags that need it or something missing, so that the next write of each
// starts from nothing; with dry it only reports. It may be killed at any moment and repeated. The error is a *TakenError while another
// process writes to the layout. If ctx ends before everything is read, nothing is removed.
func (s *Store) Repair(ctx context.Context, dir string, dry bool) (Repaired, error) {
	if err := isLayout(dir); err != nil {
		return Repaired{}, err
	}
	h, release, err := acquireUnless(ctx, dir, dry)
	if err != nil {
		return Repaired{}, err
	}
	defer release()
	h.index.Lock()
	defer h.index.Unlock()
	r := repair{dir: dir, broken: map[image.Digest]bool{}, trees: map[image.Digest]tree{}, folders: map[image.Digest]bool{}}
	if err := r.read(ctx); err != nil || dry {
		return r.Repaired, err
	}
	return r.Repaired, r.write()
}

// isLayout checks the directory before a lock file is created. One of a layout's two files may be lost, but not both.
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

// repair is the state of one repair.
type repair struct {
	dir    string
	index  *index
	broken map[image.Digest]bool
	trees  map[image.Digest]tree
	// folders are folders with something in them that have the names of digests, and blocking is the path of one where a file is needed; empty for none.
	folders  map[image.Digest]bool
	blocking string
	Repaired
}

// tree is a manifest with everything below it.
type tree struct {
	all   map[image.Digest]bool
	whole bool
	// lacks is set if something below the manifest is missing or broken.
	lacks bool
}

// read decides what to remove.
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
	about := map[string]bool{} // subjects of broken entries, by the tags of their lists: these are copied again with them
	keep := func(e entry) bool {
		p := part{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}
		t := r.tree(p, 0)
		for d := range t.all {
			if about[image.ReferrersTag(d)] {
				return false
			}
		}
		return t.whole && r.has(p)
	}
	for _, e := range ix.entries {
		if m := aboutDigest().FindStringSubmatch(e.tag()); m != nil && !keep(e) {
			about[image.ReferrersTag(image.Digest(m[1]+":"+m[2]))] = true
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
	if r.blocking != "" {
		return fmt.Errorf("%s is a folder that is not empty, where the file of a blob or a manifest belongs: move it away", r.blocking)
	}
	slices.Sort(r.Tags)
	r.Tags = slices.Compact(r.Tags)
	r.index = ix
	return nil
}

// files reads every file that is named by a digest, also in folders behind symbolic links, as all do who read the layout.
func (r *repair) files(ctx context.Context) error {
	root := filepath.Join(r.dir, blobsDir)
	algorithms, err := readFolder(root)
	for _, a := range algorithms {
		folder := filepath.Join(root, a.Name())
		if info, err := os.Stat(folder); err == nil && !info.IsDir() {
			continue // foreign
		}
		names, err := readFolder(folder)
		if ignoreMissing(err) != nil {
			return err //nolint:wrapcheck // it names the folder
		}
		for _, e := range names {
			d := image.Digest(a.Name() + ":" + e.Name())
			if d.Validate() != nil {
				continue // foreign
			}
			switch right, err := matches(ctx, blobPath(r.dir, d), d); {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, fs.ErrPermission):
				return err
			case errors.Is(err, syscall.EISDIR) && !isEmpty(blobPath(r.dir, d)):
				r.folders[d] = true // foreign, unless it is where something is needed
			case err != nil || !right: // what the disk cannot return is lost
				r.broken[d] = true
				r.Files = append(r.Files, d)
			}
		}
	}
	slices.Sort(r.Files)
	return ignoreMissing(err)
}

func isEmpty(folder string) bool {
	inside, err := readFolder(folder)
	return err == nil && len(inside) == 0
}

// matches reports whether a file matches its digest.
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

// tree follows an entry of an index. One that is nested too deeply counts as broken.
func (r *repair) tree(p part, depth int) tree {
	d := p.Digest
	if t, ok := r.trees[d]; ok {
		return t
	}
	r.need(d)
	t := tree{all: map[image.Digest]bool{d: true}}
	switch {
	case depth > image.MaxNesting || d.Validate() != nil || r.broken[d]:
	case p.isBlob(manifestsOf(r.dir)):
		t.whole = r.has(p)
	default:
		t.whole = r.below(d, depth, &t)
	}
	r.trees[d] = t
	return t
}

// below adds what is below a manifest, and reports whether it is complete.
func (r *repair) below(d image.Digest, depth int, t *tree) bool {
	raw, err := readBounded(blobPath(r.dir, d))
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

// need notes a folder where a file is needed.
func (r *repair) need(d image.Digest) {
	if r.folders[d] && r.blocking == "" {
		r.blocking = blobPath(r.dir, d)
	}
}

// has reports whether a blob is there, or is stored elsewhere.
func (r *repair) has(p part) bool {
	r.need(p.Digest)
	if p.Digest.Validate() != nil || r.broken[p.Digest] {
		return false
	}
	info, err := os.Stat(blobPath(r.dir, p.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return len(p.URLs) > 0
	}
	return err == nil && (p.Size == 0 || info.Size() == p.Size)
}

// write removes the broken parts: files first, since without a tag that checks it, a remaining file would count as good.
func (r *repair) write() error {
	for _, d := range r.Files {
		if err := ignoreMissing(os.Remove(blobPath(r.dir, d))); err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	for d, t := range r.trees { // manifests above what is missing, so that they do not count as complete
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
	_, err := r.index.write(r.dir)
	return err
}
