package serve

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollowed: a change is seen by whoever asks after it, and a file system that hangs holds up nobody for longer than it takes to notice.
func TestFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		text, hangs, readings := "one", make(chan struct{}), 0
		close(hangs)
		told := &warnings{}
		f := &followed[string]{paths: []string{"users"}, warn: told.warn, turn: make(chan struct{}, 1)}
		f.parse = func(contents [][]byte) (string, error) {
			if len(contents[0]) == 0 {
				return "", errors.New("it is empty")
			}
			return string(contents[0]), nil
		}
		f.read = func(string, int64) ([]byte, error) {
			mu.Lock()
			now, wait := text, hangs
			readings++
			mu.Unlock()
			<-wait
			return []byte(now), nil
		}
		write := func(s string, wait chan struct{}) {
			mu.Lock()
			defer mu.Unlock()
			text, hangs = s, wait
		}
		want := func(want string) {
			t.Helper()
			if got := f.get(t.Context()); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		want("one")
		write("two", hangs)
		want("two")
		write("", hangs)
		want("two")
		want("two")
		if len(told.texts) != 1 || !strings.Contains(told.texts[0], "it is empty") {
			t.Errorf("%q", told.texts)
		}
		released := hangs
		write("three", make(chan struct{}))
		counted := func() int {
			mu.Lock()
			defer mu.Unlock()
			return readings
		}
		before, begun := counted(), time.Now()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { want("two") })
		}
		group.Wait()
		if waited := time.Since(begun); waited != patience {
			t.Errorf("%s were waited", waited)
		}
		for range 100 { // whoever comes later does not wait
			want("two")
		}
		if waited := time.Since(begun); waited != patience || counted() > before+2 {
			t.Errorf("%s were waited, for %d readings", waited, counted()-before)
		}
		if len(told.texts) != 2 || !strings.Contains(told.texts[1], "cannot be read within 2s") {
			t.Errorf("%q", told.texts)
		}
		hung := hangs
		write("four", released)
		close(hung)
		synctest.Wait()
		want("four")
	})
}

// TestFollowedJoins: who asks while files are being read waits for the next reading, all for the same one.
func TestFollowedJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := make(chan string) // each reading takes what is sent here
		begun := 0
		f := &followed[string]{paths: []string{"users"}, warn: (&warnings{}).warn, turn: make(chan struct{}, 1)}
		f.parse = func(contents [][]byte) (string, error) { return string(contents[0]), nil }
		f.read = func(string, int64) ([]byte, error) {
			begun++
			return []byte(<-reads), nil
		}
		first := make(chan string, 1)
		go func() { first <- f.get(t.Context()) }()
		synctest.Wait()
		later := make(chan string, 100)
		for range 100 {
			go func() { later <- f.get(t.Context()) }()
		}
		synctest.Wait()
		reads <- "old"
		if got := <-first; got != "old" {
			t.Error(got)
		}
		synctest.Wait()
		reads <- "new"
		for range 100 {
			if got := <-later; got != "new" {
				t.Errorf("%q", got)
			}
		}
		if begun != 2 {
			t.Errorf("%d readings", begun)
		}
	})
}
