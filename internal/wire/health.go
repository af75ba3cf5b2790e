package wire

import (
	"maps"
	"sync"
	"time"
)

// health remembers which hosts gave no answer after all retries, so that a thousand tags of a registry that is down do not
// wait through a thousand rounds of retries.
type health struct {
	rest time.Duration
	mu   sync.Mutex
	ill  map[string]illness
}

type illness struct {
	until time.Time
	err   *Error
}

// restAfterFailure is how long a host that gave no answer is left alone.
const restAfterFailure = 10 * time.Second

func newHealth() *health { return &health{rest: restAfterFailure, ill: map[string]illness{}} }

func (h *health) check(op, host string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.ill[host]
	if !ok || time.Now().After(i.until) {
		return nil
	}
	e := *i.err
	e.Operation = op
	return &e
}

func (h *health) down(host string, err *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.ill, func(_ string, i illness) bool { return time.Now().After(i.until) })
	h.ill[host] = illness{until: time.Now().Add(h.rest), err: err}
}

func (h *health) up(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ill, host)
}
