package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/draysync/dray/internal/image"
)

// CreateOptions are those of Create.
type CreateOptions struct {
	// From is a layout, or a folder with layouts below it. To is the folder for the bundle's files; it must be there.
	From, To string
	// ID names the site that the bundle is for.
	ID string
	// VolumeSize is the most bytes that a volume may have; 0 for one volume.
	VolumeSize int64
	// Tool names the program, and Now is the time, for whoever reads the document.
	Tool string
	Now  time.Time
}

// Created is what Create has done.
type Created struct {
	*Bundle
	// Document is the path of the bundle's document, and SHA256 its digest, from which all else follows.
	Document string
	SHA256   image.Digest
	// Kept counts volumes that were there already, of a Create that was interrupted.
	Kept int
}

// Create writes a bundle with all tags of the layouts, and checks each blob. A volume gets its name when it is complete and synced, and was read
// back; the document follows last. A Create that was interrupted may be repeated: it writes what is missing. Only one process at a time creates
// bundles of one folder.
func Create(ctx context.Context, o CreateOptions) (Created, error) {
	if err := o.check(); err != nil {
		return Created{}, err
	}
	b := &Bundle{Version: version, ID: o.ID, Tool: o.Tool, Created: o.Now.UTC().Truncate(time.Second)}
	c, err := collect(ctx, o.From, b)
	if err != nil {
		return Created{}, err
	}
	from, err := openFolder(o.From)
	if err != nil {
		return Created{}, err
	}
	defer from.close()
	last, raw, err := from.last(o.To, o.ID)
	if err != nil {
		return Created{}, err
	}
	if raw != nil {
		done, same, err := o.finish(from, b, raw)
		if err != nil || same {
			return done, err
		}
	}
	b.Seq = last + 1
	if err := b.divide(o.VolumeSize); err != nil {
		return Created{}, err
	}
	w := writer{collection: c, to: o.To, buffer: make([]byte, chunk)}
	defer w.close()
	for i := range b.Volumes {
		if err := w.volume(ctx, i); err != nil {
			return Created{}, err
		}
	}
	if raw, err = b.encode(); err != nil {
		return Created{}, err
	}
	done := Created{Bundle: b, Kept: w.kept, Document: filepath.Join(o.To, b.documentName()), SHA256: image.DigestOf(raw, "")}
	return done, errors.Join(writeDocument(done.Document, raw), from.sent(b, raw))
}

func (o CreateOptions) check() error {
	if err := CheckID(o.ID); err != nil {
		return err
	}
	if o.VolumeSize != 0 && (o.VolumeSize < MinVolume || o.VolumeSize > MaxSize) {
		return fmt.Errorf("volumes may have %d to %d bytes, not %d", MinVolume, MaxSize, o.VolumeSize)
	}
	info, err := os.Stat(o.To)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", o.To)
	}
	return err
}

// finish records a bundle whose Create was interrupted before it did, and reports whether it is the one that is wanted.
func (o CreateOptions) finish(from *folder, wanted *Bundle, raw []byte) (Created, bool, error) {
	b, err := Parse(raw)
	if err != nil { // its number is used, and that is all
		return Created{}, false, nil
	}
	if err := from.sent(b, raw); err != nil {
		return Created{}, false, err
	}
	wanted.Seq = b.Seq
	if err := wanted.divide(o.VolumeSize); err != nil {
		return Created{}, false, err
	}
	same := slices.Equal(b.Refs, wanted.Refs) && b.State == wanted.State && slices.EqualFunc(b.Volumes, wanted.Volumes, func(x, y Volume) bool {
		return slices.EqualFunc(x.Parts, y.Parts, func(p, q Part) bool { return p.Digest == q.Digest && p.Offset == q.Offset && p.Size == q.Size })
	})
	return Created{Bundle: b, Kept: len(b.Volumes), Document: filepath.Join(o.To, b.documentName()), SHA256: image.DigestOf(raw, "")}, same, nil
}
