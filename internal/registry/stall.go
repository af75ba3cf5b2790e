package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// How long a registry may be silent. One that has all of a blob may hash it for a while before it answers, and a token server has less to
// do.
const (
	stallTimeout  = time.Minute
	commitTimeout = 5 * time.Minute
	tokenTimeout  = 30 * time.Second
)

// leastRate is how many bytes a second keep an attempt alive: with fewer its time runs out as if it were silent, if not as fast.
const leastRate = 1024

var (
	errStalled = errors.New("no byte for too long")
	errTrickle = errors.New("hardly a byte for too long")
	errSlow    = errors.New("it takes too long to answer")
)

// watch ends an attempt while the registry is silent, or says so little that it might as well be. Only waiting for the registry counts:
// the time in which the other side of a copy has its turn does not.
type watch struct {
	cancel context.CancelCauseFunc
	whole  *time.Timer // ends a request for a token, whatever comes of it; nil for any other

	mu    sync.Mutex
	timer *time.Timer
	left  time.Duration // how long the registry may still take
	since time.Time     // when its turn began; zero while it has none
	over  bool
}

// watched returns the request of one attempt under a watch, which runs until headers have come.
func watched(req *http.Request) (*http.Request, *watch) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{cancel: cancel}
	answer := stallTimeout
	switch {
	case uploadOf(req) != nil && req.Method == http.MethodPut:
		answer = commitTimeout
	case tokenRequest(req):
		w.whole = time.AfterFunc(tokenTimeout, func() { cancel(errSlow) })
	}
	w.left, w.since = answer, time.Now()
	w.timer = time.AfterFunc(answer, func() { cancel(w.failure()) })
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

// failure is why the time has run out: by silence alone, or little by little.
func (w *watch) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < stallTimeout/2 {
		return errTrickle
	}
	return errStalled
}

// allow says how long the registry may take from here on.
func (w *watch) allow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = d
}

// waiting says that the registry's turn begins.
func (w *watch) waiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.since = time.Now()
		w.timer.Reset(w.left)
	}
}

// resting says that its turn ends, in which so many bytes went between us. They earn it time, up to stallTimeout.
func (w *watch) resting(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	if !w.since.IsZero() {
		w.left -= time.Since(w.since)
		w.since = time.Time{}
	}
	w.left = min(w.left+time.Duration(bytes)*time.Second/leastRate, stallTimeout)
}

// end takes the watch down, and the attempt with it.
func (w *watch) end() {
	w.mu.Lock()
	w.over = true
	w.timer.Stop()
	if w.whole != nil {
		w.whole.Stop()
	}
	w.mu.Unlock()
	w.cancel(nil)
}

// cause returns the watch's error in the place of the cancellation that a silent registry has led to.
func cause(ctx context.Context, err error) error {
	why := context.Cause(ctx)
	if err != nil && (errors.Is(why, errStalled) || errors.Is(why, errTrickle) || errors.Is(why, errSlow)) {
		return why
	}
	return err
}

// watchedBody is a request's body: while it is read it is not the registry that is waited for.
type watchedBody struct {
	io.ReadCloser
	watch *watch
	// answer is how long the registry may take once it has all of the body.
	answer time.Duration
	// sent is how many bytes were read last.
	sent int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.resting(b.sent)
	n, err := b.ReadCloser.Read(p)
	b.sent = n
	if err != nil {
		b.watch.allow(b.answer)
	}
	b.watch.waiting()
	return n, err
}
