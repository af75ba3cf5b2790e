package daemon

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/schedule"
)

// Job is what the daemon has to know of a mapping.
type Job struct {
	Name string
	// Source is what it mirrors, for people.
	Source string
	// Fingerprint changes when anything about the job does.
	Fingerprint string
	// Schedule is zero for a job that runs once and when it changes.
	Schedule schedule.Schedule
	// Jitter bounds how much later than its schedule the job runs, always by the same share.
	Jitter time.Duration
	// Registries names the registries between which it runs: jobs that have the same share slots.
	Registries string
	// Priority orders jobs that are due at one time, the highest first.
	Priority int
}

// Generation is everything built from one reading of the config. It is read-only.
type Generation struct {
	Jobs []Job
	// Parallel is how many jobs may run at once, at least one. Those that wait for their registries do not count but among themselves.
	Parallel int
	// Grace is how long a stop waits for what is under way.
	Grace time.Duration
	// Run runs one job. It starts nothing new once draining is closed, and watches its imports through the watcher.
	Run func(ctx context.Context, job string, draining <-chan struct{}, watcher mirror.Watcher) mirror.Result
	// Take is called once, when the generation takes over from the one before, before any of its jobs runs.
	Take func()
	// Close gives back what the generation holds. It is called once, when no run uses it any more.
	Close func()
}

// Build makes a generation of what the config says now. Its error has every mistake, with positions.
type Build func(ctx context.Context) (Generation, error)

// built is a generation in use.
type built struct {
	Generation
	number int
	at     time.Time
	runs   int
	// retired is set once another has taken its place.
	retired bool
}

// release closes the generation where nobody uses it any more.
func (b *built) release() {
	if b.retired && b.runs == 0 {
		b.Close()
	}
}
