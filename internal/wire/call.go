package wire

import (
	"net/http"
	"time"
)

// Call is how a request is to be sent, as far as the request does not say it.
type Call struct {
	// Operation is what is asked for, in words for people, such as "GET manifest".
	Operation string
	// Lane is where the request takes its slot among those in flight.
	Lane Lane
	// Once has the request sent one time only: the caller has another way, or goes on in its own.
	Once bool
	// Again says that the request goes on with what was begun: it takes its slot before those that begin something.
	Again bool
	// Check is asked once the request has its slot, since what it waits behind may have shown that it is in vain: an error of its own is final,
	// and nothing is sent. nil for none.
	Check func() error
	// Final tells of an answer that it is not to be tried again, though its status says so; nil for none.
	Final func(*Error) bool
	// Deadline is how long one try may take, from its slot to the end of the answer; 0 for any time, for what may take long and shows by
	// its bytes that it lives.
	Deadline time.Duration
	// Patience is how long the registry may take from the end of the request to the beginning of its answer; 0 for a minute.
	Patience time.Duration
	// Sign puts the credential on a request that has its slot and is about to be sent; nil for none.
	Sign func(*http.Request) error
	// Read takes the answer in, where it is a success, so that one that breaks off is asked for again. An error of its own is final.
	// The request holds its slot until Read returns. nil leaves the body to the caller, who closes it.
	Read func(*http.Response) error
	// Secrets returns what must not be seen in an error, whatever the registry repeats; nil for nothing.
	Secrets func() []string
}

// Lane is a kind of requests with slots of its own.
type Lane int

// The lanes. An upload has its slot while the download that feeds it has one, and either may wait for a token: in a common lane each could
// wait for the other's slot. What takes as long as its bytes take, downloads and uploads, is apart from what is soon answered.
const (
	// Reads are for what is asked for and is small: manifests, lists, whether something is there.
	Reads Lane = iota
	// Downloads are for blobs that are fetched.
	Downloads
	// Writes are for what changes the registry and is small: manifests, mounts, the beginning of an upload.
	Writes
	// Uploads are for blobs that are sent.
	Uploads
	// Tokens are for signing in.
	Tokens
	lanes
)
