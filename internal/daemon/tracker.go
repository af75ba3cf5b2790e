package daemon

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// tracker follows the progress of one run.
type tracker struct {
	mu                 sync.Mutex
	tags, observed     int
	imports, completed int
	under              map[string]*meter
	// moved is the time of the last progress; lively is when a step ended or the last MiB was full, and bytes count since then.
	moved, lively time.Time
	bytes         int64
	// throttled counts what of the run waits for the bandwidth of all.
	throttled int
}

const (
	// waitsAfter is how long a run may go without a step and a MiB until it counts as waiting for its registries. It is short, so that runs
	// with rare steps take no slots from others meanwhile.
	waitsAfter = 250 * time.Millisecond
	aMiB       = 1 << 20
)

// meter follows one import.
type meter struct {
	tracker         *tracker
	source, target  string
	started         time.Time
	expected, moved atomic.Int64
	pace            pace
}

func newTracker() *tracker {
	return &tracker{under: map[string]*meter{}, moved: time.Now(), lively: time.Now()}
}

// Observing implements mirror.Watcher.
func (t *tracker) Observing(tags int) { t.add(&t.tags, tags) }

// Observed implements mirror.Watcher.
func (t *tracker) Observed() { t.add(&t.observed, 1) }

// Planned implements mirror.Watcher.
func (t *tracker) Planned(imports int) { t.add(&t.imports, imports) }

func (t *tracker) add(to *int, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*to += n
	t.step()
}

// step records progress. The caller holds the lock.
func (t *tracker) step() {
	t.moved = time.Now()
	t.lively, t.bytes = t.moved, 0
}

// times returns the time of the last progress, and from when on the run waits for its registries unless it makes more.
func (t *tracker) times() (moved, waits time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.throttled > 0 {
		return t.moved, time.Now().Add(waitsAfter)
	}
	return t.moved, t.lively.Add(waitsAfter)
}

// throttle notes that something of the run waits for the bandwidth of all, until ended is called. That is no wait for its registries: another run
// in its place would only wait with it.
func (t *tracker) throttle() (ended func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.throttled++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.throttled--
		t.lively = time.Now()
	}
}

// Begin implements mirror.Watcher.
func (t *tracker) Begin(a diff.Action) mirror.Meter {
	m := &meter{tracker: t, source: a.Source.WithDigest("").String(), target: a.Target.String(), started: time.Now()}
	m.pace.began = m.started
	t.mu.Lock()
	defer t.mu.Unlock()
	t.under[m.target] = m
	return m
}

// End implements mirror.Watcher.
func (t *tracker) End(out mirror.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.under[out.Target.String()]; ok {
		delete(t.under, out.Target.String())
		t.completed++
		t.step()
	}
}

// Expect implements mirror.Meter.
func (m *meter) Expect(bytes int64) { m.expected.Add(bytes) }

// Moved implements mirror.Meter.
func (m *meter) Moved(bytes int64) {
	m.moved.Add(bytes)
	t := m.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moved = time.Now()
	m.pace.add(bytes, t.moved)
	if t.bytes += bytes; t.bytes >= aMiB {
		t.step()
	}
}

// snapshot returns the run's progress.
func (t *tracker) snapshot() *record.Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &record.Progress{UnderWay: []record.Import{}, Tags: t.tags, Observed: t.observed, Imports: t.imports, Completed: t.completed}
	for _, m := range t.under {
		p.UnderWay = append(p.UnderWay, record.Import{Source: m.source, Target: m.target, Started: m.started, Bytes: m.moved.Load(), Total: m.expected.Load(), Rate: m.pace.perSecond(time.Now())})
	}
	slices.SortFunc(p.UnderWay, func(a, b record.Import) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Target, b.Target))
	})
	return p
}
