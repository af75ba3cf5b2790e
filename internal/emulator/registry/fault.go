package registry

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fault is one way to go wrong. What a zero field would do is not done, so the zero Fault changes nothing; fields
// combine, in this order: Delay, Before, then Hang, Reset or Status, and where none of these ends the request it is answered as
// usual, with Header, Trickle, Endless, CutAt, CutRequestAt and FlipByte applied; then After.
type Fault struct {
	// Match chooses requests; nil is all. It must not call Inject or a fault's remove.
	Match func(*http.Request) bool
	// Times is how many requests are hit, 0 all of them.
	Times int
	// Delay passes before anything else; it ends early with the request's context.
	Delay time.Duration
	// Before is called before the request is processed, and After once it is, before an answer of less than 2 KB leaves. The request waits until
	// they return.
	Before, After func()
	// Hang holds the request until its context ends, and never answers.
	Hang bool
	// Reset closes the connection at once, without an answer.
	Reset bool
	// Status answers with this status, Header and Body in the handler's place.
	Status int
	// Header replaces those headers of the answer, whoever gives it.
	Header http.Header
	// Body is sent with Status.
	Body string
	// Trickle is the pause before each byte of the answer's body.
	Trickle time.Duration
	// Endless goes on with spaces behind the answer's body until the request's context ends.
	Endless bool
	// CutAt closes the connection after so many bytes of the answer's body; a shorter body arrives whole.
	CutAt int64
	// CutRequestAt closes the connection after so many bytes of the request's body; a shorter body is let through.
	CutRequestAt int64
	// FlipByte turns over all bits of this byte of the answer's body, counted from 1.
	FlipByte int64
}

// faults are asked in the order of their injection.
type faults struct {
	mu   sync.Mutex
	list []*armed
}

type armed struct {
	fault Fault
	hits  int
}

// take returns the first fault that matches and has a hit left, and counts the hit.
func (f *faults) take(r *http.Request) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.list {
		if a.fault.Times > 0 && a.hits >= a.fault.Times {
			continue
		}
		if a.fault.Match == nil || a.fault.Match(r) {
			a.hits++
			return a.fault
		}
	}
	return Fault{}
}

func (f *faults) add(fault Fault) (remove func()) {
	a := &armed{fault: fault}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, a)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.list = slices.DeleteFunc(f.list, func(other *armed) bool { return other == a })
	}
}

// MatchKind matches requests of one method and one of the Kind constants; an empty string matches any.
func MatchKind(method, kind string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && (kind == "" || parseRoute(r.URL.Path).kind == kind)
	}
}
