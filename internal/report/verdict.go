package report

import (
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
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

// Totals sums up results. An action counts once: one that failed or was deferred is in Failed or Deferred, not under the
// operation that it should have been. Failed also counts the jobs that failed as a whole, so the five counts together are
// the number of actions and failed jobs.
type Totals struct {
	Keep     int   `json:"keep"`
	Import   int   `json:"import"`
	Refuse   int   `json:"refuse"`
	Failed   int   `json:"failed"`
	Deferred int   `json:"deferred"`
	Pulls    int   `json:"pulls"`
	Bytes    int64 `json:"bytes"`
	Mounted  int64 `json:"bytes_mounted"`
	// Unverified are those of all whose target could not be looked at.
	Unverified int `json:"unverified,omitempty"`
}

func tally(results []mirror.Result) Totals {
	var t Totals
	for _, r := range results {
		if r.Err != nil {
			t.Failed++
		}
		for _, out := range r.Outcomes {
			switch settled(out) {
			case mirror.Kept:
				t.Keep++
			case mirror.Imported:
				t.Import++
			case mirror.Refused:
				t.Refuse++
			case mirror.Failed, mirror.NothingChosen, mirror.Absent:
				t.Failed++
			case mirror.Deferred:
				t.Deferred++
			}
			t.Pulls += out.Pulls
			t.Bytes += out.Bytes
			t.Mounted += out.Mounted
			if out.Unverified {
				t.Unverified++
			}
		}
	}
	return t
}

// settled is the status of an outcome, and in a plan the one that is to come.
func settled(out mirror.Outcome) mirror.Status {
	if out.Status != "" {
		return out.Status
	}
	switch out.Op {
	case diff.Keep:
		return mirror.Kept
	case diff.Refuse:
		return mirror.Refused
	case diff.Import:
	}
	return mirror.Imported
}
