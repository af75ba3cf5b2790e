package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

const many = 10_000

func BenchmarkAddBlobs(b *testing.B) {
	ds, n := digests(0, many), 0
	s := newStand(b).open(b)
	for b.Loop() {
		n++
		must(b, s.AddBlobs(b.Context(), repo(fmt.Sprint("r", n)), ds, true))
	}
}

func BenchmarkHolds(b *testing.B) {
	ds := digests(0, many)
	s := newStand(b).open(b)
	must(b, s.AddBlobs(b.Context(), repo("a"), ds, true))
	for b.Loop() {
		if held(b, s, repo("a"), ds...) != many {
			b.Fatal("some are gone")
		}
	}
}

// BenchmarkBlobHolders asks for a blob that a thousand repositories hold.
func BenchmarkBlobHolders(b *testing.B) {
	s := newStand(b).open(b)
	for i := range 1000 {
		must(b, s.AddBlobs(b.Context(), repo(fmt.Sprint("r", i)), digests(0, 10), true))
	}
	for b.Loop() {
		if got, err := s.BlobHolders(b.Context(), repo("").Registry, digest(3)); len(got) != maxHolders || err != nil {
			b.Fatal(got, err)
		}
	}
}

func BenchmarkAddOneBlob(b *testing.B) {
	s, n := newStand(b).open(b), 0
	for b.Loop() {
		n++
		must(b, s.AddBlobs(b.Context(), repo("a"), digests(n, n+1), false))
	}
}

func BenchmarkOpen(b *testing.B) {
	d := newStand(b)
	fill(b, d.open(b), 100)
	for b.Loop() {
		must(b, d.open(b).Close())
	}
}

// BenchmarkKeepQuietRun keeps runs that had nothing to do, of a thousand jobs in turn.
func BenchmarkKeepQuietRun(b *testing.B) {
	d, n := newStand(b), 0
	s := d.open(b)
	for b.Loop() {
		n++
		keepQuiet(b, d, s, fmt.Sprint("job", n%1000))
	}
}

func keepQuiet(b *testing.B, d *stand, s *Store, job string) {
	run, state := quietRun(d, job, 1000)
	keep(b, s, run, state)
}

// BenchmarkKeepBusyRun keeps runs with as many outcomes as are kept of one.
func BenchmarkKeepBusyRun(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	run, state := busyRun(d, "a", maxActions)
	for b.Loop() {
		keep(b, s, run, state)
	}
}

// BenchmarkHistory reads the newest 50 of ten thousand jobs' runs, and those of one job.
func BenchmarkHistory(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	for i := range 3 * many {
		run, state := busyRun(d, fmt.Sprint("job", i%many), 3)
		keep(b, s, run, state)
	}
	for name, query := range map[string]HistoryQuery{"all": {}, "job": {Job: "job5000"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if len(history(b, s, query)) == 0 {
					b.Fatal("there is nothing")
				}
			}
		})
	}
}

func anchored(d *stand) (all map[string]record.State) {
	all = map[string]record.State{}
	for i := range many {
		all[fmt.Sprint("job", i)] = record.State{Anchor: d.Now()}
	}
	return all
}

func BenchmarkJobStates(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	must(b, s.KeepJobs(b.Context(), anchored(d)))
	for b.Loop() {
		if len(states(b, s)) != many {
			b.Fatal("some are gone")
		}
	}
}

func BenchmarkKeepJobs(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	for b.Loop() {
		must(b, s.KeepJobs(b.Context(), anchored(d)))
	}
}

// BenchmarkTouchJobs asks whether there is anything to note, which once a day there is.
func BenchmarkTouchJobs(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	must(b, s.KeepJobs(b.Context(), anchored(d)))
	var names []string
	for name := range anchored(d) {
		names = append(names, name)
	}
	for b.Loop() {
		must(b, s.TouchJobs(b.Context(), names))
	}
}

func BenchmarkWritable(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	for b.Loop() {
		d.pass(time.Second)
		must(b, s.Writable(b.Context()))
	}
}

// BenchmarkPruneRuns looks through 200 runs of each of 1,000 jobs, of which none is to go.
func BenchmarkPruneRuns(b *testing.B) {
	d := newStand(b)
	s := d.open(b)
	for i := range 1000 {
		keepQuiet(b, d, s, fmt.Sprint("job", i))
	}
	_, err := s.writer.Exec("WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 199) " +
		"INSERT INTO runs (job, quiet, " + runColumns + ") SELECT job, quiet, " + runColumns + " FROM n, runs")
	must(b, err)
	for b.Loop() {
		must(b, s.Prune(b.Context(), d.Now(), 512<<20))
	}
}
