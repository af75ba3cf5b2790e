package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// How long a registry may be silent. One that has all of a blob may hash it for a while before it answers.
const (
	stallTimeout  = time.Minute
	commitTimeout = 5 * time.Minute
)

var errStalled = errors.New("no byte for too long")

// watch ends an attempt while the registry is silent. Only waiting for the registry counts: the time in which the other side
// of a copy has its turn does not.
type watch struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// watched returns the request of one attempt under a watch, which runs until headers have come.
func watched(req *http.Request) (*http.Request, *watch) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{cancel: cancel}
	answer := stallTimeout
	if uploadOf(req) != nil && req.Method == http.MethodPut {
		answer = commitTimeout
	}
	w.timer = time.AfterFunc(answer, func() { cancel(errStalled) })
	attempt := req.Clone(ctx)
	if hasBody(req) {
		attempt.Body = &watchedBody{ReadCloser: req.Body, watch: w, answer: answer}
		if again := req.GetBody; again != nil {
			attempt.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return &watchedBody{ReadCloser: body, watch: w, answer: answer}, err
			}
		}
	}
	return attempt, w
}

// waiting says that the registry's turn begins; resting that it ends.
func (w *watch) waiting(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.timer.Reset(d)
	}
}

func (w *watch) resting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

// end takes the watch down, and the attempt with it.
func (w *watch) end() {
	w.mu.Lock()
	w.over = true
	w.timer.Stop()
	w.mu.Unlock()
	w.cancel(nil)
}

// cause returns errStalled in the place of the cancellation that a silent registry has led to.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// watchedBody is a request's body: while it is read it is not the registry that is waited for.
type watchedBody struct {
	io.ReadCloser
	watch *watch
	// answer is how long the registry may take once it has all of the body.
	answer time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.resting()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.watch.waiting(b.answer)
	} else {
		b.watch.waiting(stallTimeout)
	}
	return n, err
}
