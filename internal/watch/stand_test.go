package watch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// never is a poll interval that no test lives to see: what is reported was an event.
const never = time.Hour

// brisk settles quickly.
func brisk() Options {
	return Options{Poll: never, Debounce: 20 * time.Millisecond, MaxDebounce: 200 * time.Millisecond}
}

// start runs a watcher of these files until the test ends.
func start(t *testing.T, opts Options, paths ...string) *Watcher {
	t.Helper()
	w := New(opts)
	w.SetFiles(paths)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// expect waits until a report leads to this content, "" for none that can be read.
func expect(t *testing.T, w *Watcher, path, want string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case <-w.Changed():
			if got, _ := w.ReadFile(path); string(got) == want {
				return
			}
		case <-timeout:
			got, err := w.ReadFile(path)
			t.Fatalf("not reported: %q, %v", got, err)
		}
	}
}

// silent gives a report the time to come that must not.
func silent(t *testing.T, w *Watcher) {
	t.Helper()
	select {
	case <-w.Changed():
		t.Fatal("reported")
	case <-time.After(500 * time.Millisecond):
	}
}

// must takes what a function of package os returns.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// turn makes a symlink point elsewhere in one step.
func turn(target, link string) error {
	if err := os.Symlink(target, link+".new"); err != nil {
		return err
	}
	return os.Rename(link+".new", link)
}

// tree makes folders below a new one, and returns that.
func tree(t *testing.T, folders ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	for _, f := range folders {
		must(t, os.MkdirAll(filepath.Join(root, f), 0o700))
	}
	return root
}
