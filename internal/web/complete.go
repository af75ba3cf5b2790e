package web

import "time"

// complete fills what follows from the rest, and makes times UTC, in whole seconds.
func (s *Status) complete() {
	now := s.Now
	s.Version = documentVersion
	s.Started, s.Now, s.Config.Loaded, s.Config.RejectedAt = past(s.Started), past(now), past(s.Config.Loaded), past(s.Config.RejectedAt)
	if s.Config.Rejected == nil {
		s.Config.Rejected = []string{}
	}
	if s.Jobs == nil {
		s.Jobs = []JobStatus{}
	}
	s.Totals = Totals{Jobs: len(s.Jobs), Parallel: s.Totals.Parallel}
	for i := range s.Jobs {
		s.Jobs[i].complete(now)
		s.Totals.add(&s.Jobs[i])
	}
}

func (t *Totals) add(j *JobStatus) {
	switch j.State {
	case Running:
		t.Running++
	case Waiting:
		t.Waiting++
	case Deferred:
		t.Deferred++
	case Scheduled, Idle:
	}
	if j.Failures > 0 {
		t.Failing++
	}
	if j.Overdue {
		t.Overdue++
	}
}

func (j *JobStatus) complete(now time.Time) {
	if !j.LastSuccess.IsZero() {
		age := max(0, now.Sub(j.LastSuccess)).Round(time.Second).Seconds()
		j.SuccessAge = &age
	}
	j.Overdue = !j.ExpectedBy.IsZero() && now.After(j.ExpectedBy)
	j.Due, j.DeferredUntil, j.ExpectedBy = future(j.Due), future(j.DeferredUntil), future(j.ExpectedBy)
	j.Started, j.LastSuccess = past(j.Started), past(j.LastSuccess)
	if j.Last != nil {
		j.Last.Started, j.Last.Ended = past(j.Last.Started), past(j.Last.Ended)
	}
	if j.Progress == nil {
		return
	}
	if j.Progress.UnderWay == nil {
		j.Progress.UnderWay = []Import{}
	}
	for i := range j.Progress.UnderWay {
		j.Progress.UnderWay[i].Started = past(j.Progress.UnderWay[i].Started)
	}
}

// complete does for a run what it does for a status.
func (r *Run) complete() {
	r.Started, r.Ended, r.Since = past(r.Started), past(r.Ended), past(r.Since)
	if r.Actions == nil {
		r.Actions = []Action{}
	}
	for i := range r.Actions {
		r.Actions[i].RetryAt = future(r.Actions[i].RetryAt)
	}
}

func past(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

// future rounds up: who comes back at the time that is told must not be too early.
func future(t time.Time) time.Time {
	whole := past(t)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return whole
}
