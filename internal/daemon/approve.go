package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Claims hands out a job whether it is due or not.
type Claims interface {
	// Claim takes a job for the imports of a plan, which change nothing about when it is due. It returns nil if the job runs, or is not there.
	Claim(job string) *record.Claim
}

const (
	// maxPlanning is how many plans may be under way at once, and planLasts is how long one may take.
	maxPlanning = 2
	planLasts   = 10 * time.Minute
	// maxApproved is how many approved plans may run at once.
	maxApproved = 4
)

var (
	// ErrBusy says that as much as may be is under way.
	ErrBusy = errors.New("too much is under way")
	// ErrStale says that a plan is not one of the job as it is now.
	ErrStale = errors.New("the plan does not hold any more")
	// ErrShared says that a job may run at other processes.
	ErrShared = errors.New("replicas share the jobs, so that none of them runs an approved plan")

	errPlanLasts = fmt.Errorf("the plan took longer than %s", planLasts)
)

// Plan has a plan of a job made beside its runs, and returns the fingerprint of the job, empty if there is no such job. done is called with what
// the plan has. A stop of the daemon ends the plan.
func (d *Daemon) Plan(ctx context.Context, job string, watcher mirror.Watcher, done func(mirror.Result)) (fingerprint string, err error) {
	asked := d.do(ctx, func() {
		b, j := d.current, d.current.jobs[job]
		switch {
		case d.stopped:
			err = ErrStopping
		case j == nil:
		case d.planning >= maxPlanning:
			err = fmt.Errorf("%w: %d plans", ErrBusy, d.planning)
		default:
			fingerprint = j.Fingerprint
			d.planning++
			b.runs++
			go func() {
				ctx, cancel := context.WithTimeoutCause(d.building, planLasts, errPlanLasts)
				defer cancel()
				result := b.Plan(ctx, job, watcher)
				if cause := context.Cause(ctx); cause != nil && d.building.Err() == nil {
					result.Err = cause
				} else if cause != nil {
					result.Err = ErrStopping
				}
				done(result)
				d.done <- func() { d.planning--; b.runs--; b.release() }
			}()
		}
	})
	if asked != nil {
		return "", asked
	}
	return fingerprint, err
}

// Approve begins a run of a job that makes the imports of a plan and no others. The job must be as it was when the plan was made, and must not run.
func (d *Daemon) Approve(ctx context.Context, job, fingerprint string, imports []diff.Action) (err error) {
	if d.options.Claims == nil {
		return ErrShared
	}
	asked := d.do(ctx, func() { err = d.approve(job, fingerprint, imports) })
	if asked != nil {
		return asked
	}
	return err
}

func (d *Daemon) approve(job, fingerprint string, imports []diff.Action) error {
	under := 0
	for _, r := range d.running {
		if r.claim.Approved {
			under++
		}
	}
	switch j := d.current.jobs[job]; {
	case d.stopped:
		return ErrStopping
	case j == nil:
		return fmt.Errorf("%w: the config has no mapping %q any more", ErrStale, job)
	case j.Fingerprint != fingerprint:
		return fmt.Errorf("%w: the mapping %q has changed", ErrStale, job)
	case under >= maxApproved:
		return fmt.Errorf("%w: %d approved plans", ErrBusy, under)
	case d.running[job] != nil:
		return fmt.Errorf("%w: %q runs", ErrBusy, job)
	}
	claim := d.options.Claims.Claim(job)
	if claim == nil {
		return fmt.Errorf("%w: %q runs", ErrBusy, job)
	}
	d.options.Log.LogAttrs(d.ctx, slog.LevelInfo, "an approved plan runs", slog.String("job", job), slog.String("reason", fmt.Sprintf("%d imports", len(imports))))
	d.begin(claim, imports)
	return nil
}

// Claim implements [Claims].
func (a *Alone) Claim(job string) *record.Claim {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.entries[job]
	if e == nil || e.removed || e.token != 0 {
		return nil
	}
	a.unqueue(job)
	a.tokens++
	e.token = a.tokens
	claim := &record.Claim{Job: job, Fingerprint: e.Fingerprint, Token: e.token, Begun: clock(), State: e.state, Approved: true}
	e.state = claimed(claim)
	a.save(e)
	return claim
}

// approvedEnd returns a job's state after a run of an approved plan, and what is to be said of the run. It changes nothing about other runs.
func approvedEnd(s record.State, result mirror.Result, stopping bool, now time.Time) (record.State, record.Run) {
	run := record.Run{Started: s.Begun, Ended: now, Trigger: s.BegunBy, Counts: result.Counts()}
	run.Outcome, run.Error = verdict(result)
	if stopping && cut(result) {
		run.Outcome = record.RunCutOff
	}
	s.Begun, s.BegunBy = time.Time{}, ""
	return s, run
}
