package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// running is a current run.
type running struct {
	claim   *record.Claim
	job     Job
	built   *built
	tracker *tracker
}

// adopt switches to a generation. It returns the jobs that are gone with the previous one.
func (d *Daemon) adopt(g Generation) (gone []string) {
	next := &built{Generation: g, at: clock(), number: 1, jobs: make(map[string]*Job, len(g.Jobs))}
	for i := range g.Jobs {
		next.jobs[g.Jobs[i].Name] = &g.Jobs[i]
	}
	if d.current != nil {
		next.number = d.current.number + 1
		for name := range d.current.jobs {
			if next.jobs[name] == nil {
				gone = append(gone, name)
			}
		}
		d.current.retired = true
		defer d.current.release()
	}
	d.current = next
	g.Take()
	return gone
}

// start begins the runs of due jobs while there are free slots. Runs that wait for their registries take no slots, but there are at most
// as many runs between the same registries as there are slots.
func (d *Daemon) start() {
	if d.stopped {
		return
	}
	for free, _ := d.slots(); free > 0; free-- {
		claim, next, err := d.alone.Take(d.ctx, d.full())
		if claim == nil || err != nil {
			d.next = next
			return
		}
		d.begin(claim)
		d.next = claim.Begun // there may be more
	}
}

// full returns the registries between which no more jobs may run.
func (d *Daemon) full() (full []string) {
	for registries, n := range d.between {
		if n >= d.current.Parallel {
			full = append(full, registries)
		}
	}
	return full
}

// slots returns the number of free slots, and when the next one becomes free at the latest unless its run makes progress: a run that waits
// for its registries takes no slot.
func (d *Daemon) slots() (free int, next time.Time) {
	free, now := d.current.Parallel, time.Now()
	for _, r := range d.running {
		if _, waits := r.tracker.times(); waits.After(now) {
			free--
			if next.IsZero() || waits.Before(next) {
				next = waits
			}
		}
	}
	return free, next
}

func (d *Daemon) begin(claim *record.Claim) {
	r := &running{claim: claim, job: *d.current.jobs[claim.Job], built: d.current, tracker: newTracker()}
	d.running[claim.Job] = r
	d.between[r.job.Registries]++
	r.built.runs++
	d.options.Log.LogAttrs(d.ctx, slog.LevelDebug, "job started", slog.String("job", claim.Job), slog.String("reason", string(claimed(claim).BegunBy)))
	ctx := d.ctx
	go func() {
		result := r.built.Run(ctx, claim.Job, claim.Some, d.draining, r.tracker)
		d.done <- func() { d.end(r, result) }
	}()
}

// end records the result of a run.
func (d *Daemon) end(r *running, result mirror.Result) {
	now := clock()
	delete(d.running, r.job.Name)
	if d.between[r.job.Registries]--; d.between[r.job.Registries] == 0 {
		delete(d.between, r.job.Registries)
	}
	r.built.runs--
	r.built.release()
	d.ended = now
	state := claimed(r.claim)
	var last record.Run
	if r.claim.Some == nil {
		state = ended(state, result, r.claim.Fingerprint, d.stopped, now)
		last = *state.Last
	} else {
		state, last = looked(state, result, r.claim, d.stopped, now)
	}
	state.Due, state.Trigger = next(r.job, state, now)
	state.Planned = r.job.Fingerprint
	run := runOf(r.job.Name, last, result, state)
	if err := d.alone.End(context.WithoutCancel(d.ctx), r.claim, run.JobRun, state); err == nil && d.current.jobs[r.job.Name] != nil {
		d.options.Events.Ran(run, r.claim.State)
	}
}
