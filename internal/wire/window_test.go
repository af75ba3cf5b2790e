package wire

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestWindow: it starts modest, grows while it is used to the full, is halved once for one overload, and never passes its
// bounds.
func TestWindow(t *testing.T) {
	w := newWindow(4, 16)
	now := time.Unix(1000, 0)
	fill := func() {
		for w.flying < int(w.size) {
			if err := w.acquire(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	empty := func() {
		for w.flying > 0 {
			w.release()
		}
	}
	if int(w.size) != 4 {
		t.Errorf("it starts with %v", w.size)
	}
	w.answered() // nobody is in flight: nothing has been tried
	if w.size != 4 {
		t.Errorf("it grows unused, to %v", w.size)
	}
	for range 200 {
		fill()
		w.answered()
	}
	if int(w.size) != 16 {
		t.Errorf("it grows to %v, not to its bound", w.size)
	}
	w.overloaded(now)
	w.overloaded(now.Add(epoch / 2))
	if int(w.size) != 8 {
		t.Errorf("one overload leaves %v", w.size)
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
	if err := w.acquire(ctx); !errors.Is(err, context.Canceled) || w.waiting.Len() != 0 {
		t.Errorf("a caller that gives up: %v, %d wait", err, w.waiting.Len())
	}
}
