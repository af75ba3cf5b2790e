package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// held counts the goroutines, the open files and the inotify watches of this process.
func held(t *testing.T) (routines, files, watches int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fdinfo")
	must(t, err)
	for _, fd := range fds {
		text, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fd.Name()))
		if err == nil {
			files++
			watches += strings.Count(string(text), "inotify wd:")
		}
	}
	return runtime.NumGoroutine(), files, watches
}

// TestLeakEnded leaves nothing of watchers whose context has ended.
func TestLeakEnded(t *testing.T) {
	path := filepath.Join(tree(t), "dray.yaml")
	once := func() {
		must(t, write(path, "0"))
		w := New(brisk())
		w.SetFiles([]string{path})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Run(ctx)
		}()
		must(t, write(path, "1"))
		expect(t, w, path, "1")
		must(t, write(path, "2")) // an event that nobody takes any longer
		cancel()
		<-done
	}
	once()
	_, files, watches := held(t)
	routines := runtime.NumGoroutine()
	for range 30 {
		once()
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > routines && time.Now().Before(deadline); {
		runtime.Gosched() // they have said that they end
	}
	r, f, n := held(t)
	if r > routines || f > files || n > watches {
		t.Errorf("%d goroutines, %d files, %d watches; at first %d, %d, %d", r, f, n, routines, files, watches)
	}
}

// TestLeakMoved has a folder moved away with the one above it, of which there is no event, many times.
func TestLeakMoved(t *testing.T) {
	root := tree(t)
	fw := newFSWatcher(slog.New(slog.DiscardHandler))
	defer fw.close()
	conf := filepath.Join(root, "a", "conf")
	round := func() {
		must(t, os.MkdirAll(conf, 0o700), write(filepath.Join(conf, "dray.yaml"), "text"))
		if fresh, whole := fw.watch(watchPathsOf([]string{filepath.Join(conf, "dray.yaml")})); !fresh || !whole {
			t.Errorf("fresh %v, whole %v", fresh, whole)
		}
		must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, time.Now().Format("150405.000000000"))))
	}
	round()
	_, _, watches := held(t)
	for range 20 {
		round()
	}
	if _, _, n := held(t); n != watches || n == 0 {
		t.Errorf("%d watches, at first %d", n, watches)
	}
}

// TestNoInotify has the system grant no watcher, and then one.
func TestNoInotify(t *testing.T) {
	root := tree(t)
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	fw := newFSWatcher(slog.New(slog.DiscardHandler))
	defer fw.close()
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: before.Max}))
	_, whole := fw.watch(watchPaths{root: true})
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before))
	if whole || fw.inner != nil {
		t.Error("watched without a file descriptor")
	}
	if fresh, whole := fw.watch(watchPaths{root: true}); !fresh || !whole {
		t.Errorf("later: fresh %v, whole %v", fresh, whole)
	}
}

func TestRemote(t *testing.T) {
	if !remote("/proc") || remote(t.TempDir()) || remote("/none") {
		t.Error("/proc is made up by the kernel, a folder for tests is local, and what is not there is nothing")
	}
}
