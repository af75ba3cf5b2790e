package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// crowd is a daemon of very many jobs, whose runs take no time.
type crowd struct {
	*Daemon
	ran  chan struct{} // receives at the end of each run
	halt chan struct{}
	end  chan error
}

const crowded = 10_000

func newCrowd(b *testing.B) *crowd {
	b.Helper()
	jobs := make([]Job, crowded)
	for i := range jobs {
		name := fmt.Sprintf("job-%05d", i)
		jobs[i] = Job{Name: name, Fingerprint: name, Registries: fmt.Sprint(i % 10), Priority: i % 3}
	}
	c := &crowd{ran: make(chan struct{}, crowded), halt: make(chan struct{}), end: make(chan error, 1)}
	build := func(context.Context) (Generation, error) {
		return Generation{Jobs: jobs, Parallel: 8, Take: func() {}, Close: func() {}, Run: func(_ context.Context, job string, _ []string, _ <-chan struct{}, w mirror.Watcher, _ mirror.Crew) mirror.Result {
			w.Observed()
			return mirror.Result{Job: job}
		}}, nil
	}
	log := slog.New(slog.DiscardHandler)
	alone := NewAlone(nothing{}, func(record.JobStatus) {}, log)
	c.Daemon = New(Options{Build: build, Work: alone, Plans: alone, View: alone, Events: quiet{c.ran}, Manager: (*manager)(&stand{}), Log: log})
	go func() { c.end <- c.Run(context.WithoutCancel(b.Context()), c.halt) }()
	return c
}

func (c *crowd) stop() {
	close(c.halt)
	<-c.end
}

// BenchmarkRuns runs ten thousand new jobs once.
func BenchmarkRuns(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		c := newCrowd(b)
		for range crowded {
			<-c.ran
		}
		c.stop()
	}
}

// BenchmarkReload reads a config anew in which nothing has changed.
func BenchmarkReload(b *testing.B) {
	c := newCrowd(b)
	for range crowded {
		<-c.ran
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Reload(b.Context(), "test"); err != nil {
			b.Fatal(err)
		}
	}
	c.stop()
}

// BenchmarkSnapshot looks at ten thousand jobs.
func BenchmarkSnapshot(b *testing.B) {
	c := newCrowd(b)
	for range crowded {
		<-c.ran
	}
	b.ReportAllocs()
	for b.Loop() {
		if s, err := c.Snapshot(b.Context()); err != nil || len(s.Jobs) != crowded {
			b.Fatal(len(s.Jobs), err)
		}
	}
	c.stop()
}

// nothing is a memory that keeps nothing.
type nothing struct{}

func (nothing) JobStates(context.Context) (map[string]record.State, error) { return nil, nil }
func (nothing) KeepRun(context.Context, record.JobRun, record.State) error { return nil }
func (nothing) KeepJobs(context.Context, map[string]record.State) error    { return nil }
func (nothing) Pauses(context.Context) (map[string]record.Pause, error)    { return nil, nil }
func (nothing) KeepPause(context.Context, string, record.Pause) error      { return nil }
func (nothing) DropPauses(context.Context, []string) error                 { return nil }

// quiet only counts runs.
type quiet struct{ ran chan<- struct{} }

func (q quiet) Ran(Run, record.State)        { q.ran <- struct{}{} }
func (quiet) Removed(string)                 {}
func (quiet) Reloaded(time.Time, int, error) {}
