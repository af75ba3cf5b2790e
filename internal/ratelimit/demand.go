package ratelimit

import (
	"slices"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Demand is what jobs want from a budget.
type Demand struct {
	// Wanted is the average number of pulls requested per window since Since.
	Wanted int
	Since  time.Time
	// Waiting is how many imports wait now.
	Waiting int
}

// Overcommitted reports whether jobs want more from a budget than it ever provides: imports have waited for a day, or four windows, and do
// not become fewer. A long first import is not such a case.
func Overcommitted(runs []record.JobRun, window time.Duration, now time.Time) (Demand, bool) {
	d := Demand{Since: now.Add(-max(24*time.Hour, 4*window))}
	slices.SortStableFunc(runs, func(a, b record.JobRun) int { return a.Started.Compare(b.Started) })
	then, latest := map[string]int{}, map[string]int{}
	pulls, imports := 0, 0
	for _, r := range runs {
		latest[r.Job] = r.Counts.Deferred
		if !r.Started.After(d.Since) {
			then[r.Job] = r.Counts.Deferred
			continue
		}
		pulls += r.Counts.Pulls
		imports += r.Counts.Import
	}
	waited := 0
	for job, n := range latest {
		d.Waiting += n
		waited += then[job]
	}
	if waited == 0 || d.Waiting < waited || pulls == 0 {
		return d, false
	}
	each := float64(pulls) / float64(max(1, imports))
	total := float64(pulls) + float64(d.Waiting-waited)*each
	d.Wanted = int(total*float64(window)/float64(now.Sub(d.Since))) + 1
	return d, true
}
