package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/store"
)

// process is what one of several processes on one store has.
type process struct {
	*ratelimit.Governor
	store  *store.Store
	client http.RoundTripper
}

// startProcess opens a store, as another process would, before a registry that answers after a while.
func startProcess(t *testing.T, dir string, registry http.Handler, rule ratelimit.Rule) process {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	g := ratelimit.New(ratelimit.Options{
		Rule: func(string) ratelimit.Rule { return rule }, Account: func(string, string) string { return "hub" },
		Store: s, Log: slog.New(slog.DiscardHandler),
	})
	return process{g, s, g.Transport("hub.example", overNetwork{registry})}
}

// overNetwork answers a request on its way for 50 ms, half of it each way.
type overNetwork struct{ http.Handler }

func (n overNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(25 * time.Millisecond)
	w := httptest.NewRecorder()
	n.ServeHTTP(w, r)
	time.Sleep(25 * time.Millisecond)
	return w.Result(), nil
}

func (p process) do(ctx context.Context, method, manifest string) error {
	r, err := http.NewRequestWithContext(ctx, method, "https://hub.example/v2/team/app/manifests/"+manifest, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := p.client.RoundTrip(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

// TestProcessesShareABudget: two processes on one store that each want all of a window get it together, without a refusal, whether they have
// asked before or not, reserve or not, and whatever is known of the limit.
func TestProcessesShareABudget(t *testing.T) {
	said := hub.Options{Limit: 100, Window: time.Hour}
	for name, tt := range map[string]struct {
		options hub.Options
		rule    ratelimit.Rule
		reserve int
	}{
		"one by one":         {said, ratelimit.Rule{Metered: true}, 0},
		"with reservations":  {said, ratelimit.Rule{Metered: true}, 3},
		"a share is kept":    {said, ratelimit.Rule{Metered: true, Keep: 20}, 3},
		"the config says it": {hub.Options{Limit: 100, Window: time.Hour, Headers: hub.None}, ratelimit.Rule{Metered: true, Limit: 100, Window: time.Hour}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := emulator.New(emulator.Options{})
				if err := emulator.MultiArch(1, emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "team/app", "v1"); err != nil {
					t.Fatal(err)
				}
				h := hub.New(source, tt.options)
				dir := t.TempDir()
				processes := []process{startProcess(t, dir, h, tt.rule), startProcess(t, dir, h, tt.rule)}
				var pulled [2]atomic.Int64
				var group sync.WaitGroup
				for i, p := range processes {
					if err := p.do(t.Context(), http.MethodHead, "v1"); err != nil {
						t.Fatal(err)
					}
					for range 10 {
						group.Go(func() {
							for range 10 {
								ctx, adjust := p.Reserve(t.Context(), "hub.example", "team/app", tt.reserve, false)
								if p.do(ctx, http.MethodGet, "v1") == nil {
									pulled[i].Add(1)
								}
								adjust(0)
							}
						})
					}
				}
				group.Wait()
				a, most := h.Account(), tt.options.Limit-tt.rule.Keep
				t.Logf("%d and %d; %+v", pulled[0].Load(), pulled[1].Load(), a)
				if a.Refused > 0 || a.Pulled > most || a.Pulled < most-1 || pulled[0].Load() == 0 || pulled[1].Load() == 0 {
					t.Errorf("%d pulls of %d, %d refused", a.Pulled, most, a.Refused)
				}
				for _, p := range processes {
					p.Keep()
					if err := p.store.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// TestIdle: pulls that a process has reserved, and does not need while it waits for another one, are there for that one, within seconds; and what
// is left of them is reserved again afterwards.
func TestIdle(t *testing.T) {
	for name, idle := range map[string]bool{"idle": true, "not idle": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := emulator.New(emulator.Options{})
				if err := emulator.MultiArch(1, emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "team/app", "v1"); err != nil {
					t.Fatal(err)
				}
				h := hub.New(source, hub.Options{Limit: 10, Window: time.Hour})
				dir, rule := t.TempDir(), ratelimit.Rule{Metered: true}
				waits, fetches := startProcess(t, dir, h, rule), startProcess(t, dir, h, rule)
				ctx, adjust := waits.Reserve(t.Context(), "hub.example", "team/app", 9, false)
				do := func(p process, ctx context.Context, method string) error { return p.do(ctx, method, "v1") }
				if err := errors.Join(do(waits, ctx, http.MethodHead), do(waits, ctx, http.MethodGet)); err != nil { // now they are set aside
					t.Fatal(err)
				}
				adjust(9)
				if err := errors.Join(do(waits, ctx, http.MethodGet), do(fetches, t.Context(), http.MethodHead)); err != nil {
					t.Fatal(err)
				}
				resume := func() {}
				if idle {
					resume = waits.Idle(ctx)
				}
				began := time.Now()
				err := do(fetches, t.Context(), http.MethodGet)
				if took := time.Since(began); idle != (err == nil) || idle != (took < 5*time.Second) {
					t.Errorf("%v after %s", err, took)
				}
				resume()
				if b := waits.Budgets(time.Now())[0]; idle && b.Reserved != b.Remaining || b.Reserved == 0 {
					t.Errorf("%d of %d are reserved", b.Reserved, b.Remaining)
				}
				adjust(0)
				waits.Idle(t.Context())() // who has reserved nothing has nothing to return
				for _, p := range []process{waits, fetches} {
					p.Keep()
					if err := p.store.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// TestProcessThatEndsInTheMidst: what a process had set aside when it was killed is there for others half a minute later.
func TestProcessThatEndsInTheMidst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := emulator.New(emulator.Options{})
		if err := emulator.MultiArch(1, emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "team/app", "v1"); err != nil {
			t.Fatal(err)
		}
		h := hub.New(source, hub.Options{Limit: 20, Window: time.Hour})
		dir, rule := t.TempDir(), ratelimit.Rule{Metered: true}
		killed, other := startProcess(t, dir, h, rule), startProcess(t, dir, h, rule)
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			if err := killed.do(t.Context(), method, "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := killed.store.Close(); err != nil {
			t.Fatal(err)
		}
		began, last := time.Now(), time.Duration(0)
		for i := range 30 {
			if err := other.do(t.Context(), http.MethodHead, "v1"); err != nil {
				t.Fatal(err)
			}
			if other.do(t.Context(), http.MethodGet, "v1") == nil {
				last = time.Since(began)
			}
			if a := h.Account(); a.Refused > 0 {
				t.Fatalf("request %d: %+v", i, a)
			}
		}
		if a := h.Account(); a.Pulled < 20-1 || last > time.Minute {
			t.Errorf("%+v, the last after %s", a, last)
		}
		other.Keep()
		if err := other.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOneProcessSetsAsideBeforehand: a process that is alone writes once for each pull, as it has to in order to keep it.
func TestOneProcessSetsAsideBeforehand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := emulator.New(emulator.Options{})
		if err := emulator.MultiArch(1, emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "team/app", "v1"); err != nil {
			t.Fatal(err)
		}
		h := hub.New(source, hub.Options{Limit: 1000, Window: time.Hour})
		var writes counting
		g := ratelimit.New(ratelimit.Options{
			Rule: func(string) ratelimit.Rule { return ratelimit.Rule{Metered: true} }, Account: func(string, string) string { return "hub" },
			Store: &writes, Log: slog.New(slog.DiscardHandler),
		})
		p := process{Governor: g, client: g.Transport("hub.example", overNetwork{h})}
		if err := p.do(t.Context(), http.MethodHead, "v1"); err != nil {
			t.Fatal(err)
		}
		before := writes.count()
		for range 100 {
			if err := p.do(t.Context(), http.MethodGet, "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if n := writes.count() - before; n > 101 {
			t.Errorf("%d writes for 100 pulls", n)
		}
		before = writes.count()
		time.Sleep(time.Hour)
		if n := writes.count() - before; n > 2 {
			t.Errorf("%d writes of one that is idle", n)
		}
		g.Keep()
	})
}

// counting is a store that counts what is written.
type counting struct {
	mu    sync.Mutex
	state []byte
	n     int
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Change implements ratelimit.Store.
func (c *counting) Change(_ context.Context, name string, change func([]byte, time.Time) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name != "hub.example hub" {
		return fmt.Errorf("unknown budget %s", name)
	}
	if state := change(c.state, time.Now()); state != nil {
		c.state = state
		c.n++
	}
	return nil
}

// late is a store that others share, and that is busy.
type late struct {
	mu    *sync.Mutex
	state *[]byte
	delay time.Duration
}

// Change implements ratelimit.Store.
func (l late) Change(ctx context.Context, _ string, change func([]byte, time.Time) []byte) error {
	select {
	case <-time.After(l.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if state := change(*l.state, time.Now()); state != nil {
		*l.state = state
	}
	return nil
}

// TestBusyStoreIsAwaited: three processes that share a busy store, and wait for it, make no pull too many.
func TestBusyStoreIsAwaited(t *testing.T) {
	delays := []time.Duration{100 * time.Millisecond, 900 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 6 * time.Second}
	for i := range 40 {
		delay := delays[i%len(delays)]
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := emulator.New(emulator.Options{})
				if err := emulator.MultiArch(1, emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "team/app", "v1"); err != nil {
					t.Fatal(err)
				}
				h := hub.New(source, hub.Options{Limit: 100, Window: time.Hour})
				store := late{new(sync.Mutex), new([]byte), delay}
				var group sync.WaitGroup
				for range 3 {
					g := ratelimit.New(ratelimit.Options{
						Rule: func(string) ratelimit.Rule { return ratelimit.Rule{Metered: true} }, Account: func(string, string) string { return "hub" },
						Store: store, Patience: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
					})
					p := process{Governor: g, client: g.Transport("hub.example", overNetwork{h})}
					if err := p.do(t.Context(), http.MethodHead, "v1"); err != nil {
						t.Fatal(err)
					}
					for range 10 {
						group.Go(func() {
							for range 10 {
								_ = p.do(t.Context(), http.MethodGet, "v1") // put off once there is no pull left
							}
						})
					}
					defer g.Keep()
				}
				group.Wait()
				time.Sleep(time.Minute) // what is being written ends
				if a := h.Account(); a.Refused > 0 || a.Pulled < 90 {
					t.Errorf("%+v", a)
				}
			})
		})
	}
}
