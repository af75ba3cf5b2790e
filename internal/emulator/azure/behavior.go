package azure

import (
	"slices"
	"time"
)

// Body is what a 202 says in its body.
type Body string

// The bodies that were recorded.
const (
	EmptyBody Body = ""
	NullBody  Body = "null"
	// JSONBody is the state of all target tags and of the operation, as a poll has it.
	JSONBody Body = "json"
)

// Behavior says how an import goes. The zero value is one that takes as long as the cloud's options say, is answered 202
// without a body and Retry-After: 10, is Pending until it is done, and then 200.
type Behavior struct {
	// Match chooses imports; nil is all. It must not call Inject or its remove. Source, Target, TargetTags, Untagged and
	// Mode are set; ID is as well.
	Match func(Import) bool
	// Times is how many imports behave so, 0 all of them.
	Times int

	// Refuse answers the POST with a failure, and nothing is started.
	Refuse *Failure
	// Lose starts the import and then breaks the connection without an answer.
	Lose bool
	// Sync answers the POST with 200 and {} when the import is done.
	Sync bool
	// Accepted is the body of the 202.
	Accepted Body
	// RetryAfter goes with each 202; 0 is 10 seconds, negative is no such header.
	RetryAfter time.Duration
	// LocationHost replaces the host in Location. Whoever asks there is told that the import succeeded.
	LocationHost string
	// Newest takes polls of the newest Location only.
	Newest bool

	// Takes is how long the import takes: 0 is the cloud's default, negative is no time.
	Takes time.Duration
	// Stuck never ends, and copies nothing.
	Stuck bool
	// Silent imports in time, but never says so.
	Silent bool
	// Fail ends the import with a failure when its time is over; nothing is copied.
	Fail *Failure
	// FailedOK says so with status 200 and a body whose status is Failed.
	FailedOK bool
	// Done is the status at the end of an import that succeeded: 0 is 200, with a body; 204 has none.
	Done int
	// During is called between the copying and the tagging, without any lock held.
	During func()
	// Lag is how long after the end the tags are to be seen at the data plane.
	Lag time.Duration
}

// armed is a behavior that waits for imports.
type armed struct {
	behavior Behavior
	hits     int
}

// Inject adds a behavior behind those there are; an import takes the first that matches. remove takes it out again.
func (c *Cloud) Inject(b Behavior) (remove func()) {
	a := &armed{behavior: b}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behaviors = append(c.behaviors, a)
	if b.LocationHost != "" {
		c.traps[b.LocationHost] = true
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.behaviors = slices.DeleteFunc(c.behaviors, func(other *armed) bool { return other == a })
	}
}

// behave chooses the behavior of an import, and counts the hit.
func (c *Cloud) behave(i Import) Behavior {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.behaviors {
		if a.behavior.Times > 0 && a.hits >= a.behavior.Times {
			continue
		}
		if a.behavior.Match == nil || a.behavior.Match(i) {
			a.hits++
			return a.behavior
		}
	}
	return Behavior{}
}

// takes is how long an import takes in this cloud.
func (c *Cloud) takes(b Behavior) time.Duration {
	if b.Takes == 0 {
		return c.options.Takes
	}
	return max(0, b.Takes)
}

// retryAfter is 0 where none is sent.
func (b Behavior) retryAfter() time.Duration {
	if b.RetryAfter == 0 {
		return 10 * time.Second
	}
	return max(0, b.RetryAfter)
}
