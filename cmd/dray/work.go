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

// work records what a command has under way, for the message when the process is ended.
type work struct {
	// abandoned is closed when all work has to end at once.
	abandoned chan struct{}

	mu      sync.Mutex
	lasts   time.Duration
	pending map[string]int
}

func newWork() *work { return &work{abandoned: make(chan struct{}), pending: map[string]int{}} }

// allow sets how long running work may take after a signal.
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

// begin records that something, described in words, is under way.
func (w *work) begin(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[what]++
}

// end records that it has ended, if it was under way.
func (w *work) end(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending[what]--; w.pending[what] <= 0 {
		delete(w.pending, what)
	}
}

// maxNamed limits how much of the work is named.
const maxNamed = 12

// String describes the work under way.
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

// follow records the imports of a run.
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

// transport records the requests through next until their responses begin.
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

// CloseIdleConnections closes the idle connections of next, for callers that do not know that it is wrapped.
func (n noted) CloseIdleConnections() {
	if closer, ok := n.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
