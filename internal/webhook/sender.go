package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/draysync/dray/internal/dial"
)

// Options say who sends and to whom.
type Options struct {
	Hooks []Hook
	// Source is the CloudEvents' source, a URI reference that tells this dray from others; default /dray.
	Source string
	// UserAgent is sent with each request; default dray.
	UserAgent string
	// Transport makes the requests; default one of its own, with the proxies of the environment.
	Transport http.RoundTripper
	// Log gets a line where a hook stops answering and where an event is lost; default none.
	Log *slog.Logger
}

// Sender delivers events to hooks in the background. It lives as long as the process, over all generations of the config.
// While nothing waits it has no goroutine. Its methods may be called at any time from anywhere.
type Sender struct {
	source    string
	agent     string
	transport http.RoundTripper
	log       *slog.Logger
	working   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	boxes  []*outbox
	// totals is by host, and holds the hosts of boxes.
	totals map[string]*Stat
}

// Stat is what became of the events for one host. Sent, Failed (given up) and Dropped (from a full queue, or because the
// hook or the process went) only grow, as long as a hook with this host exists; Queued is of now.
type Stat struct {
	Host                          string
	Sent, Failed, Dropped, Queued int
}

// New returns the mistakes of all hooks as [Check] does. Nothing is sent before [Sender.Send]; [Sender.Close] ends it.
func New(o Options) (*Sender, error) {
	source := cmp.Or(o.Source, "/dray")
	if _, err := url.Parse(source); err != nil {
		return nil, fmt.Errorf("the source of events %q is not a URI reference", source)
	}
	hooks, err := compile(o.Hooks)
	if err != nil {
		return nil, err
	}
	s := &Sender{source: source, agent: cmp.Or(o.UserAgent, "dray"), transport: o.Transport, log: o.Log, totals: map[string]*Stat{}}
	if s.transport == nil {
		own := dial.Transport(http.ProxyFromEnvironment)
		own.MaxResponseHeaderBytes = 64 << 10
		s.transport = own
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.replace(hooks)
	return s, nil
}

// Reconfigure replaces the hooks. One that stays keeps its queue and its numbers; one that changed but kept its URL keeps
// them too, and what waits is sent its new way. What waits for one that is gone is dropped. A mistake in any hook, as
// from [Check], changes nothing.
func (s *Sender) Reconfigure(hooks []Hook) error {
	all, err := compile(hooks)
	if err != nil {
		return err
	}
	s.replace(all)
	return nil
}

func (s *Sender) replace(hooks []*compiled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := slices.Clone(s.boxes)
	boxes := make([]*outbox, len(hooks))
	for _, same := range []func(a, b Hook) bool{Hook.equal, func(a, b Hook) bool { return a.URL == b.URL }} {
		for i, hook := range hooks {
			at := slices.IndexFunc(old, func(o *outbox) bool { return same(o.hook.Hook, hook.Hook) })
			if boxes[i] == nil && at >= 0 {
				boxes[i] = old[at]
				boxes[i].hook = hook
				old = slices.Delete(old, at, at+1)
			}
		}
	}
	totals := map[string]*Stat{}
	for i, hook := range hooks {
		if boxes[i] == nil {
			boxes[i] = &outbox{hook: hook}
		}
		host := hook.url.Host
		totals[host] = cmp.Or(totals[host], s.totals[host], &Stat{Host: host})
	}
	for _, gone := range old {
		if gone.cancel != nil {
			gone.cancel()
		}
		if total := totals[gone.hook.url.Host]; total != nil {
			total.Dropped += gone.waiting()
		}
		gone.clear()
	}
	s.boxes, s.totals = boxes, totals
}

// Send queues an event for the hooks that ask for its kind, and returns at once. After Close it is dropped.
func (s *Sender) Send(e Event) {
	s.mu.Lock()
	wanted := slices.ContainsFunc(s.boxes, func(o *outbox) bool { return slices.Contains(o.hook.on, e.Kind) })
	s.mu.Unlock()
	if !wanted {
		return
	}
	n := newNotice(s.source, e.Kind, e.Time, e.Data)
	for _, host := range s.enqueue(n) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "notifications are dropped, the receiver is too slow",
			slog.String("job", n.data.Job), slog.String("err", host+": the queue is full"))
	}
}

// enqueue returns the hosts of queues that lost something for the first time since their receiver was told.
func (s *Sender) enqueue(n *notice) (full []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, box := range s.boxes {
		host := box.hook.url.Host
		switch {
		case !slices.Contains(box.hook.on, n.kind()):
			continue
		case s.closed:
			s.totals[host].Dropped++
			continue
		}
		first := len(box.missed) == 0
		if box.push(n) != nil {
			s.totals[host].Dropped++
			if first {
				full = append(full, host)
			}
		}
		if box.cancel == nil {
			ctx, cancel := context.WithCancel(context.Background())
			box.cancel = cancel
			s.working.Go(func() { s.work(ctx, box) })
		}
	}
	return full
}

// Stats returns the numbers by host, sorted.
func (s *Sender) Stats() []Stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	queued := map[string]int{}
	for _, box := range s.boxes {
		queued[box.hook.url.Host] += box.waiting()
	}
	stats := make([]Stat, 0, len(s.totals))
	for host, total := range s.totals {
		stat := *total
		stat.Queued = queued[host]
		stats = append(stats, stat)
	}
	slices.SortFunc(stats, func(a, b Stat) int { return cmp.Compare(a.Host, b.Host) })
	return stats
}

// Close takes no more events, goes on with what waits until ctx ends, and drops the rest, of which the error tells. When it
// returns no goroutine is left.
func (s *Sender) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.working.Wait(); close(done) }()
	var left int
	select {
	case <-done:
	case <-ctx.Done():
		left = s.dropAll()
		<-done
	}
	if own, ok := s.transport.(*http.Transport); ok {
		own.CloseIdleConnections()
	}
	if left > 0 {
		return errors.New(plural(left, "notification was", "notifications were") + " not delivered before the end")
	}
	return nil
}

func (s *Sender) dropAll() (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, box := range s.boxes {
		if box.cancel != nil {
			box.cancel()
		}
		n := box.clear()
		s.totals[box.hook.url.Host].Dropped += n
		left += n
	}
	return left
}

func plural(n int, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
