package wire

import (
	"context"
	"net"
	"sync"
	"time"
)

// lookups remember for a minute which names are of this machine.
type lookups struct {
	mu    sync.Mutex
	names map[string]lookup
}

type lookup struct {
	local bool
	until time.Time
}

const lookupLasts = time.Minute

// local looks a name up. One that cannot be looked up leads nowhere.
func (l *lookups) local(ctx context.Context, name string) bool {
	l.mu.Lock()
	known, ok := l.names[name]
	l.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.local
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, _ := net.DefaultResolver.LookupIPAddr(ctx, name) // the request meets the error
	found := lookup{until: time.Now().Add(lookupLasts)}
	for _, a := range addresses {
		found.local = found.local || onlyHere(a.IP)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.names == nil || len(l.names) >= maxLookups {
		l.names = map[string]lookup{}
	}
	l.names[name] = found
	return found.local
}
