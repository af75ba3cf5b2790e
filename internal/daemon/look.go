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
	// firstAgain is the pause before a tag is looked at again; each next one is three times as long, up to longestPause. If the source
	// answers meanwhile, it is soonAgain at most.
	firstAgain = 5 * time.Second
	soonAgain  = time.Minute
	// absences is how often a tag that is not there is looked at again: a registry may tell of a tag before all of it shows the tag.
	absences = 3
)

// due returns when the next run of a job begins, planned or for some tags.
func due(s record.State) time.Time {
	at := s.Due
	if len(s.Looks) > 0 && (at.IsZero() || s.LookAt.Before(at)) {
		at = s.LookAt
	}
	if len(s.Again) > 0 && (at.IsZero() || s.AgainAt.Before(at)) {
		at = s.AgainAt
	}
	return at
}

// some returns the tags for which a run that begins now is, nil for all, and whether some of them are tried again.
func some(s record.State, now time.Time) (tags []string, again bool) {
	if !s.Due.IsZero() && !s.Due.After(now) {
		return nil, false
	}
	if again = len(s.Again) > 0 && !s.AgainAt.After(now); again {
		return union(s.Looks, s.Again), true
	}
	return s.Looks, false
}

// claimed returns a job's state while it runs.
func claimed(c *record.Claim) record.State {
	s := c.State
	if c.Approved { // what is due and noted stays so
		s.Begun, s.BegunBy = c.Begun, record.Approved
		return s
	}
	if c.Some == nil {
		return begun(s, c.Begun)
	}
	s.Begun, s.BegunBy, s.Looks = c.Begun, record.Event, nil
	if c.Again {
		s.Again = nil
	}
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
	s.Looks = union(s.Looks, tags)
	if len(s.Looks)+len(s.Again) > record.MaxLooks {
		s.Looks, s.Again, s.Tried, s.Asked = nil, nil, 0, true
	}
	return s
}

// union returns what is in any of two lists, sorted. It changes neither, since states share them.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// containsAll reports whether a sorted list has all tags.
func containsAll(list, tags []string) bool {
	return !slices.ContainsFunc(tags, func(tag string) bool {
		_, found := slices.BinarySearch(list, tag)
		return !found
	})
}

// looked returns a job's state after a run for some tags, and what is to be said of the run. It changes nothing about the planned runs; what
// the run left undone is looked at again.
func looked(s record.State, result mirror.Result, claim *record.Claim, stopping bool, now time.Time) (record.State, record.Run) {
	run := record.Run{Started: s.Begun, Ended: now, Trigger: s.BegunBy, Counts: result.Counts()}
	run.Outcome, run.Error = verdict(result)
	s.Begun, s.BegunBy = time.Time{}, ""
	if stopping && cut(result) {
		run.Outcome = record.RunCutOff
	}
	undone := undone(result, claim.Some, s.Tried < absences)
	if len(undone) < len(claim.Some) && len(s.Again) > 0 && s.AgainAt.After(now.Add(soonAgain)) {
		s.AgainAt = now.Add(soonAgain)
	}
	switch {
	case len(undone) == 0 && len(s.Again) == 0:
		s.Tried = 0
	case len(undone) > 0:
		at := now.Add(min(firstAgain*power(3, s.Tried), longestPause))
		if waits := waits(result); !waits.IsZero() {
			at = turn(mirror.Again(waits, now, s.Tried), s.Given, now)
		}
		if claim.Again || s.Tried == 0 {
			s.Tried++
		}
		if len(s.Again) == 0 || at.Before(s.AgainAt) {
			s.AgainAt = at
		}
		s.Again = union(s.Again, undone)
	}
	return s, run
}

// power returns a power, of which 10 is more than enough.
func power(base time.Duration, n int) time.Duration {
	p := time.Duration(1)
	for range min(n, 10) {
		p *= base
	}
	return p
}

// undone returns the tags of a run that are to be looked at again, with those that are not there or without.
func undone(result mirror.Result, some []string, absent bool) (tags []string) {
	if result.Err != nil {
		return some
	}
	for _, out := range result.Outcomes {
		if out.Status == record.Failed || out.Status == record.Deferred || absent && out.Status == record.Absent {
			tags = append(tags, out.Source.Repository.Tag(out.Source.Tag).String())
		}
	}
	return union(nil, tags) // there may be several targets
}

// saved returns what is saved of a state: what is still to be looked at becomes a run for all tags after a restart.
func saved(s record.State, now time.Time) record.State {
	if len(s.Looks)+len(s.Again) > 0 && (s.Deferred.IsZero() || now.Before(s.Deferred)) {
		s.Deferred = now
	}
	return s
}
