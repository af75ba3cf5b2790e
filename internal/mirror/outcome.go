package mirror

import (
	"cmp"
	"errors"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// Cost is the cost of an import, estimated or actual.
type Cost struct {
	// Pulls is the number of manifests fetched from the source's registry.
	Pulls int
	// Bytes is the number of blob bytes that dray copies; in a plan, the most that it may have to.
	Bytes int64
	// Mounted is the number of blob bytes that the target mounted from its own repositories.
	Mounted int64
	// Unknown is set in a plan if measuring would have cost a pull of a metered registry: Bytes is then the least.
	Unknown bool
	// About is set in a plan if Pulls is a guess for the same reason.
	About bool
}

func (c *Cost) add(other Cost) {
	c.Pulls += other.Pulls
	c.Bytes += other.Bytes
	c.Mounted += other.Mounted
}

// Receipt is an engine's report of an import that it has made.
type Receipt struct {
	// Digest is what the target tag holds now.
	Digest image.Digest
	// Kept says that the target held it already, which only its registry could tell.
	Kept bool
	// Unverified says that dray could not read the target.
	Unverified bool
	// Engine is the engine that made the import, if that is not the one that was asked; otherwise empty.
	Engine string
	Cost
}

// Outcome is how one action ended.
type Outcome struct {
	diff.Action
	// Job is the name of the job.
	Job string
	// Engine is the importer's name; empty if nothing was to be imported. EngineReason is the reason for it, which may be empty.
	Engine, EngineReason string
	// Status is empty in a plan, except for what could not be observed.
	Status record.Status
	Cost
	Duration time.Duration
	// RetryAt is when a deferred action may be tried again; zero otherwise.
	RetryAt time.Time
	// Err is why the action counts as failed or is deferred; nil otherwise.
	Err error
}

// Result is how the run of one job ended.
type Result struct {
	Job string
	// Outcomes are sorted by target. If Err is set, they are those until then.
	Outcomes []Outcome
	// Kept are the kept tags that are not in Outcomes, if [Mirror.CountKept] is set, sorted by target.
	Kept []Kept
	// Err says why the job could not observe anything, or not all, such as an unreadable tag list.
	Err error
	// Started and Duration cover observing and importing.
	Started  time.Time
	Duration time.Duration
}

// Kept counts tags of one repository that were kept for one reason, without anything else to tell of them.
type Kept struct {
	Source, Target image.Repository
	Reason         diff.Reason
	// Unverified says that the target was not read.
	Unverified bool
	Count      int
}

func (k Kept) compare(other Kept) int {
	return cmp.Or(diff.Compare(k.action(), other.action()), cmp.Compare(k.Reason, other.Reason))
}

func (k Kept) action() diff.Action {
	return diff.Action{Source: image.Reference{Repository: k.Source}, Target: image.Reference{Repository: k.Target}}
}

// plainlyKept reports whether there is no more to tell of an outcome than that its tag was kept.
func (out *Outcome) plainlyKept() bool {
	return out.Op == diff.Keep && out.Status == record.Kept && out.Engine == "" && out.Cost == Cost{} && out.Err == nil && out.Detail == ""
}

// Record returns the outcome as other programs see it.
func (out Outcome) Record() record.Action {
	a := record.Action{
		Op: string(out.Op), Reason: string(out.Reason), Source: recorded(out.Source), Target: recorded(out.Target), Digest: string(out.Digest), Was: string(out.Was),
		Engine: out.Engine, Outcome: out.Status, Unverified: out.Unverified, Pulls: out.Pulls, Bytes: out.Bytes, Mounted: out.Mounted,
		Duration: record.Seconds(out.Duration), Error: out.Detail, Code: record.Code(out.Err),
	}
	switch {
	case Interrupted(out.Err) && !errors.Is(out.Err, ErrStopping):
		a.Error, a.Code = "interrupted", "interrupted" // whatever it was at
	case out.Err != nil:
		a.Error = out.Err.Error()
	}
	if at := out.RetryAt; !at.IsZero() {
		a.RetryAt = new(record.WholeSecond(at))
	}
	return a
}

// recorded returns a reference as written in records; empty for none.
func recorded(ref image.Reference) string {
	if ref.IsZero() {
		return ""
	}
	return named(ref)
}

// Counts counts how the run's actions ended, with their cost; in a plan, how they are to end.
func (r Result) Counts() (c record.Counts) {
	for _, out := range r.Outcomes {
		c.Add(out.Settled())
		c.Pulls += out.Pulls
		c.Bytes += out.Bytes
		c.Mounted += out.Mounted
		if out.Unverified {
			c.Unverified++
		}
	}
	for _, k := range r.Kept {
		c.Keep += k.Count
		if k.Unverified {
			c.Unverified += k.Count
		}
	}
	return c
}

// Settled returns the status of an outcome; in a plan, the expected one.
func (out Outcome) Settled() record.Status {
	if out.Status != "" {
		return out.Status
	}
	switch out.Op {
	case diff.Keep:
		return record.Kept
	case diff.Refuse:
		return record.Refused
	case diff.Import:
	}
	return record.Imported
}
