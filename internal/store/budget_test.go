package store

import (
	"strings"
	"testing"
	"time"
)

func TestBudgets(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	if _, ok, err := s.Budget(ctx, "docker.io"); ok || err != nil {
		t.Error(ok, err)
	}
	must(t, s.PutBudget(ctx, "docker.io", []byte("one")))
	must(t, s.PutBudget(ctx, "docker.io", []byte("two")))
	must(t, s.PutBudget(ctx, "ghcr.io", []byte("three")))
	must(t, s.Close())
	s = d.open(t)
	for name, want := range map[string]string{"docker.io": "two", "ghcr.io": "three"} {
		if state, ok, err := s.Budget(ctx, name); string(state) != want || !ok || err != nil {
			t.Errorf("%s: %q %v %v", name, state, ok, err)
		}
	}
	for name, state := range map[string]int{"": 1, "stateless": 0, strings.Repeat("x", 2000): 1, "large": maxBudget + 1} {
		if err := s.PutBudget(ctx, name, make([]byte, state)); err == nil {
			t.Errorf("%d bytes by a name of %d are kept", state, len(name))
		}
	}
	d.pass(budgetsLast - time.Hour)
	must(t, s.PutBudget(ctx, "ghcr.io", []byte("three")))
	must(t, s.Prune(ctx, time.Time{}, 0))
	d.pass(2 * time.Hour)
	must(t, s.Prune(ctx, time.Time{}, 0))
	for name, want := range map[string]bool{"docker.io": false, "ghcr.io": true} {
		if _, ok, err := s.Budget(ctx, name); ok != want || err != nil {
			t.Errorf("%s is there: %v %v", name, ok, err)
		}
	}
}
