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

// entry is a job with its state.
type entry struct {
	Job
	state record.State
	// running is the current run, nil for none.
	running *running
	// removed is set once the job is gone, and only its run remains.
	removed bool
}

// running is a current run.
type running struct {
	built   *built
	tracker *tracker
	// fingerprint is the job's when the run began.
	fingerprint string
}

// adopt switches to a generation. It drops jobs that the generation lacks, and keeps the state of unchanged ones.
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

// sameEvery reports whether a job keeps the phase of its "@every"; a new job of this process takes it from its saved state.
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

// forget drops a job that is gone and does not run. Its state stays, here and in the memory, since the job may come back.
func (d *Daemon) forget(e *entry) {
	if e.removed && e.running == nil {
		delete(d.entries, e.Name)
		d.past[e.Name] = e.state
	}
}

// plan decides when a job runs next. A running job is planned when its run has ended.
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

// deadline is the time by which a success is expected. A failed run does not move it.
func (e *entry) deadline() time.Time {
	if e.state.Succeeded.IsZero() {
		return e.state.Anchor.Add(schedule.Offset(e.Name, e.Jitter))
	}
	return schedule.Deadline(e.Schedule, e.Name, e.Jitter, e.state.Succeeded, e.state.Anchor)
}

// next returns when the job runs next, and why. An earlier plan stays if it is sooner, so that a restart delays nothing.
func (e *entry) next(now time.Time) (time.Time, record.Trigger) {
	due, trigger := e.after(now)
	if planned := e.state.Due; !planned.IsZero() && (due.IsZero() || planned.Before(due)) {
		return planned, e.state.Trigger
	}
	return due, trigger
}

// after returns when the job runs next, given its state.
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

// cutOff reports whether the last run was cut off and nothing has run since.
func cutOff(s record.State) bool { return s.Last != nil && s.Last.Outcome == record.RunCutOff }

// clock returns the time with the precision of states.
func clock() time.Time { return time.Now().Truncate(time.Millisecond) }

// The pauses after failed runs; each is twice the one before.
const (
	firstPause   = time.Minute
	longestPause = 6 * time.Hour
)

// again returns when to retry a job whose last run has failed; zero if it succeeded. Without this, a registry that is away for a minute
// would cost a daily job a day, and a job without a schedule everything.
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

// start begins the runs of due jobs while there are free slots. If waiting runs of the same registries take all slots that such jobs may
// have, it sets the job aside until a run ends.
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

// resume queues jobs that were set aside again, per registries only as many as may run, since there may be very many.
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

// slots returns the number of free slots, and when the next one becomes free at the latest unless its run makes progress: a run that waits
// for its registries takes no slot.
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

// unqueue removes a job from everything that is due.
func (d *Daemon) unqueue(name string) {
	d.queue.Remove(name)
	for _, q := range d.aside {
		q.Remove(name)
	}
}

// requeue queues all jobs that were set aside, whatever the clock says.
func (d *Daemon) requeue() {
	for registries, q := range d.aside {
		d.takeBack(registries, q.Pop(never, math.MaxInt))
	}
}

// never is later than any job's due time.
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

// end records the result of a run.
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
	delete(d.changed, e.Name) // it is saved with the run
	d.writes <- write{"the run", func(ctx context.Context) error { return d.options.Memory.KeepRun(ctx, run.JobRun, run.State) }}
}

// runOf returns the record of a run that has ended, with the state that its job has after it. Actions that changed nothing are left out.
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

// ended records the result of the current run; stopping says that the daemon stops.
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

// cut reports whether a run that ended during a stop has left work undone. It then counts as not made, and is due at the next start: its
// failures may come from the stop.
func cut(result mirror.Result) bool {
	return result.Err != nil || slices.ContainsFunc(result.Outcomes, func(out mirror.Outcome) bool {
		return out.Status == record.Failed || out.Status == record.Deferred && (out.RetryAt.IsZero() || errors.Is(out.Err, mirror.ErrStopping))
	})
}

// verdict returns the result of a run, and the most frequent cause of its failures. Refused actions need no work; deferred ones still do,
// and are no failures.
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

// waits returns when the first deferred action may be tried again, zero for none.
func waits(result mirror.Result) (at time.Time) {
	for _, out := range result.Outcomes {
		if out.Status == record.Deferred && !out.RetryAt.IsZero() && (at.IsZero() || out.RetryAt.Before(at)) {
			at = out.RetryAt
		}
	}
	return at
}

// turn delays a job that waits for a budget by less than a second, the more the more recently it got some of the budget, so that others go
// first. Otherwise the same jobs would take all of it each time.
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
