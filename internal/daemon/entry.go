package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/schedule"
)

// entry is a job with its place in time.
type entry struct {
	Job
	state State
	// due is when it runs next, zero for never; trigger is why it will.
	due     time.Time
	trigger Trigger
	// running is the run under way, nil for none.
	running *running
	// asked is set where another run is wanted right after the one under way.
	asked bool
	// removed is set where the job is no more, and only its run is under way.
	removed bool
	// result is that of the last run of this process; nil for none.
	result *mirror.Result
	// waits is until when what a registry's budget has deferred waits; zero for nothing. given is when it was last given anything.
	waits, given time.Time
	// vain is how many runs in a row have left something deferred and brought nothing.
	vain int
}

// running is one run under way.
type running struct {
	started time.Time
	trigger Trigger
	built   *built
	tracker *tracker
	// fingerprint is that of the job as it runs.
	fingerprint string
}

// adopt takes over a generation. What is known of jobs that it does not have is given up, and unchanged jobs keep all that is.
func (d *Daemon) adopt(g Generation, states map[string]State) {
	now := time.Now()
	next := &built{Generation: g, at: now, number: 1}
	if d.current != nil {
		next.number = d.current.number + 1
		d.current.retired = true
		defer d.current.release()
	}
	d.current = next
	g.Take()
	wanted := make(map[string]bool, len(g.Jobs))
	anchors := map[string]time.Time{}
	for _, job := range g.Jobs {
		wanted[job.Name] = true
		e, known := d.entries[job.Name]
		if !known {
			e = &entry{Job: job, state: states[job.Name]}
			d.entries[job.Name] = e
		}
		if known && !e.removed && e.Fingerprint == job.Fingerprint {
			continue
		}
		if every, ok := job.Schedule.Every(); e.state.Anchor.IsZero() || ok && !sameEvery(e.Schedule, every, known) {
			e.state.Anchor = now
			anchors[job.Name] = now
		}
		e.Job, e.removed, e.waits = job, false, time.Time{}
		d.plan(e, now)
	}
	for name, e := range d.entries {
		if !wanted[name] {
			d.remove(name, e)
		}
	}
	if len(anchors) > 0 {
		d.writes <- write{"the phase of schedules", func(ctx context.Context) error { return d.options.Memory.Anchor(ctx, anchors) }}
	}
}

// sameEvery tells whether a job keeps the phase of its "@every": a new one of this process has it from its memory.
func sameEvery(before schedule.Schedule, every time.Duration, known bool) bool {
	was, ok := before.Every()
	return !known || ok && was == every
}

func (d *Daemon) remove(name string, e *entry) {
	d.queue.Remove(name)
	e.removed, e.asked = true, false
	if e.running == nil {
		delete(d.entries, name)
	}
	d.options.Events.Removed(name)
}

// plan decides when a job runs next. One that runs is planned when it has ended.
func (d *Daemon) plan(e *entry, now time.Time) {
	if e.running != nil {
		return
	}
	e.due, e.trigger = e.next(now)
	if e.due.IsZero() {
		d.queue.Remove(e.Name)
	} else {
		d.queue.Put(e.Name, e.due, e.Priority)
	}
	d.options.Events.Scheduled(e.status(now))
}

// deadline is by when a success is expected. A run that fails does not move it.
func (e *entry) deadline() time.Time {
	if e.state.Succeeded.IsZero() {
		return e.state.Anchor.Add(schedule.Offset(e.Name, e.Jitter))
	}
	return schedule.Deadline(e.Schedule, e.Name, e.Jitter, e.state.Succeeded, e.state.Anchor)
}

// next returns when the job runs next, and why.
func (e *entry) next(now time.Time) (time.Time, Trigger) {
	if e.asked {
		return now, Asked
	}
	last, trigger := e.state.Started, Scheduled
	if last.IsZero() || e.state.Fingerprint != e.Fingerprint {
		last, trigger = time.Time{}, First
	}
	due := schedule.Due(e.Schedule, e.Name, e.Jitter, last, e.state.Anchor, now)
	if trigger == First {
		return due, First
	}
	for _, again := range []time.Time{e.waits, e.state.again()} {
		if !again.IsZero() && (due.IsZero() || again.Before(due)) {
			due, trigger = again, Retried
		}
	}
	return due, trigger
}

// The pauses after failed runs, of which each is twice the one before.
const (
	firstPause   = time.Minute
	longestPause = 6 * time.Hour
)

// again returns when a job is to run again since its last run has failed; zero where that went well. Without this a registry that is
// away for a minute would cost a daily job a day, and a job without a schedule everything.
func (s State) again() time.Time {
	if s.Failures == 0 {
		return time.Time{}
	}
	pause := longestPause
	if shift := s.Failures - 1; shift < 16 {
		pause = min(firstPause<<shift, longestPause)
	}
	return s.Ended.Add(pause)
}

// start begins the runs of jobs that are due, as far as there are places.
func (d *Daemon) start() {
	if d.stopped {
		return
	}
	now := time.Now()
	for _, name := range d.queue.Pop(now, d.current.Parallel-d.running) {
		d.begin(d.entries[name], now)
	}
}

func (d *Daemon) begin(e *entry, now time.Time) {
	r := &running{started: now, trigger: e.trigger, built: d.current, tracker: newTracker(), fingerprint: e.Fingerprint}
	e.running, e.asked, e.due, e.waits = r, false, time.Time{}, time.Time{}
	d.running++
	r.built.runs++
	d.options.Log.LogAttrs(d.ctx, slog.LevelDebug, "job started", slog.String("job", e.Name), slog.String("reason", string(r.trigger)))
	name, ctx := e.Name, d.ctx
	go func() {
		result := r.built.Run(ctx, name, d.draining, r.tracker)
		d.done <- func() { d.end(e, result) }
	}()
}

// end takes in the result of a run.
func (d *Daemon) end(e *entry, result mirror.Result) {
	r, now := e.running, time.Now()
	e.running = nil
	d.running--
	r.built.runs--
	r.built.release()
	before := e.state
	if !d.cut(result) {
		e.state.Fingerprint, e.state.Started = r.fingerprint, r.started
	}
	e.state.Ended = now
	if good(result) {
		e.state.Succeeded, e.state.Failures = now, 0
	} else if !d.stopped && failed(result) {
		e.state.Failures++
	}
	at := waits(result)
	if result.Progress() {
		e.given = now
	}
	if result.Progress() || at.IsZero() {
		e.vain = 0
	}
	e.result, e.waits = &result, time.Time{}
	if !at.IsZero() {
		e.waits = turn(mirror.Again(at, now, e.vain), e.given, now)
		e.vain++
	}
	run := Run{Job: e.Name, Trigger: r.trigger, Result: result, State: e.state}
	d.writes <- write{"the run", func(ctx context.Context) error { return d.options.Memory.Keep(ctx, run) }}
	if e.removed {
		delete(d.entries, e.Name)
		return
	}
	d.options.Events.Ran(run, before)
	d.plan(e, now)
}

// cut tells whether a run ended because the daemon stops: then it counts as not made, and is due at the next start.
func (d *Daemon) cut(result mirror.Result) bool { return d.stopped && !good(result) }

// good tells whether a run did all that was to do. What is refused was not to do; what is deferred still is, and no failure.
func good(result mirror.Result) bool {
	return result.Err == nil && !slices.ContainsFunc(result.Outcomes, func(out mirror.Outcome) bool {
		return out.Status == mirror.Failed || out.Status == mirror.Deferred
	})
}

// failed tells whether anything of a run failed.
func failed(result mirror.Result) bool {
	return result.Err != nil || slices.ContainsFunc(result.Outcomes, func(out mirror.Outcome) bool { return out.Status == mirror.Failed })
}

// waits returns when the first of what is deferred may be tried again, zero for nothing.
func waits(result mirror.Result) (at time.Time) {
	for _, out := range result.Outcomes {
		if out.Status == mirror.Deferred && !out.RetryAt.IsZero() && (at.IsZero() || out.RetryAt.Before(at)) {
			at = out.RetryAt
		}
	}
	return at
}

// turn puts a job that waits for a budget behind others that wait for it, by less than a second: the further, the shorter ago it was given
// anything of it. Without that the same jobs would take all of it each time.
func turn(at, lastGiven, now time.Time) time.Time {
	if lastGiven.IsZero() {
		return at
	}
	return at.Add(time.Duration(float64(time.Second) / (1 + max(0, now.Sub(lastGiven).Minutes()))))
}

func firstLine(err error) string {
	line, rest, more := strings.Cut(err.Error(), "\n")
	if more && rest != "" {
		line += " …"
	}
	return cmp.Or(line, "no reason given")
}
