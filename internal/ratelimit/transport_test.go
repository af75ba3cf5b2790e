package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/record"
)

// fake answers what a test tells it to.
type fake struct {
	answer func(r *http.Request) (status int, headers, body string)
	mu     sync.Mutex
	sent   int
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.sent++
	f.mu.Unlock()
	status, headers, body := f.answer(r)
	return &http.Response{StatusCode: status, Header: header(headers), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// call sends a request, and returns when it may be sent instead; zero where it was sent.
func call(t *testing.T, g *Governor, f *fake, method, path string) (retry time.Time, code string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://hub.example"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.Transport("hub.example", f).RoundTrip(r)
	if limit, ok := errors.AsType[*LimitError](err); ok {
		if limit.Temporary() {
			t.Error("it may be tried again at once")
		}
		return limit.RetryAt(), limit.Code()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return time.Time{}, ""
}

func governor(log io.Writer, rule Rule, account func(registry, repository string) string) *Governor {
	return New(Options{
		Rule: func(string) Rule { return rule }, Account: account, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
}

func one(string, string) string { return "one" }

// A 429 that says nothing of pulls stops everything, for longer each time.
func TestAbuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := governor(&log, Rule{Metered: true}, one)
		f := &fake{answer: func(*http.Request) (int, string, string) { return 429, "", "Too Many Requests (HAP429)." }}
		for _, length := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			sent := f.sent
			retry, code := call(t, g, f, http.MethodHead, "/v2/a/manifests/v1")
			if code != "request-limit" || time.Until(retry) != length {
				t.Errorf("%s for %s, want %s", code, time.Until(retry), length)
			}
			for _, path := range []string{"/v2/a/manifests/v1", "/v2/a/tags/list", "/v2/a/blobs/sha256:x"} {
				if at, _ := call(t, g, f, http.MethodGet, path); !at.Equal(retry) {
					t.Errorf("%s may be asked for at %s", path, at)
				}
			}
			if f.sent != sent+1 {
				t.Errorf("%d requests were sent", f.sent-sent)
			}
			time.Sleep(length)
		}
		f.answer = func(*http.Request) (int, string, string) { return 200, "", "" }
		if at, _ := call(t, g, f, http.MethodGet, "/v2/a/manifests/v1"); !at.IsZero() {
			t.Error("it is still blocked")
		}
		if at, _ := call(t, g, f, http.MethodGet, "/token"); !at.IsZero() {
			t.Error("a token host is blocked")
		}
	})
}

// Two sign-ins of one account share what is left; a repository whose pulls do not count goes on when all is used up; HEAD is free.
func TestWhatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 2
		g := governor(io.Discard, Rule{Metered: true}, func(_, repository string) string { return repository })
		f := &fake{answer: func(r *http.Request) (int, string, string) {
			if strings.Contains(r.URL.Path, "/exempt/") {
				return 200, "", ""
			}
			if r.Method == http.MethodGet {
				left--
			}
			return 200, "Ratelimit-Limit: 100;w=3600\nRatelimit-Remaining: " + string(rune('0'+left)) + ";w=3600\nDocker-Ratelimit-Source: ann", ""
		}}
		for i, step := range []struct {
			method, path string
			waits        bool
		}{
			{"HEAD", "/v2/a/manifests/v1", false}, {"HEAD", "/v2/b/manifests/v1", false}, {"GET", "/v2/a/manifests/v1", false},
			{"GET", "/v2/b/manifests/v1", false}, {"GET", "/v2/a/manifests/v2", true}, {"GET", "/v2/b/manifests/v2", true},
			{"HEAD", "/v2/a/manifests/v2", false}, {"GET", "/v2/a/blobs/sha256:x", false}, {"GET", "/v2/a/tags/list", false},
		} {
			retry, code := call(t, g, f, step.method, step.path)
			if waits := !retry.IsZero(); waits != step.waits || waits && code != "pull-limit" {
				t.Errorf("%d: %s %s waits: %v", i, step.method, step.path, waits)
			}
			time.Sleep(time.Second)
		}
		if n := len(g.Budgets(time.Now())); n != 2 {
			t.Errorf("%d budgets", n)
		}
		for _, b := range g.Budgets(time.Now()) {
			if b.Limit != 100 || b.Remaining != 0 || b.Reserved != 0 || b.RetryAt.IsZero() || b.Window != record.Seconds(time.Hour) {
				t.Errorf("%+v", b)
			}
		}
	})
}

// Only so many requests are sent in a second, by all processes together that share the limit.
func TestRequestsPerSecond(t *testing.T) {
	for sharers, want := range map[int]time.Duration{0: 4 * time.Second, 1: 4 * time.Second, 3: 12 * time.Second, 15: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			g := governor(io.Discard, Rule{PerSecond: 5, Sharers: sharers}, one)
			f := &fake{answer: func(*http.Request) (int, string, string) { return 200, "", "" }}
			began := time.Now()
			for range 21 {
				call(t, g, f, http.MethodGet, "/v2/a/tags/list")
			}
			if took := time.Since(began); took != want {
				t.Errorf("shared by %d, 21 requests took %s", sharers, took)
			}
		})
	}
}

// A refusal of a registry that is not metered, and one for seconds, are the client's business.
func TestShortPauses(t *testing.T) {
	for name, tt := range map[string]struct {
		rule    Rule
		headers string
	}{"not metered": {Rule{}, ""}, "seconds": {Rule{Metered: true}, "Retry-After: 3"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := governor(io.Discard, tt.rule, one)
				f := &fake{answer: func(*http.Request) (int, string, string) { return 429, tt.headers, "slow down" }}
				for range 3 {
					if at, _ := call(t, g, f, http.MethodGet, "/v2/a/manifests/v1"); !at.IsZero() {
						t.Error("it is blocked")
					}
				}
				if f.sent != 3 {
					t.Errorf("%d requests", f.sent)
				}
			})
		})
	}
}

// shelf is a store in memory.
type shelf map[string][]byte

func (s shelf) Change(_ context.Context, name string, change func([]byte, time.Time) []byte) error {
	if state := change(s[name], time.Now()); state != nil {
		s[name] = state
	}
	return nil
}

// What was pulled within the last second before the end is known to the next process all the same.
func TestKeepAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := shelf{}
		options := Options{Rule: func(string) Rule { return Rule{Metered: true} }, Account: one, Store: kept, Log: slog.New(slog.DiscardHandler)}
		g, left := New(options), 100
		f := &fake{answer: func(*http.Request) (int, string, string) {
			left--
			return 200, fmt.Sprintf("RateLimit-Limit: 100;w=21600\nRateLimit-Remaining: %d;w=21600", left), ""
		}}
		for range 5 {
			call(t, g, f, http.MethodGet, "/v2/a/manifests/1")
		}
		g.Keep()
		next := New(options)
		call(t, next, &fake{answer: func(*http.Request) (int, string, string) {
			return 200, "RateLimit-Limit: 100;w=21600\nRateLimit-Remaining: 95;w=21600", ""
		}}, http.MethodHead, "/v2/a/manifests/1")
		forecast, ok := next.Forecast("hub.example", "one", nil, time.Now())
		if !ok || forecast.Others != 0 {
			t.Errorf("%+v, %t: others have pulled nothing", forecast, ok)
		}
	})
}

// A pull that ended while somebody waited for the lock is not forgotten for being of later than that one thinks it is.
func TestForgetKeepsWhatWasJustMade(t *testing.T) {
	now := time.Now()
	b := budget{Window: time.Hour, Spent: spent{countAt(now.Add(-2*time.Hour), 1), countAt(now.Add(time.Millisecond), 1), countAt(now.Add(time.Hour), 1)}}
	if b.forget(now); len(b.Spent) != 1 {
		t.Errorf("%v is left, want the second", b.Spent)
	}
}

// A gateway that counts all requests says when its window ends: what does not fit is put off until then, and no longer.
func TestGatewayThatCountsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := governor(io.Discard, Rule{}, one)
		headers := "Ratelimit-Limit: 60\nRatelimit-Remaining: 0\nRatelimit-Reset: 30"
		f := &fake{answer: func(*http.Request) (int, string, string) { return 200, headers, "" }}
		if at, _ := call(t, g, f, http.MethodGet, "/v2/a/manifests/v1"); !at.IsZero() {
			t.Error("the first is put off")
		}
		at, code := call(t, g, f, http.MethodGet, "/v2/a/manifests/v2")
		if code != "pull-limit" || time.Until(at) > 30*time.Second {
			t.Errorf("%q until %s", code, time.Until(at))
		}
		time.Sleep(time.Until(at))
		if at, _ := call(t, g, f, http.MethodGet, "/v2/a/manifests/v2"); !at.IsZero() {
			t.Error("it is put off again")
		}
		headers = "Ratelimit-Limit: 60"
		if other := governor(io.Discard, Rule{}, one); other.Metered("hub.example") {
			t.Error("a registry that has said nothing is metered")
		}
	})
}

// failing fails each request.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// TestUnansweredPulls: a request without an answer may have been counted, but not one that was never sent: an outage takes nothing from a
// budget.
func TestUnansweredPulls(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		left int
	}{
		"the answer broke off":   {io.ErrUnexpectedEOF, 90},
		"reset":                  {&net.OpError{Op: "read", Err: errors.New("connection reset")}, 90},
		"refused":                {fmt.Errorf("try: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")}), 100},
		"no connection by proxy": {&net.OpError{Op: "proxyconnect", Err: errors.New("connection refused")}, 100},
		"the name is not known":  {&net.DNSError{Err: "no such host", IsNotFound: true}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			g := governor(io.Discard, Rule{Metered: true}, func(string, string) string { return "a" })
			f := &fake{answer: func(*http.Request) (int, string, string) {
				return http.StatusOK, "ratelimit-limit: 100;w=21600\nratelimit-remaining: 100;w=21600", ""
			}}
			call(t, g, f, http.MethodHead, "/v2/x/manifests/1")
			for range 10 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://hub.example/v2/x/manifests/1", nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := g.Transport("hub.example", failing{tt.err}).RoundTrip(r); !errors.Is(err, tt.err) {
					t.Fatal(err)
				}
			}
			if b := g.Budgets(time.Now()); len(b) != 1 || b[0].Remaining != tt.left {
				t.Errorf("%+v, not %d left", b, tt.left)
			}
		})
	}
}

// A budget says who has spent it, and by when it is full again.
func TestBudgetSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := governor(io.Discard, Rule{Metered: true}, one)
		left := 92
		f := &fake{answer: func(*http.Request) (int, string, string) {
			left--
			return 200, fmt.Sprintf("Ratelimit-Limit: 100;w=3600\nRatelimit-Remaining: %d;w=3600", left), ""
		}}
		for range 3 {
			call(t, g, f, http.MethodGet, "/v2/a/manifests/v1")
			time.Sleep(10 * time.Minute)
		}
		b := g.Budgets(time.Now())[0]
		if b.Remaining != 89 || b.Spent != 3 || b.Others != 8 || time.Until(b.FullBy) != 50*time.Minute {
			t.Errorf("%+v", b)
		}
		time.Sleep(35 * time.Minute) // the first pull has left the window
		if b := g.Budgets(time.Now())[0]; b.Spent != 2 || b.Others != 8 {
			t.Errorf("%+v", b)
		}
	})
}
