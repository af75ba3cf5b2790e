package record

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Claim is a job that a process has taken to run it. Nobody else takes the job until the claim ends or is lost.
type Claim struct {
	Job string
	// Fingerprint is the job's when it was taken.
	Fingerprint string
	// Some are the only tags to look at, as references to the source, sorted; nil for all that the job selects.
	Some []string
	// Approved says that the run makes the imports of a plan, and Some is empty.
	Approved bool
	// Again says that Some has tags that were to be tried again.
	Again bool
	// Token tells this claim from the others of the job.
	Token int64
	// Begun is when the job was taken, State its state until then.
	Begun time.Time
	State State
	// Parts says that parts of an earlier run are left.
	Parts bool
	// Lost is closed once others may have the job; nil for never.
	Lost <-chan struct{}
}

// PartClaim is the right of one process to make a part of the run of a job: some of its imports.
type PartClaim struct {
	ID int64
	// Job and Fingerprint are those of the claim whose run it is.
	Job, Fingerprint string
	// Imports are those to make, in the form of who has observed.
	Imports []json.RawMessage
	// Outcomes are those of the imports of the part that were made before.
	Outcomes []json.RawMessage
	// Token tells this claim from others.
	Token int64
	// Again says that it was taken before, so that some imports may have been made.
	Again bool
	// Lost is closed once others may have the part.
	Lost <-chan struct{}
}

// PartState is how far a part is.
type PartState struct {
	ID int64
	// Imports are those that nobody has made, Outcomes those of the others.
	Imports, Outcomes []json.RawMessage
	// Failed says that too many processes were gone before they had made it, so that nobody takes it any more.
	Failed bool
	// Under says that somebody is making it.
	Under bool
}

// partKey is the key of a part's token in contexts.
type partKey struct{}

// InPart returns the context of work on a part.
func InPart(ctx context.Context, token int64) context.Context {
	return context.WithValue(ctx, partKey{}, token)
}

// PartOf returns the token of the part that a context is for; zero for none.
func PartOf(ctx context.Context) int64 {
	token, _ := ctx.Value(partKey{}).(int64)
	return token
}

// ErrLost says that a claim is lost, so that nothing about its job was changed.
var ErrLost = errors.New("others have taken the job since")

// Plan is a job as a generation has it. Its state says from when its schedule counts, when it is due and why; that holds for a job which is new,
// has changed, or comes back.
type Plan struct {
	Name, Fingerprint string
	Priority          int
	// Registries are those between which the job copies.
	Registries string
	State      State
}

// SharedJob is a job that several processes work on.
type SharedJob struct {
	State State
	// Replica is the name of the process that runs it, empty for none.
	Replica string
}

// Replica is a process among several that work on the same jobs.
type Replica struct {
	Name string `json:"name"`
	// ID is another one each time that it joins.
	ID string `json:"id"`
	// Dray is the version of its program; Joined is when it joined the others, or joined them anew, and Expires until when it counts as alive.
	Dray    string    `json:"dray"`
	Joined  time.Time `json:"joined"`
	Expires time.Time `json:"expires"`
	// Generation is the hash of the jobs of its config, empty before it has read one. InForce says that these are the jobs that decide. Jobs counts
	// those that it runs, and Parts the parts of runs, also of other processes' runs, that it makes.
	Generation string `json:"generation"`
	InForce    bool   `json:"in_force"`
	Jobs       int    `json:"jobs"`
	Parts      int    `json:"parts"`
	// Me marks the process that answers.
	Me bool `json:"me"`
}

// Ledger is the database that several processes share.
type Ledger struct {
	// Kind is "postgresql".
	Kind      string `json:"kind"`
	Reachable bool   `json:"reachable"`
	// Since is since when it cannot be reached, absent while it can.
	Since time.Time `json:"since,omitzero"`
	// RoundTrip is how long it took to answer the last time that it was asked for its clock, in seconds.
	RoundTrip float64 `json:"round_trip_seconds"`
}
