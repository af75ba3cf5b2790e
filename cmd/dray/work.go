package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
)

// work is what a command has under way, as far as whoever ends the process has to know.
type work struct {
	// abandoned is closed when what is under way has to end at once.
	abandoned chan struct{}

	mu      sync.Mutex
	lasts   time.Duration
	pending map[string]int
}

func newWork() *work { return &work{abandoned: make(chan struct{}), pending: map[string]int{}} }

// allow says how long what is under way may take after a signal.
func (w *work) allow(grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lasts = grace
}

func (w *work) grace() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lasts
}

// abandon is called once.
func (w *work) abandon() { close(w.abandoned) }

// begin notes that something is under way, as people say it.
func (w *work) begin(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[what]++
}

// end notes that it is not any more, if it was.
func (w *work) end(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending[what]--; w.pending[what] <= 0 {
		delete(w.pending, what)
	}
}

// maxNamed is how many things are named.
const maxNamed = 12

// String says what is under way.
func (w *work) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return "nothing that has a name"
	}
	var list []string
	for what, n := range w.pending {
		if n > 1 {
			what = fmt.Sprintf("%s (%d times)", what, n)
		}
		list = append(list, what)
	}
	slices.Sort(list)
	if more := len(list) - maxNamed; more > 0 {
		list = append(list[:maxNamed], fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}

// follow notes the imports of a run.
func (w *work) follow(watch mirror.Watcher) mirror.Watcher { return followed{watch, w} }

type followed struct {
	mirror.Watcher
	work *work
}

// Begin implements mirror.Watcher.
func (f followed) Begin(a diff.Action) mirror.Meter {
	f.work.begin("the import of " + a.Target.String())
	return f.Watcher.Begin(a)
}

// End implements mirror.Watcher.
func (f followed) End(out mirror.Outcome) {
	f.work.end("the import of " + out.Target.String())
	f.Watcher.End(out)
}

// transport notes the requests that pass through next until their answer has begun.
func (w *work) transport(next http.RoundTripper) http.RoundTripper { return noted{next, w} }

type noted struct {
	next http.RoundTripper
	work *work
}

// RoundTrip implements http.RoundTripper.
func (n noted) RoundTrip(req *http.Request) (*http.Response, error) {
	what := "a request to " + req.URL.Host
	n.work.begin(what)
	defer n.work.end(what)
	return n.next.RoundTrip(req)
}

// CloseIdleConnections is for those who close the transport below without knowing that it is wrapped.
func (n noted) CloseIdleConnections() {
	if closer, ok := n.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
