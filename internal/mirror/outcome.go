package mirror

import (
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// Cost is what an import takes, or took.
type Cost struct {
	// Pulls is the number of manifests fetched from the source's registry.
	Pulls int
	// Bytes is the number of blob bytes that pass through dray; in a plan the most that may have to.
	Bytes int64
	// Mounted is the number of blob bytes that the target took from another of its own repositories.
	Mounted int64
	// Unknown is set in a plan where asking for the size would have cost a pull of a metered registry: Bytes is then the least.
	Unknown bool
	// About is set in a plan where Pulls is a guess for the same reason.
	About bool
}

func (c *Cost) add(other Cost) {
	c.Pulls += other.Pulls
	c.Bytes += other.Bytes
	c.Mounted += other.Mounted
}

// Receipt is what an engine says of an import that it has made.
type Receipt struct {
	// Digest is what the target tag holds now.
	Digest image.Digest
	// Kept says that the target held it already, which only its registry could tell.
	Kept bool
	// Unverified says that the target could not be looked at.
	Unverified bool
	// Engine names the engine that has made the import, where that is another than the one that was asked; else it is empty.
	Engine string
	Cost
}

// Outcome is how one action ended.
type Outcome struct {
	diff.Action
	// Job is the name of the job.
	Job string
	// Engine is the importer's name; empty where nothing was to import. EngineReason is why it is that one; it may be empty.
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
	// Outcomes are sorted by target. It is empty where Err is set.
	Outcomes []Outcome
	// Err is why the job could not observe anything, such as a tag list that could not be read.
	Err error
	// Started and Duration cover observing and importing.
	Started  time.Time
	Duration time.Duration
}

// Record is the outcome as other programs see it.
func (out Outcome) Record() record.Action {
	a := record.Action{
		Op: string(out.Op), Reason: string(out.Reason), Source: recorded(out.Source), Target: recorded(out.Target), Digest: string(out.Digest), Was: string(out.Was),
		Engine: out.Engine, Outcome: out.Status, Unverified: out.Unverified, Pulls: out.Pulls, Bytes: out.Bytes, Mounted: out.Mounted,
		Duration: record.Seconds(out.Duration), Error: out.Detail, Code: record.Code(out.Err),
	}
	if out.Err != nil {
		a.Error = out.Err.Error()
	}
	if at := out.RetryAt; !at.IsZero() {
		a.RetryAt = new(record.WholeSecond(at))
	}
	return a
}

// recorded is how a reference is written in records; empty for none.
func recorded(ref image.Reference) string {
	if ref.IsZero() {
		return ""
	}
	return named(ref)
}

// Counts is how many actions of the run ended in which way, and what they took; in a plan, how they are to end.
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
	return c
}

// Settled is the status of an outcome, and in a plan the one that is to come.
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
