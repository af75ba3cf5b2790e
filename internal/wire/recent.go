package wire

import (
	"maps"
	"sync"
	"time"
)

// Recent caches values, each for its own time. The zero value is ready for use; it is safe for concurrent use.
type Recent[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]finding[V]
	swept time.Time
}

type finding[V any] struct {
	value V
	until time.Time
}

// maxRecent limits the number of entries.
const maxRecent = 20_000

// Get returns the value of a key.
func (r *Recent[K, V]) Get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.known[key]
	return f.value, time.Now().Before(f.until)
}

// Put keeps a value for a time. It drops expired entries, and all entries if that is not enough.
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

// Drop removes the value of a key.
func (r *Recent[K, V]) Drop(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, key)
}
