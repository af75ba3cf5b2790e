package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Work hands out jobs that are due, each to one process at a time. Its methods may be called from any goroutine, and may wait for others, as
// long as their contexts last.
type Work interface {
	// Take claims the first job that is due, of those between registries that are not full. If there is none it returns nil, and when the
	// next one is due, zero for never.
	Take(ctx context.Context, full []string) (claim *record.Claim, next time.Time, err error)
	// End records the run of a claim, and the state of its job after it. The error is record.ErrLost if others may have taken the job since.
	End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error
	// GiveBack ends a claim as if its job had not been taken.
	GiveBack(ctx context.Context, claim *record.Claim) error
	// Wake receives when a job may be due sooner than Take has said; nil for never.
	Wake() <-chan struct{}
}

// Plans says which jobs there are, and what somebody asks for.
type Plans interface {
	// Offer switches to other jobs, and keeps the state of unchanged ones. It returns when the first of them is due, zero for never. It
	// fails only if ctx ends.
	Offer(ctx context.Context, jobs []Job) (next time.Time, err error)
	// Ask has a job run now, or right after its current run. It returns false if there is no such job.
	Ask(ctx context.Context, job string) (found bool, err error)
	// Look has a job look at tags soon. It ignores jobs that there are not.
	Look(ctx context.Context, job string, tags []string) error
	// Pause has a job start no run but those that someone asks for from now on, and Resume ends that; all jobs where the name is empty. Both
	// return once it lasts, and false if there is no such job.
	Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error)
	Resume(ctx context.Context, job string) (found bool, err error)
	// Leave makes the remaining writes, as far as ctx allows.
	Leave(ctx context.Context)
}

// View shows all jobs, and the processes that work on them.
type View interface {
	// Board returns the status of all jobs, without the progress of runs.
	Board(ctx context.Context) ([]record.JobStatus, error)
	// Paused returns the pause of all jobs, nil for none.
	Paused(ctx context.Context) (*record.Pause, error)
	// Replicas returns the processes that work on the jobs; none where this one is alone.
	Replicas(ctx context.Context) ([]record.Replica, error)
	// Ledger returns how the others are reached, nil where this process is alone.
	Ledger() *record.Ledger
	// Generations returns the hash of the jobs of this process and that of the jobs in force, both empty where it is alone.
	Generations() (own, inForce string)
	// Now is the clock by which jobs are due.
	Now() time.Time
}

// order has the taker do what may wait, and then the loop what done says, before the taker gets another order.
func (d *Daemon) order(work func() (done func())) {
	d.ordered = true
	d.orders <- func() {
		done := work()
		d.done <- func() { d.ordered = false; done() }
	}
}

// take executes orders, beside the loop, until there will be no more.
func (d *Daemon) take() {
	for f := range d.orders {
		f()
	}
}

// start has due jobs taken while there are free slots. Runs that wait for their registries take no slots, but there are at most as many runs
// between the same registries as there are slots.
func (d *Daemon) start() {
	if d.ordered {
		return
	}
	if offer := d.offer; offer != nil {
		d.offer = nil
		d.order(func() func() {
			next, err := d.options.Plans.Offer(d.building, offer.jobs)
			return func() { d.soon(next); offer.done(err) }
		})
		return
	}
	if d.stopped || d.next.IsZero() || d.next.After(time.Now()) {
		return
	}
	if full, most := d.room(); most > 0 {
		d.next = time.Time{} // unless somebody asks for something meanwhile
		d.order(func() func() { return d.takeSome(full, most) })
	}
}

// takePause is the pause after a failure to take jobs.
const takePause = time.Second

// takeSome takes up to a number of jobs, and hands each to the loop at once.
func (d *Daemon) takeSome(full []string, most int) (done func()) {
	for ; ; most-- {
		claim, next, err := d.options.Work.Take(d.building, full)
		switch {
		case err != nil:
			return func() { d.soon(clock().Add(takePause)) }
		case claim == nil:
			return func() { d.soon(next) }
		case most <= 1:
			return func() { d.accept(claim); d.soon(clock()) } // there may be more
		}
		d.done <- func() { d.accept(claim) }
	}
}

// soon has jobs taken at a time, zero for never, or sooner if that is so already.
func (d *Daemon) soon(at time.Time) {
	if d.next.IsZero() || !at.IsZero() && at.Before(d.next) {
		d.next = at
	}
}

// room returns the registries between which no more jobs may run, and how many jobs may be taken at once between the others.
func (d *Daemon) room() (full []string, most int) {
	most, _ = d.slots()
	for registries, n := range d.between {
		if left := d.current.Parallel - n; left > 0 {
			most = min(most, left)
		} else {
			full = append(full, registries)
		}
	}
	return full, most
}

// accept begins the run of a claim; unless the job's last run, whose end may be known sooner to others than to the loop, is still to be told of.
func (d *Daemon) accept(claim *record.Claim) {
	job := d.current.jobs[claim.Job]
	switch r := d.running[claim.Job]; {
	case r != nil:
		r.next = claim
	case d.stopped || job == nil || job.Fingerprint != claim.Fingerprint:
		d.giveBack(claim, takePause) // otherwise it would be taken again at once
	default:
		if opens := outside(*job, claim, d.options.View.Now()); !opens.IsZero() {
			d.options.Log.LogAttrs(d.ctx, slog.LevelInfo, "outside of its windows, deferred", slog.String("job", job.Name), slog.Time("retry_at", opens))
			claim.State = delayed(claim.State, opens)
			d.giveBack(claim, 0)
			return
		}
		d.begin(claim, nil)
	}
}

// giveBack gives a claim back after a time, or sooner if the daemon stops.
func (d *Daemon) giveBack(claim *record.Claim, after time.Duration) {
	d.returning++
	go func() {
		select {
		case <-time.After(after):
		case <-d.building.Done():
		}
		_ = d.options.Work.GiveBack(d.last, claim) // it is lost, or the process ends
		d.done <- func() { d.returning--; d.soon(clock()) }
	}()
}
