package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// collection is what the layouts of a folder hold.
type collection struct {
	store *layout.Store
	*Bundle
	// in is a layout that has the content, and size that of the content in bytes.
	in   map[image.Digest]image.Repository
	size map[image.Digest]int64
	// walked are manifests; one may have been listed as a blob before.
	walked map[image.Digest]bool
	errs   []error
	// leftOut is what has no tag, and belongs to nothing that has one.
	leftOut []string
}

// maxErrors is how many problems of a layout are told at once.
const maxErrors = 20

// collect reads the tags of a layout, or of the layouts below a folder, and everything that these lead to but the content of blobs. The error has
// a line for each tag that is incomplete.
func collect(ctx context.Context, from string, b *Bundle) (*collection, error) {
	c := &collection{store: layout.New(), Bundle: b, in: map[image.Digest]image.Repository{}, size: map[image.Digest]int64{}, walked: map[image.Digest]bool{}}
	repos, err := layoutsIn(c.store, from)
	if err != nil {
		return nil, err
	}
	b.Refs, b.Manifests, b.Blobs = []Ref{}, []Content{}, []Content{}
	for _, path := range repos {
		if err := c.layout(ctx, from, path); err != nil {
			return nil, err
		}
	}
	if len(c.errs) > maxErrors {
		c.errs = append(c.errs[:maxErrors], fmt.Errorf("and %d more", len(c.errs)-maxErrors))
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	if len(b.Refs) == 0 {
		return nil, fmt.Errorf("%s has no tag", from)
	}
	for _, path := range repos {
		if err := c.untagged(from, path); err != nil {
			return nil, err
		}
	}
	b.State = b.HeldState()
	return c, nil
}

// layoutsIn returns the paths of the layouts of a folder, relative to it and sorted: "" for the folder itself.
func layoutsIn(store *layout.Store, from string) ([]string, error) {
	below, err := store.Below(image.Repository{Path: from})
	if err != nil {
		return nil, err
	}
	var paths []string
	if _, err := store.Tags(image.Repository{Path: from}); err == nil {
		paths = append(paths, "")
	} else if !errors.Is(err, image.ErrAbsent) {
		return nil, err
	}
	for _, dir := range below {
		path, err := filepath.Rel(from, dir)
		if err != nil {
			return nil, err
		}
		paths = append(paths, filepath.ToSlash(path))
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s is no OCI layout, and has none below it", from)
	}
	return paths, nil
}

// layout adds the tags of a layout.
func (c *collection) layout(ctx context.Context, from, path string) error {
	if err := checkRepository(path); err != nil {
		return fmt.Errorf("layout %s: %w: rename its folder, or move it out of %s", filepath.Join(from, path), err, from)
	}
	repo := image.Repository{Path: filepath.Join(from, filepath.FromSlash(path))}
	tags, err := c.store.Tags(repo)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !image.ValidTag(tag) { // the name of an image with its digest, as other programs write
			continue
		}
		ref := Ref{Repository: path, Tag: tag}
		d, err := c.store.Head(repo.Tag(tag))
		if err == nil {
			ref.Digest, ref.MediaType = d.Digest, d.MediaType
			ref.Size, err = c.manifest(repo, d, 0)
		}
		if err != nil {
			c.errs = append(c.errs, fmt.Errorf("%s in %s: %w", ref, from, err))
			continue
		}
		c.Refs = append(c.Refs, ref)
	}
	return nil
}

// untagged notes what a layout has besides its tags. The tags of all layouts have been added.
func (c *collection) untagged(from, path string) error {
	repo := image.Repository{Path: filepath.Join(from, filepath.FromSlash(path))}
	all, err := c.store.Digests(repo)
	if err != nil {
		return err
	}
	for _, d := range all {
		if _, known := c.in[d]; !known {
			c.leftOut = append(c.leftOut, path+"@"+string(d))
		}
	}
	return nil
}

// manifest adds a manifest, and all below it. It returns its size.
func (c *collection) manifest(repo image.Repository, d image.Descriptor, depth int) (int64, error) {
	if depth > image.MaxNesting {
		return 0, fmt.Errorf("manifest %s lies more than %d indexes deep", d.Digest, image.MaxNesting)
	}
	m, err := c.store.Manifest(repo.Digest(d.Digest))
	if err != nil {
		return 0, err
	}
	if d.Size != 0 && d.Size != m.Size {
		return 0, fmt.Errorf("manifest %s has %d bytes, and %d are wanted", d.Digest, m.Size, d.Size)
	}
	if c.walked[d.Digest] {
		return m.Size, nil
	}
	if _, known := c.in[d.Digest]; !known {
		c.in[d.Digest], c.size[d.Digest] = repo, m.Size
		c.Manifests = append(c.Manifests, Content{d.Digest, m.Size})
	}
	read := func(d image.Digest) ([]byte, error) {
		m, err := c.store.Manifest(repo.Digest(d))
		return m.Raw, err
	}
	parts, err := layout.PartsOf(m.Raw, read)
	if err != nil {
		return 0, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	for _, p := range parts {
		if p.Manifest {
			_, err = c.manifest(repo, p.Descriptor, depth+1)
		} else {
			err = c.blob(repo, p)
		}
		if err != nil {
			return 0, err
		}
	}
	c.walked[d.Digest] = true
	return m.Size, nil
}

func (c *collection) blob(repo image.Repository, p layout.Part) error {
	if _, known := c.in[p.Digest]; known {
		return nil
	}
	size, err := c.store.BlobSize(repo, p.Digest)
	if errors.Is(err, image.ErrAbsent) && p.Elsewhere {
		return nil
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w; %s", p.Digest, err, layout.WayOut)
	}
	if p.Size != 0 && size != p.Size {
		return fmt.Errorf("blob %s has %d bytes, and %d are wanted; %s", p.Digest, size, p.Size, layout.WayOut)
	}
	c.in[p.Digest], c.size[p.Digest] = repo, size
	c.Blobs = append(c.Blobs, Content{p.Digest, size})
	return nil
}

// open opens content.
func (c *collection) open(d image.Digest) (io.ReadCloser, error) {
	body, err := c.store.OpenBlob(c.in[d], image.Descriptor{Digest: d}, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return body, nil
}
