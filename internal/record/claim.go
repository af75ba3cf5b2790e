package record

import (
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
	// Again says that Some has tags that were to be tried again.
	Again bool
	// Token tells this claim from the others of the job.
	Token int64
	// Begun is when the job was taken, State its state until then.
	Begun time.Time
	State State
	// Lost is closed once others may have the job; nil for never.
	Lost <-chan struct{}
}

// ErrLost says that a claim is lost, so that nothing about its job was changed.
var ErrLost = errors.New("others have taken the job since")
