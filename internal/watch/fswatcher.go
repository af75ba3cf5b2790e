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

// fsWatcher watches by fsnotify. Only the loop's goroutine calls its methods.
type fsWatcher struct {
	log   *slog.Logger
	stirs chan struct{}
	// inner is nil while the system provides none; pumped is closed when nothing drains it any longer.
	inner  *fsnotify.Watcher
	pumped chan struct{}
	// broken asks for a new inner watcher.
	broken *atomic.Bool
	// watched is the state of each path when its watch was set.
	watched map[string]fs.FileInfo
	// failed are the paths whose failure has been logged; the empty path stands for inner.
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

// hold sets the watch even if there is one: it may have been lost silently. It first removes a watch on an earlier file of that path, which
// would otherwise follow that file to its new name.
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
		_ = w.inner.Remove(path) // it is already gone if the folder is
	}
}

// tell logs a failure when it begins. A missing path is not a failure: the next look watches what exists.
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

// open creates the inner watcher if there is none, or a broken one.
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

// pump always drains both channels: fsnotify holds a lock until its error is received, and its methods wait for that lock. It ends when the
// watcher is closed.
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
