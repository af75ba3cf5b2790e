package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// View is a layout as its index.json had it at one moment, for those who pass it on. A symbolic link that leads out of the layout is not
// followed. It is safe for concurrent use.
type View struct {
	dir  string
	info fs.FileInfo
	read time.Time
	// sum is the digest of index.json.
	sum image.Digest
	// own are the tags of the layout, as [Store.Tags] and [Store.Head] have them.
	own map[string]image.Digest
	// named are the tags of the repositories that full names of images name.
	named map[string]map[string]image.Digest
	// types are the media types that index.json gives.
	types map[image.Digest]string
	// digests are those of index.json.
	digests []image.Digest
	// about outlives a view.
	about *described
}

// settled is how long after a change of a file another one may go unseen in its time: two seconds on FAT.
const settled = 3 * time.Second

// Look reads the index.json of a layout, or returns old if that still is its view. A directory that is not a layout is absent.
func Look(dir string, old *View) (*View, error) {
	f, err := file.OpenBelow(dir, indexFile)
	if err != nil {
		return nil, absentIfMissing(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if old != nil && old.is(info) {
		return old, nil
	}
	v := &View{
		dir: dir, info: info, read: time.Now(), own: map[string]image.Digest{}, named: map[string]map[string]image.Digest{},
		types: map[image.Digest]string{}, about: &described{},
	}
	if old != nil {
		v.about = old.about
	}
	raw, err := file.ReadAll(f, maxIndex)
	if err != nil {
		return nil, err
	}
	if v.sum = image.DigestOf(raw, ""); old != nil && old.sum == v.sum {
		same := *old
		same.info, same.read = v.info, v.read
		return &same, nil
	}
	ix, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s %w (%w); %s", filepath.Join(dir, indexFile), errDamaged, err, WayOut)
	}
	v.take(ix)
	return v, nil
}

// is reports whether a file is the one that was read, unchanged. A file that changed just before it was read may have changed again since.
func (v *View) is(info fs.FileInfo) bool {
	return unchanged(v.info, info, v.read)
}

// unchanged reports whether a file is as it was when it was read at a time.
func unchanged(before, now fs.FileInfo, read time.Time) bool {
	return os.SameFile(before, now) && stampOf(before) == stampOf(now) && read.Sub(now.ModTime()) > settled
}

func (v *View) take(ix *index) {
	tags := map[string]tagged{}
	for _, e := range ix.entries {
		if e.Digest.Validate() != nil {
			continue
		}
		v.digests = append(v.digests, e.Digest)
		if _, ok := v.types[e.Digest]; !ok {
			v.types[e.Digest] = e.MediaType
		}
		v.name(e)
		tag := e.tag()
		if !image.ValidTag(tag) {
			continue
		}
		t := tags[tag]
		if e.name() == tag {
			t.alone = cmp.Or(t.alone, e.Digest)
		}
		t.first = cmp.Or(t.first, e.Digest)
		t.several = t.several || t.first != e.Digest
		tags[tag] = t
	}
	for tag, t := range tags {
		if t.alone != "" || !t.several {
			v.own[tag] = cmp.Or(t.alone, t.first)
		}
	}
}

// tagged is what a tag of a layout may be: the entry that is named by it alone goes before those with full names, which must agree.
type tagged struct {
	alone, first image.Digest
	several      bool
}

// name adds an entry with the full name of an image to its repository.
func (v *View) name(e entry) {
	name := e.name()
	if !strings.ContainsAny(name, ":/@") {
		return
	}
	ref, err := image.Parse(name)
	if err != nil || ref.IsLayout() {
		return
	}
	host, _, _ := strings.Cut(ref.Registry, ":")
	repo := host + "/" + ref.Path
	if v.named[repo] == nil {
		v.named[repo] = map[string]image.Digest{}
	}
	if _, ok := v.named[repo][ref.Tag]; ref.Tag != "" && !ok {
		v.named[repo][ref.Tag] = e.Digest
	}
}

// Repositories returns the repositories that full names of images name, such as docker.io/library/alpine; a port is left out.
func (v *View) Repositories() []string { return slices.Collect(maps.Keys(v.named)) }

// Tags returns the tags of a repository in the layout, sorted; of the layout itself if it is empty. It has no tags of that are not valid, or
// that several images have.
func (v *View) Tags(repository string) (tags []string, ok bool) {
	all, ok := v.tags(repository)
	return slices.Sorted(maps.Keys(all)), ok
}

// Find returns the digest of a tag of a repository, as [View.Tags] has it; empty if there is none.
func (v *View) Find(repository, tag string) image.Digest {
	all, _ := v.tags(repository)
	return all[tag]
}

func (v *View) tags(repository string) (map[string]image.Digest, bool) {
	if repository == "" {
		return v.own, true
	}
	all, ok := v.named[repository]
	return all, ok
}

// Manifest reads a manifest and checks its digest. What is there but is no manifest is absent.
func (v *View) Manifest(d image.Digest) (image.Manifest, error) {
	m := image.Manifest{Descriptor: image.Descriptor{MediaType: v.types[d], Digest: d}}
	f, err := openContent(v.dir, d)
	if err != nil {
		return m, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > MaxManifest {
		return m, errors.Join(fmt.Errorf("%s is no manifest: %w", d, image.ErrAbsent), err)
	}
	raw, err := file.ReadAll(f, MaxManifest)
	if err != nil {
		return m, err
	}
	if got := image.DigestOf(raw, d); got != d {
		return m, fmt.Errorf("manifest %s: its file has digest %s: %w", d, got, image.ErrCorrupt)
	}
	var probe struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
	}
	if json.Unmarshal(raw, &probe) != nil || probe.SchemaVersion == 0 && probe.MediaType != image.MediaTypeOCIArtifact {
		return m, fmt.Errorf("%s is no manifest: %w", d, image.ErrAbsent)
	}
	m.Raw, m.Size = raw, int64(len(raw))
	if m.MediaType == "" {
		m.MediaType = mediaTypeOf(raw)
	}
	return m, nil
}

// Referrers returns an index of the manifests whose subject is a digest, of those that index.json names and those of the list under the
// fallback tag. With a type it has only those with this artifact type. A manifest that is missing or damaged is left out.
func (v *View) Referrers(ctx context.Context, subject image.Digest, artifactType string) ([]byte, error) {
	candidates := slices.Clone(v.digests)
	if m, err := v.Manifest(v.own[image.ReferrersTag(subject)]); err == nil && image.ListsReferrers(m.Raw) {
		list, err := parseIndex(m.Raw)
		if err != nil {
			return nil, err
		}
		for _, e := range list.entries {
			candidates = append(candidates, e.Digest)
		}
	}
	found, seen := newIndex(), map[image.Digest]bool{}
	for _, d := range candidates {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, _ := v.about.of(d, func() (image.Manifest, error) { return v.Manifest(d) })
		if r == nil || r.subject != subject || seen[d] || artifactType != "" && r.entry.ArtifactType != artifactType {
			continue
		}
		if there, err := has(v.dir, r.entry); err != nil || !there { // it may have been there for another view
			continue
		}
		seen[d] = true
		found.entries = append(found.entries, r.entry)
	}
	return found.bytes()
}

// Content is an open blob or manifest.
type Content struct {
	*os.File

	store  *Store
	path   string
	digest image.Digest
	info   fs.FileInfo
}

// Open opens a blob or a manifest of a layout, as [View] does. The error wraps [image.ErrAbsent] if there is none, and [image.ErrCorrupt] if
// this process knows that its bytes do not match the digest.
func (s *Store) Open(dir string, d image.Digest) (*Content, error) {
	f, err := openContent(dir, d)
	if err != nil {
		return nil, err
	}
	c := &Content{File: f, store: s, path: blobPath(dir, d), digest: d}
	if c.info, err = f.Stat(); err == nil {
		if right, known := s.sound.found(c.path, c.info); known && !right {
			err = c.corrupt()
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// Size returns the size in bytes.
func (c *Content) Size() int64 { return c.info.Size() }

func (c *Content) corrupt() error { return fmt.Errorf("%s: %w", c.path, image.ErrCorrupt) }

// Proven reports whether this process has found the bytes to match the digest.
func (c *Content) Proven() bool {
	right, _ := c.store.sound.found(c.path, c.info)
	return right
}

// Prove reads the content, unless it is proven. The error wraps [image.ErrCorrupt] if its bytes do not match the digest.
func (c *Content) Prove(ctx context.Context) error {
	for range 3 { // a writer may mark it as in use meanwhile
		right, err := c.store.sound.look(ctx, c.path, c.digest, c.info)
		if err != nil {
			return err
		}
		if _, known := c.store.sound.found(c.path, c.info); known && right {
			return nil
		} else if known {
			break
		}
		if c.info, err = c.Stat(); err != nil {
			return err
		}
	}
	return c.corrupt()
}

// lastPart is how much of a content is held back until all of it was read, in bytes.
const lastPart = 64 << 10

// SendTo writes the content, from its begin. If its bytes do not match the digest, the end is not written, and the error wraps
// [image.ErrCorrupt].
func (c *Content) SendTo(w io.Writer) error {
	verifier := image.Verifier(c.digest)
	first := max(0, c.Size()-lastPart)
	if _, err := io.CopyN(w, io.TeeReader(c.File, verifier), first); err != nil {
		return err
	}
	last := make([]byte, c.Size()-first)
	if _, err := io.ReadFull(c.File, last); err != nil {
		return err
	}
	_, _ = verifier.Write(last) // a hash returns no error
	right := verifier.Verified()
	if now, err := c.Stat(); err == nil && stampOf(now) == stampOf(c.info) {
		c.store.sound.remember(c.path, c.info, right)
	}
	if !right {
		return c.corrupt()
	}
	_, err := w.Write(last)
	return err
}

func openContent(dir string, d image.Digest) (*os.File, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", d, image.ErrAbsent, err)
	}
	f, err := file.OpenBelow(dir, filepath.Join(blobsDir, d.Algorithm().String(), d.Encoded()))
	return f, absentIfMissing(err)
}
