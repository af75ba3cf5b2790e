package store

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/draysync/dray/internal/record"
)

// quietRun is a run of a job that has ended now and had nothing to do.
func quietRun(d *stand, job string, keep int) (record.JobRun, record.State) {
	run := record.JobRun{Job: job, Duration: record.Seconds(2 * time.Second), Run: record.Run{Trigger: "schedule", Outcome: record.RunOK, Started: d.Now().Add(-2 * time.Second), Ended: d.Now(), Counts: record.Counts{Keep: keep}}}
	state := record.State{Fingerprint: "f", Anchor: d.Now().Add(-time.Hour), Started: run.Started, Ended: run.Ended, Succeeded: run.Ended}
	return run, state
}

// busyRun is one that has imported some.
func busyRun(d *stand, job string, imports int) (record.JobRun, record.State) {
	run, state := quietRun(d, job, 7)
	run.Counts.Import = imports
	for i := range imports {
		run.Actions = append(run.Actions, record.Action{Op: "import", Outcome: "imported", Source: fmt.Sprint("source.test/a:", i), Bytes: 10})
	}
	return run, state
}

func keep(t testing.TB, s *Store, run record.JobRun, state record.State) int64 {
	t.Helper()
	must(t, s.KeepRun(t.Context(), run, state))
	var id int64
	must(t, s.reader.QueryRow("SELECT max(id) FROM runs").Scan(&id))
	return id
}

func history(t testing.TB, s *Store, q HistoryQuery) []record.JobRun {
	t.Helper()
	runs, err := s.History(t.Context(), q)
	must(t, err)
	return runs
}

func states(t testing.TB, s *Store) map[string]record.State {
	t.Helper()
	all, err := s.JobStates(t.Context())
	must(t, err)
	for job, j := range all { // TestLastRun looks at it
		j.Last = nil
		all[job] = j
	}
	return all
}

func TestKeepRun(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	run := record.JobRun{Job: "büro/<a> \"b\"", Duration: record.Seconds(time.Minute), Run: record.Run{Trigger: "manual", Error: "observe: no", Started: d.Now().Add(-time.Minute), Ended: d.Now(), Counts: record.Counts{Keep: 1000, Import: 1, Refuse: 2, Failed: 3, Deferred: 4, Pulls: 5, Bytes: 1 << 40, Mounted: 7, Unverified: 6}}, Actions: []record.Action{
		{Op: "keep", Outcome: "kept", Source: "source.test/a:0"},
		{Op: "import", Outcome: "imported", Reason: "moved", Source: "source.test/a:1", Target: "target.test/a:1", Digest: string(digest(1)),
			Was: string(digest(2)), Engine: "copy", Pulls: 3, Bytes: 1 << 40, Mounted: 5, Unverified: true, Duration: 1234567},
		{Op: "import", Outcome: "deferred", Error: "429", Code: "limited", RetryAt: new(d.Now().Add(time.Hour))},
	}}
	state := record.State{Fingerprint: "f", Anchor: d.Now().Add(-time.Hour), Started: run.Started, Ended: run.Ended,
		Succeeded: d.Now().Add(-24 * time.Hour), Failures: 3}
	given := run
	given.ID, given.More, given.Repeats = 77, 8, 9 // are not the caller's to say
	id := keep(t, s, given, state)
	must(t, s.Close())
	s = d.open(t)
	want := run
	want.ID, want.Actions = id, run.Actions[1:]
	if diff := cmp.Diff([]record.JobRun{want}, history(t, s, HistoryQuery{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]record.State{run.Job: state}, states(t, s)); diff != "" {
		t.Error(diff)
	}
	next := record.State{}
	if newer := keep(t, s, record.JobRun{Job: run.Job}, next); newer <= id {
		t.Error("a later run has no larger id", id, newer)
	}
	if diff := cmp.Diff(map[string]record.State{run.Job: next}, states(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestKeepRunRefused(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	for name, job := range map[string]string{"empty": "", "long": strings.Repeat("x", 1025), "no text": "\xff", "zero": "a\x00b"} {
		t.Run(name, func(t *testing.T) {
			run, state := quietRun(d, job, 1)
			if err := s.KeepRun(t.Context(), run, state); err == nil {
				t.Error("it was kept")
			}
			if err := s.KeepJobs(t.Context(), map[string]record.State{"good": {Anchor: d.Now()}, job: {Anchor: d.Now()}}); err == nil {
				t.Error("a state of it was kept")
			}
		})
	}
	if len(states(t, s))+len(history(t, s, HistoryQuery{})) != 0 {
		t.Error("something was kept")
	}
}

// TestKeepRunWhole has the last part of a run fail: nothing of it stays.
func TestKeepRunWhole(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	fails := "CREATE TRIGGER fails BEFORE INSERT ON outcomes WHEN new.position = 2 BEGIN SELECT raise(ABORT, 'no'); END"
	if d.ledger != "" {
		fails = "ALTER TABLE outcomes ADD CHECK (position <> 2)"
	}
	_, err := s.writer.Exec(fails)
	must(t, err)
	run, state := busyRun(d, "a", 3)
	if err := s.KeepRun(t.Context(), run, state); err == nil {
		t.Error("it was kept")
	}
	if len(states(t, s))+len(history(t, s, HistoryQuery{})) != 0 {
		t.Error("half of a run was kept")
	}
	run, state = busyRun(d, "a", 2)
	keep(t, s, run, state)
}

func TestKeepRunBounded(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	outcome := func(i int, status record.Status, text string) record.Action {
		return record.Action{Op: "import", Outcome: status, Target: fmt.Sprint(i), Error: text}
	}
	many, _ := busyRun(d, "many", 0)
	for i := range 1000 {
		many.Actions = append(many.Actions, outcome(i, map[bool]record.Status{true: record.Failed, false: record.Imported}[i%100 == 99], ""))
	}
	keep(t, s, many, record.State{})
	got := history(t, s, HistoryQuery{Job: "many"})[0]
	failed := 0
	for i, o := range got.Actions {
		if o.Outcome == "failed" {
			failed++
		}
		if i > 0 && len(o.Target) < len(got.Actions[i-1].Target) {
			t.Error("they are in another order")
		}
	}
	if len(got.Actions) != 200 || got.More != 800 || failed != 10 || len(many.Actions) != 1000 {
		t.Error(len(got.Actions), got.More, failed)
	}

	long, _ := busyRun(d, "long", 0)
	text := strings.Repeat("ü", 3000)
	for i := range 100 {
		long.Actions = append(long.Actions, outcome(i, "failed", text))
	}
	long.Error = text
	keep(t, s, long, record.State{})
	got = history(t, s, HistoryQuery{Job: "long"})[0]
	if n := len(got.Actions); n < 50 || n > 64 || got.More != 100-n || runBytes(&got) > maxRun+4096+runSize {
		t.Error(n, got.More, runBytes(&got))
	}
	for _, cut := range []string{got.Error, got.Actions[0].Error} {
		if len(cut) > 4096 || len(cut) < 4090 || !utf8.ValidString(cut) || !strings.HasSuffix(cut, "ü…") {
			t.Error(len(cut), cut[len(cut)-10:])
		}
	}
	if long.Actions[0].Error != text {
		t.Error("what belongs to the caller was changed")
	}
}

func TestQuietRuns(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	var first, last time.Time
	var ids []int64
	for range 10 {
		d.pass(time.Hour)
		run, state := quietRun(d, "a", 1000)
		if first.IsZero() {
			first = run.Started
		}
		last = run.Started
		ids = append(ids, keep(t, s, run, state))
		other, state := quietRun(d, "b", len(ids)/8) // differs once
		keep(t, s, other, state)
	}
	got := history(t, s, HistoryQuery{Job: "a"})
	want := []record.JobRun{{
		ID: ids[9], Job: "a", Duration: record.Seconds(2 * time.Second), Repeats: 9, Since: first,
		Run: record.Run{Trigger: "schedule", Outcome: record.RunOK, Started: last, Ended: last.Add(2 * time.Second), Counts: record.Counts{Keep: 1000}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := history(t, s, HistoryQuery{Job: "b"}); len(got) != 2 || got[0].Repeats != 2 || got[1].Repeats != 6 {
		t.Error(got)
	}
	if got := states(t, s)["a"].Started; !got.Equal(last) {
		t.Error(got)
	}
	if got := history(t, s, HistoryQuery{}); len(got) != 3 || got[0].Job != "b" || got[1].Job != "a" || got[2].Job != "b" {
		t.Error("the newest do not come first", got)
	}
}

// TestRunsThatStay keeps, between two quiet runs, one that is not equal to them.
func TestRunsThatStay(t *testing.T) {
	for name, change := range map[string]func(*record.JobRun){
		"imported": func(r *record.JobRun) { r.Counts.Import = 1 }, "refused": func(r *record.JobRun) { r.Counts.Refuse = 1 }, "failed": func(r *record.JobRun) { r.Counts.Failed = 1 },
		"deferred": func(r *record.JobRun) { r.Counts.Deferred = 1 }, "pulls": func(r *record.JobRun) { r.Counts.Pulls = 1 }, "bytes": func(r *record.JobRun) { r.Counts.Bytes = 1 },
		"mounted": func(r *record.JobRun) { r.Counts.Mounted = 1 }, "unverified": func(r *record.JobRun) { r.Counts.Unverified = 1 }, "error": func(r *record.JobRun) { r.Error = "x" }, "keep": func(r *record.JobRun) { r.Counts.Keep++ },
		"trigger":  func(r *record.JobRun) { r.Trigger = "manual" },
		"outcomes": func(r *record.JobRun) { r.Actions = []record.Action{{Outcome: "imported"}} },
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t)
			s := d.open(t)
			var want []record.JobRun
			for i := range 3 {
				d.pass(time.Hour)
				run, state := quietRun(d, "a", 3)
				if i == 1 {
					change(&run)
				}
				keep(t, s, run, state)
				want = append([]record.JobRun{run}, want...)
			}
			if diff := cmp.Diff(want, history(t, s, HistoryQuery{}), cmpopts.IgnoreFields(record.JobRun{}, "ID")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
