package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// between holds waits that are half random: each is at least Min and at most Max.
type between struct{ Min, Max time.Duration }

func TestRetries(t *testing.T) {
	sec := func(least, most int) between {
		return between{time.Duration(least) * time.Second / 2, time.Duration(most) * time.Second}
	}
	doubling := []between{sec(1, 1), sec(2, 2), sec(4, 4), sec(8, 8), sec(16, 16), sec(32, 32), sec(64, 64)}
	tests := map[string]struct {
		answers []func() (*http.Response, error) // then 204
		waits   []between
		lost    bool
		says    string // in the log
	}{
		"taken": {},
		"503, 429, 408, 502, 504, 500": {
			answers: []func() (*http.Response, error){code(503), code(429), code(408), code(502), code(504), code(500)},
			waits:   doubling[:6],
			says:    "the receiver takes notifications again",
		},
		"no connection": {
			answers: []func() (*http.Response, error){broken, broken},
			waits:   doubling[:2],
			says:    "level=WARN msg=\"notification is late\" job=alpine reason=failed attempt=1 err=\"ask hooks.example: connection refused for …",
		},
		"Retry-After": {
			answers: []func() (*http.Response, error){code(429, "Retry-After", "120"), code(503, "Retry-After", "1"), code(503)},
			waits:   []between{sec(240, 120), sec(2, 2), sec(4, 4)},
		},
		"Retry-After too long": {
			answers: []func() (*http.Response, error){code(503, "Retry-After", "864000")},
			waits:   []between{sec(7200, 3600)},
		},
		"400":                {answers: []func() (*http.Response, error){code(400)}, lost: true, says: "msg=\"notification given up\" job=alpine reason=failed attempt=1 err=\"ask hooks.example: the answer is 400 Bad Request\""},
		"404":                {answers: []func() (*http.Response, error){code(404)}, lost: true},
		"410 asking a retry": {answers: []func() (*http.Response, error){code(410, "Retry-After", "1")}, lost: true},
		"101": {
			answers: []func() (*http.Response, error){switched}, lost: true,
			says: "ask hooks.example: the answer is 101 Switching Protocols",
		},
		"304": {answers: []func() (*http.Response, error){code(304)}, lost: true},
		"307": {
			answers: []func() (*http.Response, error){code(307, "Location", "https://elsewhere.example/")},
			lost:    true, says: "redirects are not followed",
		},
		"always 500": {
			answers: []func() (*http.Response, error){code(500), code(500), code(501), code(500), code(507), code(500), code(500), code(500)},
			waits:   doubling, lost: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(func(_ context.Context, n int, _ delivery) (*http.Response, error) {
					if n <= len(test.answers) {
						return test.answers[n-1]()
					}
					return status(204)
				})
				s, log := start(t, r, Hook{URL: hookURL})
				s.Send(failed("alpine"))
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				checkWaits(t, r.all(), test.waits)
				want := Stat{Host: "hooks.example", Sent: 1}
				if test.lost {
					want = Stat{Host: "hooks.example", Failed: 1}
				}
				if diff := cmp.Diff([]Stat{want}, s.Stats()); diff != "" {
					t.Error(diff)
				}
				if !strings.Contains(log.String(), test.says) {
					t.Errorf("the log does not say %q: %s", test.says, log)
				}
			})
		})
	}
}

func code(n int, header ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return status(n, header...) }
}

// switched has a body as net/http makes it: only its Close ends the reading of it.
func switched() (*http.Response, error) {
	body, _ := io.Pipe()
	return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: body}, nil
}

// broken fails as a transport with a client of its own would, and with the URL in the innermost text.
func broken() (*http.Response, error) {
	u, _ := url.Parse(hookURL)
	return nil, &url.Error{Op: "Post", URL: hookURL, Err: errors.New("connection refused for " + u.RequestURI() + " with " + u.RawQuery)}
}

func checkWaits(t *testing.T, got []delivery, want []between) {
	t.Helper()
	if len(got) != len(want)+1 {
		t.Fatalf("%d attempts, want %d", len(got), len(want)+1)
	}
	for i, w := range want {
		if wait := got[i+1].At - got[i].At; wait < w.Min || wait > w.Max {
			t.Errorf("wait %d is %s, want %s to %s", i+1, wait, w.Min, w.Max)
		}
		if got[i].Header.Get("webhook-id") != got[i+1].Header.Get("webhook-id") || got[i].Body != got[i+1].Body {
			t.Errorf("attempt %d is about another event", i+2)
		}
		if got[i].Header.Get("webhook-timestamp") >= got[i+1].Header.Get("webhook-timestamp") && w.Min > time.Second {
			t.Errorf("attempt %d has an old timestamp", i+2)
		}
	}
}

func TestAttemptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(ctx context.Context, n int, d delivery) (*http.Response, error) {
			if n == 1 {
				return hangs(ctx, n, d)
			}
			return status(200)
		})
		s, log := start(t, r, Hook{URL: hookURL})
		s.Send(failed("alpine"))
		synctest.Wait()
		if time.Since(r.start) != 0 {
			t.Error("Send waited")
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		checkWaits(t, r.all(), []between{{10500 * time.Millisecond, 11 * time.Second}})
		if !strings.Contains(log.String(), "ask hooks.example: no answer within 10s") {
			t.Errorf("the log says: %s", log)
		}
	})
}

// TestAnswerThatDribbles: an answer that has been given and does not end holds up the next event for a second.
func TestAnswerThatDribbles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(ctx context.Context, _ int, _ delivery) (*http.Response, error) {
			body, end := io.Pipe()
			context.AfterFunc(ctx, func() { _ = end.Close() })
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body}, nil
		})
		s, _ := start(t, r, Hook{URL: hookURL})
		for range 3 {
			s.Send(failed("alpine"))
		}
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if stats := s.Stats(); len(r.all()) != 3 || stats[0].Sent != 2 {
			t.Errorf("%d requests after 2.5 s, %+v", len(r.all()), stats)
		}
	})
}

// TestGivenUpByAge has a receiver that is away for ten hours.
func TestGivenUpByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := 10 * time.Hour
		r := newReceiver(func(_ context.Context, _ int, d delivery) (*http.Response, error) {
			if d.At < away {
				return status(503)
			}
			return status(200)
		})
		s, _ := start(t, r, Hook{URL: hookURL})
		s.Send(failed("old"))
		time.Sleep(5 * time.Hour)
		s.Send(failed("young"))
		s.Send(Event{Kind: Recovered, Time: time.Now().Add(-24 * time.Hour), Data: Data{Job: "old"}})
		time.Sleep(7 * time.Hour)
		synctest.Wait()
		var last time.Duration
		for _, d := range r.all() {
			if job := decode(t, d.Body).Data.Job; job == "old" && d.At < 7*time.Hour {
				last = d.At
			}
		}
		if last < 5*time.Hour+50*time.Minute || last > 6*time.Hour {
			t.Errorf("the last attempt for the old event came after %s", last)
		}
		told := r.told(t)
		want := []string{"failed young", "missed", "recovered old"}
		if diff := cmp.Diff(want, told[len(told)-3:]); diff != "" {
			t.Error(diff)
		}
		if n := len(told); n > 200 {
			t.Errorf("%d attempts in ten hours", n)
		}
		if diff := cmp.Diff([]Stat{{Host: "hooks.example", Sent: 3, Failed: 1}}, s.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestGivenUpKeepsWaiting: the next event is no reason to ask earlier than the receiver wants.
func TestGivenUpKeepsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(context.Context, int, delivery) (*http.Response, error) {
			return status(429, "Retry-After", "3600")
		})
		s, _ := start(t, r, Hook{URL: hookURL})
		s.Send(failed("a"))
		s.Send(failed("b"))
		time.Sleep(9 * time.Hour)
		synctest.Wait()
		got := r.all()
		for i := 1; i < len(got); i++ {
			if wait := got[i].At - got[i-1].At; wait < time.Hour {
				t.Errorf("attempt %d came after %s", i+1, wait)
			}
		}
		if len(got) != 8 {
			t.Errorf("%d attempts, want 8", len(got))
		}
	})
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(_ context.Context, n int, _ delivery) (*http.Response, error) {
			if n <= 3 {
				return status(503)
			}
			return status(200)
		})
		s, log := start(t, r, Hook{URL: hookURL, On: Kinds()}, Hook{URL: "https://other.example/", On: []Kind{ConfigAccepted}})
		s.Send(failed("first"))
		synctest.Wait() // it is on its way, and not in the queue
		for i := range maxQueue + 7 {
			kind := Failed
			if i < 3 {
				kind = Imported
			}
			s.Send(Event{Kind: kind, Data: Data{Job: fmt.Sprint(i)}})
		}
		if diff := cmp.Diff([]Stat{{Host: "hooks.example", Dropped: 7, Queued: 101}, {Host: "other.example"}}, s.Stats()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		told := r.told(t)
		want := []string{"failed first", "failed first", "failed first", "failed first", "missed", "failed 7", "failed 8"}
		if diff := cmp.Diff(want, told[:7]); diff != "" {
			t.Error(diff)
		}
		if last := told[len(told)-1]; len(told) != 4+1+maxQueue || last != "failed 106" {
			t.Errorf("%d requests, the last is %s", len(told), last)
		}
		data := decode(t, r.all()[4].Body).Data
		wantData := Data{Kind: Missed, Summary: "notifications that did not arrive: 3 imported, 4 failed", Missed: map[string]int{"failed": 4, "imported": 3}, MissedSince: r.start.UTC()}
		if diff := cmp.Diff(wantData, data); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]Stat{{Host: "hooks.example", Dropped: 7, Sent: 102}, {Host: "other.example"}}, s.Stats()); diff != "" {
			t.Error(diff)
		}
		if n := strings.Count(log.String(), "notifications are dropped"); n != 1 {
			t.Errorf("%d lines about dropped events", n)
		}
	})
}

// TestLostSummary: what a summary said that did not arrive is in the next one.
func TestLostSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(_ context.Context, _ int, d delivery) (*http.Response, error) {
			data := decode(t, d.Body).Data
			if data.Job == "bad" || data.Missed["failed"] == 1 {
				return status(400)
			}
			return status(200)
		})
		s, _ := start(t, r, Hook{URL: hookURL})
		for _, job := range []string{"bad", "a", "bad", "b", "c"} {
			s.Send(failed(job))
		}
		synctest.Wait()
		want := []string{"failed bad", "failed a", "missed", "failed bad", "failed b", "missed", "failed c"}
		if diff := cmp.Diff(want, r.told(t)); diff != "" {
			t.Error(diff)
		}
		if got := decode(t, r.all()[5].Body).Data.Missed["failed"]; got != 2 {
			t.Errorf("the second summary says %d", got)
		}
	})
}

// TestSlowHookDelaysNoOther also holds Send to not waiting.
func TestSlowHookDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(ctx context.Context, n int, d delivery) (*http.Response, error) {
			if strings.HasPrefix(d.URL, "https://slow.example") {
				return hangs(ctx, n, d)
			}
			return status(200)
		})
		s, _ := start(t, r, Hook{URL: "https://slow.example/"}, Hook{URL: "https://fast.example/"})
		for i := range 1000 {
			s.Send(failed(fmt.Sprint(i)))
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if took := time.Since(r.start); took != 0 {
			t.Errorf("it took %s", took)
		}
		if diff := cmp.Diff([]Stat{{Host: "fast.example", Sent: 1000}, {Host: "slow.example", Dropped: 899, Queued: 101}}, s.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}
