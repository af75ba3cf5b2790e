package registry

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// smallBlob is the size up to which a blob is read before it is sent: it may then travel with the POST that starts its upload,
// and be sent again without asking its source.
const smallBlob = 256 << 10

// inUpload is the key under which a context carries the *upload that a request belongs to.
type inUpload struct{}

func uploadOf(req *http.Request) *upload {
	up, _ := req.Context().Value(inUpload{}).(*upload)
	return up
}

// upload is one blob on its way into a registry: where its bytes come from, and how far the registry has got.
type upload struct {
	desc image.Descriptor
	// repository is where it goes.
	repository string
	open       func(offset int64) (io.ReadCloser, error)

	// session is where the registry wants what comes next, and offset what it has; chunked is set once not all goes in one
	// request. They belong to the one request at a time that carries the blob.
	session *url.URL
	offset  int64
	chunked bool
	// failures counts those in a row, over all sessions; advanced is set once a part has arrived since the last challenge.
	failures int
	advanced bool
	// lost is set where the session cannot be gone on with, but another may do.
	lost bool
	// challenged is the refusal after which regclient looks for a token and sends its request again; nil for none.
	challenged *Error

	mu     sync.Mutex
	body   io.ReadCloser
	at     int64 // the position of body
	data   []byte
	opened bool
	err    error
}

// begin notes where a new session lies. It keeps the old one where regclient only repeats a request with another token.
func (u *upload) begin(location *url.URL) {
	if u.challenged != nil {
		u.challenged = nil
		return
	}
	u.session, u.offset, u.chunked, u.lost = location, 0, false, false
}

// part returns the body of a request that carries the bytes from the upload's offset to end. Only the last that was returned
// can be read: net/http may hold on to the one before.
func (u *upload) part(end int64) *part {
	return &part{upload: u, at: u.offset, end: end}
}

// seek has the next read start at a position. The lock is held.
func (u *upload) seek(at int64) error {
	if u.body != nil && u.at != at {
		_ = u.body.Close() // what it would still have given is asked for again
		u.body = nil
	}
	u.opened = true
	if u.body != nil {
		return nil
	}
	body, err := u.open(at)
	if err != nil {
		return err
	}
	u.body, u.at = body, at
	return nil
}

// move takes over the Location that an answer names for what comes next.
func (u *upload) move(req *http.Request, resp *http.Response) {
	text := resp.Header.Get("Location")
	if location, err := req.URL.Parse(text); err == nil && text != "" {
		u.session = location
	}
}

// load reads a small blob; true where it is at hand.
func (u *upload) load() bool {
	if u.desc.Size == 0 || u.desc.Size > smallBlob {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.data != nil || u.err != nil {
		return u.err == nil
	}
	data := make([]byte, u.desc.Size)
	if u.err = u.seek(0); u.err != nil {
		return false
	}
	if _, u.err = io.ReadFull(u.body, data); u.err != nil {
		return false
	}
	u.data = data
	return true
}

// close gives the source back.
func (u *upload) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.body != nil {
		_ = u.body.Close() // a download that is over has nothing more to say
		u.body = nil
	}
	if u.err == nil {
		u.err = errClosed
	}
}

var errClosed = errors.New("the upload is over")

// reading returns whether the source was asked, and why it failed.
func (u *upload) reading() (opened bool, failure error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.opened, u.err
}

// part is the body of one request. It ends with io.EOF at its own end.
type part struct {
	upload *upload
	at     int64
	end    int64
	over   bool
}

// Read implements io.Reader.
func (p *part) Read(b []byte) (int, error) {
	u := p.upload
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case p.over:
		return 0, errClosed
	case u.err != nil:
		return 0, u.err
	case p.at == p.end:
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.end-p.at)]
	if u.data != nil {
		n := copy(b, u.data[p.at:])
		p.at += int64(n)
		return n, nil
	}
	if u.err = u.seek(p.at); u.err != nil {
		return 0, u.err
	}
	n, err := u.body.Read(b)
	p.at += int64(n)
	u.at = p.at
	if err == io.EOF && p.at == p.end { // not errors.Is: an error that wraps io.EOF is a torn body
		return n, io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	u.err = err
	return n, err
}

// Close ends the part, also for who still reads it.
func (p *part) Close() error {
	p.upload.mu.Lock()
	defer p.upload.mu.Unlock()
	p.over = true
	return nil
}

// standIn is what regclient is given to upload: it never gets to see the bytes, which the transport sends. Seeking, by which
// regclient finds out whether it may send a request again, works while it has been challenged.
type standIn struct{ upload *upload }

// Read implements io.Reader. Only of the empty blob it has to be read: regclient sends that one itself.
func (s standIn) Read([]byte) (int, error) {
	if s.upload.desc.Size == 0 {
		return 0, io.EOF
	}
	return 0, errGone
}

var errGone = errors.New("what has been sent is gone")

// Seek implements io.Seeker.
func (s standIn) Seek(int64, int) (int64, error) {
	if s.upload.challenged == nil {
		return 0, errGone
	}
	return 0, nil
}

// withoutDigest takes the digest that regclient has put behind the query of an upload's Location out again. The rest is the
// registry's own and stays as it is.
func withoutDigest(u *url.URL, d image.Digest) *url.URL {
	location := *u
	rest, _ := strings.CutSuffix(location.RawQuery, "digest="+url.QueryEscape(string(d)))
	location.RawQuery = strings.TrimSuffix(rest, "&")
	return &location
}

// withDigest puts it back in.
func withDigest(u *url.URL, d image.Digest) *url.URL {
	location := *u
	if location.RawQuery != "" {
		location.RawQuery += "&"
	}
	location.RawQuery += "digest=" + url.QueryEscape(string(d))
	return &location
}

// received reads how many bytes an upload has, from the header Range of an answer: "0-99" for a hundred. Registries say "0-0" of an
// upload that has nothing (OCI distribution spec, "Pushing a blob in chunks").
func received(header http.Header) (int64, bool) {
	text := strings.TrimPrefix(header.Get("Range"), "bytes=")
	first, last, ok := strings.Cut(text, "-")
	end, isNumber := size(last)
	if !ok || first != "0" || !isNumber {
		return 0, false
	}
	if end == 0 {
		return 0, true
	}
	return end + 1, true
}

func size(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}
