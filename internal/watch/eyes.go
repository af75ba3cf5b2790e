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

// eyes see by fsnotify. Only the goroutine of the loop calls its methods.
type eyes struct {
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

func newEyes(log *slog.Logger) *eyes {
	return &eyes{log: log, stirs: make(chan struct{}, 1), failed: map[string]bool{}}
}

func (e *eyes) stirred() <-chan struct{} { return e.stirs }

func (e *eyes) watch(want places) (fresh, whole bool) {
	if !e.open() {
		return false, false
	}
	for path := range e.watched {
		if _, ok := want[path]; !ok {
			e.forget(path)
		}
	}
	held := map[string]bool{}
	for _, path := range e.inner.WatchList() {
		held[path] = true
	}
	whole = true
	for path, folder := range want {
		renewed, err := e.hold(path)
		if !folder {
			continue
		}
		e.tell(path, err)
		whole = whole && err == nil && !remote(path)
		fresh = fresh || renewed || err == nil && !held[path]
	}
	for path := range e.failed {
		if _, ok := want[path]; !ok {
			delete(e.failed, path)
		}
	}
	return fresh, whole
}

// hold sets the watch also where there is one: it may have been lost without a word. A watch on what stood here before is
// taken away first, for it would go on wherever that was moved to.
func (e *eyes) hold(path string) (renewed bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		e.forget(path)
		return false, err
	}
	before, ok := e.watched[path]
	if ok && !os.SameFile(before, info) {
		e.forget(path)
		ok = false
	}
	if err := e.inner.Add(path); err != nil {
		e.forget(path)
		return false, err
	}
	e.watched[path] = info
	return !ok, nil
}

func (e *eyes) forget(path string) {
	if _, ok := e.watched[path]; ok {
		delete(e.watched, path)
		_ = e.inner.Remove(path) // it is gone already where the folder is
	}
}

// tell logs a failure when it begins. What is not there is none: the next look watches what is.
func (e *eyes) tell(path string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(e.failed, path)
		return
	}
	if e.failed[path] {
		return
	}
	e.failed[path] = true
	if path != "" {
		err = fmt.Errorf("watch %s: %w", path, err)
	}
	e.log.Warn("file changes are found by polling", slog.Any("err", err))
}

// open makes the inner watcher where there is none, or a broken one.
func (e *eyes) open() bool {
	if e.inner != nil && !e.broken.Load() {
		return true
	}
	e.shut()
	inner, err := fsnotify.NewWatcher()
	e.tell("", err)
	if err != nil {
		return false
	}
	e.inner, e.pumped, e.broken, e.watched = inner, make(chan struct{}), &atomic.Bool{}, map[string]fs.FileInfo{}
	go pump(inner, e.stirs, e.broken, e.pumped)
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

func (e *eyes) shut() {
	if e.inner == nil {
		return
	}
	_ = e.inner.Close() // nothing was written
	<-e.pumped
	e.inner = nil
}

func (e *eyes) close() { e.shut() }
