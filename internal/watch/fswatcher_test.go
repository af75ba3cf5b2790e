package watch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// TestFailing has a folder that cannot be watched: it is logged once, until it could be watched in between.
func TestFailing(t *testing.T) {
	root := tree(t)
	bad := filepath.Join(root, "no\x00folder")
	var log bytes.Buffer
	fw := newFSWatcher(slog.New(slog.NewTextHandler(&log, nil)))
	defer fw.close()
	expect := func(p watchPaths, whole bool, lines int) {
		t.Helper()
		if _, got := fw.watch(p); got != whole {
			t.Errorf("whole is %v", got)
		}
		if got := strings.Count(log.String(), "\n"); got != lines {
			t.Errorf("%d lines, want %d:\n%s", got, lines, log.String())
		}
	}
	expect(watchPaths{root: true}, true, 0)
	expect(watchPaths{root: true, bad: true}, false, 1)
	expect(watchPaths{root: true, bad: true}, false, 1)
	expect(watchPaths{root: true, filepath.Join(root, "none"): true}, false, 1)
	expect(watchPaths{root: true, bad: false}, true, 1)
	expect(watchPaths{root: true, bad: true}, false, 2)
	if !strings.Contains(log.String(), "watch "+root) {
		t.Errorf("the log does not say where: %s", log.String())
	}
}

// TestFresh tells what a watch was set on anew.
func TestFresh(t *testing.T) {
	root := tree(t, "a")
	a := filepath.Join(root, "a")
	fw := newFSWatcher(slog.New(slog.DiscardHandler))
	defer fw.close()
	expect := func(what string, want bool) {
		t.Helper()
		if got, _ := fw.watch(watchPaths{a: true}); got != want {
			t.Errorf("%s: fresh is %v", what, got)
		}
	}
	expect("first", true)
	expect("again", false)
	must(t, os.Rename(a, a+"2"), os.Mkdir(a, 0o700))
	expect("replaced", true)
	expect("replaced, again", false)
	must(t, fw.inner.Remove(a))
	expect("lost without a word", true)
	fw.broken.Store(true)
	expect("another inner one", true)
	must(t, os.Remove(a))
	if _, whole := fw.watch(watchPaths{a: true}); whole {
		t.Error("whole without the folder")
	}
	must(t, os.Mkdir(a, 0o700))
	expect("back", true)
}

// TestPump drains errors and events, both of which stir; an error other than an overflow asks for another watcher.
func TestPump(t *testing.T) {
	tests := map[string]struct {
		send   func(*fsnotify.Watcher)
		broken bool
	}{
		"event":    {send: func(w *fsnotify.Watcher) { w.Events <- fsnotify.Event{} }},
		"overflow": {send: func(w *fsnotify.Watcher) { w.Errors <- fsnotify.ErrEventOverflow }},
		"error":    {send: func(w *fsnotify.Watcher) { w.Errors <- errors.New("no") }, broken: true},
		"events": {send: func(w *fsnotify.Watcher) {
			w.Events <- fsnotify.Event{}
			w.Events <- fsnotify.Event{}
			w.Errors <- fsnotify.ErrEventOverflow
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}
			stirs, pumped, broken := make(chan struct{}, 1), make(chan struct{}), &atomic.Bool{}
			go pump(w, stirs, broken, pumped)
			tt.send(w)
			<-stirs
			close(w.Events)
			close(w.Errors)
			<-pumped
			if broken.Load() != tt.broken {
				t.Errorf("broken is %v", broken.Load())
			}
		})
	}
}

// TestReopen breaks the inner watcher under a running loop.
func TestReopen(t *testing.T) {
	path := filepath.Join(tree(t), "dray.yaml")
	must(t, write(path, "0"))
	fw := newFSWatcher(slog.New(slog.DiscardHandler))
	w := New(brisk())
	w.SetFiles([]string{path})
	if !fw.open() {
		t.Fatal("not opened")
	}
	first := fw.inner
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx, fw)
	}()
	first.Errors <- errors.New("broken")
	for _, text := range []string{"1", "2"} {
		must(t, write(path, text))
		expect(t, w, path, text)
	}
	cancel()
	<-done
	if len(first.WatchList()) > 0 || fw.inner != nil {
		t.Error("a watcher is left open")
	}
}
