package daemon

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// assistEvery is how often a process asks for parts of others' runs.
const assistEvery = 2 * time.Second

// assistance is what a process makes of others' runs.
type assistance struct {
	mu sync.Mutex
	// under counts the imports of each job that were taken and have not ended; ended receives when one has.
	under map[string]int
	ended chan struct{}
}

// full returns the jobs of which this process makes enough, so that those of a slow registry keep it from no others.
func (a *assistance) full() (jobs []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for job, n := range a.under {
		if n >= partsAhead {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// count counts imports of a job.
func (a *assistance) count(job string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under[job] += n; a.under[job] == 0 {
		delete(a.under, job)
	}
}

// assist has parts of others' runs made, beside the runs of this process, whose places they do not take.
func (d *Daemon) assist() {
	if d.options.Parts == nil {
		return
	}
	d.assisting++
	go func() {
		defer func() { d.done <- func() { d.assisting-- } }()
		a := &assistance{under: map[string]int{}, ended: make(chan struct{}, 1)}
		for d.building.Err() == nil {
			if d.takePart(a) {
				continue
			}
			select {
			case <-time.After(assistEvery):
			case <-a.ended:
			case <-d.building.Done():
			}
		}
	}()
}

// takePart takes a part of another process's run, and has the loop begin it. It reports whether it has; what the loop does not begin is given back.
func (d *Daemon) takePart(a *assistance) bool {
	claim, err := d.options.Parts.TakePart(d.building, a.full())
	if err != nil || claim == nil {
		return false
	}
	a.count(claim.Job, len(claim.Imports))
	begun := make(chan bool, 1)
	d.done <- func() {
		begun <- d.beginPart(claim, func() {
			a.count(claim.Job, -1)
			wake(a.ended)
		})
	}
	if <-begun {
		return true
	}
	a.count(claim.Job, -len(claim.Imports))
	return false
}

// wake sends to a channel with room for one, unless that is used.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// beginPart makes a part of another process's run, and reports whether it does. It gives it back if this process has the job in another form, or cannot
// read it. left is called for each import that it makes, once it has ended.
func (d *Daemon) beginPart(claim *record.PartClaim, left func()) bool {
	b := d.current
	imports := decoded[mirror.Import](claim.Imports)
	job := b.jobs[claim.Job]
	refused := d.stopped || job == nil || job.Fingerprint != claim.Fingerprint || len(imports) < len(claim.Imports)
	d.assisting++
	b.runs++
	go func() {
		ctx, cancel := until(record.InPart(d.ctx, claim.Token), claim.Lost)
		defer cancel()
		var made, rest []json.RawMessage
		if refused {
			rest = claim.Imports
		} else {
			for i, out := range b.Assist(ctx, claim.Job, imports, claim.Again, d.draining, newTracker(), left) {
				if out.Unmade() {
					rest = append(rest, claim.Imports[i])
				} else {
					made = append(made, encoded([]mirror.Outcome{out})...)
				}
			}
		}
		of := &record.Claim{Lost: claim.Lost}
		_ = untilAnswered(d.last, of, func(ctx context.Context) error { return d.options.Parts.EndPart(ctx, claim, made, rest) }) // it is lost, or the process ends
		d.done <- func() { d.assisting--; b.runs--; b.release() }
	}()
	return !refused
}
