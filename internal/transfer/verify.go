package transfer

import (
	"errors"
	"fmt"
	"io"

	"github.com/draysync/dray/internal/image"
)

// verifying passes a blob on while it checks size and digest. The last bytes are handed on only once the digest of all is
// known to be right, so that an upload of wrong bytes never has its full length and is never completed.
type verifying struct {
	body     io.Reader
	verifier interface {
		io.Writer
		Verified() bool
	}
	want  image.Descriptor
	read  int64
	moved func(int64)
}

func newVerifying(body io.Reader, want image.Descriptor, moved func(int64)) *verifying {
	return &verifying{body: body, verifier: image.Verifier(want.Digest), want: want, moved: moved}
}

// Read implements io.Reader. A blob that ends early is io.ErrUnexpectedEOF, one with other bytes image.ErrCorrupt.
func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	_, _ = v.verifier.Write(p[:n]) // a hash takes everything
	v.read += int64(n)
	switch {
	case v.read > v.want.Size:
		return 0, fmt.Errorf("blob %s is longer than its %d bytes: %w", v.want.Digest, v.want.Size, image.ErrCorrupt)
	case v.read == v.want.Size && (n > 0 || errors.Is(err, io.EOF)) && !v.verifier.Verified():
		return 0, fmt.Errorf("blob %s has other bytes than its digest says: %w", v.want.Digest, image.ErrCorrupt)
	case errors.Is(err, io.EOF) && v.read < v.want.Size:
		err = brokenOff{fmt.Errorf("blob %s ended after %d of %d bytes: %w", v.want.Digest, v.read, v.want.Size, io.ErrUnexpectedEOF)}
	}
	v.moved(int64(n))
	return n, err
}

// brokenOff marks a body that ended early, which a further try may mend.
type brokenOff struct{ error }

// Temporary implements what package mirror asks of errors.
func (brokenOff) Temporary() bool { return true }

// Unwrap returns the cause.
func (b brokenOff) Unwrap() error { return b.error }
