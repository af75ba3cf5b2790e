package wire

import (
	"net/http"
	"time"
)

// Call says how to send a request.
type Call struct {
	// Operation names the request in messages, such as "GET manifest".
	Operation string
	// Lane is the group of slots that the request draws from.
	Lane Lane
	// Once turns retries off: the caller has another way, or retries by itself.
	Once bool
	// Again marks a request that continues something: it gets a slot before requests that begin something.
	Again bool
	// Check runs once the request has its slot; if it returns an error, that error is final and nothing is sent. The wait may have shown
	// that the request is pointless. nil for no check.
	Check func() error
	// Final reports that an answer must not be retried although its status would allow it; nil for never.
	Final func(*Error) bool
	// Deadline limits one attempt, from its slot to the end of the answer. 0 means no limit, for transfers, which show progress by their
	// bytes.
	Deadline time.Duration
	// Patience limits the time between the end of the request and the first byte of the answer; 0 means a minute.
	Patience time.Duration
	// Sign adds the credential to a request that has its slot and is about to be sent; nil for none.
	Sign func(*http.Request) error
	// Read consumes a successful answer, so that one that breaks off can be requested again. An error of its own is final. The request
	// keeps its slot until Read returns. If Read is nil, the caller reads and closes the body.
	Read func(*http.Response) error
	// Secrets returns what must not appear in an error, even if the registry echoes it; nil for nothing.
	Secrets func() []string
}

// Lane is a kind of request with slots of its own.
type Lane int

// The lanes. An upload holds a slot while the download that feeds it holds one, and either may wait for a token: in a common lane they
// could deadlock. Transfers, which last as long as their bytes take, are kept apart from short requests.
const (
	// Reads are small requests that change nothing: manifests, lists, existence checks.
	Reads Lane = iota
	// Downloads fetch blobs.
	Downloads
	// Writes are small requests that change the registry: manifests, mounts, starts of uploads.
	Writes
	// Uploads send blobs.
	Uploads
	// Tokens sign in.
	Tokens
	lanes
)
