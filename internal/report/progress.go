package report

import (
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"golang.org/x/term"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
)

// Progress is a [mirror.Watcher] that draws on a terminal: a bar for each import under way, removed as it ends, and one for
// all. It must be closed.
type Progress struct {
	out  io.Writer
	bars *mpb.Progress
	all  *mpb.Bar

	// gate guards the set of bars. It may be held while one is added; drawing never takes it.
	gate   sync.Mutex
	closed bool
	// shown are the bars of imports; one stays for two frames after it was told to go.
	shown []*mpb.Bar

	// mu guards what is below. No bar is touched while it is held, because drawing one takes it.
	mu   sync.Mutex
	tags int
	seen int
	// planned is the number of imports to come, -1 while it is not known.
	planned int
	begun   int
	ended   int
	// past sums up the bytes of the imports that have ended.
	past   int64
	active map[route][]*meter
}

const (
	defaultWidth = 80
	// maxBars bounds the lines that are redrawn, so that they fit on any screen.
	maxBars = 12
)

// NewProgress starts to draw on w, a terminal or what stands for one. The width, in columns, holds where w cannot tell its
// own; 0 means 80.
func NewProgress(w io.Writer, width int) *Progress {
	if width <= 0 {
		width = defaultWidth
	}
	p := &Progress{out: w, planned: -1, active: map[route][]*meter{}}
	options := []mpb.ContainerOption{mpb.WithOutput(w), mpb.WithAutoRefresh()}
	if !sized(w) {
		// Without a type that it knows, mpb believes the width that it is given.
		options = []mpb.ContainerOption{mpb.WithOutput(struct{ io.Writer }{w}), mpb.WithAutoRefresh(), mpb.WithWidth(width)}
	}
	p.bars = mpb.New(options...)
	state := &totalLine{progress: p}
	p.all = p.bars.MustAdd(0, state.filler(), state.options()...)
	return p
}

// sized tells whether w is a terminal that knows its size; some know only 0×0.
func sized(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	return err == nil && columns > 0 && lines > 0
}

// Observing implements mirror.Watcher.
func (p *Progress) Observing(tags int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tags += tags
}

// Observed implements mirror.Watcher.
func (p *Progress) Observed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
}

// Planned implements mirror.Watcher.
func (p *Progress) Planned(imports int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned = max(p.planned, 0) + imports
}

// Begin implements mirror.Watcher.
func (p *Progress) Begin(a diff.Action) mirror.Meter {
	m := &meter{name: name(a.Target), started: time.Now()}
	p.draw(m)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	key := route{a.Source, a.Target}
	p.active[key] = append(p.active[key], m)
	return m
}

// draw gives the meter a bar, if there is room for one more.
func (p *Progress) draw(m *meter) {
	p.gate.Lock()
	defer p.gate.Unlock()
	p.shown = slices.DeleteFunc(p.shown, func(b *mpb.Bar) bool { return !b.IsRunning() })
	if p.closed || len(p.shown) >= maxBars {
		return
	}
	line := &importLine{meter: m}
	bar, err := p.bars.Add(0, line.filler(), line.options()...)
	if err != nil {
		return // the terminal is gone: the import goes on unseen
	}
	m.bar = bar
	p.shown = append(p.shown, bar)
}

// End implements mirror.Watcher. Only what has begun is shown.
func (p *Progress) End(out mirror.Outcome) {
	m := p.settle(out.Action)
	if m == nil {
		return
	}
	if m.bar != nil {
		m.bar.Abort(true)
	}
	_, _ = io.WriteString(p, ending(out)+"\n") // a terminal that is gone stops no import
}

// settle moves an import from the active ones to the past; nil for what did not begin.
func (p *Progress) settle(a diff.Action) *meter {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := route{a.Source, a.Target}
	list := p.active[key]
	if len(list) == 0 {
		return nil
	}
	m := list[0]
	if p.active[key] = list[1:]; len(list) == 1 {
		delete(p.active, key)
	}
	done, _ := m.read()
	p.past += done
	p.ended++
	return m
}

// ending is the line that an import leaves behind.
func ending(out mirror.Outcome) string {
	r := rowOf(out, name(out.Target), paid(out))
	if out.Settled().Failure() {
		r.note = "failed" // the cause has its line in the log and in the summary
	}
	return r.sign + " " + r.label + "  " + r.note
}

// Write prints whole lines above the bars, after Close to where they were. It lets a log share the terminal.
func (p *Progress) Write(b []byte) (int, error) {
	if n, err := p.bars.Write(b); err == nil {
		return n, nil
	}
	p.bars.Shutdown() // it is over; this waits for its last frame
	p.gate.Lock()
	defer p.gate.Unlock()
	return p.out.Write(b)
}

// Close removes all bars, also those of imports that have not ended, and returns when nothing is drawn any more. Events
// that come later leave at most a line. It may be called twice.
func (p *Progress) Close() {
	p.gate.Lock()
	p.closed = true
	shown := p.shown
	p.shown = nil
	p.gate.Unlock()
	for _, bar := range shown {
		bar.Abort(true)
	}
	p.all.Abort(true)
	p.bars.Wait() // not only shut down: that would leave the last frame on the screen
}

// totals is the state of the whole at one moment.
type totals struct {
	tags, seen, planned, begun, ended int
	// done and whole are bytes of the imports that have begun.
	done, whole int64
	// unsure says that an import has begun and does not know yet what it will move.
	unsure bool
}

func (p *Progress) totals() totals {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := totals{tags: p.tags, seen: p.seen, planned: p.planned, begun: p.begun, ended: p.ended, done: p.past, whole: p.past}
	for _, list := range p.active {
		for _, m := range list {
			done, whole := m.read()
			t.done += done
			t.whole += whole
			t.unsure = t.unsure || whole == 0
		}
	}
	return t
}

// estimate is how many bytes all imports may come to, if those that wait are like those that have begun.
func (t totals) estimate() float64 {
	if t.begun == 0 {
		return 0
	}
	waiting := max(0, t.planned-t.begun)
	return float64(t.whole) * (1 + float64(waiting)/float64(t.begun))
}

// known tells whether enough is known to say how long the rest takes: the imports that wait are at most as many as those that have ended,
// and each that has begun has said what it expects.
func (t totals) known() bool { return !t.unsure && t.planned-t.begun <= t.ended }

// lowest is the priority of the bar that stands below all others.
const lowest = math.MaxInt
