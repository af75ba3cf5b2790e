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

// stalledAfter is after how long without the end of an import a job no longer counts for how much a process makes of others' runs.
const stalledAfter = 30 * time.Second

// assistance is what a process makes of others' runs.
type assistance struct {
	mu   sync.Mutex
	jobs map[string]*assisted
	// ended receives when an import has ended.
	ended chan struct{}
}

// assisted are the imports of a job that were taken and have not ended, and when the last was taken or ended.
type assisted struct {
	under int
	moved time.Time
}

// full returns the jobs of which this process makes enough, or reports that it makes enough of all together. What is taken from a slow registry does
// not keep it from others for long: then only the job itself is full.
func (a *assistance) full(now time.Time) (jobs []string, all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	moving := 0
	for name, j := range a.jobs {
		if now.Sub(j.moved) < stalledAfter {
			moving += j.under
		}
		if j.under >= partsAhead {
			jobs = append(jobs, name)
		}
	}
	return jobs, moving >= partsAhead
}

// count counts imports of a job.
func (a *assistance) count(job string, n int, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	j := a.jobs[job]
	if j == nil {
		j = &assisted{}
		a.jobs[job] = j
	}
	if j.under, j.moved = j.under+n, now; j.under == 0 {
		delete(a.jobs, job)
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
		a := &assistance{jobs: map[string]*assisted{}, ended: make(chan struct{}, 1)}
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
	full, all := a.full(time.Now())
	if all {
		return false
	}
	claim, err := d.options.Parts.TakePart(d.building, full)
	if err != nil || claim == nil {
		return false
	}
	a.count(claim.Job, len(claim.Imports), time.Now())
	begun := make(chan bool, 1)
	d.done <- func() {
		begun <- d.beginPart(claim, func() {
			a.count(claim.Job, -1, time.Now())
			wake(a.ended)
		})
	}
	if <-begun {
		return true
	}
	a.count(claim.Job, -len(claim.Imports), time.Now())
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
