// Package watch follows the content of files, however they are replaced: by an editor, by a symlink, or by a Kubernetes ConfigMap. File
// system events make it fast, and polling finds what has no event.
package watch

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/file"
)

// Options configure how quickly a change is seen.
type Options struct {
	// Poll is the longest time for which a change without an event goes unseen; 0 for 30 seconds. It is at most 5 seconds while a folder
	// cannot be watched, or is on a file system that changes without events here.
	Poll time.Duration
	// Debounce is how long the files must be quiet before they are read, so that a save in several steps counts once; 0 for 250
	// milliseconds.
	Debounce time.Duration
	// MaxDebounce is the longest wait for files that are never quiet; 0 for 2 seconds. It begins anew, once, after the process stood still.
	MaxDebounce time.Duration
	// Log receives failures to watch, once per folder; nil for none.
	Log *slog.Logger
}

const (
	defaultPoll        = 30 * time.Second
	defaultDebounce    = 250 * time.Millisecond
	defaultMaxDebounce = 2 * time.Second
	// blindPoll is the interval if events are unreliable.
	blindPoll = 5 * time.Second
)

// Watcher reports that files may have changed. Its methods may be called from any goroutine.
type Watcher struct {
	opts    Options
	changed chan struct{}
	refresh chan struct{}

	mu sync.Mutex
	// known is the content at the last report or, if that is later, when the file was read or added; also of patterns, what they match.
	known map[string]content
}

// New returns a watcher without files, which reports nothing before [Watcher.Run].
func New(opts Options) *Watcher {
	opts.Poll = orDefault(opts.Poll, defaultPoll)
	opts.Debounce = orDefault(opts.Debounce, defaultDebounce)
	opts.MaxDebounce = max(orDefault(opts.MaxDebounce, defaultMaxDebounce), opts.Debounce)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{opts: opts, changed: make(chan struct{}, 1), refresh: make(chan struct{}, 1), known: map[string]content{}}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Changed receives when the content of any file differs from that at the last report, or from what [Watcher.ReadFile] read. Pending reports
// are combined, so read the files after receiving. The channel is never closed.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// ReadFile reads a regular file, at most its first 17 MiB, and follows it from then on. What it read counts as known, so no change is
// missed between a report and the reading, or between two readings of a file: the second makes a report if it found something else.
func (w *Watcher) ReadFile(path string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var data bytes.Buffer
	now := content{state: readable}
	err := copyFile(&data, path)
	if err != nil {
		now = failed(err)
	} else {
		now.sum = sha256.Sum256(data.Bytes())
	}
	path = absolute(path)
	known, ok := w.known[path]
	w.known[path] = now
	switch {
	case !ok:
		signal(w.refresh)
	case known != now:
		signal(w.changed)
	}
	if err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// List returns the files that a pattern matches, as [file.List] does, and follows which these are from then on. As with [Watcher.ReadFile], no
// change is missed.
func (w *Watcher) List(pattern string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pattern = absolute(pattern)
	paths, err := file.List(pattern)
	now := contentOfList(paths, err)
	known, ok := w.known[pattern]
	w.known[pattern] = now
	switch {
	case !ok:
		signal(w.refresh)
	case known != now:
		signal(w.changed)
	}
	return paths, err
}

// SetFiles follows these files, which files these patterns match, and nothing else. For what was followed before, the known content stays;
// for another, the present content counts as known.
func (w *Watcher) SetFiles(paths []string, patterns ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := make(map[string]content, len(paths)+len(patterns))
	add := func(path string, peek func(string) content) {
		path = absolute(path)
		known, ok := w.known[path]
		if !ok {
			known = peek(path)
		}
		next[path] = known
	}
	for _, path := range paths {
		add(path, peek)
	}
	for _, pattern := range patterns {
		add(pattern, peekList)
	}
	w.known = next
	signal(w.refresh)
}

func (w *Watcher) files() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	paths := make([]string, 0, len(w.known))
	for path := range w.known {
		paths = append(paths, path)
	}
	return paths
}

// differs reports whether a report is due, without making it.
func (w *Watcher) differs() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, known := range w.known {
		if known.again(path) != known {
			return true
		}
	}
	return false
}

// compare reports a change if the content differs from the known one, and updates that.
func (w *Watcher) compare() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := make(map[string]content, len(w.known))
	for path, known := range w.known {
		now[path] = known.again(path)
	}
	if maps.Equal(now, w.known) {
		return
	}
	w.known = now
	signal(w.changed)
}

// signal wakes the receiver of a channel with a buffer of one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// absolute does not clean the path: only the file system knows what ".." means behind a symlink.
func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	return strings.TrimSuffix(here, string(filepath.Separator)) + string(filepath.Separator) + path
}
