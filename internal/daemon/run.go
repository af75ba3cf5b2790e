package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/worktime"
)

// running is a current run.
type running struct {
	claim *record.Claim
	// next is the job's next claim, if that was there before the end of this run was told of.
	next    *record.Claim
	job     Job
	built   *built
	tracker *tracker
	// imports are those of the plan whose approval has begun the run.
	imports []diff.Action
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

// begin begins the run of a claim; imports are those of an approved plan.
func (d *Daemon) begin(claim *record.Claim, imports []diff.Action) {
	r := &running{claim: claim, job: *d.current.jobs[claim.Job], built: d.current, tracker: newTracker(), imports: imports}
	d.running[claim.Job] = r
	d.between[r.job.Registries]++
	r.built.runs++
	d.options.Log.LogAttrs(d.ctx, slog.LevelDebug, "job started", slog.String("job", claim.Job), slog.String("reason", string(claimed(claim).BegunBy)))
	go func() {
		run, err := d.work(r)
		d.done <- func() { d.end(r, run, err) }
	}()
}

// work runs a job, and records the run. If the claim is lost meanwhile, the run ends and is not recorded.
func (d *Daemon) work(r *running) (Run, error) {
	ctx := d.ctx
	if r.claim.Lost != nil {
		claimed, cancel := until(ctx, r.claim.Lost)
		defer cancel()
		ctx = claimed
	}
	ctx, closed, end := d.window(ctx, r)
	defer end()
	var shares mirror.Crew
	if d.options.Parts != nil {
		shares = newCrew(d.options.Parts, r.claim, d.draining)
	}
	ctx = worktime.WithThrottle(ctx, r.tracker.throttle)
	var result mirror.Result
	if r.claim.Approved {
		result = r.built.Approved(ctx, r.claim.Job, r.imports, d.draining, r.tracker)
	} else {
		result = r.built.Run(ctx, r.claim.Job, r.claim.Some, d.draining, r.tracker, shares)
	}
	if isClosed(r.claim.Lost) {
		return Run{}, d.unrecorded(r)
	}
	if isClosed(closed) && cut(result) {
		result.Err = errWindowEnded
	}
	run := r.ended(result, isClosed(d.draining) || d.ctx.Err() != nil || isClosed(closed) || outdated(result), d.options.View.Now())
	if waits := status(r.job, run.State, run.Ended); waits.OutsideWindows {
		d.options.Log.LogAttrs(d.ctx, slog.LevelInfo, "the next run waits for a window", slog.String("job", r.job.Name), slog.Time("next", waits.Due))
	}
	err := d.options.Work.End(d.last, r.claim, run.JobRun, run.State)
	if errors.Is(err, record.ErrLost) {
		err = d.unrecorded(r)
	}
	return run, err
}

// unrecorded logs that the claim of a run is lost, and returns that as an error.
func (d *Daemon) unrecorded(r *running) error {
	d.options.Log.LogAttrs(d.ctx, slog.LevelWarn, "a run is not recorded", slog.String("job", r.claim.Job), slog.Any("err", record.ErrLost))
	return record.ErrLost
}

// outdated reports whether imports of a run were refused since the job has changed meanwhile: what it has left undone is due at once, whatever the job
// is then.
func outdated(result mirror.Result) bool {
	return slices.ContainsFunc(result.Outcomes, func(out mirror.Outcome) bool { return errors.Is(out.Err, record.ErrLost) })
}

// errWindowEnded is the error of a run that was cut by the end of its window.
var errWindowEnded = errors.New("its window has ended")

// window returns the context of a run, which ends with the run's window where the job says so; closed is closed then.
func (d *Daemon) window(ctx context.Context, r *running) (of context.Context, closed chan struct{}, end func()) {
	closed = make(chan struct{})
	now := d.options.View.Now()
	outside := r.job.Windows.Opens(now).After(now)
	if outside {
		d.options.Log.LogAttrs(d.ctx, slog.LevelInfo, "runs outside of its windows, as it was asked for", slog.String("job", r.job.Name))
	}
	closes := r.job.Windows.Closes(now)
	if outside || !r.job.CutAtEnd || closes.IsZero() {
		return ctx, closed, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(closes.Sub(now), func() { close(closed); cancel(errWindowEnded) })
	return ctx, closed, func() { timer.Stop(); cancel(nil) }
}

// ended returns the record of a run that ends now; stopping says that the daemon stops.
func (r *running) ended(result mirror.Result, stopping bool, now time.Time) Run {
	state := claimed(r.claim)
	var last record.Run
	switch {
	case r.claim.Approved:
		state, last = approvedEnd(state, result, stopping, now)
	case r.claim.Some == nil:
		state = ended(state, result, r.claim.Fingerprint, stopping, now)
		last = *state.Last
	default:
		state, last = looked(state, result, r.claim, stopping, now)
	}
	state.Due, state.Trigger = next(r.job, state, now)
	state.Planned = r.job.Fingerprint
	return runOf(r.job.Name, last, result, state)
}

// isClosed reports whether a channel that only ever is closed is so.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end notes that a run has ended; err is why it was not recorded.
func (d *Daemon) end(r *running, run Run, err error) {
	delete(d.running, r.job.Name)
	if d.between[r.job.Registries]--; d.between[r.job.Registries] == 0 {
		delete(d.between, r.job.Registries)
	}
	r.built.runs--
	r.built.release()
	d.ended = time.Now()
	if err == nil && d.current.jobs[r.job.Name] != nil {
		d.options.Events.Ran(run, r.claim.State)
	}
	if r.next != nil {
		d.accept(r.next)
	}
	d.soon(clock())
}
