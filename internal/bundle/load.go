package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/signature"
)

// LoadOptions are those of Load.
type LoadOptions struct {
	// Paths are folders with the bundle's files, or its document. Into is the folder for the layouts.
	Paths []string
	Into  string
	// AllowOlder lets tags move back to what an older bundle has.
	AllowOlder bool
	// Prune removes the tags that the near side has removed since the base, where they still are what the base had, once all others are loaded.
	Prune bool
	// Keys are those of which one must have signed the document; without any it need not be signed.
	Keys []signature.FileKey
}

// The states of a ref after a Load.
const (
	// Moved: the tag was absent or another image's.
	Moved = "loaded"
	// Kept: the tag was that of the image before.
	Kept = "kept"
	// Incomplete: something that the image needs is missing or damaged. The tag is as it was.
	Incomplete = "incomplete"
)

// LoadedRef is a ref with what became of it.
type LoadedRef struct {
	Ref
	// Was is the digest of the tag before; empty for none.
	Was image.Digest
	// State is one of those above.
	State string
}

// Loaded is what Load has done.
type Loaded struct {
	*Bundle
	// SHA256 is that of the bundle's document, from which all else follows.
	SHA256 image.Digest
	// Signer is the name of a key that has signed the document; empty where no keys are given.
	Signer   string
	Refs     []LoadedRef
	Problems []Problem
	// Missing is what incomplete refs lack, manifests first, and Request the path of a file that lists it; empty for none.
	Missing []image.Digest
	Request string
	// Pruned are tags that were removed.
	Pruned []Ref
}

// Whole reports whether all refs are loaded.
func (l Loaded) Whole() bool {
	return !slices.ContainsFunc(l.Refs, func(r LoadedRef) bool { return r.State == Incomplete })
}

// ErrOlder says that a newer bundle of the site was loaded before, or another one with the same number.
var ErrOlder = errors.New("a newer bundle was loaded here, or another one with this number")

// record is what a folder remembers of the last bundle of a site that was loaded.
type record struct {
	Version  int          `json:"version"`
	ID       string       `json:"id"`
	Seq      int          `json:"seq"`
	Document image.Digest `json:"document"`
	// Complete is set once all refs are loaded.
	Complete bool         `json:"complete"`
	State    image.Digest `json:"state"`
}

// Request lists what a Load lacks.
type Request struct {
	Version int            `json:"version"`
	ID      string         `json:"id"`
	Seq     int            `json:"seq"`
	Missing []image.Digest `json:"missing"`
}

// ReadRequest reads what a Load has written.
func ReadRequest(path string) (*Request, error) {
	raw, err := file.Read(path, maxDocument)
	if err != nil {
		return nil, err
	}
	r := &Request{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Version != version || CheckID(r.ID) != nil || r.Seq < 1 || len(r.Missing) == 0 {
		return nil, fmt.Errorf("%s does not ask for anything of a bundle", path)
	}
	return r, nil
}

// Load brings the images of a bundle into layouts. It reads all volumes that are there before it moves a tag, unless all tags are as they should be. A ref
// of which something is missing or damaged stays as it was, while others move; a later Load, perhaps with other volumes, goes on from there. An error
// says that nothing could be loaded, that writing failed, or that ctx has ended.
func Load(ctx context.Context, o LoadOptions) (Loaded, error) {
	received := filepath.Join(o.Into, stateDir, receivedDir)
	s, err := openSet(o.Paths, received)
	if err != nil {
		return Loaded{}, err
	}
	signer, err := s.verify(o.Keys)
	if err != nil {
		return Loaded{}, err
	}
	into, err := openFolder(o.Into)
	if err != nil {
		return Loaded{}, err
	}
	defer into.close()
	l := loader{
		Loaded: Loaded{Bundle: s.Bundle, SHA256: image.DigestOf(s.raw, ""), Signer: signer},
		raw:    s.raw, into: into, root: o.Into, store: layout.New(), failed: map[string]bool{},
	}
	last, err := into.loaded(s.ID)
	if err != nil {
		return l.Loaded, err
	}
	if err := l.admit(last, o.AllowOlder); err != nil {
		return l.Loaded, err
	}
	if err := l.apart(); err != nil {
		return l.Loaded, err
	}
	l.look()
	if l.Whole() {
		err := l.finish(ctx, o.Prune)
		return l.Loaded, err
	}
	if err := errors.Join(os.MkdirAll(received, 0o755), os.MkdirAll(l.into.poolDir(l.ID), 0o755)); err != nil { //nolint:gosec // images are no secret
		return l.Loaded, err
	}
	if err := s.keep(received); err != nil {
		return l.Loaded, err
	}
	l.pool = &pool{
		dir: l.into.poolDir(l.ID), store: l.store, repos: l.repos(), set: s, size: s.sizes(), parts: s.places(),
		where: map[image.Digest]string{}, lacks: map[image.Digest]bool{}, unread: map[image.Digest]error{},
	}
	defer l.pool.close()
	if err := l.read(ctx); err != nil {
		return l.Loaded, err
	}
	if err := l.place(ctx); err != nil {
		return l.Loaded, err
	}
	err = l.finish(ctx, o.Prune)
	return l.Loaded, err
}

const (
	// receivedDir has the documents of bundles that are not loaded completely.
	receivedDir = "received"
	// loadedPrefix begins the names of records.
	loadedPrefix  = "loaded-"
	requestEnding = "-request.json"
	// maxRecord is the most bytes that a record may have.
	maxRecord = 1 << 16
)

// loader is the state of a Load.
type loader struct {
	Loaded
	raw   []byte
	into  *folder
	root  string
	store *layout.Store
	pool  *pool
	// failed are layouts that cannot be read.
	failed map[string]bool
}

// poolDir is where content waits: that of a site apart from that of others, whose bundles may be loaded in turn.
func (f *folder) poolDir(id string) string { return filepath.Join(f.dir, poolsDir, id) }

func (l *loader) repo(path string) image.Repository {
	return image.Repository{Path: filepath.Join(l.root, filepath.FromSlash(path))}
}

func (l *loader) repos() (all []image.Repository) {
	for i, r := range l.Bundle.Refs {
		if i == 0 || r.Repository != l.Bundle.Refs[i-1].Repository {
			all = append(all, l.repo(r.Repository))
		}
	}
	return all
}

// loadedDocument is the path of the document of a site's last bundle that was loaded completely.
func (f *folder) loadedDocument(id string) string {
	return filepath.Join(f.dir, loadedPrefix+id+documentEnding)
}

// loaded reads the record of a site; a zero one if nothing was loaded.
func (f *folder) loaded(id string) (r record, err error) {
	path := filepath.Join(f.dir, loadedPrefix+id+".json")
	raw, err := file.Read(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	if r.ID != id {
		return r, fmt.Errorf("%s is of %s, %w", path, r.ID, errCase)
	}
	return r, nil
}

// apart returns an error if layouts whose paths differ by case only would be one here.
func (l *loader) apart() error {
	folders := map[string]image.Repository{}
	for _, repo := range l.repos() {
		other, ok := folders[strings.ToLower(repo.Path)]
		if !ok {
			folders[strings.ToLower(repo.Path)] = repo
			continue
		}
		one, err := sameFolder(repo.Path, other.Path)
		if err != nil {
			return err
		}
		if one {
			return fmt.Errorf("%s and %s are one folder here: load into one on a file system that tells upper case from lower case", other.Path, repo.Path)
		}
	}
	return nil
}

// sameFolder reports whether two paths are of one folder, which is made. It looks by a file: some drivers number a folder anew under each name.
func sameFolder(path, other string) (bool, error) {
	if err := errors.Join(os.MkdirAll(path, 0o755), os.MkdirAll(other, 0o755)); err != nil { //nolint:gosec // images are no secret
		return false, err
	}
	f, err := os.CreateTemp(path, ".dray-*")
	if err != nil {
		return false, err //nolint:wrapcheck // it names the file
	}
	_, err = os.Stat(filepath.Join(other, filepath.Base(f.Name())))
	return err == nil, errors.Join(f.Close(), os.Remove(f.Name()))
}

// admit refuses an older bundle than the last one, and another one with its number.
func (l *loader) admit(last record, older bool) error {
	if !older && l.Seq <= last.Seq && l.SHA256 != last.Document {
		return fmt.Errorf("%w: %s, and this is %s; --allow-older loads it all the same", ErrOlder, prefix(l.ID, last.Seq), l.Name())
	}
	return nil
}

// keep copies a document and its signatures, for volumes that come later.
func (s *set) keep(dir string) error {
	for ending, text := range s.signatures {
		if err := file.Replace(filepath.Join(dir, s.documentName()+ending), text, 0o644); err != nil {
			return err
		}
	}
	return file.Replace(filepath.Join(dir, s.documentName()), s.raw, 0o644)
}

// look lists the refs, and which are loaded already.
func (l *loader) look() {
	for _, r := range l.Bundle.Refs {
		one := LoadedRef{Ref: r, State: Incomplete}
		d, err := l.store.Head(l.repo(r.Repository).Tag(r.Tag))
		switch {
		case err == nil && d.Digest == r.Digest:
			one.State = Kept
		case err != nil && !errors.Is(err, image.ErrAbsent) && !l.failed[r.Repository] && !l.ofManifest(err, r, d.Digest):
			l.failed[r.Repository] = true
			l.Problems = append(l.Problems, Problem{File: r.String(), Text: err.Error()})
		}
		if one.Was = d.Digest; err != nil {
			one.Was = ""
		}
		l.Loaded.Refs = append(l.Loaded.Refs, one)
	}
}

// ofManifest reports whether an error is that of a manifest's file, which is in the volumes, and not of the layout.
func (l *loader) ofManifest(err error, r Ref, d image.Digest) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && d != "" && e.Path == layout.BlobPath(l.repo(r.Repository), d)
}

// read reads the volumes that are there. One that is not is a problem if it has something that is missing.
func (l *loader) read(ctx context.Context) error {
	problems, err := l.pool.volumes(ctx)
	if l.Problems = append(l.Problems, problems...); err != nil {
		return err
	}
	for i, path := range l.pool.files {
		wanted := false
		var err error
		if path == "" {
			wanted, err = l.pool.wants(ctx, i)
		}
		if err != nil {
			return err
		}
		if wanted {
			l.Problems = append(l.Problems, Problem{File: l.Volumes[i].Name, Text: missing})
		}
	}
	for _, name := range l.pool.extra {
		l.Problems = append(l.Problems, Problem{File: name, Text: notPart})
	}
	return nil
}

// place moves the tags of which all is there, those of a layout at once.
func (l *loader) place(ctx context.Context) error {
	lacks := map[image.Digest]bool{}
	for i := 0; i < len(l.Loaded.Refs); {
		next := i + 1
		for next < len(l.Loaded.Refs) && l.Loaded.Refs[next].Repository == l.Loaded.Refs[i].Repository {
			next++
		}
		if err := l.placeIn(ctx, l.Loaded.Refs[i:next], lacks); err != nil {
			return err
		}
		i = next
	}
	for _, c := range l.contents() {
		if lacks[c.Digest] {
			l.Missing = append(l.Missing, c.Digest)
			if err := l.pool.unread[c.Digest]; err != nil {
				l.Problems = append(l.Problems, Problem{File: l.root, Digest: c.Digest, Text: err.Error()})
			}
		}
	}
	return nil
}

// placeIn moves tags of one layout, and adds to lacks what others lack.
func (l *loader) placeIn(ctx context.Context, refs []LoadedRef, lacks map[image.Digest]bool) error {
	repo := l.repo(refs[0].Repository)
	var tags []layout.Tagged
	var moved []int
	for i, r := range refs {
		if r.State != Incomplete || l.failed[r.Repository] {
			continue
		}
		all, whole, err := l.complete(ctx, r.Ref, lacks)
		if err != nil {
			return err
		}
		if !whole {
			continue
		}
		for _, p := range all {
			if err := l.pool.give(ctx, repo, p.Digest); err != nil {
				return fmt.Errorf("%s: %w", r, err)
			}
		}
		tags, moved = append(tags, layout.Tagged{Tag: r.Tag, Descriptor: r.descriptor()}), append(moved, i)
	}
	if len(tags) == 0 {
		return nil
	}
	if err := l.remember(false); err != nil {
		return err
	}
	if err := l.store.SetTags(ctx, repo, tags); err != nil {
		return err
	}
	for _, i := range moved {
		refs[i].State = Moved
	}
	return nil
}

// complete returns what a ref needs, and whether all of it is there.
func (l *loader) complete(ctx context.Context, r Ref, lacks map[image.Digest]bool) (here []layout.Part, whole bool, err error) {
	all, unread := reach(r.descriptor(), func(d image.Digest) ([]byte, error) { return l.pool.manifest(ctx, d) })
	whole = len(unread) == 0
	for _, d := range unread {
		lacks[d] = true
	}
	for _, p := range all {
		has, err := l.pool.has(ctx, p.Digest)
		if err != nil {
			return nil, false, err
		}
		switch {
		case has:
			here = append(here, p)
		case !p.Elsewhere:
			lacks[p.Digest] = true
			whole = false
		}
	}
	return here, whole, ctx.Err()
}

// remember records that tags move, or that all have moved.
func (l *loader) remember(complete bool) error {
	raw, err := json.Marshal(record{Version: version, ID: l.ID, Seq: l.Seq, Document: l.SHA256, Complete: complete, State: l.State})
	if err != nil {
		return err
	}
	return file.Replace(filepath.Join(l.into.dir, loadedPrefix+l.ID+".json"), raw, 0o644)
}

// prune removes tags that the near side has removed.
func (l *loader) prune(ctx context.Context) error {
	for _, r := range l.Removed {
		removed, err := l.store.RemoveTags(ctx, l.repo(r.Repository), []layout.Tagged{{Tag: r.Tag, Descriptor: r.descriptor()}})
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		if len(removed) > 0 {
			l.Pruned = append(l.Pruned, r)
		}
	}
	return nil
}

// finish removes what a complete Load leaves, and writes what an incomplete one lacks.
func (l *loader) finish(ctx context.Context, prune bool) error {
	if l.Whole() {
		if prune {
			if err := l.prune(ctx); err != nil {
				return err
			}
		}
		if err := errors.Join(file.Replace(l.into.loadedDocument(l.ID), l.raw, 0o644), l.remember(true)); err != nil {
			return err
		}
		received := filepath.Join(l.into.dir, receivedDir)
		if err := errors.Join(forget(l.into.dir, l.ID, requestEnding, l.Seq), forget(received, l.ID, documentEnding, l.Seq)); err != nil {
			return err
		}
		for _, ending := range signature.FileEndings() {
			if err := forget(received, l.ID, documentEnding+ending, l.Seq); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(l.into.poolDir(l.ID)); err != nil {
			return err //nolint:wrapcheck // it names the folder
		}
		_ = os.Remove(filepath.Join(l.into.dir, poolsDir)) // unless other sites have some
		return nil
	}
	if len(l.Missing) == 0 {
		return nil
	}
	raw, err := json.MarshalIndent(Request{version, l.ID, l.Seq, l.Missing}, "", "  ")
	if err != nil {
		return err
	}
	l.Request = filepath.Join(l.into.dir, l.Name()+requestEnding)
	return file.Replace(l.Request, append(raw, '\n'), 0o644)
}
