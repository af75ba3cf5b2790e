package wire

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// stallTimeout is how long a counterpart may be waited for until it has brought leastBytes.
	stallTimeout = time.Minute
	leastBytes   = 16 << 10
)

// ErrSlow says that an answer brings next to nothing.
var ErrSlow = errors.New("fewer than 16 KiB in a minute: too slow to go on")

var (
	errStalled = errors.New("no byte for too long")
)

// watch ends an attempt while the counterpart is silent, or brings next to nothing. Only the time in which it is waited for counts: that in
// which the other side of a copy has its turn does not.
type watch struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	// deadline ends the attempt whatever comes; nil for none.
	deadline *time.Timer
	since    time.Time // when the turn of the counterpart began; zero while it is not its turn
	// waited and moved are what has passed of the present minute, and the bytes that came or went in it.
	waited time.Duration
	moved  int64
	over   bool
}

// watched returns the request of one attempt under a watch, which runs until headers have come.
func watched(req *http.Request, call Call) (*http.Request, *watch) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{cancel: cancel}
	patience := cmp.Or(call.Patience, stallTimeout)
	if call.Deadline > 0 {
		w.deadline = time.AfterFunc(call.Deadline, func() { cancel(errDeadline) })
	}
	w.timer = time.AfterFunc(patience, w.expired)
	attempt := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		attempt.Body = &watchedBody{ReadCloser: req.Body, watch: w, patience: patience}
		if again := req.GetBody; again != nil { // net/http asks for it where a connection was closed before it was used
			attempt.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return &watchedBody{ReadCloser: body, watch: w, patience: patience}, err
			}
		}
	}
	return attempt, w
}

func (w *watch) expired() {
	w.mu.Lock()
	moved := w.moved
	w.mu.Unlock()
	if moved > 0 {
		w.cancel(ErrSlow)
		return
	}
	w.cancel(errStalled)
}

// waiting says that the counterpart's turn begins: it has what is left of the present minute.
func (w *watch) waiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(stallTimeout - w.waited)
}

// waitingFor says the same where it has a time of its own, as for the answer to an upload.
func (w *watch) waitingFor(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waited, w.moved = 0, 0
	w.begin(d)
}

// begin has the counterpart's turn last no longer than d. The lock is held.
func (w *watch) begin(d time.Duration) {
	if !w.over {
		w.since = time.Now()
		w.timer.Reset(max(d, 0))
	}
}

// answered says that headers have come: a new minute begins.
func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.since, w.waited, w.moved = time.Time{}, 0, 0
}

// resting says that its turn ends, and how many bytes it has brought or taken.
func (w *watch) resting(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	if !w.since.IsZero() {
		w.waited += time.Since(w.since)
		w.since = time.Time{}
	}
	if w.moved += int64(n); w.moved >= leastBytes {
		w.waited, w.moved = 0, 0
	}
}

// end takes the watch down, and the attempt with it.
func (w *watch) end() {
	w.mu.Lock()
	w.over = true
	w.timer.Stop()
	if w.deadline != nil {
		w.deadline.Stop()
	}
	w.mu.Unlock()
	w.cancel(nil)
}

// because returns the cause that this package has given for the end of an attempt, in the place of what net/http makes of it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, errStalled) || errors.Is(cause, ErrSlow) || errors.Is(cause, errDeadline)) {
		return cause
	}
	return err
}

// watchedBody is a request's body: while it is read it is not the registry that is waited for.
type watchedBody struct {
	io.ReadCloser
	watch *watch
	last  int
	// patience is how long the registry may take once it has all of the body.
	patience time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.resting(b.last)
	n, err := b.ReadCloser.Read(p)
	b.last = n
	if err != nil {
		b.watch.waitingFor(b.patience)
	} else {
		b.watch.waiting()
	}
	return n, err
}
