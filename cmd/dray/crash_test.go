package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

// TestKilledDaemon kills a daemon with SIGKILL up to a hundred times, while it syncs, reloads and starts. Each time the store opens as it is,
// the history is one that can have been, "@every" keeps its phase, and no tag is incomplete; and a last one brings all there is.
func TestKilledDaemon(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	rounds := int(fulltest.Rounds(8, 50)) //nolint:gosec // a small number
	d := newDesk(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	clock := &requestClock{}
	source.Inject(registry.Fault{Match: clock.tick, Delay: time.Millisecond})
	target.Inject(registry.Fault{Match: clock.tick, Delay: time.Millisecond})
	from, to := start(t, source), start(t, target)
	tags := []string{"v1", "v2", "v3"}
	move := func(round int) {
		for i, tag := range tags {
			image := registry.MultiArch(int64(round*10+i), registry.ImageOptions{LayerSize: 20_000})
			if err := image.Push(source, "app", tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(jitter int) {
		d.write(d.config, strings.Join([]string{
			"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "mappings:",
			mapping("name: app, source: '%s/app', target: '%s/app', tags: ['v*'], schedule: '@every 1h', referrers: false", from, to),
			mapping("name: other, source: '%s/app', target: '%s/other', tags: ['v*'], referrers: false, retries: %d", from, to, jitter%5),
		}, "\n"))
	}
	move(0)
	write(0)
	var phase time.Duration
	killed := map[string]int{}
	for round := range rounds {
		r := launch(t, d.config, d.socket)
		var app record.JobStatus
		// A job whose run was cut off is due at once: only one that has run and waits for its schedule is due when that says.
		r.until(t, "the job has run", func() bool {
			app = find(r.status(t), "app")
			return app.State == record.JobScheduled && app.Last != nil
		})
		// The daemon writes a run to the store beside its loop, so that the history has it a moment later.
		r.until(t, "there is a history", func() bool {
			runs, err := r.client.History(t.Context(), "", 1)
			return err == nil && len(runs) > 0
		})
		due := time.Duration(app.Due.UnixNano()) % time.Hour
		if round == 0 {
			phase = due
		}
		if due.Round(time.Second) != phase.Round(time.Second) {
			t.Errorf("round %d: due %s past the hour, and %s at first", round, due, phase)
		}
		plausible(t, r, round)
		what := "sync"
		move(round + 1)
		ring := func() { _ = r.Process.Kill() }
		clock.ring.Store(&ring)
		clock.seen.Store(0)
		clock.alarm.Store(1 + rand.Int64N(60))
		switch rand.N(3) {
		case 0:
			what = "reload"
			write(round + 1)
		case 1:
			what = "reload and sync"
			write(round + 1)
			_, _ = r.client.Sync(t.Context(), "app") // it may be gone already
		default:
			_, _ = r.client.Sync(t.Context(), "app")
			_, _ = r.client.Sync(t.Context(), "other")
		}
		select {
		case <-r.ended:
		case <-time.After(time.Duration(rand.N(int64(300 * time.Millisecond)))):
			what += ", later"
			_ = r.Process.Kill()
			<-r.ended
		}
		clock.alarm.Store(0)
		killed[what]++
		if text := r.log.String(); strings.Contains(text, "put aside") || strings.Contains(text, "without a memory") || strings.Contains(text, "damaged") {
			t.Fatalf("round %d: the store did not open as it was\n%s", round, text)
		}
		for _, repo := range []string{"app", "other"} {
			for _, tag := range tags {
				if target.Digest(repo, tag) != "" && target.Whole(repo, tag) != nil {
					t.Errorf("round %d: %s:%s is incomplete", round, repo, tag)
				}
			}
		}
	}
	r := launch(t, d.config, d.socket)
	for _, job := range []string{"app", "other"} {
		if _, err := r.client.Sync(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	r.until(t, "the targets equal the source", func() bool {
		for _, repo := range []string{"app", "other"} {
			for _, tag := range tags {
				if target.Digest(repo, tag) != source.Digest("app", tag) {
					return false
				}
			}
		}
		return true
	})
	r.stop(t)
	t.Log(killed)
}

// plausible checks a history: the newest first, each run ended after it began, and after the one before it of its job.
func plausible(t *testing.T, r *running, round int) {
	t.Helper()
	runs, err := r.client.History(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	later := map[string]record.JobRun{}
	for _, run := range runs {
		next, ok := later[run.Job]
		if run.Ended.Before(run.Started) || ok && next.Started.Before(run.Ended) {
			t.Errorf("round %d: %+v comes before %+v", round, run, next)
		}
		if n := run.Counts.Import; n > 3 || run.Outcome == record.RunOK && len(run.Actions) != n {
			t.Errorf("round %d: %s", round, fmt.Sprintf("%+v", run))
		}
		later[run.Job] = run
	}
	if len(runs) == 0 {
		t.Errorf("round %d: there is no history", round)
	}
}
