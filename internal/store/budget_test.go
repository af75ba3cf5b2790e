package store

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// putBudget replaces the state of a budget, whatever it was.
func putBudget(ctx context.Context, s *Store, name string, state []byte) error {
	return s.Change(ctx, name, func([]byte, time.Time) []byte { return state })
}

// budgetOf reads the state of a budget.
func budgetOf(t *testing.T, s *Store, name string) (state string) {
	t.Helper()
	must(t, s.Change(t.Context(), name, func(old []byte, _ time.Time) []byte { state = string(old); return nil }))
	return state
}

func TestBudgets(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	if state := budgetOf(t, s, "docker.io"); state != "" {
		t.Error(state)
	}
	must(t, putBudget(ctx, s, "docker.io", []byte("one")))
	must(t, putBudget(ctx, s, "docker.io", []byte("two")))
	must(t, putBudget(ctx, s, "ghcr.io", []byte("three")))
	must(t, s.Close())
	s = d.open(t)
	for name, want := range map[string]string{"docker.io": "two", "ghcr.io": "three"} {
		if state := budgetOf(t, s, name); state != want {
			t.Errorf("%s: %q", name, state)
		}
	}
	for name, state := range map[string]int{"": 1, strings.Repeat("x", 2000): 1, "large": maxBudget + 1} {
		if err := putBudget(ctx, s, name, make([]byte, state)); err == nil {
			t.Errorf("%d bytes by a name of %d are kept", state, len(name))
		}
	}
	d.pass(budgetsLast - time.Hour)
	must(t, putBudget(ctx, s, "ghcr.io", []byte("three")))
	must(t, s.Prune(ctx, time.Time{}, 0))
	d.pass(2 * time.Hour)
	must(t, s.Prune(ctx, time.Time{}, 0))
	for name, want := range map[string]string{"docker.io": "", "ghcr.io": "three"} {
		if state := budgetOf(t, s, name); state != want {
			t.Errorf("%s: %q", name, state)
		}
	}
}

// Changes of several processes are all there in the end, and one that is overtaken is computed anew from what the other has written.
func TestBudgetsAreChangedInTurn(t *testing.T) {
	d := newStand(t)
	stores := []*Store{d.open(t), d.open(t)}
	count := func(old []byte, _ time.Time) []byte {
		n, _ := strconv.Atoi(string(old))
		return []byte(strconv.Itoa(n + 1))
	}
	calls := 0
	must(t, stores[0].Change(t.Context(), "docker.io", func(old []byte, now time.Time) []byte {
		if calls++; calls < 3 {
			must(t, stores[1].Change(t.Context(), "docker.io", count))
		}
		return count(old, now)
	}))
	if state := budgetOf(t, stores[0], "docker.io"); state != "3" || calls != 3 {
		t.Errorf("%s after %d calls, want 3", state, calls)
	}
	var group sync.WaitGroup
	for _, s := range stores {
		group.Go(func() {
			for range 20 {
				if err := s.Change(t.Context(), "docker.io", count); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if state := budgetOf(t, stores[1], "docker.io"); state != "43" {
		t.Errorf("%s, want 43", state)
	}
	endless := 0
	err := stores[0].Change(t.Context(), "docker.io", func(old []byte, now time.Time) []byte {
		endless++
		must(t, stores[1].Change(t.Context(), "docker.io", count))
		return count(old, now)
	})
	if err == nil || endless != changeTries {
		t.Errorf("%d calls: %v", endless, err)
	}
}
