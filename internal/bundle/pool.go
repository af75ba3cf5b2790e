package bundle

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

const (
	poolsDir = "pool"
	// newEnding ends the name of content that is being written, and partialEnding that of content of which parts are there.
	newEnding     = ".new"
	partialEnding = ".partial"
)

// pool holds content until all of an image is there. It is a sink: it takes what neither it nor a layout has.
//
// Content has the name of its digest once it was checked and synced. Of what was split over volumes, each part is written at its place, and another
// file, its mark, says that it is there: this is enough to go on after a kill, and needs no room besides that of the content.
type pool struct {
	dir   string
	store *layout.Store
	repos []image.Repository
	*set
	size  map[image.Digest]int64
	parts map[image.Digest][]place
	// where is the path of content that was checked, and lacks is what was not found; what is in neither was not looked for.
	where map[image.Digest]string
	lacks map[image.Digest]bool
	// unread are errors of content that is in a layout and cannot be read. It counts as missing.
	unread map[image.Digest]error
	// wrong is content that did not match its digest when it was put together. Other copies of volumes may have brought it since.
	wrong []Problem

	out    *os.File
	sum    hash.Hash
	marked []string // of the volume that is being read
}

func (p *pool) path(d image.Digest) string {
	return filepath.Join(p.dir, d.Algorithm().String()+"-"+d.Encoded())
}

func (p *pool) mark(part Part) string {
	return fmt.Sprintf("%s.%d-%d", p.path(part.Digest), part.Offset, part.Size)
}

// marks reports whether a part is there, and whether it is of a damaged volume.
func (p *pool) marks(part Part) (there, doubtful bool) {
	info, err := os.Stat(p.mark(part))
	_, partial := os.Stat(p.path(part.Digest) + partialEnding)
	if err != nil || partial != nil {
		return false, false
	}
	return true, info.Size() > 0
}

// startPartial forgets marks without what they are about.
func (p *pool) startPartial(d image.Digest) error {
	if _, err := os.Stat(p.path(d) + partialEnding); !errors.Is(err, os.ErrNotExist) {
		return err //nolint:wrapcheck // it names the file
	}
	return p.unmark(d)
}

func (p *pool) unmark(d image.Digest) error {
	for _, part := range p.parts[d] {
		if err := os.Remove(p.mark(part.Part)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err //nolint:wrapcheck // it names the file
		}
	}
	return nil
}

// has reports whether content is there, in the pool or in one of the layouts, and intact.
func (p *pool) has(ctx context.Context, d image.Digest) (bool, error) {
	if p.where[d] != "" || p.lacks[d] {
		return !p.lacks[d], nil
	}
	whole, err := matches(ctx, p.path(d), d)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		p.unread[d] = err
	}
	if whole {
		p.where[d] = p.path(d)
		return true, nil
	}
	for _, repo := range p.repos {
		has, err := p.store.HasBlob(ctx, repo, image.Descriptor{Digest: d, Size: p.size[d]})
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			p.unread[d] = err
		}
		if has {
			p.where[d] = layout.BlobPath(repo, d)
			return true, nil
		}
	}
	p.lacks[d] = true
	return false, nil
}

// matches reports whether a file is there and matches a digest.
func matches(ctx context.Context, path string, d image.Digest) (bool, error) {
	f, err := file.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := image.Hash(d)
	buffer := make([]byte, chunk)
	for {
		n, err := f.Read(buffer)
		_, _ = sum.Write(buffer[:n]) // a hash never fails
		switch {
		case errors.Is(err, io.EOF):
			return image.HasSum(d, sum), nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			return false, err //nolint:wrapcheck // it names the file
		}
	}
}

func (p *pool) found(d image.Digest, path string) {
	p.where[d] = path
	delete(p.lacks, d)
}

func (p *pool) begin(ctx context.Context, part Part) (io.Writer, []io.Writer, error) {
	if has, err := p.has(ctx, part.Digest); err != nil || has {
		return nil, nil, err
	}
	if part.number > 0 {
		if there, doubtful := p.marks(part); there && !doubtful {
			return nil, nil, nil
		}
		if err := p.startPartial(part.Digest); err != nil {
			return nil, nil, err
		}
		f, err := os.OpenFile(p.path(part.Digest)+partialEnding, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // images are no secret
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // it names the file
		}
		p.out = f
		return io.NewOffsetWriter(f, part.Offset), nil, nil
	}
	f, err := os.OpenFile(p.path(part.Digest)+newEnding, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) //nolint:gosec // images are no secret
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names the file
	}
	p.out, p.sum = f, image.Hash(part.Digest)
	return f, []io.Writer{p.sum}, nil
}

func (p *pool) end(part Part, all bool) (string, error) {
	f := p.out
	p.out = nil
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", err
	}
	switch {
	case part.number > 0 && all:
		p.marked = append(p.marked, p.mark(part))
	case part.number > 0:
	case !all || !image.HasSum(part.Digest, p.sum):
		return "does not match its digest", os.Remove(f.Name())
	default:
		if err := os.Rename(f.Name(), p.path(part.Digest)); err != nil {
			return "", err //nolint:wrapcheck // it names the files
		}
		p.found(part.Digest, p.path(part.Digest))
	}
	return "", nil
}

// close ends a scan that failed.
func (p *pool) close() {
	if p.out != nil {
		p.out.Close()
	}
}

// doubtful is what the mark of a part says that is of a damaged volume.
const doubtful = "of a damaged volume"

// volumes takes the content of all volumes, and returns what is wrong with those of which no copy is whole. It reads second copies once what the first ones
// have was put together, since their parts replace those of the first.
func (p *pool) volumes(ctx context.Context) ([]Problem, error) {
	buffer := make([]byte, chunk)
	problems := make([][]Problem, len(p.files))
	for copied, more := 0, true; more; copied++ {
		more = false
		for i, paths := range p.copies {
			if copied >= len(paths) || copied > 0 && problems[i] == nil {
				continue
			}
			more = true
			p.files[i] = paths[copied]
			found, err := p.volume(ctx, i, buffer)
			if problems[i] = append(problems[i], found...); err != nil {
				return slices.Concat(problems...), err
			}
			if len(found) == 0 {
				problems[i] = nil
			}
		}
	}
	all := slices.Concat(problems...)
	for _, wrong := range p.wrong {
		if p.where[wrong.Digest] == "" {
			all = append(all, wrong)
		}
	}
	return all, nil
}

// volume takes the content of a volume.
func (p *pool) volume(ctx context.Context, i int, buffer []byte) ([]Problem, error) {
	p.marked = nil
	problems, err := p.scan(ctx, i, buffer, p)
	if err != nil {
		return problems, err
	}
	text := ""
	if len(problems) > 0 {
		text = doubtful
	}
	for _, name := range p.marked {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // it is no secret
			return problems, err //nolint:wrapcheck // it names the file
		}
	}
	if err := file.SyncDir(p.dir); err != nil {
		return problems, err
	}
	for _, part := range p.Volumes[i].Parts {
		if part.number == 0 {
			continue
		}
		wrong, err := p.assemble(ctx, part.Digest)
		if err != nil {
			return problems, err
		}
		if wrong && !slices.ContainsFunc(p.wrong, func(w Problem) bool { return w.Digest == part.Digest }) {
			p.wrong = append(p.wrong, Problem{p.Volumes[i].Name, part.Digest, wrongParts})
		}
	}
	return problems, nil
}

// assemble checks content of which all parts are there, and reports whether it is wrong: of damaged volumes, or written by a medium that did not
// keep it.
func (p *pool) assemble(ctx context.Context, d image.Digest) (wrong bool, err error) {
	if has, err := p.has(ctx, d); err != nil || has {
		return false, err
	}
	for _, part := range p.parts[d] {
		if there, _ := p.marks(part.Part); !there {
			return false, nil
		}
	}
	partial := p.path(d) + partialEnding
	info, err := os.Stat(partial)
	if err == nil && info.Size() > p.size[d] {
		err = os.Truncate(partial, p.size[d])
	}
	if err != nil {
		return false, err //nolint:wrapcheck // it names the file
	}
	whole, err := matches(ctx, partial, d)
	if err != nil && !errors.Is(err, syscall.EIO) { // which another call may read
		return false, err
	}
	if !whole {
		return true, p.distrust(d)
	}
	if err := os.Rename(partial, p.path(d)); err != nil {
		return false, err //nolint:wrapcheck // it names the files
	}
	p.found(d, p.path(d))
	return false, errors.Join(file.SyncDir(p.dir), p.unmark(d))
}

// distrust forgets the parts of damaged volumes, of content that is damaged, or all where there are none.
func (p *pool) distrust(d image.Digest) error {
	found := false
	for _, part := range p.parts[d] {
		info, err := os.Stat(p.mark(part.Part))
		if err != nil {
			return err //nolint:wrapcheck // it names the file
		}
		if info.Size() > 0 {
			found = true
			if err := os.Remove(p.mark(part.Part)); err != nil {
				return err //nolint:wrapcheck // it names the file
			}
		}
	}
	if found {
		return nil
	}
	return errors.Join(os.Remove(p.path(d)+partialEnding), p.unmark(d))
}

// wants reports whether a volume has something that is missing.
func (p *pool) wants(ctx context.Context, i int) (bool, error) {
	for _, part := range p.Volumes[i].Parts {
		has, err := p.has(ctx, part.Digest)
		if err != nil {
			return false, err
		}
		if has {
			continue
		}
		if there, _ := p.marks(part); part.number == 0 || !there {
			return true, nil
		}
	}
	return false, nil
}

// give puts content into a layout. It leaves the pool by that, and other layouts get it from there.
func (p *pool) give(ctx context.Context, repo image.Repository, d image.Digest) error {
	path := p.where[d]
	to := layout.BlobPath(repo, d)
	if path == to {
		return nil
	}
	move := filepath.Dir(path) == p.dir
	if err := p.store.AdoptBlob(ctx, repo, image.Descriptor{Digest: d, Size: p.size[d]}, path, move); err != nil {
		return err
	}
	p.where[d] = to
	return nil
}

// manifest reads a manifest that is there.
func (p *pool) manifest(ctx context.Context, d image.Digest) ([]byte, error) {
	has, err := p.has(ctx, d)
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, image.ErrAbsent
	}
	return file.Read(p.where[d], layout.MaxManifest)
}
