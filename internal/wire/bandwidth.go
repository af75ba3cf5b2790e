package wire

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// Bandwidth limits the bytes of blobs per second, those that come and those that go each. The zero value does not limit. It is safe for
// concurrent use.
type Bandwidth struct{ in, out bucket }

// Set changes the limit, also for who waits; 0 for none.
func (b *Bandwidth) Set(bytesPerSecond int64) {
	b.in.set(bytesPerSecond)
	b.out.set(bytesPerSecond)
}

// Common says that the limit is of all registries together: who waits for it would not get on sooner if others waited too.
func (b *Bandwidth) Common() { b.in.common, b.out.common = true, true }

// bucket lets a number of bytes pass per second. Who has moved bytes waits until they are paid for, in the order of arrival.
type bucket struct {
	rate atomic.Int64
	// common is set if it is of all registries.
	common bool
	// paying counts those who wait.
	paying atomic.Int64

	once sync.Once
	turn chan struct{} // holds who is next
	mu   sync.Mutex
	// credit is how many bytes may move now, as of at; negative for a debt.
	credit float64
	at     time.Time
	// changed is closed when the rate changes.
	changed chan struct{}
}

// saved is how much credit builds up while nothing moves: a limited transfer is never ahead of its rate by more.
const saved = 50 * time.Millisecond

func (b *bucket) init() {
	b.once.Do(func() { b.turn, b.changed = make(chan struct{}, 1), make(chan struct{}) })
}

func (b *bucket) set(rate int64) {
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	if rate == b.rate.Load() {
		return
	}
	b.fill()
	b.credit = max(b.credit, -float64(rate)) // what moved at another rate costs a second at most
	b.rate.Store(rate)
	close(b.changed)
	b.changed = make(chan struct{})
}

// fill adds what the time since the last call has earned. The caller holds the lock.
func (b *bucket) fill() {
	now, rate := time.Now(), float64(b.rate.Load())
	if !b.at.IsZero() {
		b.credit = min(b.credit+now.Sub(b.at).Seconds()*rate, saved.Seconds()*rate)
	}
	b.at = now
}

// pay waits until n bytes that have moved are within the rate.
func (b *bucket) pay(ctx context.Context, n int) error {
	if b.rate.Load() == 0 || n <= 0 {
		return nil
	}
	b.init()
	b.paying.Add(1)
	defer b.paying.Add(-1)
	w := waiting{common: b.common}
	defer w.end()
	select {
	case b.turn <- struct{}{}:
	default:
		w.begin(ctx)
		select {
		case b.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-b.turn }()
	for first := true; ; first = false {
		wait, changed := b.owed(n, first)
		if wait <= 0 {
			return nil
		}
		w.begin(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// waiting is a wait for a bucket, which counts as one for the limit of all registries if the bucket is theirs.
type waiting struct {
	common bool
	ended  func()
}

func (w *waiting) begin(ctx context.Context) {
	if w.common && w.ended == nil {
		w.ended = worktime.Throttle(ctx)
	}
}

func (w *waiting) end() {
	if w.ended != nil {
		w.ended()
	}
}

// owed returns how long a debt takes, which n bytes first add to.
func (b *bucket) owed(n int, first bool) (time.Duration, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if first {
		b.credit -= float64(n)
	}
	rate := b.rate.Load()
	if rate == 0 {
		b.credit = 0
		return 0, nil
	}
	return time.Duration(-b.credit / float64(rate) * float64(time.Second)), b.changed
}

// meter has the buckets that the bytes of one body pay into.
type meter struct {
	slot    *slot
	buckets []*bucket
}

// meterOf returns what limits the bodies of one request.
func (t *Transport) meterOf(call Call, slot *slot) (in, out meter) {
	in.slot, out.slot = slot, slot
	for _, b := range t.bandwidth {
		switch call.Lane {
		case Downloads:
			in.buckets = append(in.buckets, &b.in)
		case Uploads:
			out.buckets = append(out.buckets, &b.out)
		default: // small requests pass
		}
	}
	return in, out
}

// leastPortion is how much is read at once at least, in bytes.
const leastPortion = 1 << 10

// portion returns how much of p to read at once: of a tenth of a second's bytes an equal part for each who waits, so that every counterpart
// sees a slow transfer and no silent one, however many share the rate.
func (m meter) portion(p []byte) []byte {
	most := len(p)
	for _, b := range m.buckets {
		if rate := b.rate.Load(); rate > 0 {
			most = min(most, int(max(rate/10/(b.paying.Load()+1), leastPortion)))
		}
	}
	return p[:most]
}

// pay waits until n bytes are paid for. That is no work of the import.
func (m meter) pay(ctx context.Context, n int) error {
	limited := false
	for _, b := range m.buckets {
		limited = limited || b.rate.Load() > 0
	}
	if !limited || n <= 0 {
		return nil
	}
	defer m.slot.idle(ctx)()
	for _, b := range m.buckets {
		if err := b.pay(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// idle marks the holder of the slot as waiting until it calls done.
func (s *slot) idle(ctx context.Context) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held || s.over {
		return func() {}
	}
	s.worked()
	waited := worktime.Wait(ctx)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		waited()
		if s.held && !s.over {
			s.worked = worktime.Work(ctx)
		}
	}
}
