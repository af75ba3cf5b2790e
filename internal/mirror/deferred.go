package mirror

import (
	"cmp"
	"slices"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// Deferral returns when the first deferred outcome of the results may be tried again, and the names of the jobs that have any; false if
// nothing is deferred.
func Deferral(results []Result) (at time.Time, jobs []string, ok bool) {
	for _, r := range results {
		for _, out := range r.Outcomes {
			if out.Status != record.Deferred {
				continue
			}
			if !ok || out.RetryAt.Before(at) {
				at, ok = out.RetryAt, true
			}
			if !slices.Contains(jobs, r.Job) {
				jobs = append(jobs, r.Job)
			}
		}
	}
	return at, jobs, ok
}

// The pauses before deferred actions are tried again, whatever time the registry has named. They grow while tries bring nothing.
const (
	firstRest = time.Second
	maxRest   = time.Minute
)

// Again returns when to try again, given the time that is allowed, which may have passed, and the number of tries in a row that brought
// nothing.
func Again(at, now time.Time, vain int) time.Time {
	if earliest := now.Add(min(firstRest<<min(vain, 10), maxRest)); at.Before(earliest) {
		return earliest
	}
	return at
}

// Progress reports whether a run could do anything.
func (r Result) Progress() bool {
	return slices.ContainsFunc(r.Outcomes, func(out Outcome) bool { return out.Pulls > 0 || out.Status == record.Imported })
}

// Merge updates results with those of a later run of some of the jobs. It drops deferred outcomes that are gone, and adds new ones. What
// was imported, and then found unchanged, stays imported. Both have all outcomes: see [Mirror.CountKept].
func Merge(first, later []Result) []Result {
	merged := slices.Clone(first)
	for i, r := range merged {
		if again := slices.IndexFunc(later, func(l Result) bool { return l.Job == r.Job }); again >= 0 {
			merged[i] = mergeOne(r, later[again])
		}
	}
	return merged
}

// way identifies what an outcome is about. That an image lacks platforms is said beside what became of the others.
type way struct {
	source, target image.Reference
	short          bool
}

func wayOf(out Outcome) way {
	return way{out.Source.WithDigest(""), out.Target, out.Op == diff.Refuse && out.Reason == diff.PlatformMissing}
}

func mergeOne(first, later Result) Result {
	merged := first
	merged.Duration += later.Duration
	merged.Outcomes = nil
	ended := make(map[way]Outcome, len(later.Outcomes))
	looked := make(map[image.Reference]bool, len(later.Outcomes))
	for _, out := range later.Outcomes {
		ended[wayOf(out)], looked[out.Target] = out, true
	}
	for _, out := range first.Outcomes {
		now, there := ended[wayOf(out)]
		delete(ended, wayOf(out))
		switch {
		case !there && wayOf(out).short && looked[out.Target]:
			continue // the image has all platforms now
		case !there && later.Err != nil && out.Status == record.Deferred:
			out.Status, out.Err, out.RetryAt = record.Failed, later.Err, time.Time{}
		case !there && out.Status == record.Deferred:
			continue // gone at the source
		case there && (out.Status != record.Imported || now.Status != record.Kept):
			now.add(out.Cost)
			out = now
		}
		merged.Outcomes = append(merged.Outcomes, out)
	}
	for _, out := range ended {
		merged.Outcomes = append(merged.Outcomes, out)
	}
	slices.SortFunc(merged.Outcomes, func(a, b Outcome) int {
		return cmp.Or(diff.Compare(a.Action, b.Action), cmp.Compare(a.Op, b.Op))
	})
	return merged
}
