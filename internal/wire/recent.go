package wire

import (
	"maps"
	"sync"
	"time"
)

// Recent keeps what was found out lately, each for its own time. The zero value is ready for use; it is safe for concurrent use.
type Recent[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]finding[V]
	swept time.Time
}

type finding[V any] struct {
	value V
	until time.Time
}

// maxRecent bounds what is kept at once.
const maxRecent = 20_000

// Get returns what is kept under a key.
func (r *Recent[K, V]) Get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.known[key]
	return f.value, time.Now().Before(f.until)
}

// Put keeps a value for a time. What is over goes, and where there is too much all the same, all of it.
func (r *Recent[K, V]) Put(key K, value V, lasts time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.swept) >= lasts {
		maps.DeleteFunc(r.known, func(_ K, f finding[V]) bool { return !now.Before(f.until) })
		r.swept = now
	}
	if r.known == nil || len(r.known) >= maxRecent {
		r.known = map[K]finding[V]{}
	}
	r.known[key] = finding[V]{value, now.Add(lasts)}
}

// Drop forgets what is kept under a key.
func (r *Recent[K, V]) Drop(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, key)
}
