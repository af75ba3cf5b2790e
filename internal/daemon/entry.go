package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
)

// entry is a job with its place in time.
type entry struct {
	Job
	state record.State
	// running is the run under way, nil for none.
	running *running
	// removed is set where the job is no more, and only its run is under way.
	removed bool
}

// running is one run under way.
type running struct {
	built   *built
	tracker *tracker
	// fingerprint is that of the job as it runs.
	fingerprint string
}

// adopt takes over a generation. What is known of jobs that it does not have is given up, and unchanged jobs keep all that is.
func (d *Daemon) adopt(g Generation) {
	now := clock()
	next := &built{Generation: g, at: now, number: 1}
	if d.current != nil {
		next.number = d.current.number + 1
		d.current.retired = true
		defer d.current.release()
	}
	d.current = next
	g.Take()
	wanted := make(map[string]bool, len(g.Jobs))
	for _, job := range g.Jobs {
		wanted[job.Name] = true
		e, known := d.entries[job.Name]
		if !known {
			e = &entry{Job: job, state: d.past[job.Name]}
			delete(d.past, job.Name)
			d.entries[job.Name] = e
		}
		if known && !e.removed && e.Fingerprint == job.Fingerprint {
			continue
		}
		if every, ok := job.Schedule.Every(); e.state.Anchor.IsZero() || ok && !sameEvery(e.Schedule, every, known) {
			e.state.Anchor = now
		}
		if cmp.Or(e.state.Planned, e.state.Fingerprint) != job.Fingerprint {
			e.state.Due, e.state.Deferred = time.Time{}, time.Time{}
		}
		e.Job, e.removed = job, false
		d.plan(e, now)
		d.changed[job.Name] = true
	}
	for name, e := range d.entries {
		if !wanted[name] {
			d.remove(name, e)
		}
	}
	d.requeue() // there may be more slots now
}

// sameEvery tells whether a job keeps the phase of its "@every": a new one of this process has it from its memory.
func sameEvery(before schedule.Schedule, every time.Duration, known bool) bool {
	was, ok := before.Every()
	return !known || ok && was == every
}

func (d *Daemon) remove(name string, e *entry) {
	d.unqueue(name)
	e.removed, e.state.Asked = true, false
	d.forget(e)
	d.options.Events.Removed(name)
}

// forget drops a job that is no more and does not run. Its state stays, as it does in the memory: the job may come back.
func (d *Daemon) forget(e *entry) {
	if e.removed && e.running == nil {
		delete(d.entries, e.Name)
		d.past[e.Name] = e.state
	}
}

// plan decides when a job runs next. One that runs is planned when it has ended.
func (d *Daemon) plan(e *entry, now time.Time) {
	if e.running != nil {
		return
	}
	e.state.Due, e.state.Trigger = e.next(now)
	e.state.Planned = e.Fingerprint
	d.changed[e.Name] = true
	if e.state.Due.IsZero() {
		d.unqueue(e.Name)
	} else {
		d.unqueue(e.Name)
		d.queue.Put(e.Name, e.state.Due, e.Priority)
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

// next returns when the job runs next, and why. What was planned before stays where it comes first, so that a restart puts nothing off.
func (e *entry) next(now time.Time) (time.Time, record.Trigger) {
	due, trigger := e.after(now)
	if planned := e.state.Due; !planned.IsZero() && (due.IsZero() || planned.Before(due)) {
		return planned, e.state.Trigger
	}
	return due, trigger
}

// after returns when the job runs next after what has happened to it.
func (e *entry) after(now time.Time) (time.Time, record.Trigger) {
	s := &e.state
	last, trigger := s.Started, record.Scheduled
	if last.IsZero() || s.Fingerprint != e.Fingerprint {
		last, trigger = time.Time{}, record.First
	}
	switch {
	case s.Asked:
		return now, record.Asked
	case cutOff(*s) && trigger == record.First:
		return now, record.First
	case cutOff(*s):
		return now, s.Last.Trigger
	}
	due := schedule.Due(e.Schedule, e.Name, e.Jitter, last, s.Anchor, now)
	if trigger == record.First {
		return due, record.First
	}
	for _, again := range []time.Time{s.Deferred, again(*s)} {
		if again.IsZero() {
			continue
		}
		if again = again.Add(-max(0, s.Ended.Sub(now))); due.IsZero() || again.Before(due) { // the clock may have been set back
			due, trigger = again, record.Retried
		}
	}
	return due, trigger
}

// cutOff tells whether the last run was cut off, and nothing has run since.
func cutOff(s record.State) bool { return s.Last != nil && s.Last.Outcome == record.RunCutOff }

// clock is the time as states have it.
func clock() time.Time { return time.Now().Truncate(time.Millisecond) }

// The pauses after failed runs, of which each is twice the one before.
const (
	firstPause   = time.Minute
	longestPause = 6 * time.Hour
)

// again returns when a job is to run again since its last run has failed; zero where that went well. Without this a registry that is
// away for a minute would cost a daily job a day, and a job without a schedule everything.
func again(s record.State) time.Time {
	if s.Failures == 0 {
		return time.Time{}
	}
	pause := longestPause
	if shift := s.Failures - 1; shift < 16 {
		pause = min(firstPause<<shift, longestPause)
	}
	return s.Ended.Add(pause)
}

// start begins the runs of jobs that are due, as far as there are free slots. Where all that jobs of the same registries may have are taken, by
// runs that wait for these, a job is set aside until a run ends.
func (d *Daemon) start() {
	if d.stopped {
		return
	}
	now := clock()
	d.resume(now)
	for free, _ := d.slots(); free > 0; {
		names := d.queue.Pop(now, 1)
		if len(names) == 0 {
			return
		}
		if e := d.entries[names[0]]; d.between(e.Registries) < d.current.Parallel {
			d.begin(e, now)
			free--
		} else {
			d.setAside(e)
		}
	}
}

func (d *Daemon) setAside(e *entry) {
	if d.aside[e.Registries] == nil {
		d.aside[e.Registries] = &schedule.Queue{}
	}
	d.aside[e.Registries].Put(e.Name, e.state.Due, e.Priority)
}

// resume has jobs that were set aside be looked at again, of each registries as many as may run there: there may be very many more.
func (d *Daemon) resume(now time.Time) {
	for registries, q := range d.aside {
		room := d.current.Parallel - d.between(registries)
		names := q.Pop(now, room)
		if room > 0 && len(names) == 0 { // the clock was set back
			names = q.Pop(never, math.MaxInt)
		}
		d.takeBack(registries, names)
	}
}

// takeBack queues jobs that were set aside.
func (d *Daemon) takeBack(registries string, names []string) {
	for _, name := range names {
		e := d.entries[name]
		d.queue.Put(name, e.state.Due, e.Priority)
	}
	if _, more := d.aside[registries].Next(); !more {
		delete(d.aside, registries)
	}
}

// slots returns how many slots are free, and when the next is at the latest unless its run gets on: one that waits for its registries
// holds none.
func (d *Daemon) slots() (free int, next time.Time) {
	free, now := d.current.Parallel, time.Now()
	for e := range d.running {
		if _, waits := e.running.tracker.times(); waits.After(now) {
			free--
			if next.IsZero() || waits.Before(next) {
				next = waits
			}
		}
	}
	return free, next
}

// between counts the runs between some registries.
func (d *Daemon) between(registries string) (n int) {
	for e := range d.running {
		if e.Registries == registries {
			n++
		}
	}
	return n
}

// unqueue takes a job out of all that is due.
func (d *Daemon) unqueue(name string) {
	d.queue.Remove(name)
	for _, q := range d.aside {
		q.Remove(name)
	}
}

// requeue has all that were set aside be looked at again, whatever the clock says.
func (d *Daemon) requeue() {
	for registries, q := range d.aside {
		d.takeBack(registries, q.Pop(never, math.MaxInt))
	}
}

// never is later than any time at which a job is due.
var never = time.Unix(1<<40, 0)

func (d *Daemon) begin(e *entry, now time.Time) {
	r := &running{built: d.current, tracker: newTracker(), fingerprint: e.Fingerprint}
	e.running = r
	e.state.Begun, e.state.BegunBy = now, e.state.Trigger
	e.state.Asked, e.state.Due, e.state.Deferred = false, time.Time{}, time.Time{}
	d.changed[e.Name] = true
	d.running[e] = struct{}{}
	r.built.runs++
	d.options.Log.LogAttrs(d.ctx, slog.LevelDebug, "job started", slog.String("job", e.Name), slog.String("reason", string(e.state.BegunBy)))
	name, ctx := e.Name, d.ctx
	go func() {
		result := r.built.Run(ctx, name, d.draining, r.tracker)
		d.done <- func() { d.end(e, result) }
	}()
}

// end takes in the result of a run.
func (d *Daemon) end(e *entry, result mirror.Result) {
	r, now := e.running, clock()
	e.running = nil
	delete(d.running, e)
	r.built.runs--
	r.built.release()
	d.ended = now
	before := e.state
	ended(&e.state, result, r.fingerprint, d.stopped, now)
	run := runOf(e.Name, result, e.state)
	if !e.removed {
		d.options.Events.Ran(run, before)
		d.plan(e, now)
		run.State = e.state
	}
	d.forget(e)
	delete(d.changed, e.Name) // it is kept with the run
	d.writes <- write{"the run", func(ctx context.Context) error { return d.options.Memory.KeepRun(ctx, run.JobRun, run.State) }}
}

// runOf is a run that has ended: its job has that state after it. What was kept as it is has no action in its record.
func runOf(job string, result mirror.Result, state record.State) Run {
	run := Run{JobRun: record.JobRun{Job: job, Run: *state.Last}, Result: result, State: state}
	run.Duration = record.Seconds(run.Ended.Sub(run.Started))
	for _, out := range result.Outcomes {
		if out.Status != record.Kept {
			run.Actions = append(run.Actions, out.Record())
		}
	}
	return run
}

// ended takes in the result of the run under way; stopping tells that the daemon stops.
func ended(s *record.State, result mirror.Result, fingerprint string, stopping bool, now time.Time) {
	s.Last = &record.Run{Started: s.Begun, Ended: now, Trigger: s.BegunBy, Counts: result.Counts()}
	s.Last.Outcome, s.Last.Error = verdict(result)
	s.Begun, s.BegunBy, s.Ended, s.Deferred = time.Time{}, "", now, time.Time{}
	if stopping && cut(result) {
		s.Last.Outcome = record.RunCutOff
		return
	}
	s.Fingerprint, s.Started = fingerprint, s.Last.Started
	switch s.Last.Outcome {
	case record.RunOK:
		s.Succeeded, s.Failures = now, 0
	case record.RunFailed, record.RunPartly:
		s.Failures++
	case record.RunDeferred, record.RunCutOff:
	}
	at := waits(result)
	if result.Progress() {
		s.Given = now
	}
	if result.Progress() || at.IsZero() {
		s.Vain = 0
	}
	if !at.IsZero() {
		s.Deferred = turn(mirror.Again(at, now, s.Vain), s.Given, now).Add(time.Millisecond - 1).Truncate(time.Millisecond)
		s.Vain++
	}
}

// cut tells whether a run that ended while the daemon stops has not done all that it could: then it counts as not made, and is due at the
// next start. A failure then may be that of what was ended.
func cut(result mirror.Result) bool {
	return result.Err != nil || slices.ContainsFunc(result.Outcomes, func(out mirror.Outcome) bool {
		return out.Status == record.Failed || out.Status == record.Deferred && (out.RetryAt.IsZero() || errors.Is(out.Err, mirror.ErrStopping))
	})
}

// verdict tells how a run ended, and the most frequent cause of failures. What is refused was not to do; what is deferred still is, and
// no failure.
func verdict(result mirror.Result) (outcome record.Result, why string) {
	if result.Err != nil {
		return record.RunFailed, record.Text(result.Err.Error())
	}
	if causes := mirror.Causes(result); len(causes) > 0 {
		why = causes[0].String()
		if others := len(causes) - 1; others > 0 {
			why = fmt.Sprintf("%s; and %d more errors", why, others)
		}
	}
	return result.Counts().Result(), record.Text(why)
}

// waits returns when the first of what is deferred may be tried again, zero for nothing.
func waits(result mirror.Result) (at time.Time) {
	for _, out := range result.Outcomes {
		if out.Status == record.Deferred && !out.RetryAt.IsZero() && (at.IsZero() || out.RetryAt.Before(at)) {
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
