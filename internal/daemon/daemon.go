package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
)

// Options of a [Daemon]. All are required except Changed.
type Options struct {
	Build   Build
	Memory  Memory
	Events  Events
	Manager Manager
	// Changed receives when the inputs of Build may have changed; nil for never.
	Changed <-chan struct{}
	Log     *slog.Logger
}

// Daemon runs the jobs of a config. Its methods may be called from any goroutine during Run.
type Daemon struct {
	options Options
	// asks are calls from other goroutines, done the ends of runs and of builds; the loop executes them. Nothing receives once gone is
	// closed.
	asks chan func()
	done chan func()
	gone chan struct{}
	// writes are for the memory, which may be slow: they are made one after another, beside the loop.
	writes chan write

	// The loop owns what follows.
	ctx      context.Context //nolint:containedctx // Run's, for what it starts
	building context.Context //nolint:containedctx // the same, for builds, which a stop cancels at once
	current  *built
	entries  map[string]*entry
	// past are the states of removed jobs; changed are the jobs whose states must be saved.
	past    map[string]record.State
	changed map[string]bool
	queue   schedule.Queue
	// aside are jobs that are due and wait until another one of the same registries has ended, by registries.
	aside map[string]*schedule.Queue
	// running are the jobs that run.
	running map[*entry]struct{}
	// ended is when the last run ended.
	ended     time.Time
	reload    reload
	draining  chan struct{}
	stopped   bool
	started   time.Time
	lastWords string
}

// New returns a daemon, which does nothing before Run.
func New(options Options) *Daemon {
	return &Daemon{
		options: options, asks: make(chan func()), done: make(chan func(), 16), gone: make(chan struct{}),
		writes: make(chan write, maxWrites), entries: map[string]*entry{}, aside: map[string]*schedule.Queue{}, changed: map[string]bool{}, running: map[*entry]struct{}{}, draining: make(chan struct{}),
	}
}

// maxWrites is how many writes may be queued for the memory before the loop waits.
const maxWrites = 1024

// write is one call of the memory; what names it in the log.
type write struct {
	what string
	do   func(ctx context.Context) error
}

// ErrStopping is the answer to requests once the daemon stops.
var ErrStopping = errors.New("the daemon is stopping")

// Run runs jobs until stop is closed, and then until the current runs have ended, their grace is over, or ctx has ended. It does not wait
// for builds. It returns why it could not start: the config's mistakes. It is called once.
func (d *Daemon) Run(ctx context.Context, stop <-chan struct{}) error {
	defer close(d.gone)
	runs, cancel := context.WithCancel(ctx)
	defer cancel()
	building, end := until(runs, stop)
	defer end()
	d.ctx, d.building, d.started = runs, building, time.Now()
	written := make(chan struct{})
	go d.writeAll(ctx, written)
	defer func() { close(d.writes); <-written }()
	states, err := d.options.Memory.JobStates(building)
	if err != nil && building.Err() == nil {
		d.options.Log.LogAttrs(ctx, slog.LevelWarn, "the history of earlier runs cannot be read; every job runs now", slog.Any("err", err))
	}
	first, err := d.options.Build(building)
	switch {
	case err == nil && building.Err() != nil:
		first.Close()
		return nil
	case building.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	d.remember(states)
	d.adopt(first)
	d.reload.succeeded(d.started)
	d.options.Events.Reloaded(d.started, d.current.number, nil)
	d.tell(d.options.Manager.Ready(d.words()))
	d.loop(ctx, stop, cancel)
	return nil
}

// remember loads the saved states. A run that was under way in them was cut off.
func (d *Daemon) remember(states map[string]record.State) {
	d.past = make(map[string]record.State, len(states))
	for name, s := range states {
		if !s.Begun.IsZero() {
			result := mirror.Result{Job: name, Started: s.Begun, Err: errCutOff}
			s = ended(s, result, "", true, s.Begun)
			run := runOf(name, result, s)
			d.writes <- write{"the run that was cut off", func(ctx context.Context) error { return d.options.Memory.KeepRun(ctx, run.JobRun, run.State) }}
		}
		d.past[name] = s
	}
}

// errCutOff is the error of a run whose end no one has seen.
var errCutOff = errors.New("the process ended before the run did")

// save queues the changed states for writing.
func (d *Daemon) save() {
	if len(d.changed) == 0 {
		return
	}
	states := make(map[string]record.State, len(d.changed))
	for name := range d.changed {
		if e, ok := d.entries[name]; ok {
			states[name] = e.state
		} else {
			states[name] = d.past[name]
		}
	}
	clear(d.changed)
	d.writes <- write{"the states of jobs", func(ctx context.Context) error { return d.options.Memory.KeepJobs(ctx, states) }}
}

// until returns a context that also ends when stop is closed.
func until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// lastWrites limits the remaining writes after the daemon's context has ended.
const lastWrites = 250 * time.Millisecond

// writeAll makes the writes, and the remaining ones when the daemon ends.
func (d *Daemon) writeAll(life context.Context, written chan<- struct{}) {
	defer close(written)
	ctx, drop := context.WithCancel(context.WithoutCancel(life))
	defer drop()
	defer context.AfterFunc(life, func() { time.AfterFunc(lastWrites, drop) })()
	for w := range d.writes {
		if err := w.do(ctx); err != nil {
			d.options.Log.LogAttrs(ctx, slog.LevelDebug, "the store could not keep "+w.what, slog.Any("err", err)) //nolint:sloglint // one of a few; the store has warned
		}
	}
}

// loop is the main loop. Each turn starts what is due, and waits for the next event.
func (d *Daemon) loop(ctx context.Context, stop <-chan struct{}, cancel context.CancelFunc) {
	pulse := d.pulse()
	defer pulse.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	grace := time.NewTimer(time.Hour)
	grace.Stop()
	defer grace.Stop()
	for !d.stopped || len(d.running) > 0 || d.reload.busy {
		d.start()
		d.save()
		d.say()
		d.arm(due)
		select {
		case <-due.C:
		case f := <-d.done:
			f()
		case f := <-d.asks:
			f()
		case <-d.options.Changed:
			d.requestReload("file", nil)
		case <-pulse.C:
			d.tell(d.options.Manager.Watchdog())
		case <-stop:
			stop = nil
			grace.Reset(d.current.Grace)
			d.stop()
		case <-grace.C:
			d.options.Log.LogAttrs(ctx, slog.LevelWarn, "the time for what is under way is over; ending it", slog.Duration("duration", d.current.Grace))
			cancel()
		case <-ctx.Done():
			d.stop()
			ctx = context.WithoutCancel(ctx) // once is enough
		}
	}
	d.save()
	for _, answer := range d.reload.waiting {
		answer <- ErrStopping
	}
	d.current.retired = true
	d.current.release()
}

// pulse ticks as often as the service manager's watchdog wants.
func (d *Daemon) pulse() *time.Ticker {
	interval := d.options.Manager.WatchdogInterval()
	if interval <= 0 {
		t := time.NewTicker(time.Hour)
		t.Stop()
		return t
	}
	d.tell(d.options.Manager.Watchdog())
	return time.NewTicker(interval)
}

// longestSleep is how long a changed clock, or a sleep of the machine, may go unnoticed.
const longestSleep = time.Minute

// arm sets the timer to the time when the next job is due and has a free slot.
func (d *Daemon) arm(timer *time.Timer) {
	at, ok := d.queue.Next()
	if !ok || d.stopped {
		timer.Stop()
		return
	}
	if free, next := d.slots(); free <= 0 && next.After(at) {
		at = next
	}
	timer.Reset(min(max(0, time.Until(at)), longestSleep))
}

// stop ends the start of new runs.
func (d *Daemon) stop() {
	if d.stopped {
		return
	}
	d.stopped = true
	close(d.draining)
	d.tell(d.options.Manager.Stopping())
	d.options.Log.LogAttrs(d.ctx, slog.LevelInfo, "stopping", slog.String("reason", fmt.Sprintf("%d jobs under way", len(d.running))))
}

// do has the loop execute f, and waits until it has.
func (d *Daemon) do(ctx context.Context, f func()) error {
	executed := make(chan struct{})
	select {
	case d.asks <- func() { f(); close(executed) }:
		<-executed
		return nil
	case <-d.gone:
		return ErrStopping
	case <-ctx.Done():
		return fmt.Errorf("the daemon does not answer: %w", ctx.Err())
	}
}

// tell logs a failed message to the service manager, which has no other effect.
func (d *Daemon) tell(err error) {
	if err != nil {
		d.options.Log.LogAttrs(d.ctx, slog.LevelDebug, "the service manager cannot be reached", slog.Any("err", err))
	}
}

// say tells the service manager what the daemon does, if that has changed.
func (d *Daemon) say() {
	if words := d.words(); words != d.lastWords {
		d.lastWords = words
		d.tell(d.options.Manager.Status(words))
	}
}

func (d *Daemon) words() string {
	switch {
	case d.stopped:
		return fmt.Sprintf("stopping, %d jobs under way", len(d.running))
	case d.reload.rejected != nil:
		return fmt.Sprintf("config rejected, running that of %s: %v", d.current.at.Format(time.TimeOnly), firstLine(d.reload.rejected))
	case len(d.running) > 0:
		return fmt.Sprintf("%d of %d jobs under way", len(d.running), len(d.entries))
	}
	at, ok := d.queue.Next()
	if !ok {
		return fmt.Sprintf("%d jobs, none due", len(d.entries))
	}
	return fmt.Sprintf("%d jobs, the next at %s", len(d.entries), at.UTC().Format(time.RFC3339))
}
