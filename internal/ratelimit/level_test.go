package ratelimit

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/record"
)

// spentAt returns levels as minutes since a time, with what dray and others have spent.
func spentAt(list []record.BudgetLevel, begin time.Time) (all []string) {
	for _, l := range list {
		all = append(all, fmt.Sprintf("%.0f: %d+%d", l.At.Sub(begin).Minutes(), l.Spent, l.Others))
	}
	return all
}

// Each answer shows what dray and others have spent; a restart and another process with the same store know it too.
func TestLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, kept, left := time.Now(), &slowStore{}, 100
		f := &fake{answer: func(*http.Request) (int, string, string) {
			return 200, fmt.Sprintf("Ratelimit-Limit: 100;w=3600\nRatelimit-Remaining: %d;w=3600", left), ""
		}}
		g := New(Options{Rule: func(string) Rule { return Rule{Metered: true} }, Account: one, Store: kept, Log: slog.New(slog.DiscardHandler)})
		pull := func(g *Governor, others int) {
			left -= others + 1
			call(t, g, f, http.MethodGet, "/v2/a/manifests/v1")
		}
		pull(g, 0)
		time.Sleep(10 * time.Minute)
		pull(g, 5)
		pull(g, 0) // of the same part of the window: it replaces the one before
		time.Sleep(20 * time.Minute)
		left += 4 // the first of others' have left the window
		call(t, g, f, http.MethodHead, "/v2/a/manifests/v1")
		want := []string{"0: 1+0", "10: 3+5", "30: 3+1"}
		if got := spentAt(g.Budgets(time.Now())[0].Levels, begin); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		g.Keep()

		other := New(Options{Rule: func(string) Rule { return Rule{Metered: true} }, Account: one, Store: kept, Log: slog.New(slog.DiscardHandler)})
		time.Sleep(5 * time.Minute)
		pull(other, 0)
		time.Sleep(15 * time.Minute)
		// This one does not know yet that the other has pulled.
		call(t, g, f, http.MethodHead, "/v2/a/manifests/v1")
		g.Keep()
		want = append(want, "35: 4+1", "50: 4+1")
		if got := spentAt(g.Budgets(time.Now())[0].Levels, begin); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		time.Sleep(20 * time.Minute)
		if got := spentAt(g.Budgets(time.Now())[0].Levels, begin); !slices.Equal(got, want[2:]) {
			t.Errorf("after the window %q, want %q", got, want[2:])
		}
		other.Keep()
	})
}

// Where answers say nothing, dray's own pulls are known.
func TestLevelsOfARule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		g := governor(io.Discard, Rule{Metered: true, Limit: 10, Window: time.Hour}, one)
		f := &fake{answer: func(*http.Request) (int, string, string) { return 200, "", "" }}
		call(t, g, f, http.MethodGet, "/v2/a/manifests/v1")
		time.Sleep(2 * time.Minute)
		call(t, g, f, http.MethodGet, "/v2/a/manifests/v1")
		want := []string{"0: 1+0", "2: 2+0"}
		if got := spentAt(g.Budgets(time.Now())[0].Levels, begin); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// However many answers there are, and whatever is saved, the levels of an account are few.
func TestLevelsAreBounded(t *testing.T) {
	at := time.Now()
	for _, window := range []time.Duration{0, time.Millisecond, 7 * time.Second, time.Minute, time.Hour, 6 * time.Hour, maxWindow} {
		b := budget{Known: true, Limit: 1000, Remaining: 10, Window: window}
		for i := range 1000 {
			b.note(at.Add(time.Duration(i) * b.window() / 100))
		}
		if n := len(b.Levels); n > maxLevels || window >= time.Minute && n < levelParts {
			t.Errorf("a window of %s: %d levels", window, n)
		}
	}
	raw, err := json.Marshal(budget{Levels: levels{{1, 2, 3}}})
	if again := read(raw); err != nil || !slices.Equal(again.Levels, levels{{1, 2, 3}}) {
		t.Errorf("%s: %+v, %v", raw, again, err)
	}
	if l := read([]byte(`{"Levels":[[1,-2,99999999999999999]]}`)).Levels; !slices.Equal(l, levels{{1, 0, maxNumber}}) {
		t.Errorf("%+v", l)
	}
}
