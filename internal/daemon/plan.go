package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
)

// What is in this file decides, and does nothing: it takes a job's state and returns another.

// errCutOff is the error of a run whose end no one has seen.
var errCutOff = errors.New("the process ended before the run did")

// adopted returns the state of a job that is new, has changed, or has come back; was is its previous schedule, which a job that is new in
// this process has in its state.
func adopted(s record.State, was schedule.Schedule, job Job, now time.Time) record.State {
	every, ok := job.Schedule.Every()
	before, same := was.Every()
	if s.Anchor.IsZero() || ok && (!same || before != every) {
		s.Anchor = now
	}
	if cmp.Or(s.Planned, s.Fingerprint) != job.Fingerprint {
		s.Due = time.Time{}
	}
	return s
}

// begun returns a job's state while it runs.
func begun(s record.State, now time.Time) record.State {
	s.Begun, s.BegunBy = now, s.Trigger
	s.Asked, s.Anyway, s.Due, s.Deferred = false, false, time.Time{}, time.Time{}
	s.Looks, s.Again, s.Tried = nil, nil, 0 // it looks at all tags
	return s
}

// next returns when a job runs next, and why. An earlier plan stays if it is sooner, so that a restart delays nothing.
func next(job Job, s record.State, now time.Time) (time.Time, record.Trigger) {
	due, trigger := after(job, s, now)
	if planned := s.Due; !planned.IsZero() && (due.IsZero() || planned.Before(due)) {
		due, trigger = planned, s.Trigger
	}
	if at := later(due, now); !due.IsZero() && trigger != record.Asked && job.Windows.Opens(at).After(at) {
		return job.Windows.Opens(at), trigger
	}
	return due, trigger
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// outside returns when the windows of a job open next, if a claim of it must wait for that; zero otherwise.
func outside(job Job, claim *record.Claim, now time.Time) time.Time {
	if opens := job.Windows.Opens(now); opens.After(now) && claimed(claim).BegunBy != record.Asked {
		return opens
	}
	return time.Time{}
}

// delayed returns the state of a job none of whose runs begins before a time.
func delayed(s record.State, until time.Time) record.State {
	if !s.Due.IsZero() {
		s.Due = later(s.Due, until)
	}
	if len(s.Looks) > 0 {
		s.LookAt = later(s.LookAt, until)
	}
	if len(s.Again) > 0 {
		s.AgainAt = later(s.AgainAt, until)
	}
	return s
}

// after returns when a job runs next, whatever was planned.
func after(job Job, s record.State, now time.Time) (time.Time, record.Trigger) {
	last, trigger := s.Started, record.Scheduled
	if last.IsZero() || s.Fingerprint != job.Fingerprint {
		last, trigger = time.Time{}, record.First
	}
	switch {
	case s.Asked:
		return now, record.Asked
	case cutOff(s) && trigger == record.First:
		return now, record.First
	case cutOff(s):
		return now, s.Last.Trigger
	}
	due := schedule.Due(job.Schedule, job.Name, job.Jitter, last, s.Anchor, now)
	if trigger == record.First {
		return due, record.First
	}
	for _, again := range []time.Time{s.Deferred, again(s)} {
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

// deadline is the time by which a success is expected. A failed run does not move it.
func deadline(job Job, s record.State) time.Time {
	at := s.Anchor.Add(schedule.Offset(job.Name, job.Jitter))
	if !s.Succeeded.IsZero() {
		at = schedule.Deadline(job.Schedule, job.Name, job.Jitter, s.Succeeded, s.Anchor)
	}
	if at.IsZero() {
		return at
	}
	return job.Windows.Opens(at)
}

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
	return s.Ended.Add(pause(s.Failures - 1))
}

// pause is how long to wait after a failed run, by how many have failed before.
func pause(before int) time.Duration {
	if before >= 16 {
		return longestPause
	}
	return min(firstPause<<before, longestPause)
}

// ended returns a job's state after a run that began with a fingerprint; stopping says that the daemon stops.
func ended(s record.State, result mirror.Result, fingerprint string, stopping bool, now time.Time) record.State {
	s.Last = &record.Run{Started: s.Begun, Ended: now, Trigger: s.BegunBy, Counts: result.Counts()}
	s.Last.Outcome, s.Last.Error = verdict(result)
	s.Begun, s.BegunBy, s.Ended, s.Deferred = time.Time{}, "", now, time.Time{}
	if stopping && cut(result) {
		s.Last.Outcome = record.RunCutOff
		return s
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
	return s
}

// merged returns a job's state after a claim, of which the claimant knows only what it has done: what others may have changed meanwhile stays.
// When the job runs next holds only if the job is still the same.
func merged(present, claimant record.State, same bool) record.State {
	claimant.Anchor, claimant.Asked, claimant.Anyway = present.Anchor, present.Asked, present.Anyway
	claimant = withLooks(claimant, present.Looks, present.LookAt) // there may be too many now
	if !same {
		claimant.Due, claimant.Trigger, claimant.Planned = present.Due, present.Trigger, present.Planned
	}
	return claimant
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

// runOf returns the record of a run that has ended, with the state that its job has after it. Actions that changed nothing are left out.
func runOf(job string, last record.Run, result mirror.Result, state record.State) Run {
	run := Run{JobRun: record.JobRun{Job: job, Run: last}, Result: result, State: state}
	run.Duration = record.Seconds(run.Ended.Sub(run.Started))
	for _, out := range result.Outcomes {
		if out.Status != record.Kept {
			run.Actions = append(run.Actions, out.Record())
		}
	}
	return run
}

// status returns what is shown of a job that has a state.
func status(job Job, s record.State, now time.Time) record.JobStatus {
	j := record.JobStatus{
		Job: job.Name, Schedule: job.Schedule.String(), Source: job.Source, Accounts: job.Accounts, Targets: job.Targets, State: record.JobIdle, Due: s.Due, Trigger: s.Trigger,
		LastSuccess: s.Succeeded, Deadline: deadline(job, s), Anchor: s.Anchor, Failures: s.Failures,
	}
	if s.Fingerprint == job.Fingerprint { // otherwise what the job was before is deferred
		j.DeferredUntil = s.Deferred
	}
	if s.Last != nil {
		j.Last = new(*s.Last)
	}
	if s.Begun.IsZero() && s.Due.After(now) && s.Due.Equal(job.Windows.Opens(now)) {
		if wanted, _ := after(job, s, now); wanted.Before(s.Due) {
			j.DeferredUntil, j.OutsideWindows = s.Due, true
		}
	}
	switch {
	case !s.Begun.IsZero():
		j.State, j.Started, j.Trigger = record.JobRunning, s.Begun, s.BegunBy
	case !j.Due.IsZero() && !j.Due.After(now):
		j.State = record.JobWaiting
	case !j.DeferredUntil.IsZero():
		j.State = record.JobDeferred
	case !j.Due.IsZero():
		j.State = record.JobScheduled
	}
	return j
}
