package web

import (
	"context"
	"errors"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Daemon is what the server has to know of the daemon. Calls come from many goroutines; each ends when its context does.
type Daemon interface {
	// Status returns the daemon as it is now. The server may change what it gets.
	Status(ctx context.Context) (record.Snapshot, error)
	// History returns the newest runs first, at most limit (1 to 1000) of them; of all jobs where job is empty.
	History(ctx context.Context, job string, limit int) ([]record.JobRun, error)
	// Sync has a job run now, or right after the run under way; with tags, a run soon that looks at these only. It does not wait for it. What it
	// was asked for begins at that time or later, by the clock of the times of runs.
	Sync(ctx context.Context, job string, tags []string) (asked time.Time, found bool, err error)
	// Pause has a job, or all where job is empty, start no run by itself until Resume. Both return once that survives a restart.
	Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error)
	Resume(ctx context.Context, job, by string) (found bool, err error)
	// Plan has a plan of a job made, and returns its ID; empty if there is no such job. PlanStatus returns a plan with most of its actions after
	// the first from, and false if there is none (any more). Plans returns those of a job, the newest first, without actions.
	Plan(ctx context.Context, job, by string) (id string, err error)
	PlanStatus(ctx context.Context, id string, from, most int) (record.PlanStatus, bool, error)
	Plans(ctx context.Context, job string) ([]record.PlanStatus, error)
	// Approve has the imports of a plan made, and returns its job; empty if there is no such plan (any more). The error is ErrStale if the plan
	// does not hold.
	Approve(ctx context.Context, id, by string) (job string, err error)
	// Reload reads the config anew. Its error is why the config was rejected, a line for each mistake, unless it is [ErrUnavailable] or
	// the context's.
	Reload(ctx context.Context) error
	// Ready returns what keeps the daemon from its work, a line each: a rejected config, a store that cannot be written, a loop that does
	// not answer.
	Ready(ctx context.Context) error
	// Alive returns an error unless the daemon's loop answers before the context ends.
	Alive(ctx context.Context) error
}

// Details are what the pages show of the process beyond its status.
type Details interface {
	// Job returns what the config that runs says about a job; false if it does not have it.
	Job(job *record.JobStatus) (record.JobConfig, bool)
	// Tags returns what is known of the tags at a job's targets: of those with a text in their names most, after the first from. It asks no
	// registry.
	Tags(ctx context.Context, job *record.JobStatus, text string, from, most int) (record.Tags, error)
	// Log returns the lines of the log about a job, the oldest first, that are not older than begin and still known.
	Log(job string, begin time.Time) []record.LogLine
	// Config returns where the config that runs comes from.
	Config() record.ConfigFiles
	// Registries returns how the requests to each registry have fared, sorted by name.
	Registries() []record.RegistryUse
}

// ErrUnchosen is in the chain of the error about a tag that a job does not choose: the answer is 422.
var ErrUnchosen = errors.New("nothing was asked for")

// ErrStale is in the chain of the error about a plan that cannot be approved: the answer is 409.
var ErrStale = errors.New("the plan is not approved")

// ErrUnavailable is in the chain of the errors of a daemon that cannot do it now, such as one that stops: the answer is 503.
var ErrUnavailable = errors.New("the daemon cannot do that now")
