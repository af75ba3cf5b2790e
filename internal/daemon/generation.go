package daemon

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/schedule"
)

// Job is what the daemon needs to know about a mapping.
type Job struct {
	Name string
	// Source is the source's name in messages.
	Source string
	// Accounts are the entries of the config that sign in at its sources, or else their registries.
	Accounts []string
	// Targets are the names of its targets.
	Targets []string
	// Fingerprint changes when anything about the job does.
	Fingerprint string
	// Schedule is zero for a job that runs once, and again when it changes.
	Schedule schedule.Schedule
	// Jitter limits how much later than its schedule the job runs; the delay is always the same.
	Jitter time.Duration
	// Windows are when runs may begin; CutAtEnd ends those that are under way when a window ends.
	Windows  schedule.Windows
	CutAtEnd bool
	// Registries names the registries between which it runs: jobs with the same value share slots.
	Registries string
	// Priority orders jobs that are due at the same time, the highest first.
	Priority int
}

// Generation is everything built from one reading of the config. It is read-only.
type Generation struct {
	Jobs []Job
	// Rejected has the mistakes of files whose jobs are therefore those of an earlier reading; nil for none.
	Rejected error
	// Parallel limits how many jobs run at once, at least one. Jobs that wait for their registries only count among those of the same
	// registries.
	Parallel int
	// Grace is how long a stop waits for what is under way.
	Grace time.Duration
	// Run runs one job, for some tags of its sources or, where these are nil, for all that it selects. It starts nothing new once draining is closed, and reports its imports to the watcher.
	Run func(ctx context.Context, job string, some []string, draining <-chan struct{}, watcher mirror.Watcher, crew mirror.Crew) mirror.Result
	// Plan returns what Run would do with all that a job selects, and changes nothing.
	Plan func(ctx context.Context, job string, watcher mirror.Watcher) mirror.Result
	// Approved makes the imports of a plan, as Run does, and refuses what is no longer as planned.
	Approved func(ctx context.Context, job string, imports []diff.Action, draining <-chan struct{}, watcher mirror.Watcher) mirror.Result
	// Assist makes imports of a run of another process, as Run does, and calls ended after each; again says that some may have been made. It is nil where
	// there are no other processes.
	Assist func(ctx context.Context, job string, imports []mirror.Import, again bool, draining <-chan struct{}, watcher mirror.Watcher, ended func()) []mirror.Outcome
	// Take is called once, when the generation replaces the previous one, before any of its jobs runs.
	Take func()
	// Close releases the generation's resources. It is called once, when no run uses it any more.
	Close func()
}

// Build makes a generation from the current config. Its error has all mistakes, with positions.
type Build func(ctx context.Context) (Generation, error)

// built is a generation in use.
type built struct {
	Generation
	number int
	at     time.Time
	// jobs are by name.
	jobs map[string]*Job
	// runs counts what uses it.
	runs int
	// retired is set once it was replaced.
	retired bool
}

// release closes a retired generation that no one uses.
func (b *built) release() {
	if b.retired && b.runs == 0 {
		b.Close()
	}
}
