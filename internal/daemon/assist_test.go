package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// othersParts are parts of other processes' runs. A part that is given back is there again.
type othersParts struct {
	partsBoard
	free  []*record.PartClaim
	asked int
	told  []string
}

func (o *othersParts) TakePart(_ context.Context, but []string) (*record.PartClaim, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	i := slices.IndexFunc(o.free, func(p *record.PartClaim) bool { return !slices.Contains(but, p.Job) })
	if i < 0 {
		return nil, nil
	}
	p := o.free[i]
	o.free = slices.Delete(o.free, i, i+1)
	return p, nil
}

func (o *othersParts) EndPart(_ context.Context, part *record.PartClaim, outcomes, rest []json.RawMessage) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, fmt.Sprintf("%s: %d made, %d not", part.Job, len(outcomes), len(rest)))
	if len(rest) > 0 {
		o.free = append(o.free, part)
	}
	return nil
}

// add puts up a part of some imports.
func (o *othersParts) add(j Job, imports int) {
	p := &record.PartClaim{Job: j.Name, Fingerprint: j.Fingerprint, Token: 1, Lost: make(chan struct{})}
	for range imports {
		p.Imports = append(p.Imports, encoded([]mirror.Import{{}})...)
	}
	o.free = append(o.free, p)
}

// TestAssist: parts of others' runs are made, those of a slow job keep no others waiting, and what this process cannot make is given back, now and then.
func TestAssist(t *testing.T) {
	slow, fast := job(t, "slow", ""), job(t, "fast", "")
	for name, tt := range map[string]struct {
		put  func(o *othersParts)
		told []string // within a minute, sorted, each once
		most int      // requests for parts in that minute
	}{
		"nothing": {func(*othersParts) {}, nil, 32},
		"both": {func(o *othersParts) {
			for range 5 {
				o.add(slow, 16)
				o.add(fast, 16)
			}
		}, []string{"fast: 16 made, 0 not"}, 120},
		"in another form":     {func(o *othersParts) { o.add(job(t, "fast", "", "changed"), 16) }, []string{"fast: 0 made, 16 not"}, 32},
		"of no job here":      {func(o *othersParts) { o.add(job(t, "none", ""), 3) }, []string{"none: 0 made, 3 not"}, 32},
		"that cannot be read": {func(o *othersParts) { o.add(fast, 2); o.free[0].Imports[1] = json.RawMessage("[]") }, []string{"fast: 0 made, 2 not"}, 32},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, o := newStand(config{jobs: []Job{slow, fast}}), &othersParts{}
				tt.put(o)
				var mu sync.Mutex
				under := map[string]int{}
				s.parts = o
				s.assist = func(ctx context.Context, job string, imports []mirror.Import, draining <-chan struct{}, ended func()) (all []mirror.Outcome) {
					mu.Lock()
					under[job] += len(imports)
					if job == "slow" && under[job] > 16 {
						t.Errorf("%d imports of a slow job at once", under[job])
					}
					mu.Unlock()
					takes := time.Second
					if job == "slow" {
						takes = time.Hour
					}
					stopped, cancel := until(ctx, draining)
					defer cancel()
					err := sleep(stopped, takes)
					for range imports {
						out := mirror.Outcome{Status: record.Imported}
						if err != nil {
							out.Status, out.Err = record.Failed, record.ErrLost
						}
						all = append(all, out)
						ended()
					}
					mu.Lock()
					defer mu.Unlock()
					under[job] -= len(imports)
					return all
				}
				s.start(t)
				time.Sleep(time.Minute)
				o.mu.Lock()
				told := slices.Compact(slices.Sorted(slices.Values(o.told)))
				if !slices.Equal(told, tt.told) || o.asked > tt.most {
					t.Errorf("told %q after %d requests, want %q", told, o.asked, tt.told)
				}
				if name == "both" && len(o.told) != 5 {
					t.Errorf("%d parts of the fast job were made", len(o.told))
				}
				o.mu.Unlock()
				s.stop(t)
				o.mu.Lock()
				defer o.mu.Unlock()
				if name == "both" && !slices.Contains(o.told, "slow: 0 made, 16 not") {
					t.Errorf("the stop gave nothing back: %q", o.told)
				}
			})
		})
	}
}
