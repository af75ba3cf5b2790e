package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/draysync/dray/internal/dial"
)

const (
	// stallTimeout is the time in which a counterpart must transfer leastBytes.
	stallTimeout = time.Minute
	leastBytes   = 16 << 10
)

// ErrSlow reports an answer that makes almost no progress.
var ErrSlow = errors.New("less than 16 KiB in a minute: too slow")

var (
	errStalled = errors.New("no data for too long")
)

// watch cancels an attempt if the counterpart is silent, or almost so. Only the counterpart's own turns count, not those of the other side
// of a copy.
type watch struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	// deadline ends the attempt in any case; nil for none.
	deadline *time.Timer
	since    time.Time // when the counterpart's turn began; zero outside its turn
	// waited and moved are the time spent in the current minute, and the bytes transferred in it.
	waited time.Duration
	moved  int64
	over   bool
}

// watched returns the request of one attempt, under a watch that runs until the headers arrive.
func watched(req *http.Request, call Call, slot *slot, meter meter) (*http.Request, *watch) {
	ctx, cancel := context.WithCancelCause(req.Context())
	ctx = dial.Budget(ctx)
	w := &watch{cancel: cancel}
	patience := cmp.Or(call.Patience, stallTimeout)
	if call.Deadline > 0 {
		w.deadline = time.AfterFunc(call.Deadline, func() { cancel(errDeadline) })
	}
	w.timer = time.AfterFunc(patience, w.expired)
	attempt := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		watch := func(body io.ReadCloser) *watchedBody {
			return &watchedBody{ReadCloser: body, ctx: ctx, watch: w, slot: slot, meter: meter, patience: patience, left: req.ContentLength}
		}
		attempt.Body = watch(req.Body)
		if again := req.GetBody; again != nil { // net/http calls it if a connection closed before it was used
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

// waiting begins the counterpart's turn, with the rest of the current minute.
func (w *watch) waiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(stallTimeout - w.waited)
}

// waitingFor begins a turn with a time limit of its own, as for the answer to an upload.
func (w *watch) waitingFor(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waited, w.moved = 0, 0
	w.begin(d)
}

// begin limits the counterpart's turn to d. The caller holds the lock.
func (w *watch) begin(d time.Duration) {
	if !w.over {
		w.since = time.Now()
		w.timer.Reset(max(d, 0))
	}
}

// answered records that the headers have arrived; a new minute begins.
func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.since, w.waited, w.moved = time.Time{}, 0, 0
}

// resting ends the counterpart's turn, in which it transferred n bytes.
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

// end stops the watch and cancels the attempt.
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

// because returns the cancellation's cause instead of net/http's error.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	own := errors.Is(cause, errStalled) || errors.Is(cause, ErrSlow) || errors.Is(cause, errDeadline)
	if n := dial.Connections(ctx); err != nil && own && n > 0 {
		return fmt.Errorf("%w, after %d connections for one request", cause, n)
	}
	if err != nil && own || errors.Is(err, context.Canceled) && cause != nil {
		return cause
	}
	return err
}

// watchedBody is the body of a request. Reading it is not the registry's turn, and the slot is lent if it takes long.
type watchedBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // the attempt's; Read has no other way to get it
	watch *watch
	slot  *slot
	meter meter
	last  int
	// left is the number of bytes still to be read.
	left int64
	// patience is how long the registry may take after it has received the body.
	patience time.Duration
	// first are bytes that were read before the request was sent, failed the error of that read.
	first  []byte
	failed error
}

// firstBytes limits how much of an upload is read before its request is sent.
const firstBytes = 16 << 10

// begin reads the first bytes, so that nothing is sent before the source has answered.
func (b *watchedBody) begin() error {
	buffer := make([]byte, firstBytes)
	b.watch.resting(0)
	n, err := b.read(buffer)
	b.watch.waitingFor(b.patience)
	b.first, b.failed = buffer[:n], err
	if n > 0 || err == io.EOF { //nolint:errorlint // an error that wraps io.EOF is a broken body
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

// read reads from the source, whose turn it is.
func (b *watchedBody) read(p []byte) (int, error) {
	b.slot.rest()
	n, err := b.ReadCloser.Read(b.meter.portion(p))
	b.left -= int64(n)
	if lost := b.slot.resume(b.ctx, n, b.left); lost != nil && err == nil {
		err = lost
	}
	if lost := b.meter.pay(b.ctx, n); lost != nil && err == nil {
		err = lost
	}
	return n, err
}
