package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"math"
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
		was := job.Schedule // what a new job of this process had before is in its state
		if known {
			was = e.Schedule
		}
		e.state = adopted(e.state, was, job, now)
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
	e.state.Due, e.state.Trigger = next(e.Job, e.state, now)
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

// clock returns the time with the precision of states.
func clock() time.Time { return time.Now().Truncate(time.Millisecond) }

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
	e.state = begun(e.state, now)
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
	e.state = ended(e.state, result, r.fingerprint, d.stopped, now)
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

func firstLine(err error) string {
	line, rest, more := strings.Cut(err.Error(), "\n")
	if more && rest != "" {
		line += " …"
	}
	return cmp.Or(line, "no reason given")
}
