package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClose(t *testing.T) {
	const grace = 25 * time.Second
	tests := map[string]struct {
		answer func(ctx context.Context, n int, d delivery) (*http.Response, error)
		err    string
		least  time.Duration
		most   time.Duration
		want   Stat
	}{
		"all goes out": {answer: takes, want: Stat{Sent: 3}},
		"after a retry": {
			answer: func(_ context.Context, n int, _ delivery) (*http.Response, error) {
				if n <= 2 {
					return status(503)
				}
				return status(200)
			},
			least: time.Second, most: 3 * time.Second, want: Stat{Sent: 3},
		},
		"no answer":       {answer: hangs, err: "3 notifications were not delivered before the end", least: grace, most: grace, want: Stat{Dropped: 3}},
		"far Retry-After": {answer: func(context.Context, int, delivery) (*http.Response, error) { return status(503, "Retry-After", "600") }, err: "3 notifications were", least: grace, most: grace, want: Stat{Dropped: 3}},
		"one is left": {
			answer: func(ctx context.Context, n int, d delivery) (*http.Response, error) {
				if n <= 2 {
					return status(200)
				}
				return hangs(ctx, n, d)
			},
			err: "1 notification was not", least: grace, most: grace, want: Stat{Sent: 2, Dropped: 1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(test.answer)
				s, _ := start(t, r, Hook{URL: hookURL})
				for _, job := range []string{"a", "b", "c"} {
					s.Send(failed(job))
				}
				ctx, cancel := context.WithTimeout(t.Context(), grace)
				defer cancel()
				err := s.Close(ctx)
				if took := time.Since(r.start); took < test.least || took > test.most {
					t.Errorf("it took %s", took)
				}
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("got error %v", err)
				}
				test.want.Host = "hooks.example"
				if diff := cmp.Diff([]Stat{test.want}, s.Stats()); diff != "" {
					t.Error(diff)
				}
				before := len(r.all())
				s.Send(failed("late"))
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
				test.want.Dropped++
				if diff := cmp.Diff([]Stat{test.want}, s.Stats()); diff != "" || len(r.all()) != before {
					t.Errorf("after the end: %d more requests; %s", len(r.all())-before, diff)
				}
			})
		})
	}
}

// gated takes nothing until open is closed.
func gated(open <-chan struct{}) func(context.Context, int, delivery) (*http.Response, error) {
	return func(context.Context, int, delivery) (*http.Response, error) {
		select {
		case <-open:
			return status(200)
		default:
			return status(503)
		}
	}
}

func TestReconfigure(t *testing.T) {
	const secret = "a secret that is long enough"
	stays := Hook{URL: hookURL, Secret: secret, On: []Kind{Failed}}
	tests := map[string]struct {
		before, after []Hook
		// told is of each request that arrives after the reload, as URL, template's or event's kind, and whether signed.
		told  []string
		stats []Stat
	}{
		"unchanged":      {[]Hook{stays}, []Hook{stays}, []string{hookURL + " failed signed"}, []Stat{{Host: "hooks.example", Sent: 1}}},
		"another before": {[]Hook{stays}, []Hook{{URL: "https://new.example/"}, stays}, []string{hookURL + " failed signed"}, []Stat{{Host: "hooks.example", Sent: 1}, {Host: "new.example"}}},
		"secret gone":    {[]Hook{stays}, []Hook{{URL: hookURL}}, []string{hookURL + " failed"}, []Stat{{Host: "hooks.example", Sent: 1}}},
		"template":       {[]Hook{stays}, []Hook{{URL: hookURL, Template: `{"data":{"kind":"failed","job":"by template"}}`}}, []string{hookURL + " failed by template"}, []Stat{{Host: "hooks.example", Sent: 1}}},
		"removed":        {[]Hook{stays}, nil, nil, []Stat{}},
		"removed, same host": {[]Hook{stays}, []Hook{{URL: "https://hooks.example/b"}}, nil,
			[]Stat{{Host: "hooks.example", Dropped: 1}}},
		"two with one URL, swapped": {
			[]Hook{stays, {URL: hookURL, Template: `{"data":{"kind":"failed","job":"t"}}`}}, []Hook{{URL: hookURL, Template: `{"data":{"kind":"failed","job":"t"}}`}, stays},
			[]string{hookURL + " failed signed", hookURL + " failed t"}, []Stat{{Host: "hooks.example", Sent: 2}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open := make(chan struct{})
				r := newReceiver(gated(open))
				s, _ := start(t, r, test.before...)
				s.Send(failed(""))
				synctest.Wait()
				if err := s.Reconfigure([]Hook{stays, {URL: "ftp://" + token}}); err == nil {
					t.Error("a bad hook was taken")
				}
				if err := s.Reconfigure(test.after); err != nil {
					t.Fatal(err)
				}
				close(open)
				before := len(r.all())
				time.Sleep(time.Minute)
				synctest.Wait()
				told := map[string]bool{}
				for _, d := range r.all()[before:] {
					e := decode(t, d.Body)
					line := strings.TrimSpace(fmt.Sprintf("%s %s %s", d.URL, e.Data.Kind, e.Data.Job))
					if d.Header.Get("Webhook-Signature") != "" {
						line += " signed"
					}
					told[line] = true
				}
				want := map[string]bool{}
				for _, line := range test.told {
					want[line] = true
				}
				if diff := cmp.Diff(want, told); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(test.stats, s.Stats()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestRemovedWhileSending ends a request that is under way, and its goroutine.
func TestRemovedWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(hangs)
		s, log := start(t, r, Hook{URL: hookURL})
		s.Send(failed("a"))
		synctest.Wait()
		if err := s.Reconfigure(nil); err != nil {
			t.Fatal(err)
		}
		s.working.Wait()
		if took := time.Since(r.start); took != 0 || log.String() != "" {
			t.Errorf("it took %s and said %q", took, log)
		}
	})
}

// TestAtOnce lets everything happen at the same time, for the race detector, and counts afterwards.
func TestAtOnce(t *testing.T) {
	r := newReceiver(takes)
	s, _ := start(t, r, Hook{URL: hookURL, On: Kinds()})
	var group sync.WaitGroup
	const senders, each = 4, 200
	for range senders {
		group.Go(func() {
			for i := range each {
				s.Send(Event{Kind: Kinds()[i%5], Data: Data{Job: fmt.Sprint(i)}})
			}
		})
	}
	group.Go(func() {
		for i := range 100 {
			hooks := []Hook{{URL: hookURL, On: Kinds(), Secret: strings.Repeat("s", 30+i%2)}}
			if i%3 == 0 {
				hooks = append(hooks, Hook{URL: "https://other.example"})
			}
			if err := s.Reconfigure(hooks); err != nil {
				t.Error(err)
			}
			_ = s.Stats()
		}
	})
	group.Wait()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, missed := 0, 0
	for _, d := range r.all() {
		if !strings.HasPrefix(d.URL, "https://hooks.example") {
			continue
		}
		if data := decode(t, d.Body).Data; data.Kind != Missed {
			events++
		} else {
			for _, n := range data.Missed {
				missed += n
			}
		}
	}
	if events+missed != senders*each {
		t.Errorf("%d events arrived and %d were missed, of %d", events, missed, senders*each)
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("s", 24)
	tests := map[string]struct {
		hook Hook
		want []string // after notifications[1].
	}{
		"good":            {Hook{URL: "http://user:" + token + "@[::1]:80/x?y", Secret: long, On: Kinds(), Template: "{}"}, nil},
		"empty":           {Hook{}, []string{"webhook: is not a URL that starts with https:// or http://"}},
		"relative":        {Hook{URL: token}, []string{"webhook: is not a URL that starts with https:// or http://"}},
		"not a URL":       {Hook{URL: "https://" + token + ":" + token + "/"}, []string{"webhook: is not a URL"}},
		"control":         {Hook{URL: "https://a/" + token + "\n"}, []string{"webhook: is not a URL"}},
		"no host":         {Hook{URL: "https:///" + token}, []string{"webhook: has no host"}},
		"port only":       {Hook{URL: "https://:443/" + token}, []string{"webhook: has no host"}},
		"fragment":        {Hook{URL: "https://a/#" + token}, []string{"webhook: has a fragment (#), which is never sent"}},
		"missed":          {Hook{URL: "https://a", On: []Kind{Missed}}, []string{`on: "missed" is none of [imported failed recovered config-rejected config-accepted]`}},
		"all at once":     {Hook{URL: "x", Secret: "y", On: []Kind{"z"}, Template: "{{"}, []string{"webhook: is not", "secret: is a key of 1 bytes", `on: "z" is none of`, "template: template: template:1: unclosed action"}},
		"template breaks": {Hook{URL: "https://a", Template: `{"text": "{{.Summary}}"}`}, []string{"template: for the event failed: the result is not JSON in line 1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Check([]Hook{{URL: hookURL}, test.hook})
			if _, other := New(Options{Hooks: []Hook{{URL: hookURL}, test.hook}}); fmt.Sprint(other) != fmt.Sprint(err) {
				t.Errorf("New says %v, Check says %v", other, err)
			}
			var got []string
			if err != nil {
				if first, ok := errors.AsType[*HookError](err); !ok || first.Index != 1 {
					t.Errorf("%v is not of the second hook", err)
				}
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], "notifications[1]."+test.want[i]) || strings.Contains(got[i], token) {
					t.Errorf("got %q, want %q", got[i], test.want[i])
				}
			}
		})
	}
}

func TestSource(t *testing.T) {
	if _, err := New(Options{Source: "%zz"}); err == nil {
		t.Error("a bad source was taken")
	}
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(takes)
		s, err := New(Options{Source: "/dray/host-1", UserAgent: "dray/1.2.3", Hooks: []Hook{{URL: hookURL}}, Transport: r})
		if err != nil {
			t.Fatal(err)
		}
		s.Send(failed("a"))
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := r.all()[0]
		if diff := cmp.Diff([]string{"/dray/host-1", "dray/1.2.3"}, []string{decode(t, got.Body).Source, got.Header.Get("User-Agent")}); diff != "" {
			t.Error(diff)
		}
	})
}

// TestKinds: what nobody asked for goes nowhere, and imported only where it is asked for.
func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(takes)
		s, _ := start(t, r, Hook{URL: "https://default.example"}, Hook{URL: "https://some.example", On: []Kind{Imported, Failed}})
		for _, kind := range append(Kinds(), "unknown") {
			s.Send(Event{Kind: kind})
		}
		synctest.Wait()
		told := map[string]string{}
		for _, d := range r.all() {
			told[d.URL] += string(decode(t, d.Body).Data.Kind) + " "
		}
		want := map[string]string{
			"https://default.example": "failed recovered config-rejected config-accepted ",
			"https://some.example":    "imported failed ",
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestHookIsPrintedWithoutSecrets(t *testing.T) {
	h := Hook{URL: "https://user:" + token + "@hooks.example/" + token, Secret: token, Template: token}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "hook", h)
	for _, text := range []string{fmt.Sprintf("%v", h), fmt.Sprintf("%+v", h), fmt.Sprintf("%#v", h), fmt.Sprintf("%v", []Hook{h}), log.String()} {
		if strings.Contains(text, token) || !strings.Contains(text, "hooks.example") {
			t.Errorf("got %s", text)
		}
	}
	if !json.Valid([]byte(log.String())) || (Hook{URL: "%" + token}).String() != "" {
		t.Error("a bad URL is printed")
	}
}
