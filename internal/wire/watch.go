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
var ErrSlow = errors.New("less than 16 KiB in a minute: too slow")

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
func watched(req *http.Request, call Call, slot *slot) (*http.Request, *watch) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{cancel: cancel}
	patience := cmp.Or(call.Patience, stallTimeout)
	if call.Deadline > 0 {
		w.deadline = time.AfterFunc(call.Deadline, func() { cancel(errDeadline) })
	}
	w.timer = time.AfterFunc(patience, w.expired)
	attempt := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		watch := func(body io.ReadCloser) *watchedBody {
			return &watchedBody{ReadCloser: body, ctx: ctx, watch: w, slot: slot, patience: patience, left: req.ContentLength}
		}
		attempt.Body = watch(req.Body)
		if again := req.GetBody; again != nil { // net/http asks for it where a connection was closed before it was used
			attempt.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return watch(body), err
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

// because returns the cause that was given for the end of an attempt, in the place of what net/http makes of it.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	own := errors.Is(cause, errStalled) || errors.Is(cause, ErrSlow) || errors.Is(cause, errDeadline)
	if err != nil && own || errors.Is(err, context.Canceled) && cause != nil {
		return cause
	}
	return err
}

// watchedBody is a request's body: while it is read it is not the registry that is waited for, and the slot is lent where that takes long.
type watchedBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // the attempt's, which a Read has no other way to know
	watch *watch
	slot  *slot
	last  int
	// left is how many bytes are still to be read.
	left int64
	// patience is how long the registry may take once it has all of the body.
	patience time.Duration
	// first are bytes that were read before the request was sent, and failed how that ended.
	first  []byte
	failed error
}

// firstBytes is how much of an upload is read at most before its request is sent.
const firstBytes = 16 << 10

// begin reads the first bytes, so that nothing is sent to the registry before the source has answered.
func (b *watchedBody) begin() error {
	buffer := make([]byte, firstBytes)
	b.watch.resting(0)
	n, err := b.read(buffer)
	b.watch.waitingFor(b.patience)
	b.first, b.failed = buffer[:n], err
	if n > 0 || err == io.EOF { //nolint:errorlint // an error that wraps io.EOF is a torn body
		return nil
	}
	return err
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (n int, err error) {
	b.watch.resting(b.last)
	switch {
	case len(b.first) > 0:
		n = copy(p, b.first)
		if b.first = b.first[n:]; len(b.first) == 0 {
			err = b.failed
		}
	case b.failed != nil:
		err = b.failed
	default:
		n, err = b.read(p)
	}
	b.last = n
	if err != nil {
		b.watch.waitingFor(b.patience)
	} else {
		b.watch.waiting()
	}
	return n, err
}

// read reads from the source, whose turn it is meanwhile.
func (b *watchedBody) read(p []byte) (int, error) {
	b.slot.rest()
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if lost := b.slot.resume(b.ctx, n, b.left); lost != nil && err == nil {
		err = lost
	}
	return n, err
}
