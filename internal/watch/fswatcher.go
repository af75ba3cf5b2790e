package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// fsWatcher watches by fsnotify. Only the goroutine of the loop calls its methods.
type fsWatcher struct {
	log   *slog.Logger
	stirs chan struct{}
	// inner is nil while the system grants none; pumped is closed when nothing drains it any longer.
	inner  *fsnotify.Watcher
	pumped chan struct{}
	// broken asks for another inner one.
	broken *atomic.Bool
	// watched holds what stood at a path when its watch was set.
	watched map[string]fs.FileInfo
	// failed holds the paths whose failure has been logged; the empty one is for inner.
	failed map[string]bool
}

func newFSWatcher(log *slog.Logger) *fsWatcher {
	return &fsWatcher{log: log, stirs: make(chan struct{}, 1), failed: map[string]bool{}}
}

func (w *fsWatcher) stirred() <-chan struct{} { return w.stirs }

func (w *fsWatcher) watch(want watchPaths) (fresh, whole bool) {
	if !w.open() {
		return false, false
	}
	for path := range w.watched {
		if _, ok := want[path]; !ok {
			w.forget(path)
		}
	}
	held := map[string]bool{}
	for _, path := range w.inner.WatchList() {
		held[path] = true
	}
	whole = true
	for path, folder := range want {
		renewed, err := w.hold(path)
		if !folder {
			continue
		}
		w.tell(path, err)
		whole = whole && err == nil && !remote(path)
		fresh = fresh || renewed || err == nil && !held[path]
	}
	for path := range w.failed {
		if _, ok := want[path]; !ok {
			delete(w.failed, path)
		}
	}
	return fresh, whole
}

// hold sets the watch also where there is one: it may have been lost without a word. A watch on what stood here before is
// taken away first, for it would go on wherever that was moved to.
func (w *fsWatcher) hold(path string) (renewed bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		w.forget(path)
		return false, err
	}
	before, ok := w.watched[path]
	if ok && !os.SameFile(before, info) {
		w.forget(path)
		ok = false
	}
	if err := w.inner.Add(path); err != nil {
		w.forget(path)
		return false, err
	}
	w.watched[path] = info
	return !ok, nil
}

func (w *fsWatcher) forget(path string) {
	if _, ok := w.watched[path]; ok {
		delete(w.watched, path)
		_ = w.inner.Remove(path) // it is gone already where the folder is
	}
}

// tell logs a failure when it begins. What is not there is none: the next look watches what is.
func (w *fsWatcher) tell(path string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(w.failed, path)
		return
	}
	if w.failed[path] {
		return
	}
	w.failed[path] = true
	if path != "" {
		err = fmt.Errorf("watch %s: %w", path, err)
	}
	w.log.Warn("file changes are found by polling", slog.Any("err", err))
}

// open makes the inner watcher where there is none, or a broken one.
func (w *fsWatcher) open() bool {
	if w.inner != nil && !w.broken.Load() {
		return true
	}
	w.shut()
	inner, err := fsnotify.NewWatcher()
	w.tell("", err)
	if err != nil {
		return false
	}
	w.inner, w.pumped, w.broken, w.watched = inner, make(chan struct{}), &atomic.Bool{}, map[string]fs.FileInfo{}
	go pump(inner, w.stirs, w.broken, w.pumped)
	return true
}

// pump drains both channels whatever the loop does: fsnotify holds a lock while nobody takes an error of it, and its methods
// wait for that lock. It ends when the watcher is closed.
func pump(inner *fsnotify.Watcher, stirs chan<- struct{}, broken *atomic.Bool, pumped chan<- struct{}) {
	defer close(pumped)
	events, errs := inner.Events, inner.Errors
	for events != nil || errs != nil {
		select {
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				broken.Store(true)
			}
		}
		signal(stirs)
	}
}

func (w *fsWatcher) shut() {
	if w.inner == nil {
		return
	}
	_ = w.inner.Close() // nothing was written
	<-w.pumped
	w.inner = nil
}

func (w *fsWatcher) close() { w.shut() }
