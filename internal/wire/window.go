package wire

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// window is a limit that adapts: it starts modest, grows by one each time that a full window of requests has been answered,
// and is halved where the registry asks for less (additive increase, multiplicative decrease, as TCP has it; RFC 5681).
type window struct {
	most int

	mu      sync.Mutex
	size    float64
	flying  int
	waiting *list.List // of chan struct{}, the oldest first
	cut     time.Time  // of the last halving
}

// epoch is how long the answers to requests of before a halving may still come: one overload halves the window once.
const epoch = 200 * time.Millisecond

func newWindow(start, most int) *window {
	return &window{most: most, size: float64(min(start, most)), waiting: list.New()}
}

// acquire waits for a place.
func (w *window) acquire(ctx context.Context) error {
	w.mu.Lock()
	if w.flying < int(w.size) && w.waiting.Len() == 0 {
		w.flying++
		w.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := w.waiting.PushBack(turn)
	w.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-turn: // it was given meanwhile: pass it on
		w.flying--
		w.admit()
	default:
		w.waiting.Remove(place)
	}
	return ctx.Err()
}

// release gives a place back.
func (w *window) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying--
	w.admit()
}

// answered notes that the registry has taken a request. The window grows only while it is used to the full: a limit that
// nobody reaches has not been tried.
func (w *window) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flying >= int(w.size) && w.size < float64(w.most) {
		w.size = min(w.size+1/w.size, float64(w.most))
		w.admit()
	}
}

// overloaded notes that the registry has asked for less.
func (w *window) overloaded(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.cut) < epoch {
		return
	}
	w.cut = now
	w.size = max(1, w.size/2)
}

// admit lets those in who wait longest. The lock is held.
func (w *window) admit() {
	for w.flying < int(w.size) && w.waiting.Len() > 0 {
		turn, ok := w.waiting.Remove(w.waiting.Front()).(chan struct{})
		if !ok {
			continue
		}
		w.flying++
		close(turn)
	}
}
