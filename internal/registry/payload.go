package registry

import (
	"errors"
	"io"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// smallBlob is the size up to which a blob is read before it is sent: it may then travel with the POST that starts its upload,
// and be sent again without asking its source.
const smallBlob = 256 << 10

// payload is where the bytes of an upload come from. It is safe for concurrent use: net/http may read a body that the next has replaced.
type payload struct {
	desc image.Descriptor
	open func(offset int64) (io.ReadCloser, error)

	mu     sync.Mutex
	body   io.ReadCloser
	at     int64 // the position of body
	data   []byte
	opened bool
	err    error
	last   *part // the last that was returned
}

// part returns the body of a request that carries the bytes from offset to end. Only the last that was returned can be read.
func (p *payload) part(offset, end int64) *part {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last.over = true
	}
	p.last = &part{payload: p, start: offset, at: offset, end: end}
	return p.last
}

// stop ends the last part, also for who still reads it.
func (p *payload) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last.over = true
	}
}

// taken is how many bytes of the last part were read.
func (p *payload) taken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return 0
	}
	return p.last.at - p.last.start
}

// seek has the next read start at a position. The lock is held.
func (p *payload) seek(at int64) error {
	if p.at != at {
		p.letGo() // what it would still have given is asked for again
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

// load reads a small blob; true where it is at hand.
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

// rest gives the source back while an upload waits for its turn: who holds a place for reading while he waits for one for writing stops those
// who hold that one, and wait for his.
func (p *payload) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letGo()
}

// letGo closes the source; it is opened again where it is needed. The lock is held.
func (p *payload) letGo() {
	if p.body != nil {
		_ = p.body.Close() // a download that is not wanted has nothing more to say
		p.body = nil
	}
}

// close gives the source back.
func (p *payload) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letGo()
	if p.err == nil {
		p.err = errClosed
	}
}

var errClosed = errors.New("the upload is over")

// reading returns whether the source was asked, and why it failed.
func (p *payload) reading() (opened bool, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened, p.err
}

// part is the body of one request. It ends with io.EOF at its own end.
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
	if err == io.EOF && r.at == r.end { // an error that wraps io.EOF is a torn body
		return n, io.EOF
	}
	if err == io.EOF { // as above
		err = io.ErrUnexpectedEOF
	}
	p.err = err
	return n, err
}

// Close ends the part, also for who still reads it.
func (r *part) Close() error {
	r.payload.mu.Lock()
	defer r.payload.mu.Unlock()
	r.over = true
	return nil
}
