package store

import (
	"testing"
	"time"
)

func TestOperations(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	if _, ok, err := s.Operation(ctx, "a"); ok || err != nil {
		t.Error(ok, err)
	}
	must(t, s.PutOperation(ctx, "a", []byte("one")))
	must(t, s.PutOperation(ctx, "a", []byte("two")))
	must(t, s.PutOperation(ctx, "b", []byte("three")))
	must(t, s.PutOperation(ctx, "c", []byte("gone")))
	must(t, s.PutOperation(ctx, "c", nil))
	must(t, s.PutOperation(ctx, "never there", nil))
	must(t, s.Close())
	s = d.open(t)
	for name, want := range map[string]string{"a": "two", "b": "three", "c": ""} {
		if state, ok, err := s.Operation(ctx, name); string(state) != want || ok != (want != "") || err != nil {
			t.Errorf("%s: %q %v %v", name, state, ok, err)
		}
	}
	if s.PutOperation(ctx, "", []byte("x")) == nil || s.PutOperation(ctx, "large", make([]byte, maxOperation+1)) == nil {
		t.Error("what has no bounds is kept")
	}
	d.pass(operationsLast - time.Hour)
	must(t, s.PutOperation(ctx, "b", []byte("three")))
	d.pass(2 * time.Hour)
	must(t, s.Prune(ctx, time.Time{}, 0))
	for name, want := range map[string]bool{"a": false, "b": true} {
		if _, ok, err := s.Operation(ctx, name); ok != want || err != nil {
			t.Errorf("%s is there: %v %v", name, ok, err)
		}
	}
}
