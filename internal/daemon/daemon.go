package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Options of a [Daemon]. All are required except Claims, Parts and Changed.
type Options struct {
	Build Build
	// Work, Plans and View keep the jobs, as Alone does.
	Work    Work
	Plans   Plans
	View    View
	Events  Events
	Manager Manager
	// Claims are of jobs that are to run at once; nil where other processes may run them.
	Claims Claims
	// Parts are shared with other processes; nil where there are none.
	Parts Parts
	// Changed receives when the inputs of Build may have changed; nil for never.
	Changed <-chan struct{}
	Log     *slog.Logger
}

// Daemon runs the jobs of a config. Its methods may be called from any goroutine during Run.
type Daemon struct {
	options Options
	// asks are calls from other goroutines, done what has ended in those that the loop has begun; the loop executes them. Nothing receives
	// once gone is closed.
	asks chan func()
	done chan func()
	gone chan struct{}
	// orders are what the taker executes, one at a time.
	orders chan func()

	// The loop owns what follows.
	ctx      context.Context //nolint:containedctx // Run's, for what it starts
	building context.Context //nolint:containedctx // the same, for builds, which a stop cancels at once
	last     context.Context //nolint:containedctx // for what is to be recorded: a moment longer
	current  *built
	// running are the jobs that run, by name; between counts them by registries.
	running map[string]*running
	between map[string]int
	// next is when the next job is due, zero for never.
	next time.Time
	// ordered is set while the taker executes an order, offer is the next one where jobs are to be offered, and returning counts claims that
	// are given back.
	ordered   bool
	offer     *offer
	returning int
	// assisting counts the parts of others under way, and one for the taker of them.
	assisting int
	// planning counts the plans under way.
	planning int
	// ended is when the last run ended.
	ended     time.Time
	reload    reload
	draining  chan struct{}
	stopped   bool
	started   time.Time
	lastWords string

	builder builder
}

// New returns a daemon, which does nothing before Run.
func New(options Options) *Daemon {
	d := &Daemon{
		options: options, asks: make(chan func()), done: make(chan func(), 16), gone: make(chan struct{}), orders: make(chan func(), 1),
		running: map[string]*running{}, between: map[string]int{}, draining: make(chan struct{}),
	}
	d.builder = builder{build: options.Build, slot: make(chan struct{}, 1), late: func() { _ = d.Reload(d.building, "file") }}
	return d
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
	last, drop := lastingOn(ctx, lastWrites)
	defer drop()
	d.last = last
	defer d.options.Plans.Leave(last)
	first, err := d.builder.Build(building)
	switch {
	case err == nil && building.Err() != nil:
		first.Close()
		return nil
	case building.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	d.adopt(first)
	if d.next, err = d.options.Plans.Offer(building, first.Jobs); err != nil {
		first.Close()
		return nil
	}
	d.reload.succeeded(d.started)
	if first.Rejected != nil {
		d.reject("start", first.Rejected, true, d.started)
	}
	d.options.Events.Reloaded(d.started, d.current.number, first.Rejected)
	d.tell(d.options.Manager.Ready(d.words()))
	d.loop(ctx, stop, cancel)
	return nil
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

// lastingOn returns a context that ends a moment after ctx has.
func lastingOn(ctx context.Context, moment time.Duration) (context.Context, context.CancelFunc) {
	last, end := context.WithCancel(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() { time.AfterFunc(moment, end) })
	return last, func() { unwatch(); end() }
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
	d.soon(clock()) // also where no job is due
	go d.take()
	d.assist()
	defer close(d.orders)
	for !d.stopped || len(d.running) > 0 || d.reload.busy || d.ordered || d.returning > 0 || d.assisting > 0 || d.planning > 0 {
		d.start()
		d.say()
		d.arm(due)
		select {
		case <-due.C:
		case f := <-d.done:
			f()
		case f := <-d.asks:
			f()
		case <-d.options.Work.Wake():
			d.soon(clock())
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

// arm sets the timer to the time when the next job is due and has a free slot. The end of an order needs none.
func (d *Daemon) arm(timer *time.Timer) {
	at := d.next
	if at.IsZero() || d.stopped || d.ordered {
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
	d.refuse(d.reload.waiting)
	d.reload.waiting = nil
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

// say tells the service manager what the daemon does, if that has changed and is not about to.
func (d *Daemon) say() {
	if d.ordered && !d.stopped {
		return
	}
	if words := d.words(); words != d.lastWords {
		d.lastWords = words
		d.tell(d.options.Manager.Status(words))
	}
}

func (d *Daemon) words() string {
	switch {
	case d.stopped:
		return fmt.Sprintf("stopping, %d jobs under way", len(d.running))
	case d.reload.partly:
		return fmt.Sprintf("some files of the config rejected: %v", firstLine(d.reload.rejected))
	case d.reload.rejected != nil:
		return fmt.Sprintf("config rejected, running that of %s: %v", d.current.at.Format(time.TimeOnly), firstLine(d.reload.rejected))
	case len(d.running) > 0:
		jobs := len(d.current.jobs)
		for name := range d.running {
			if d.current.jobs[name] == nil {
				jobs++
			}
		}
		return fmt.Sprintf("%d of %d jobs under way", len(d.running), jobs)
	case d.next.IsZero():
		return fmt.Sprintf("%d jobs, none due", len(d.current.jobs))
	}
	return fmt.Sprintf("%d jobs, the next at %s", len(d.current.jobs), d.next.UTC().Format(time.RFC3339))
}

func firstLine(err error) string {
	line, rest, more := strings.Cut(err.Error(), "\n")
	if more && rest != "" {
		line += " …"
	}
	return cmp.Or(line, "no reason given")
}
