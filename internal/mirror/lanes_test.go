package mirror

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// TestTurns has jobs of one lane go by priority, and those of one priority in turns, whatever their number of tags.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes()
		q := l.of(Outcome{})
		hold := newRun(plan.Job{Name: "hold"})
		for range importsPerLane {
			<-l.enter(q, hold)
		}
		var mu sync.Mutex
		var order []string
		for _, job := range []struct {
			name     string
			priority int
			imports  int
		}{{"huge", 0, 60}, {"small", 0, 3}, {"urgent", 5, 4}, {"late", -1, 2}} {
			r := newRun(plan.Job{Name: job.name, Priority: job.priority})
			for range job.imports {
				place := l.enter(q, r)
				go func() {
					<-place
					mu.Lock()
					order = append(order, job.name)
					mu.Unlock()
					l.leave(q)
				}()
			}
			synctest.Wait()
		}
		l.leave(q)
		synctest.Wait()
		got := strings.Join(order, " ")
		if want := "urgent urgent urgent urgent huge small huge small huge small " + strings.Repeat("huge ", 57) + "late late"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !slices.Contains(order, "late") {
			t.Error("something starves")
		}
	})
}

// TestTurnsWaitForPriority has imports wait until what is more important, from the same registry, has been observed, and no longer.
func TestTurnsWaitForPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := func(host string) image.Reference { return image.Repository{Registry: host, Path: "a"}.Tag("") }
		urgent := plan.Job{Name: "urgent", Priority: 1, Source: source("one")}
		low := plan.Job{Name: "low", Source: source("one")}
		l := newLanes(urgent, low, plan.Job{Name: "elsewhere", Priority: 9, Source: source("two")})
		entered := make(chan struct{})
		go func() {
			<-l.enter(l.of(Outcome{Action: diff.Action{Source: low.Source}}), newRun(low))
			close(entered)
		}()
		synctest.Wait()
		select {
		case <-entered:
			t.Error("it did not wait")
		default:
		}
		l.observed([]*run{newRun(urgent)})
		<-entered
	})
}
