package auth

import (
	"context"
	"time"
)

// search is a call of a source. No context ends one that reads from a file system that gives no answer.
type search struct {
	ctx        context.Context //nolint:containedctx // whose end makes its error worthless to others
	done       chan struct{}
	credential Credential
	expires    time.Time
	err        error
}

// searchGrace is how long a source may take to end with its context: its own error says more.
const searchGrace = time.Second

// silentError says that a source does not end.
type silentError struct{}

// Error says what to look at.
func (silentError) Error() string {
	return "what supplies the credential gives no answer: the file system of its file, or its server, may be away"
}

// Temporary returns true: it may come back.
func (silentError) Temporary() bool { return true }

// search asks the source, and waits for it as long as ctx lasts. A source that hangs is not asked once more.
func (s *signer) search(ctx context.Context) (Credential, time.Time, error) {
	for {
		s.mu.Lock()
		now := s.searching
		if now == nil {
			now = &search{ctx: ctx, done: make(chan struct{})}
			s.searching = now
			go s.run(now)
		}
		s.mu.Unlock()
		select {
		case <-now.done:
		case <-ctx.Done():
			select {
			case <-now.done:
			case <-time.After(searchGrace):
				return Credential{}, time.Time{}, silentError{}
			}
		}
		if now.err == nil || now.ctx == ctx {
			return now.credential, now.expires, now.err
		}
		if ctx.Err() != nil {
			return Credential{}, time.Time{}, context.Cause(ctx)
		}
	}
}

func (s *signer) run(now *search) {
	now.credential, now.expires, now.err = s.source(now.ctx)
	s.mu.Lock()
	s.searching = nil
	s.mu.Unlock()
	close(now.done)
}
