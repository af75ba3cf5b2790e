package daemon

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
)

// tracker follows one run, for those who ask how it gets on.
type tracker struct {
	mu                 sync.Mutex
	tags, observed     int
	imports, completed int
	under              map[string]*meter
}

// meter follows one import.
type meter struct {
	source, target  string
	started         time.Time
	expected, moved atomic.Int64
}

func newTracker() *tracker { return &tracker{under: map[string]*meter{}} }

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
}

// Begin implements mirror.Watcher.
func (t *tracker) Begin(a diff.Action) mirror.Meter {
	m := &meter{source: a.Source.WithDigest("").String(), target: a.Target.String(), started: time.Now()}
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
	}
}

// Expect implements mirror.Meter.
func (m *meter) Expect(bytes int64) { m.expected.Add(bytes) }

// Moved implements mirror.Meter.
func (m *meter) Moved(bytes int64) { m.moved.Add(bytes) }

// snapshot returns how the run gets on.
func (t *tracker) snapshot() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := Progress{Tags: t.tags, Observed: t.observed, Imports: t.imports, Completed: t.completed}
	for _, m := range t.under {
		p.Under = append(p.Under, Import{Source: m.source, Target: m.target, Started: m.started, Bytes: m.moved.Load(), Total: m.expected.Load()})
	}
	slices.SortFunc(p.Under, func(a, b Import) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Target, b.Target)) })
	return p
}
