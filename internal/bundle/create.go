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
	"github.com/draysync/dray/internal/signature"
)

// CreateOptions are those of Create.
type CreateOptions struct {
	// From is a layout, or a folder with layouts below it. To is the folder for the bundle's files; it must be there.
	From, To string
	// ID names the site that the bundle is for.
	ID string
	// VolumeSize is the most bytes that a volume may have; 0 for one volume.
	VolumeSize int64
	// Full makes a bundle that needs nothing at the far side. Since, if not 0, is the number of a bundle that the far side is said to have, in place of
	// the one that it has acknowledged. For is what a Load has asked for; nil for nothing.
	Full  bool
	Since int
	For   *Request
	// Signer signs the document; nil for none.
	Signer *signature.FileSigner
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
	// LeftOut is what the layouts have without a tag, as PATH@DIGEST: it is not in the bundle.
	LeftOut []string
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
		done.LeftOut = c.leftOut
		if same && err == nil {
			err = o.sign(done, raw)
		}
		if err != nil || same {
			return done, err
		}
	}
	b.Seq = last + 1
	have, err := o.base(from, b)
	if err != nil {
		return Created{}, err
	}
	if err := b.divide(o.VolumeSize, have); err != nil {
		return Created{}, err
	}
	if err := b.fits(); err != nil {
		return Created{}, err
	}
	w := writer{collection: c, to: o.To, buffer: make([]byte, chunk)}
	defer w.close()
	for i := range b.Volumes {
		if err := w.volume(ctx, i); err != nil {
			return Created{}, err
		}
	}
	if err := o.clean(b); err != nil {
		return Created{}, err
	}
	if raw, err = b.encode(); err != nil {
		return Created{}, err
	}
	done := Created{Bundle: b, Kept: w.kept, Document: filepath.Join(o.To, b.documentName()), SHA256: image.DigestOf(raw, ""), LeftOut: c.leftOut}
	if err := o.sign(done, raw); err != nil {
		return Created{}, err
	}
	return done, errors.Join(writeDocument(done.Document, raw), from.sent(b, raw))
}

// sign writes the signature of a document, which is there before the document is.
func (o CreateOptions) sign(done Created, raw []byte) error {
	if o.Signer == nil {
		return nil
	}
	ending, text, err := o.Signer.Sign(raw, done.Name())
	if err != nil {
		return err
	}
	return writeDocument(done.Document+ending, text)
}

// clean removes volumes of the bundle's name that it does not have: those of a Create that was interrupted, and had smaller ones.
func (o CreateOptions) clean(b *Bundle) error {
	files, err := list([]string{o.To})
	if err != nil {
		return err
	}
	for _, path := range files {
		name := filepath.Base(path)
		if !b.namesVolume(name) || slices.ContainsFunc(b.Volumes, func(v Volume) bool { return v.Name == name }) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err //nolint:wrapcheck // it names the file
		}
	}
	return nil
}

// base sets what a bundle is based on, and returns what the far side has.
func (o CreateOptions) base(from *folder, b *Bundle) (map[image.Digest]bool, error) {
	b.Base, b.Removed = nil, []Ref{}
	known, err := from.acknowledged(o.ID)
	switch {
	case err != nil:
		return nil, err
	case o.For != nil:
		known = acknowledgement{Seq: o.For.Seq}
	case o.Since != 0:
		known = acknowledgement{Seq: o.Since}
	}
	if o.Full || known.Seq == 0 {
		return nil, nil
	}
	base, err := from.sentBundle(o.ID, known.Seq)
	if err != nil {
		return nil, err
	}
	have := map[image.Digest]bool{}
	for _, c := range base.contents() {
		have[c.Digest] = known.Held == nil
	}
	for _, d := range known.Held {
		have[d] = true
	}
	if o.For != nil {
		for _, d := range o.For.Missing {
			delete(have, d)
		}
	}
	b.Base = &Base{Seq: base.Seq, State: base.State}
	changes := Compare(base, b)
	for i, r := range b.Refs {
		b.Refs[i].Was = changes.was[r.String()]
	}
	b.Removed = changes.Removed
	return have, nil
}

func (o CreateOptions) check() error {
	if o.For != nil && o.For.ID != o.ID {
		return fmt.Errorf("what is asked for is of the site %q, not %q", o.For.ID, o.ID)
	}
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
	have, err := o.base(from, wanted)
	if err != nil {
		return Created{}, false, err
	}
	if err := wanted.divide(o.VolumeSize, have); err != nil {
		return Created{}, false, err
	}
	same := slices.Equal(b.Refs, wanted.Refs) && b.State == wanted.State && slices.EqualFunc(b.Volumes, wanted.Volumes, func(x, y Volume) bool {
		return slices.EqualFunc(x.Parts, y.Parts, func(p, q Part) bool { return p.Digest == q.Digest && p.Offset == q.Offset && p.Size == q.Size })
	})
	return Created{Bundle: b, Kept: len(b.Volumes), Document: filepath.Join(o.To, b.documentName()), SHA256: image.DigestOf(raw, "")}, same, nil
}
