package report

import (
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Verdict is what results mean for an exit code.
type Verdict struct {
	// Incomplete: a job failed, or an action failed, was refused or was deferred.
	Incomplete bool
	// Pending: imports remain to be made. Only a plan's can.
	Pending bool
}

// Judge returns the verdict on results of a plan or a sync.
func Judge(results []mirror.Result) Verdict {
	t := tally(results)
	pending := false
	for _, r := range results {
		for _, out := range r.Outcomes {
			pending = pending || out.Status == "" && out.Op == diff.Import
		}
	}
	return Verdict{Incomplete: t.Failed+t.Refuse+t.Deferred > 0, Pending: pending}
}

// tally sums up results. Failed also counts the jobs that failed as a whole, so that the five counts together are the number of actions and
// failed jobs.
func tally(results []mirror.Result) (t record.Counts) {
	for _, r := range results {
		t.Plus(r.Counts())
		if r.Err != nil {
			t.Failed++
		}
	}
	return t
}
