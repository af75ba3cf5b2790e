package wire

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWindowShared: processes that share a limit have equal parts of it, which change when one comes or goes, and each has one request at least.
func TestWindowShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(16, 16)
		var flying, sharers atomic.Int32
		w.sharers = func() int { return int(sharers.Load()) }
		for range 100 {
			go func() {
				if err := w.acquire(t.Context(), party{}, time.Now()); err == nil {
					flying.Add(1)
				}
			}()
		}
		end := func() {
			synctest.Wait()
			flying.Add(-1)
			w.release(party{})
			synctest.Wait()
		}
		for _, tt := range []struct {
			sharers, want int32
		}{{1, 16}, {3, 5}, {20, 1}, {2, 8}, {1, 16}} {
			sharers.Store(tt.sharers)
			for end(); flying.Load() > tt.want; end() { // what is too many goes on to its end
			}
			if n := flying.Load(); n != tt.want {
				t.Errorf("%d processes: %d requests in flight, not %d", tt.sharers, n, tt.want)
			}
		}
		sharers.Store(3)
		w.overloaded(time.Now())
		if w.size != 2.5 {
			t.Errorf("an overload of 5 requests in flight leaves %v", w.size)
		}
		for flying.Load() > 0 {
			end()
		}
	})
}

// TestWindow: it starts modest, grows while it is used to the full, by one with each answer until the first overload, is halved once for one
// overload, and never passes its bounds.
func TestWindow(t *testing.T) {
	w := newWindow(4, 16)
	now := time.Unix(1000, 0)
	fill := func() {
		for w.flying < int(w.size) {
			if err := w.acquire(context.Background(), party{}, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	empty := func() {
		for w.flying > 0 {
			w.release(party{})
		}
	}
	if int(w.size) != 4 {
		t.Errorf("it starts with %v", w.size)
	}
	w.answered() // nobody is in flight: nothing has been tried
	if w.size != 4 {
		t.Errorf("it grows unused, to %v", w.size)
	}
	grow := func(answers int) {
		for range answers {
			fill()
			w.answered()
		}
	}
	if grow(8); int(w.size) != 12 {
		t.Errorf("after 8 answers it is %v", w.size)
	}
	if grow(20); int(w.size) != 16 {
		t.Errorf("it grows to %v, not to its bound", w.size)
	}
	w.overloaded(now)
	w.overloaded(now.Add(epoch / 2))
	if int(w.size) != 8 {
		t.Errorf("one overload leaves %v", w.size)
	}
	empty()
	if grow(4); int(w.size) != 8 {
		t.Errorf("after an overload and 4 answers it is %v", w.size)
	}
	if grow(6); int(w.size) != 9 {
		t.Errorf("after an overload and a full window of answers it is %v", w.size)
	}
	for i := range 10 {
		w.overloaded(now.Add(time.Duration(i+1) * epoch))
	}
	if w.size != 1 {
		t.Errorf("many overloads leave %v", w.size)
	}
	empty()
	fill()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.acquire(ctx, party{}, now); !errors.Is(err, context.Canceled) || len(w.shares[""].jobs[""].waiting) != 0 {
		t.Errorf("a caller that gives up: %v, %d wait", err, len(w.shares[""].jobs[""].waiting))
	}
}

// TestShares: a share gets its part of the slots however many wait in another, and within one those first that are due first.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(2, 2)
		ctx := t.Context()
		var order []string
		for range 2 {
			if err := w.acquire(ctx, party{share: "busy"}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		wait := func(share, name string, due time.Time) {
			go func() {
				if w.acquire(ctx, party{share: share}, due) == nil {
					order = append(order, name)
				}
			}()
			synctest.Wait()
		}
		now := time.Now()
		for range 50 {
			wait("busy", "busy", now)
		}
		wait("other", "large", now.Add(time.Minute))
		wait("other", "small", now.Add(time.Second))
		wait("third", "third", now)
		for range 6 {
			w.release(party{share: "busy"})
			synctest.Wait()
		}
		// A slot goes to a share that has none; of several, "busy" being one once it has given both back, to the one whose turn was longest ago.
		if got, want := order[:3], []string{"small", "busy", "third"}; !slices.Equal(got, want) {
			t.Errorf("the first are %q, want %q", got, want)
		}
		w.release(party{share: "other"})
		synctest.Wait()
		w.release(party{share: "third"})
		synctest.Wait()
		if !slices.Contains(order, "large") {
			t.Errorf("the large one starves: %q", order)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := w.acquire(ended, party{share: "gone"}, now); !errors.Is(err, context.Canceled) || w.shares["gone"] != nil {
			t.Errorf("who gives up: %v, %v", err, w.shares["gone"])
		}
		for range 46 {
			w.release(party{share: "busy"})
			synctest.Wait()
		}
	})
}

// TestJobsOfAShare: the requests of a job do not wait behind all that another job of the same share has.
func TestJobsOfAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(few+1, few+1)
		var order []string
		ask := func(job string, due time.Time) {
			go func() {
				if w.acquire(t.Context(), party{share: "s", job: job}, due) == nil {
					order = append(order, job)
				}
			}()
			synctest.Wait()
		}
		for range 100 {
			ask("large", time.Now())
		}
		for range 3 {
			ask("small", time.Now().Add(time.Hour))
		}
		for range 3 {
			w.release(party{share: "s", job: "large"})
			synctest.Wait()
		}
		if got, want := order[few+1:], []string{"small", "small", "large"}; !slices.Equal(got, want) { // then each has two or three
			t.Errorf("the next are %q, want %q", got, want)
		}
		for _, job := range []string{"small", "small", "large"} {
			w.release(party{share: "s", job: job})
			synctest.Wait()
		}
		for range 96 {
			w.release(party{share: "s", job: "large"})
			synctest.Wait()
		}
		w.release(party{share: "s", job: "small"})
		if len(order) != 103 || len(w.shares) > 0 || w.flying != 0 {
			t.Errorf("%d had a slot, %d shares and %d slots are left", len(order), len(w.shares), w.flying)
		}
	})
}

// TestLending: a slot is lent while the other side of a copy is silent, at once where it has been slow, and kept where it is fast.
func TestLending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(1, 1)
		ctx := t.Context()
		p, err := w.enter(ctx, party{}, due(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		turn := func(takes time.Duration, moved int) (lent bool) {
			p.rest()
			time.Sleep(takes)
			synctest.Wait()
			lent = !p.held
			if err := p.resume(ctx, moved, 1<<20); err != nil {
				t.Fatal(err)
			}
			return lent
		}
		for range 20 {
			if turn(10*time.Millisecond, 32<<10) {
				t.Error("it is lent though the source is fast")
			}
		}
		if !turn(time.Second, 1000) {
			t.Error("it is kept though the source is silent")
		}
		if !turn(time.Millisecond, 100) {
			t.Error("it is kept though the source has been slow")
		}
		for range 10 {
			turn(time.Millisecond, 1<<20)
		}
		if turn(10*time.Millisecond, 1<<20) {
			t.Error("it is lent though the source is fast again")
		}

		p.rest()
		time.Sleep(time.Second)
		other, err := w.enter(ctx, party{}, due(0))
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.resume(ended, 1, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody gives a slot back, and it goes on: %v", err)
		}
		p.end()
		other.end()
		if w.flying != 0 || len(w.shares) != 0 {
			t.Errorf("%d slots are left, in %d shares", w.flying, len(w.shares))
		}
	})
}

// TestInTurn: where few requests are sent at once, those of the import that was begun first go first, whatever is due; where many are, small ones
// do not wait for all of an earlier large one. What was sent before comes first in both.
func TestInTurn(t *testing.T) {
	for most, want := range map[int][]string{1: {"again", "old and large", "new and small"}, few + 1: {"again", "new and small", "old and large"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWindow(1, most)
			if err := w.acquire(t.Context(), party{}, time.Now()); err != nil {
				t.Fatal(err)
			}
			old, recent := party{begun: time.Now(), name: "a"}, party{begun: time.Now().Add(time.Second), name: "b"}
			order := make(chan string, 3)
			wait := func(what string, of party, bytes int64) {
				go func() {
					if err := w.acquire(t.Context(), of, due(bytes)); err != nil {
						t.Error(err)
					}
					order <- what
					w.release(party{})
				}()
				synctest.Wait()
			}
			wait("old and large", old, 1<<30)
			wait("new and small", recent, 1)
			wait("again", recent.earlier(), 1<<30)
			w.release(party{})
			var got []string
			for range 3 {
				got = append(got, <-order)
			}
			if !slices.Equal(got, want) {
				t.Errorf("at most %d: %q, want %q", most, got, want)
			}
		})
	}
}
