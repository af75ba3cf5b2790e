package mirror

import (
	"slices"
	"time"

	"github.com/draysync/dray/internal/diff"
)

// Deferral returns when the first deferred outcome of the results may be tried again, and the names of the jobs that have
// any; false where nothing is deferred.
func Deferral(results []Result) (at time.Time, jobs []string, ok bool) {
	for _, r := range results {
		for _, out := range r.Outcomes {
			if out.Status != Deferred {
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

// Merge puts what a later run of some of the jobs brought in the place of what was deferred before. Everything else stays as
// it ended first: what the first run imported, a later one finds unchanged.
func Merge(first, later []Result) []Result {
	merged := slices.Clone(first)
	for i, r := range merged {
		again := slices.IndexFunc(later, func(l Result) bool { return l.Job == r.Job })
		if again < 0 {
			continue
		}
		merged[i].Duration += later[again].Duration
		merged[i].Outcomes = slices.Clone(r.Outcomes)
		for j, out := range merged[i].Outcomes {
			if out.Status == Deferred {
				merged[i].Outcomes[j] = settledLater(out, later[again])
			}
		}
	}
	return merged
}

// settledLater returns how a deferred outcome ended in a later run of its job; itself where that run says nothing of it.
func settledLater(out Outcome, later Result) Outcome {
	if later.Err != nil {
		out.Status, out.Err, out.RetryAt = Failed, later.Err, time.Time{}
		return out
	}
	same := func(l Outcome) bool {
		return diff.Compare(diff.Action{Source: l.Source.WithDigest(""), Target: l.Target}, diff.Action{Source: out.Source.WithDigest(""), Target: out.Target}) == 0
	}
	if i := slices.IndexFunc(later.Outcomes, same); i >= 0 {
		ended := later.Outcomes[i]
		ended.Pulls += out.Pulls
		ended.Bytes += out.Bytes
		ended.Mounted += out.Mounted
		return ended
	}
	return out
}
