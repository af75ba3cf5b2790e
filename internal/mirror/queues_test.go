package mirror

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// ready is the only batch of a run of a job that has observed, with so many imports to make.
func ready(job plan.Job, imports int) *batch {
	p := newRun(job).batch(nil)
	p.outcomes = make([]Outcome, imports)
	for i := range p.outcomes {
		p.outcomes[i].Source = job.Source
	}
	return p
}

func all(*Outcome) bool { return true }

// TestTurns has jobs of one queue go by priority, and those of one priority in turns, whatever their number of tags.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		qs := newQueues()
		var group sync.WaitGroup
		goOn := make(chan struct{})
		group.Go(func() {
			qs.each(ready(plan.Job{Name: "hold"}, importsPerQueue), all, func(int, func(int64)) { <-goOn })
		})
		synctest.Wait()
		var mu sync.Mutex
		var order []string
		for _, job := range []struct {
			name     string
			priority int
			imports  int
		}{{"huge", 0, 60}, {"small", 0, 3}, {"urgent", 5, 4}, {"late", -1, 2}} {
			group.Go(func() {
				qs.each(ready(plan.Job{Name: job.name, Priority: job.priority}, job.imports), all, func(int, func(int64)) {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, job.name)
				})
			})
			synctest.Wait()
		}
		goOn <- struct{}{} // one slot, which they take in turns
		synctest.Wait()
		close(goOn)
		group.Wait()
		got := strings.Join(order, " ")
		if want := "urgent urgent urgent urgent huge small huge small huge small " + strings.Repeat("huge ", 57) + "late late"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !slices.Contains(order, "late") {
			t.Error("something starves")
		}
	})
}

// TestFewAtFirst: where several sources share a target, each begins few imports, and one more for each that ends or moves bytes enough; one
// alone begins with all.
func TestFewAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := []image.Reference{image.Repository{Registry: "target", Path: "a"}.Tag("")}
		var jobs []plan.Job
		for i := range 17 {
			jobs = append(jobs, plan.Job{Name: fmt.Sprint(i), Source: image.Repository{Registry: fmt.Sprint(i), Path: "a"}.Tag(""), Targets: target})
		}
		for sources, want := range map[int][2]int{1: {16, 16}, 2: {16, 16}, 4: {8, 11}, 17: {2, 5}} {
			qs := newQueues(jobs[:sources]...)
			r := ready(jobs[0], 100)
			for i := range r.outcomes {
				r.outcomes[i].Target = target[0]
			}
			under := 0
			ends := make(chan struct{})
			var mu sync.Mutex
			var begun func(int64)
			var group sync.WaitGroup
			group.Go(func() {
				qs.each(r, all, func(i int, moved func(int64)) {
					if i == 0 {
						begun = moved
					}
					mu.Lock()
					under++
					mu.Unlock()
					<-ends
					mu.Lock()
					under--
					mu.Unlock()
				})
			})
			synctest.Wait()
			before := under
			ends <- struct{}{}
			ends <- struct{}{}
			begun(bytesAnImport - 1)
			begun(1)
			synctest.Wait()
			if got := [2]int{before, under}; got != want {
				t.Errorf("%d sources: %v at once, want %v", sources, got, want)
			}
			close(ends)
			group.Wait()
		}
	})
}

// TestTurnsWaitForPriority has imports wait until what is more important, from the same registry, has been observed, and no longer: also
// where something else of that priority has two things to do.
func TestTurnsWaitForPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := func(host string) image.Reference { return image.Repository{Registry: host, Path: "a"}.Tag("") }
		urgent := plan.Job{Name: "urgent", Priority: 1, Source: source("one")}
		slow := plan.Job{Name: "slow", Priority: 1, Source: source("one")}
		low := plan.Job{Name: "low", Source: source("one")}
		qs := newQueues(urgent, slow, low, plan.Job{Name: "elsewhere", Priority: 9, Source: source("two")})
		entered := make(chan struct{})
		go qs.each(ready(low, 1), all, func(int, func(int64)) { close(entered) })
		r := ready(urgent, 1)
		qs.each(r, all, func(int, func(int64)) {}) // its imports
		qs.each(r, all, func(int, func(int64)) {}) // and what refers to what is kept
		synctest.Wait()
		select {
		case <-entered:
			t.Error("it did not wait")
		default:
		}
		qs.each(ready(slow, 0), all, func(int, func(int64)) {})
		<-entered

		qs = newQueues(slow, low)
		time.AfterFunc(patience, qs.hurry)
		started := time.Now()
		qs.each(ready(low, 1), all, func(int, func(int64)) {})
		if took := time.Since(started); took != patience {
			t.Errorf("what is never observed delays others for %s", took)
		}
	})
}
