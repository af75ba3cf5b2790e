package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

// hold keeps the writers of a store waiting until release is called.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	own, err := s.writer.Conn(t.Context())
	must(t, err)
	return sync.OnceFunc(func() { must(t, own.Close()) })
}

// queued waits until a writer is served, and so many wait behind it.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	for {
		s.queue.mu.Lock()
		waiting, served := len(s.queue.waiting), s.queue.idle != nil
		s.queue.mu.Unlock()
		if served && waiting == n {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Millisecond): // what it waits for is in other goroutines' stacks
		}
	}
}

// TestWritersGoTogether: of many writers one has a fault and one has left; all others have written, in few transactions.
func TestWritersGoTogether(t *testing.T) {
	s := newStand(t).open(t)
	release := hold(t, s)
	defer release()
	first := make(chan error, 1)
	go func() { first <- s.PutManifest(t.Context(), manifest(0, 10)) }()
	queued(t, s, 0)
	var writers sync.WaitGroup
	var mu sync.Mutex
	failed := map[int]error{}
	left, leave := context.WithCancel(t.Context())
	for i := 1; i <= 50; i++ {
		writers.Go(func() {
			var err error
			switch i {
			case 20:
				_, err = s.send(t.Context(), false, []statement{do("INSERT INTO {nowhere} VALUES (1)")})
			case 30:
				err = s.PutManifest(left, manifest(i, 10))
			default:
				err = s.PutManifest(t.Context(), manifest(i, 10))
			}
			mu.Lock()
			defer mu.Unlock()
			failed[i] = err
		})
	}
	queued(t, s, 50)
	leave()
	queued(t, s, 49)
	release()
	writers.Wait()
	must(t, <-first)
	for i := 1; i <= 50; i++ {
		bad := i == 20 || i == 30
		if (failed[i] != nil) != bad || kept(t, s, manifest(i, 10)) == bad {
			t.Errorf("writer %d: %v", i, failed[i])
		}
	}
	if !errors.Is(failed[30], context.Canceled) {
		t.Errorf("the writer that left: %v", failed[30])
	}
}

// TestEachChangeOfABudgetCounts: many change one state at the same time, in one transaction and in several.
func TestEachChangeOfABudgetCounts(t *testing.T) {
	s := newStand(t).open(t)
	var all sync.WaitGroup
	const writers = 20
	for range writers {
		all.Go(func() {
			must(t, s.Change(t.Context(), "one", func(state []byte, _ time.Time) []byte { return append(state, 'x') }))
		})
	}
	all.Wait()
	state, _, err := s.budget(t.Context(), "one")
	if must(t, err); len(state) != writers {
		t.Errorf("%d of %d changes are left", len(state), writers)
	}
}

// BenchmarkManyWriters has as many writers as a daemon has jobs that end at once.
func BenchmarkManyWriters(b *testing.B) {
	s, n := newStand(b).open(b), 0
	for b.Loop() {
		var all sync.WaitGroup
		for range 256 {
			n++
			all.Go(func() {
				must(b, s.KeepRun(b.Context(), record.JobRun{Job: fmt.Sprint(n % 1000), Run: record.Run{Outcome: record.RunOK}}, record.State{}))
			})
		}
		all.Wait()
	}
}
