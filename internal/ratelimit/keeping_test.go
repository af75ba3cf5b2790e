package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/store"
)

// slowStore takes its time, and keeps what it is given in order.
type slowStore struct {
	reading, writing time.Duration // the first reading, each writing
	broken           bool

	mu     sync.Mutex
	states map[string][]budget
}

func (s *slowStore) Change(ctx context.Context, name string, change func([]byte, time.Time) []byte) error {
	s.mu.Lock()
	reading := s.reading
	s.reading = 0
	s.mu.Unlock()
	if err := pause(ctx, reading); err != nil {
		return err
	}
	raw := change(s.last(name), time.Now())
	if raw == nil {
		return nil
	}
	if err := pause(ctx, s.writing); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("the disk is full")
	}
	var b budget
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	if s.states == nil {
		s.states = map[string][]budget{}
	}
	s.states[name] = append(s.states[name], b)
	return nil
}

func (s *slowStore) last(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.states[name]
	if len(list) == 0 {
		return nil
	}
	raw, _ := json.Marshal(list[len(list)-1])
	return raw
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spent is how many pulls each state that was kept of a budget has.
func (s *slowStore) spent(name string) (pulls []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.states[name] {
		pulls = append(pulls, b.Spent.total())
	}
	return pulls
}

// hub answers for accounts that are named by the first part of a repository; source names whom it counts for one.
func hub(source func(account string) string) *fake {
	return &fake{answer: func(r *http.Request) (int, string, string) {
		account, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
		return 200, "Ratelimit-Limit: 100;w=21600\nRatelimit-Remaining: 50;w=21600\nDocker-Ratelimit-Source: " + source(account), ""
	}}
}

func withStore(s Store) *Governor {
	return New(Options{
		Rule:    func(string) Rule { return Rule{Metered: true} },
		Account: func(_, repository string) string { a, _, _ := strings.Cut(repository, "/"); return a },
		Store:   s, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

// A store that hangs holds up nobody: those of other accounts and free requests not at all, others a second. What it could not keep at
// first is kept in the end, the latest state last.
func TestNobodyWaitsForAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{writing: 2 * time.Second}
		g, f := withStore(s), hub(func(account string) string { return account })
		start := time.Now()
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() { call(t, g, f, http.MethodGet, fmt.Sprintf("/v2/a/x/manifests/%d", i)) })
		}
		synctest.Wait() // the write of the first is under way
		for _, path := range []string{"/v2/a/x/manifests/4", "/v2/b/x/manifests/1"} {
			call(t, g, f, http.MethodHead, path)
		}
		if _, ok := g.Forecast("hub.example", "a", nil, time.Now()); !ok {
			t.Error("nothing is known")
		}
		if took := time.Since(start); took > writePatience {
			t.Errorf("free requests took %s", took)
		}
		group.Wait()
		if took := time.Since(start); took > 2*writePatience {
			t.Errorf("pulls took %s", took)
		}
		g.Keep()
		pulls := s.spent("hub.example a")
		if len(pulls) == 0 || pulls[len(pulls)-1] != 3 || len(s.spent("hub.example b")) == 0 {
			t.Errorf("kept are %v pulls, and %v", pulls, s.spent("hub.example b"))
		}
		time.Sleep(time.Minute) // nothing is left under way
	})
}

// A store that does not say what it knows holds up those that need it, for five seconds, and nobody else.
func TestNobodyElseWaitsForWhatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{reading: time.Hour}
		g, f := withStore(s), hub(func(account string) string { return account })
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() { call(t, g, f, http.MethodGet, "/v2/a/x/manifests/1") })
		synctest.Wait()
		call(t, g, f, http.MethodGet, "/v2/a/x/tags/list")
		if n := len(g.Budgets(time.Now())); n != 1 || time.Since(start) > 0 {
			t.Errorf("%d budgets after %s", n, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://hub.example/v2/a/x/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Transport("hub.example", f).RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		group.Wait()
		if took := time.Since(start); took != storePatience {
			t.Errorf("it took %s", took)
		}
		if f.sent != 2 {
			t.Errorf("%d requests were sent", f.sent)
		}
	})
}

// What could not be written is written at the next chance, the closing at the latest.
func TestKeepWritesWhatCouldNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{broken: true}
		g, f := withStore(s), hub(func(account string) string { return account })
		call(t, g, f, http.MethodGet, "/v2/a/x/manifests/1")
		s.mu.Lock()
		s.broken = false
		s.mu.Unlock()
		g.Keep()
		if got := s.spent("hub.example a"); len(got) != 1 || got[0] != 1 {
			t.Errorf("kept are %v", got)
		}
	})
}

// A process that is killed has kept each pull whose answer it has seen.
func TestEachPullIsKeptAtOnce(t *testing.T) {
	dir := t.TempDir()
	open := func() *store.Store {
		s, err := store.Open(t.Context(), dir, store.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	g, f := withStore(open()), hub(func(account string) string { return account })
	other := open() // as another process sees it
	for n := range 20 {
		call(t, g, f, http.MethodGet, fmt.Sprintf("/v2/a/x/manifests/%d", n))
		var b *budget
		err := other.Change(t.Context(), "hub.example a", func(raw []byte, _ time.Time) []byte { b = read(raw); return nil })
		if err != nil || b.Spent.total() != n+1 {
			t.Fatalf("%d pulls are kept after %d: %v", b.Spent.total(), n+1, err)
		}
	}
}

// Two sign-ins of one account are found to be one while one waits for an answer to the other: it looks at what there is then.
func TestWaitersFollowTheirBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, err := json.Marshal(budget{Known: true, Limit: 100, Remaining: 1, Window: 6 * time.Hour, Read: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		s := &slowStore{}
		for _, name := range []string{"hub.example one", "hub.example two"} {
			if err := s.Change(t.Context(), name, func([]byte, time.Time) []byte { return one }); err != nil {
				t.Fatal(err)
			}
		}
		answer := make(chan struct{})
		g := withStore(s)
		f := &fake{answer: func(r *http.Request) (int, string, string) {
			if r.Method == http.MethodGet {
				<-answer
			}
			return 200, "Ratelimit-Limit: 100;w=21600\nRatelimit-Remaining: 1;w=21600\nDocker-Ratelimit-Source: someone", ""
		}}
		start := time.Now()
		first, second := make(chan time.Time, 1), make(chan time.Time, 1)
		get := func(path string, done chan<- time.Time) {
			at, _ := call(t, g, f, http.MethodGet, path)
			done <- at
		}
		go get("/v2/two/a/manifests/x", first)
		synctest.Wait()
		go get("/v2/two/b/manifests/x", second)
		synctest.Wait()
		call(t, g, f, http.MethodHead, "/v2/one/x/manifests/x")
		call(t, g, f, http.MethodHead, "/v2/two/x/manifests/x")
		close(answer)
		if at := <-first; !at.IsZero() {
			t.Errorf("the first is put off to %s", at)
		}
		if at := <-second; time.Since(start) > 0 || !at.IsZero() && !at.After(start) {
			t.Errorf("the second ended after %s, to be tried at %s", time.Since(start), at)
		}
	})
}

// Sign-ins whose addresses change are counted where they are; nothing stays under way, and no pull is counted twice.
func TestBudgetsAreExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		where := map[string]string{"a": "first", "b": "second"}
		g, f := withStore(nil), hub(func(account string) string { return where[account] })
		for i := range 30 {
			for _, account := range []string{"a", "b"} {
				call(t, g, f, http.MethodGet, fmt.Sprintf("/v2/%s/x/manifests/%d", account, i))
				time.Sleep(time.Second)
			}
			_, adjust := g.Reserve(t.Context(), "hub.example", "a/x", 3, false)
			where["a"] = []string{"first", "second"}[i%2]
			call(t, g, f, http.MethodHead, "/v2/a/x/manifests/1")
			adjust(0)
		}
		for who, b := range g.sources {
			if b.underWay != 0 || b.reserved() != 0 || b.Spent.total() > 60 {
				t.Errorf("%s: %d under way, %d reserved, %d pulls of 60", who.registry, b.underWay, b.reserved(), b.Spent.total())
			}
		}
	})
}

// The states of two sign-ins that were one in an earlier process have the same pulls: they are joined, not added up.
func TestKeptPullsAreCountedOnce(t *testing.T) {
	at := func(list ...int64) (s spent) {
		for _, seconds := range list {
			s = s.add(spent{countAt(time.Unix(seconds, 0), 1)})
		}
		return s
	}
	got := at(1, 2, 2, 65).join(at(62, 63, 125))
	if want := (spent{{0, 3, 2}, {1, 2, 5}, {2, 1, 5}}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What an earlier version has saved is read: a time for each pull.
func TestReadsTimesOfPulls(t *testing.T) {
	old := `{"Limit":100,"Remaining":97,"Window":21600000000000,"Known":true,"Spent":["2026-11-23T12:00:01.5Z","2026-11-23T12:00:59Z","2026-11-23T12:03:00Z"]}`
	b := read([]byte(old))
	minute := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Unix() / 60
	if want := (spent{{minute, 2, 59}, {minute + 3, 1, 0}}); b.Remaining != 97 || !slices.Equal(b.Spent, want) {
		t.Errorf("%+v, want %v", b, want)
	}
	raw, err := json.Marshal(b)
	if again := read(raw); err != nil || !slices.Equal(again.Spent, b.Spent) {
		t.Errorf("%s: %+v, %v", raw, again, err)
	}
}

// However many pulls there are in six hours, their state remains small.
func TestSavedStateIsSmall(t *testing.T) {
	b := budget{Known: true, Limit: 20_000, Window: 6 * time.Hour, Read: time.Now()}
	for i := range 20_000 {
		b.Spent = b.Spent.add(spent{countAt(b.Read.Add(time.Duration(i)*time.Second), 1)})
		b.note(b.Read.Add(time.Duration(i) * time.Second))
	}
	b.forget(b.Read.Add(20_000 * time.Second))
	if raw, err := json.Marshal(b); err != nil || len(raw) > 8<<10 || b.Spent.total() != 20_000 {
		t.Errorf("%d bytes for %d pulls: %v", len(raw), b.Spent.total(), err)
	}
}

// slow is a store that gives what was kept only once it is let.
type slow struct {
	shelf
	let chan struct{}
}

// Change implements Store.
func (s slow) Change(ctx context.Context, name string, change func([]byte, time.Time) []byte) error {
	<-s.let
	return s.shelf.Change(ctx, name, change)
}

// Where it is not known that a registry counts, nothing waits for what was kept of it; then it holds, with what is under way.
func TestKeptOfARegistryThatMayCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, err := json.Marshal(budget{Known: true, Limit: 10, Remaining: 1, Window: time.Hour, Read: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		kept := slow{shelf{"hub.example one": raw}, make(chan struct{})}
		g := New(Options{Rule: func(string) Rule { return Rule{} }, Account: one, Store: kept, Log: slog.New(slog.DiscardHandler)})
		answer := make(chan struct{})
		f := &fake{answer: func(*http.Request) (int, string, string) { <-answer; return 200, "", "" }}
		done := make(chan struct{})
		go func() {
			call(t, g, f, http.MethodGet, "/v2/a/manifests/v1")
			close(done)
		}()
		if synctest.Wait(); f.sent != 1 {
			t.Error("it waits for the store")
		}
		close(kept.let)
		synctest.Wait()
		retry := make(chan time.Time)
		go func() { at, _ := call(t, g, f, http.MethodGet, "/v2/a/manifests/v2"); retry <- at }()
		synctest.Wait()
		if f.sent != 1 || !g.Metered("hub.example") {
			t.Errorf("%d requests were sent where one pull is left; metered: %t", f.sent, g.Metered("hub.example"))
		}
		close(answer)
		<-done
		<-retry
	})
}
