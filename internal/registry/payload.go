package registry

import (
	"errors"
	"io"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// smallBlob is the size up to which a blob is read before it is sent. Such a blob can go with the POST that starts its upload, and can be
// sent again without reading its source again.
const smallBlob = 256 << 10

// payload supplies the bytes of an upload. It is safe for concurrent use: net/http may still read a body that was replaced by the next.
type payload struct {
	desc image.Descriptor
	open func(offset int64) (io.ReadCloser, error)

	mu     sync.Mutex
	body   io.ReadCloser
	at     int64 // the position of body
	data   []byte
	opened bool
	err    error
	last   *part // the part returned last
}

// part returns the body of a request with the bytes from offset to end. Only the part returned last can be read.
func (p *payload) part(offset, end int64) *part {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last.over = true
	}
	p.last = &part{payload: p, start: offset, at: offset, end: end}
	return p.last
}

// stop ends the last part, for all its readers.
func (p *payload) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last.over = true
	}
}

// taken returns how many bytes of the last part were read.
func (p *payload) taken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return 0
	}
	return p.last.at - p.last.start
}

// asked returns how many bytes the last part has.
func (p *payload) asked() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return 0
	}
	return p.last.end - p.last.start
}

// seek moves the next read to a position. The caller holds the lock.
func (p *payload) seek(at int64) error {
	if p.at != at {
		p.letGo() // the rest is requested again
	}
	p.opened = true
	if p.body != nil {
		return nil
	}
	body, err := p.open(at)
	if err != nil {
		return err
	}
	p.body, p.at = body, at
	return nil
}

// load reads a small blob into memory, and reports whether it is there.
func (p *payload) load() bool {
	if p.desc.Size == 0 || p.desc.Size > smallBlob {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.data != nil || p.err != nil {
		return p.err == nil
	}
	data := make([]byte, p.desc.Size)
	if p.err = p.seek(0); p.err != nil {
		return false
	}
	if _, p.err = io.ReadFull(p.body, data); p.err != nil {
		return false
	}
	p.data = data
	p.letGo()
	return true
}

// rest closes the source while an upload waits for its turn: an upload that held a read slot while waiting for a write slot would deadlock
// with those that do the opposite.
func (p *payload) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letGo()
}

// letGo closes the source, which is opened again when needed. The caller holds the lock.
func (p *payload) letGo() {
	if p.body != nil {
		_ = p.body.Close() // its error no longer matters
		p.body = nil
	}
}

// close closes the source.
func (p *payload) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letGo()
	if p.err == nil {
		p.err = errClosed
	}
}

var errClosed = errors.New("the upload is over")

// reading returns whether the source was read, and why that failed.
func (p *payload) reading() (opened bool, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened, p.err
}

// part is the body of one request. It returns io.EOF at its own end.
type part struct {
	payload        *payload
	start, at, end int64
	over           bool
}

// Read implements io.Reader.
func (r *part) Read(b []byte) (int, error) {
	p := r.payload
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.over:
		return 0, errClosed
	case p.err != nil:
		return 0, p.err
	case r.at == r.end:
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.end-r.at)]
	if p.data != nil {
		n := copy(b, p.data[r.at:])
		r.at += int64(n)
		return n, nil
	}
	if p.err = p.seek(r.at); p.err != nil {
		return 0, p.err
	}
	n, err := p.body.Read(b)
	r.at += int64(n)
	p.at = r.at
	if err == io.EOF && r.at == r.end { // one that wraps io.EOF is a broken body
		return n, io.EOF
	}
	if err == io.EOF { // as above
		err = io.ErrUnexpectedEOF
	}
	p.err = err
	return n, err
}

// Close ends the part, for all its readers.
func (r *part) Close() error {
	r.payload.mu.Lock()
	defer r.payload.mu.Unlock()
	r.over = true
	return nil
}
