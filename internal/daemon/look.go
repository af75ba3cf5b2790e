package daemon

import (
	"slices"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// A look is a run of a job for some tags, which events have named. What is in this file decides about them, and does nothing.

const (
	// gathered is how long events of a job are gathered for one run.
	gathered = 2 * time.Second
	// maxLooks is of how many tags a job looks at each by itself; of more it looks at all.
	maxLooks = 1000
)

// due returns when the next run of a job begins, planned or for some tags.
func due(s record.State) time.Time {
	if len(s.Looks) > 0 && (s.Due.IsZero() || s.LookAt.Before(s.Due)) {
		return s.LookAt
	}
	return s.Due
}

// some returns the tags for which a run that begins now is; nil for all.
func some(s record.State, now time.Time) []string {
	if s.Due.IsZero() || s.Due.After(now) {
		return s.Looks
	}
	return nil
}

// claimed returns a job's state while it runs.
func claimed(c *record.Claim) record.State {
	s := c.State
	if c.Some == nil {
		return begun(s, c.Begun)
	}
	s.Begun, s.BegunBy = c.Begun, record.Event
	s.Looks, s.LookAt = nil, time.Time{}
	return s
}

// withLooks returns a state with more tags to look at, from a time on.
func withLooks(s record.State, tags []string, at time.Time) record.State {
	if len(tags) == 0 {
		return s
	}
	if len(s.Looks) == 0 || at.Before(s.LookAt) {
		s.LookAt = at
	}
	s.Looks = slices.Concat(s.Looks, tags) // never in place: states share it
	slices.Sort(s.Looks)
	s.Looks = slices.Compact(s.Looks)
	if len(s.Looks) > maxLooks {
		s.Looks, s.LookAt, s.Asked = nil, time.Time{}, true
	}
	return s
}

// looked returns a job's state after a run for some tags. It changes nothing about the planned runs; what the run left undone is looked at again.
func looked(s record.State, result mirror.Result, some []string, stopping bool, now time.Time) record.State {
	s.Last = &record.Run{Started: s.Begun, Ended: now, Trigger: s.BegunBy, Counts: result.Counts()}
	s.Last.Outcome, s.Last.Error = verdict(result)
	s.Begun, s.BegunBy = time.Time{}, ""
	if stopping && cut(result) {
		s.Last.Outcome = record.RunCutOff
		return s
	}
	undone, at := undone(result, some), waits(result)
	if len(undone) == 0 {
		s.Looked = 0
		return s
	}
	if at.IsZero() {
		at = now.Add(pause(s.Looked))
	} else {
		at = turn(mirror.Again(at, now, s.Looked), s.Given, now)
	}
	s.Looked++
	return withLooks(s, undone, at)
}

// undone returns the tags of a run that are to be looked at again.
func undone(result mirror.Result, some []string) (tags []string) {
	if result.Err != nil {
		return some
	}
	for _, out := range result.Outcomes {
		if out.Status == record.Failed || out.Status == record.Deferred {
			tags = append(tags, out.Source.Repository.Tag(out.Source.Tag).String())
		}
	}
	return tags
}
