package serve

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/file"
)

const (
	// maxSecret is the most bytes of a file with a certificate, a key or users.
	maxSecret = 1 << 20
	// patience is how long a request waits for such files to be read.
	patience = 2 * time.Second
)

// followed is what files mean, which are read again whenever it is asked for. While they cannot be used, the last value stays, as between two
// renewals; so it does while reading takes long, as on a file system that hangs.
type followed[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error)
	warn  func(path string, err error)
	read  func(path string, limit int64) ([]byte, error)
	// turn is held by the reading under way.
	turn chan struct{}

	mu sync.Mutex
	// next is a reading that has not begun, which all join who ask meanwhile: one that has may have missed a change.
	next *reading
	// late is set from when somebody did not wait until a reading has ended. Nobody waits then.
	late     bool
	contents [][]byte
	value    T
	failed   error
}

// reading is one reading of the files.
type reading struct {
	ended chan struct{}
	err   error
}

// follow returns what files mean. Warn is told when a change of them cannot be used, and of each reason once.
func follow[T any](parse func(contents [][]byte) (T, error), warn func(path string, err error), paths ...string) (*followed[T], error) {
	f := &followed[T]{paths: paths, parse: parse, warn: warn, read: file.ReadText, turn: make(chan struct{}, 1)}
	_, err := f.now(context.Background())
	return f, err
}

// get returns the value, the last one if there is no newer.
func (f *followed[T]) get(ctx context.Context) T {
	value, err := f.now(ctx)
	if ctx.Err() != nil { // nobody waits for the answer
		return value
	}
	f.mu.Lock()
	news := err != nil && (f.failed == nil || f.failed.Error() != err.Error())
	f.failed = err
	f.mu.Unlock()
	if news {
		f.warn(f.paths[0], err)
	}
	return value
}

// now returns the value, and why it may not be that of the files.
func (f *followed[T]) now(ctx context.Context) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f.mu.Lock()
	if f.next == nil {
		f.next = &reading{ended: make(chan struct{})}
		go f.take(f.next)
	}
	r := f.next
	if f.late {
		cancel()
	}
	f.mu.Unlock()
	var err error
	select {
	case <-r.ended:
		err = r.err
	case <-ctx.Done():
		err = fmt.Errorf("%s cannot be read within %s", f.paths[0], patience)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.value, err
}

// take reads the files when it has the turn, and takes what they mean if they have changed.
func (f *followed[T]) take(r *reading) {
	f.turn <- struct{}{}
	f.mu.Lock()
	f.next = nil
	f.mu.Unlock()
	over := false
	late := time.AfterFunc(patience, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.late = f.late || !over
	})
	r.err = f.update()
	late.Stop()
	f.mu.Lock()
	over, f.late = true, false
	f.mu.Unlock()
	<-f.turn
	close(r.ended)
}

func (f *followed[T]) update() error {
	var contents [][]byte
	for _, path := range f.paths {
		content, err := f.read(path, maxSecret)
		if err != nil {
			return err
		}
		contents = append(contents, content)
	}
	if slices.EqualFunc(contents, f.contents, bytes.Equal) { // only who has the turn changes them
		return nil
	}
	value, err := f.parse(contents)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.contents, f.value = contents, value
	return nil
}
