package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// partsBoard has the parts of one run. What others make of them is up to the test.
type partsBoard struct {
	mu    sync.Mutex
	parts []*record.PartState
	tried map[int64]bool
	under map[int64]bool
	// fails is how many requests to take a part are answered by an error, and unput how many to put them up.
	fails, unput int
	// others is called when the run looks for its parts, and changes them.
	others func(b *partsBoard)
	ended  []string
	drops  int
}

// lacking counts down, and returns an error until it is at zero.
func lacking(n *int) error {
	if *n > 0 {
		*n--
		return errAway
	}
	return nil
}

func (b *partsBoard) PutParts(_ context.Context, _ *record.Claim, parts []record.PartState) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := lacking(&b.unput); err != nil {
		return err
	}
	b.tried, b.under = map[int64]bool{}, map[int64]bool{}
	for i := range parts {
		parts[i].ID = int64(i + 1)
		b.parts = append(b.parts, new(parts[i]))
	}
	return nil
}

func (b *partsBoard) TakeOwnPart(_ context.Context, claim *record.Claim, ids []int64) (*record.PartClaim, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := lacking(&b.fails); err != nil {
		return nil, err
	}
	for _, p := range b.parts {
		if slices.Contains(ids, p.ID) && !b.under[p.ID] && len(p.Imports) > 0 && !p.Failed {
			again := b.tried[p.ID]
			b.tried[p.ID], b.under[p.ID] = true, true
			return &record.PartClaim{ID: p.ID, Job: claim.Job, Imports: p.Imports, Outcomes: p.Outcomes, Token: p.ID, Again: again, Lost: make(chan struct{})}, nil
		}
	}
	return nil, nil
}

func (b *partsBoard) Settled(_ context.Context, _ *record.Claim, ids []int64, _ time.Duration) (states []record.PartState, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.others != nil {
		b.others(b)
	}
	for _, p := range b.parts {
		if slices.Contains(ids, p.ID) && !b.under[p.ID] && b.tried[p.ID] {
			states = append(states, *p)
		}
	}
	return states, nil
}

func (b *partsBoard) Left(context.Context, *record.Claim) ([]record.PartState, error) {
	return nil, nil
}

func (b *partsBoard) DropParts(context.Context, *record.Claim, []int64) error { b.drops++; return nil }

func (b *partsBoard) TakePart(context.Context, []string) (*record.PartClaim, error) { return nil, nil }

func (b *partsBoard) EndPart(_ context.Context, part *record.PartClaim, outcomes, rest []json.RawMessage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = append(b.ended, fmt.Sprintf("%d: %d made, %d not", part.ID, len(outcomes), len(rest)))
	return nil
}

// take has another process take a part.
func (b *partsBoard) take(id int64) { b.tried[id], b.under[id] = true, true }

// end has the process that has a part tell how its imports ended.
func (b *partsBoard) end(id int64, status record.Status) {
	p := b.parts[id-1]
	for _, i := range decoded[mirror.Import](p.Imports) {
		p.Outcomes = append(p.Outcomes, encoded([]mirror.Outcome{{Action: i.Action, Status: status}})...)
	}
	p.Imports, b.under[id] = nil, false
}

// partsOf are parts of one import each, whose tags are numbers from 1. make is told which are made here.
func partsOf(n int, takes time.Duration, made func(part int, again bool)) (parts []mirror.Part) {
	for i := range n {
		one := mirror.Import{}
		one.Target = image.Reference{Repository: image.Repository{Registry: "target.test", Path: "app"}, Tag: fmt.Sprint(i + 1)}
		parts = append(parts, mirror.Part{Imports: []mirror.Import{one}, Make: func(again bool, ended func()) []mirror.Outcome {
			time.Sleep(takes)
			made(i+1, again)
			ended()
			return []mirror.Outcome{{Action: one.Action, Status: record.Imported}}
		}})
	}
	return parts
}

// TestCrew: each part is made once, here or by another process, whatever the ledger and the others do, and a run waits for nobody who is gone.
func TestCrew(t *testing.T) {
	for name, tt := range map[string]struct {
		parts  int
		before func(b *partsBoard)
		others func(b *partsBoard)
		// here are the parts that are made here, told those that others told.
		here, told string
		left       int // to the caller
		within     time.Duration
	}{
		"alone":         {parts: 3, here: "1 2 3", within: 2 * time.Second},
		"a single part": {parts: 1, within: time.Second},
		"nothing":       {within: time.Second},
		"others make it": {parts: 40, before: func(b *partsBoard) {
			b.others = func(b *partsBoard) { b.take(40); b.end(40, record.Imported); b.others = nil }
		}, here: "39", told: "40", within: time.Minute},
		"the ledger is away at first": {parts: 3, before: func(b *partsBoard) { b.fails, b.unput = 3, 3 }, here: "1 2 3", within: 10 * time.Second},
		"the ledger never takes them": {parts: 3, before: func(b *partsBoard) { b.unput = 1 << 30 }, left: 3, within: putLasts + time.Second},
		"another gives back": {parts: 40, before: func(b *partsBoard) {
			rounds := 0
			b.others = func(b *partsBoard) {
				if rounds++; rounds == 1 {
					b.take(40)
				} else if rounds == 5 {
					b.under[40] = false
				}
			}
		}, here: "40 again", within: time.Minute},
		"too many are gone": {parts: 40, before: func(b *partsBoard) {
			rounds := 0
			b.others = func(b *partsBoard) {
				if rounds++; rounds == 1 {
					b.take(40)
				} else if rounds == 5 {
					b.under[40], b.parts[39].Failed = false, true
				}
			}
		}, told: "40 failed", within: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &partsBoard{}
				if tt.before != nil {
					tt.before(b)
				}
				var mu sync.Mutex
				made := map[int]int{}
				var here, told []string
				parts := partsOf(tt.parts, time.Second, func(part int, again bool) {
					mu.Lock()
					defer mu.Unlock()
					made[part]++
					text := fmt.Sprint(part)
					if again {
						text += " again"
					}
					here = append(here, text)
				})
				began := time.Now()
				c := newCrew(b, &record.Claim{Job: "a", Lost: make(chan struct{})}, make(chan struct{}))
				for outcomes := range c.Share(t.Context(), parts, time.Hour) {
					for _, out := range outcomes {
						text := out.Target.Tag
						var n int
						_, _ = fmt.Sscan(text, &n)
						mu.Lock()
						made[n]++
						mu.Unlock()
						if out.Status == record.Failed {
							if !errors.Is(out.Err, errPartFailed) {
								t.Error(out.Err)
							}
							text += " failed"
						}
						told = append(told, text)
					}
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("it took %s", took)
				}
				if tt.parts > 1 && len(made)+tt.left != tt.parts {
					t.Errorf("%d parts were made of %d", len(made), tt.parts)
				}
				for part, n := range made {
					if n != 1 {
						t.Errorf("part %d was made %d times", part, n)
					}
				}
				for _, want := range strings.Fields(strings.ReplaceAll(tt.here, " again", "_again")) {
					if !slices.Contains(here, strings.ReplaceAll(want, "_", " ")) {
						t.Errorf("made here are %q, want %q", here, want)
					}
				}
				if got := strings.Join(told, " "); got != tt.told {
					t.Errorf("others told %q, want %q", got, tt.told)
				}
				if len(b.ended) != len(here) {
					t.Errorf("%d parts were made here, and told are %q", len(here), b.ended)
				}
			})
		})
	}
}

// TestCrewTellsFirst: what others have made of a part is told before this process makes the rest.
func TestCrewTellsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &partsBoard{}
		var mu sync.Mutex
		var told []string
		parts := partsOf(2, time.Second, func(part int, _ bool) {
			mu.Lock()
			defer mu.Unlock()
			if tag := fmt.Sprint("before ", part); !slices.Contains(told, tag) {
				t.Errorf("%q is not told yet", tag)
			}
		})
		board := &madeBefore{partsBoard: b}
		for outcomes := range newCrew(board, &record.Claim{Job: "a", Lost: make(chan struct{})}, make(chan struct{})).Share(t.Context(), parts, time.Hour) {
			for _, out := range outcomes {
				mu.Lock()
				told = append(told, out.Target.Tag)
				mu.Unlock()
			}
		}
		if len(told) != 2 || len(b.ended) != 2 {
			t.Errorf("%q were told, %q have ended", told, b.ended)
		}
	})
}

// madeBefore has others have made an import of each part.
type madeBefore struct{ *partsBoard }

func (b *madeBefore) PutParts(ctx context.Context, claim *record.Claim, parts []record.PartState) error {
	err := b.partsBoard.PutParts(ctx, claim, parts)
	for _, p := range b.parts {
		var out mirror.Outcome
		out.Target.Tag = fmt.Sprint("before ", p.ID)
		p.Outcomes = encoded([]mirror.Outcome{out})
	}
	return err
}

// TestCrewEnds: a run that is to end does not begin parts, and leaves at once what others have.
func TestCrewEnds(t *testing.T) {
	for name, end := range map[string]func(draining chan struct{}, cancel context.CancelFunc){
		"drained":  func(draining chan struct{}, _ context.CancelFunc) { close(draining) },
		"canceled": func(_ chan struct{}, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b := &partsBoard{}
				b.others = func(b *partsBoard) { b.take(40) }
				draining := make(chan struct{})
				var mu sync.Mutex
				here := 0
				parts := partsOf(40, time.Minute, func(int, bool) { mu.Lock(); here++; mu.Unlock() })
				time.AfterFunc(10*time.Second, func() { end(draining, cancel) })
				began := time.Now()
				for range newCrew(b, &record.Claim{Job: "a", Lost: make(chan struct{})}, draining).Share(ctx, parts, time.Hour) {
					t.Error("others have told something")
				}
				if took := time.Since(began); took > time.Minute+time.Second || here != partsAhead {
					t.Errorf("%d parts in %s", here, took)
				}
			})
		})
	}
}

// meeting answers the first batch that asks for its parts only once the second one has asked.
type meeting struct {
	partsBoard
	first  sync.Once
	second chan struct{}
}

func (b *meeting) Settled(_ context.Context, _ *record.Claim, ids []int64, _ time.Duration) (states []record.PartState, err error) {
	waits := false
	b.first.Do(func() { waits = true })
	if waits {
		select {
		case <-b.second:
		case <-time.After(time.Minute):
			return nil, errAway
		}
	} else {
		close(b.second)
	}
	for _, id := range ids {
		var out mirror.Outcome
		out.Target.Tag = fmt.Sprint(id)
		states = append(states, record.PartState{ID: id, Outcomes: encoded([]mirror.Outcome{out})})
	}
	return states, nil
}

// TestBatchesAskAtOnce: a batch of a run does not wait for what the ledger answers another one, and what an earlier run has left is told once.
func TestBatchesAskAtOnce(t *testing.T) {
	c := newCrew(&meeting{second: make(chan struct{})}, &record.Claim{}, nil)
	c.left[9] = true
	var told [2][]mirror.Outcome
	var group sync.WaitGroup
	for i := range told {
		group.Go(func() { told[i] = c.settled(t.Context(), map[int64]mirror.Part{int64(i): {}}, time.Hour) })
	}
	group.Wait()
	var got []string
	for _, out := range slices.Concat(told[0], told[1]) {
		got = append(got, out.Target.Tag)
	}
	slices.Sort(got)
	if want := []string{"0", "1", "9"}; !slices.Equal(got, want) || c.pending() != 0 {
		t.Errorf("told of %v, want %v; %d are left", got, want, c.pending())
	}
}
