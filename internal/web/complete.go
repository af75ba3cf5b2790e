package web

import (
	"time"

	"github.com/draysync/dray/internal/record"
)

// runTime is what a run is granted, beyond when its job is due, before its job is called overdue.
const runTime = 10 * time.Minute

// complete fills what follows from the rest, and makes times UTC, in whole seconds, but those of runs, which are exact to a millisecond.
func complete(s *record.Snapshot) {
	now := s.Now
	s.Version = documentVersion
	s.Started, s.Now, s.Config.Loaded, s.Config.RejectedAt = past(s.Started), past(now), past(s.Config.Loaded), past(s.Config.RejectedAt)
	if s.Config.Rejected == nil {
		s.Config.Rejected = []string{}
	}
	if s.Jobs == nil {
		s.Jobs = []record.JobStatus{}
	}
	for i := range s.Budgets {
		s.Budgets[i].RetryAt, s.Budgets[i].FullBy = future(s.Budgets[i].RetryAt), future(s.Budgets[i].FullBy)
	}
	for i := range s.Receivers {
		s.Receivers[i].LastEvent = past(s.Receivers[i].LastEvent)
	}
	s.Paused = completePause(s.Paused)
	s.Totals = record.Totals{Jobs: len(s.Jobs), Parallel: s.Totals.Parallel}
	for i := range s.Jobs {
		completeJob(&s.Jobs[i], now)
		s.Totals.Add(&s.Jobs[i])
	}
}

// completePause returns a pause of its own, since jobs may share one.
func completePause(p *record.Pause) *record.Pause {
	if p == nil {
		return nil
	}
	pause := *p
	pause.Since = past(pause.Since)
	return &pause
}

func completeJob(j *record.JobStatus, now time.Time) {
	j.Paused = completePause(j.Paused)
	if !j.LastSuccess.IsZero() {
		age := max(0, now.Sub(j.LastSuccess)).Round(time.Second).Seconds()
		j.SuccessAge = &age
	}
	if !j.Deadline.IsZero() {
		j.ExpectedBy = j.Deadline.Add(runTime)
	}
	j.Overdue = !j.ExpectedBy.IsZero() && now.After(j.ExpectedBy)
	j.Due, j.DeferredUntil, j.ExpectedBy = future(j.Due), future(j.DeferredUntil), future(j.ExpectedBy)
	j.Started, j.LastSuccess = past(j.Started), past(j.LastSuccess)
	if j.Last != nil {
		j.Last.Started, j.Last.Ended = exact(j.Last.Started), exact(j.Last.Ended)
	}
	if j.Progress == nil {
		return
	}
	if j.Progress.UnderWay == nil {
		j.Progress.UnderWay = []record.Import{}
	}
	for i := range j.Progress.UnderWay {
		j.Progress.UnderWay[i].Started = past(j.Progress.UnderWay[i].Started)
	}
}

// completeRun does for a run what complete does for a snapshot.
func completeRun(r *record.JobRun) {
	r.Started, r.Ended, r.Since = exact(r.Started), exact(r.Ended), exact(r.Since)
	if r.Actions == nil {
		r.Actions = []record.Action{}
	}
	for i := range r.Actions {
		if at := r.Actions[i].RetryAt; at != nil {
			r.Actions[i].RetryAt = new(record.WholeSecond(*at))
		}
	}
}

// exact has a millisecond's precision, so that a run can be told from the one before.
func exact(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func past(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

// future rounds up: who comes back at the time that is told must not be too early.
func future(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return record.WholeSecond(t)
}
