package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Parts are those of runs that several processes make.
type Parts interface {
	// PutParts, TakeOwnPart, Settled, Left and DropParts are about the run of a claim.
	PutParts(ctx context.Context, claim *record.Claim, parts []record.PartState) error
	TakeOwnPart(ctx context.Context, claim *record.Claim, ids []int64) (*record.PartClaim, error)
	Settled(ctx context.Context, claim *record.Claim, ids []int64, limit time.Duration) ([]record.PartState, error)
	Left(ctx context.Context, claim *record.Claim) ([]record.PartState, error)
	DropParts(ctx context.Context, claim *record.Claim, ids []int64) error
	// TakePart claims a part of another process's run, of a job that is not in but; nil if there is none.
	TakePart(ctx context.Context, but []string) (*record.PartClaim, error)
	// EndPart records how imports of a part ended, and gives back the rest.
	EndPart(ctx context.Context, part *record.PartClaim, outcomes, rest []json.RawMessage) error
}

const (
	// partsEvery is how often a run asks which parts others have made.
	partsEvery = 500 * time.Millisecond
	// putLasts limits how long a run tries to put parts up; then this process makes them all.
	putLasts = 20 * time.Second
	// partsAhead is how many imports of a run a process takes in parts before it takes no more: as many as a queue makes at once.
	partsAhead = 16
)

// errPartFailed is the error of imports that several processes were gone before they had made.
var errPartFailed = errors.New("the replicas that were to make this import ended before they had, one after another")

// crew shares the imports of one run.
type crew struct {
	parts    Parts
	claim    *record.Claim
	draining <-chan struct{}
	// under counts the imports that this process has taken and not ended; ended receives when one has.
	under atomic.Int64
	ended chan struct{}

	// mu is not held during a request: batches of the run do not wait for each other's.
	mu sync.Mutex
	// left are parts of earlier runs that others are making.
	left map[int64]bool
}

func newCrew(parts Parts, claim *record.Claim, draining <-chan struct{}) *crew {
	return &crew{parts: parts, claim: claim, draining: draining, ended: make(chan struct{}, 1), left: map[int64]bool{}}
}

// Left implements [mirror.Crew].
func (c *crew) Left(ctx context.Context) (made []mirror.Outcome, under []mirror.Import) {
	if !c.claim.Parts {
		return nil, nil
	}
	states, err := c.parts.Left(ctx, c.claim)
	if err != nil {
		return nil, nil // the store has said so; what is left stays for the next run
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range states {
		made = append(made, decoded[mirror.Outcome](p.Outcomes)...)
		if p.Under {
			c.left[p.ID] = true
			under = append(under, decoded[mirror.Import](p.Imports)...)
		}
	}
	return made, under
}

// Share implements [mirror.Crew].
func (c *crew) Share(ctx context.Context, parts []mirror.Part, limit time.Duration) iter.Seq[[]mirror.Outcome] {
	return func(yield func([]mirror.Outcome) bool) {
		s := &partsOfBatch{crew: c, limit: limit, waiting: c.put(ctx, parts), done: make(chan struct{}, len(parts))}
		defer s.making.Wait()
		tick, retry := time.NewTicker(partsEvery), time.NewTicker(assistEvery)
		defer tick.Stop()
		defer retry.Stop()
		for len(s.waiting)+s.mine+c.pending() > 0 {
			if !s.begin(ctx, yield) {
				return
			}
			if isClosed(c.draining) && s.mine == 0 {
				s.tell(ctx, yield)
				return
			}
			select {
			case <-s.done:
				s.mine--
			case <-c.ended:
			case <-retry.C:
				s.none = false // another may have given one back
			case <-tick.C:
				if !s.tell(ctx, yield) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// partsOfBatch are the parts of one batch of a run.
type partsOfBatch struct {
	*crew
	// limit is how long another process may keep a part.
	limit time.Duration
	// waiting are those that others may make, by ID, and mine is how many this process is making. done receives for each of these when it has ended.
	waiting map[int64]mirror.Part
	mine    int
	done    chan struct{}
	making  sync.WaitGroup
	// none is set while there is no use in asking for a part: others have all, or the ledger does not say.
	none bool
}

// tell yields what others have told, and reports whether to go on.
func (s *partsOfBatch) tell(ctx context.Context, yield func([]mirror.Outcome) bool) bool {
	outcomes := s.settled(ctx, s.waiting, s.limit)
	return len(outcomes) == 0 || yield(outcomes)
}

// begin begins waiting parts in this process, as many as it has room for. What others have made of them before it yields first, and reports whether to
// go on.
func (s *partsOfBatch) begin(ctx context.Context, yield func([]mirror.Outcome) bool) bool {
	for !s.none && len(s.waiting) > 0 && !isClosed(s.draining) && s.under.Load() < partsAhead {
		claim, err := s.parts.TakeOwnPart(ctx, s.claim, keys(s.waiting))
		if err != nil || claim == nil {
			s.none = true
			return true
		}
		part := s.waiting[claim.ID]
		delete(s.waiting, claim.ID)
		if made := decoded[mirror.Outcome](claim.Outcomes); len(made) > 0 && !yield(made) {
			return false
		}
		s.mine++
		s.under.Add(int64(len(part.Imports)))
		s.making.Go(func() { s.make(ctx, claim, part); s.done <- struct{}{} })
	}
	return true
}

// put puts parts up, and returns them by ID; none if there is nothing to share, or the ledger does not take them.
func (c *crew) put(ctx context.Context, parts []mirror.Part) map[int64]mirror.Part {
	if len(parts) < 2 {
		return nil
	}
	states := make([]record.PartState, len(parts))
	for i, p := range parts {
		states[i].Imports = encoded(p.Imports)
	}
	ctx, cancel := context.WithTimeout(ctx, putLasts)
	defer cancel()
	if untilAnswered(ctx, c.claim, func(ctx context.Context) error { return c.parts.PutParts(ctx, c.claim, states) }) != nil {
		return nil
	}
	waiting := map[int64]mirror.Part{}
	for i, p := range parts {
		waiting[states[i].ID] = p
	}
	return waiting
}

// make makes a part in this process.
func (c *crew) make(ctx context.Context, claim *record.PartClaim, part mirror.Part) {
	outcomes := part.Make(claim.Again, func() {
		c.under.Add(-1)
		wake(c.ended)
	})
	if ctx.Err() == nil { // the run has the outcomes: this is for who takes it over
		_ = c.parts.EndPart(ctx, claim, encoded(outcomes), nil)
	}
}

// settled returns the outcomes that others have told of waiting parts and of those that were left. Who has one for longer than limit loses it.
func (c *crew) settled(ctx context.Context, waiting map[int64]mirror.Part, limit time.Duration) (outcomes []mirror.Outcome) {
	states, err := c.parts.Settled(ctx, c.claim, append(keys(waiting), c.leftIDs()...), limit)
	if err != nil {
		return nil
	}
	outcomes, drop := c.told(states, waiting)
	if len(drop) > 0 {
		_ = c.parts.DropParts(ctx, c.claim, drop) // the next look shows it
	}
	return outcomes
}

// told returns the outcomes of parts that have ended, each once for all batches of the run, and the parts that were left and given back.
func (c *crew) told(states []record.PartState, waiting map[int64]mirror.Part) (outcomes []mirror.Outcome, drop []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range states {
		_, own := waiting[p.ID]
		switch {
		case !own && !c.left[p.ID]:
			continue // another batch has told of it meanwhile
		case p.Failed:
			for _, i := range decoded[mirror.Import](p.Imports) {
				outcomes = append(outcomes, mirror.Outcome{Action: i.Action, Status: record.Failed, Err: fmt.Errorf("%s: %w", i.Target, errPartFailed)})
			}
		case len(p.Imports) > 0 && c.left[p.ID]:
			drop = append(drop, p.ID)
			continue
		case len(p.Imports) > 0:
			continue // it is taken again
		}
		outcomes = append(outcomes, decoded[mirror.Outcome](p.Outcomes)...)
		delete(waiting, p.ID)
		delete(c.left, p.ID)
	}
	return outcomes, drop
}

func (c *crew) pending() int { return len(c.leftIDs()) }

func (c *crew) leftIDs() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return keys(c.left)
}

func keys[V any](m map[int64]V) (all []int64) {
	for id := range m {
		all = append(all, id)
	}
	return all
}

// encoded and decoded write and read what processes tell each other; decoded leaves out what it cannot read.
func encoded[V any](list []V) (all []json.RawMessage) {
	for _, one := range list {
		text, _ := json.Marshal(one) // it has only texts and numbers
		all = append(all, text)
	}
	return all
}

func decoded[V any](list []json.RawMessage) (all []V) {
	for _, text := range list {
		var one V
		if json.Unmarshal(text, &one) == nil {
			all = append(all, one)
		}
	}
	return all
}
