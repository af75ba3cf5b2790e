package daemon

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// assistEvery is how often a process asks for parts of others' runs.
const assistEvery = 2 * time.Second

// assist has parts of others' runs made, beside the runs of this process, whose places they do not take.
func (d *Daemon) assist() {
	if d.options.Parts == nil {
		return
	}
	d.assisting++
	go func() {
		defer func() { d.done <- func() { d.assisting-- } }()
		var under atomic.Int64 // imports that were taken and have not ended
		ended := make(chan struct{}, 1)
		left := func() {
			under.Add(-1)
			select {
			case ended <- struct{}{}:
			default:
			}
		}
		for d.building.Err() == nil {
			if under.Load() < partsAhead && d.takePart(&under, left) {
				continue
			}
			select {
			case <-time.After(assistEvery):
			case <-ended:
			case <-d.building.Done():
			}
		}
	}()
}

// takePart takes a part of another process's run, and has the loop begin it. It reports whether it has; what the loop does not begin is given back.
func (d *Daemon) takePart(under *atomic.Int64, left func()) bool {
	claim, err := d.options.Parts.TakePart(d.building, nil)
	if err != nil || claim == nil {
		return false
	}
	under.Add(int64(len(claim.Imports)))
	begun := make(chan bool, 1)
	d.done <- func() { begun <- d.beginPart(claim, left) }
	return <-begun
}

// beginPart makes a part of another process's run, and reports whether it does. It gives it back if this process has the job in another form, or cannot
// read it. left is called for each import once it has ended here.
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
			for range rest {
				left()
			}
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
