package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
)

func digestOf(n int) image.Digest { return image.Digest(fmt.Sprintf("sha256:%064x", n)) }

// TestTagMemory: what outcomes say of a tag at the target, one after another.
func TestTagMemory(t *testing.T) {
	t.Parallel()
	target, err := image.Parse("target.example/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(1_000_000, 0)
	out := func(status record.Status, digest, was int) mirror.Outcome {
		o := mirror.Outcome{Action: diff.Action{Target: target}, Status: status}
		if digest > 0 {
			o.Digest = digestOf(digest)
		}
		if was > 0 {
			o.Was = digestOf(was)
		}
		return o
	}
	unverified := out(record.Kept, 1, 1)
	unverified.Unverified = true
	for name, tt := range map[string]struct {
		outcomes []mirror.Outcome
		want     string // digest, minutes of the import and of the last look
	}{
		"imported":                   {[]mirror.Outcome{out(record.Imported, 1, 0)}, "1 1 1"},
		"imported and kept":          {[]mirror.Outcome{out(record.Imported, 1, 0), out(record.Kept, 1, 1)}, "1 1 2"},
		"kept":                       {[]mirror.Outcome{out(record.Kept, 1, 1)}, "1 0 1"},
		"kept, of another digest":    {[]mirror.Outcome{out(record.Imported, 1, 0), out(record.Kept, 2, 2)}, "2 0 2"},
		"immutable":                  {[]mirror.Outcome{out(record.Imported, 1, 0), out(record.Kept, 0, 0)}, "1 1 2"},
		"immutable, nothing known":   {[]mirror.Outcome{out(record.Kept, 0, 0)}, "- 0 1"},
		"failed over another":        {[]mirror.Outcome{out(record.Failed, 2, 1)}, "1 0 1"},
		"refused over another":       {[]mirror.Outcome{out(record.Imported, 1, 0), out(record.Refused, 2, 1)}, "1 1 2"},
		"failed, and nothing there":  {[]mirror.Outcome{out(record.Failed, 2, 0)}, ""},
		"failed, and nothing is new": {[]mirror.Outcome{out(record.Imported, 1, 0), out(record.Failed, 2, 0)}, "1 1 1"},
		"unverified":                 {[]mirror.Outcome{unverified}, "1 0 0"},
	} {
		m := newTagMemory(10)
		for i, o := range tt.outcomes {
			m.note("app", &o, begin.Add(time.Duration(i+1)*time.Minute))
		}
		minutes := func(at time.Time) int {
			if at.IsZero() {
				return 0
			}
			return int(at.Sub(begin).Minutes())
		}
		got := ""
		for _, tag := range m.list("app", "", 0, 10).List {
			digest := "-"
			if tag.Digest != "" {
				digest = strings.TrimLeft(strings.TrimPrefix(tag.Digest, "sha256:"), "0")
			}
			got += fmt.Sprintf("%s %d %d", digest, minutes(tag.Imported), minutes(tag.Looked))
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestTagMemoryIsBounded: many tags of many jobs take no more room than there is; of the jobs, the ones of the latest runs stay.
func TestTagMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := newTagMemory(100)
	fill := func(job string, n int, at time.Time) {
		for i := range n {
			m.put(job, fmt.Sprintf("target.example/%s:v%d", job, i), func(s *tagState) bool { s.looked = at.Unix(); return true })
		}
	}
	at := time.Now()
	fill("first", 60, at)
	fill("second", 30, at.Add(time.Second))
	if first := m.list("first", "", 0, 5); first.Whole != 60 || len(first.List) != 5 || first.More || first.List[2].Target != "target.example/first:v2" {
		t.Errorf("%+v", first)
	}
	if found := m.list("first", ":v5", 8, 5); found.Whole != 11 || len(found.List) != 3 || found.List[2].Target != "target.example/first:v59" {
		t.Errorf("%+v", found)
	}
	fill("third", 30, at.Add(2*time.Second))
	if first, second := m.list("first", "", 0, 5), m.list("second", "", 0, 5); first.Whole != 0 || !first.More || second.Whole != 30 || second.More {
		t.Errorf("%+v, %+v", first, second)
	}
	fill("large", 1000, at.Add(3*time.Second))
	if large := m.list("large", "", 0, 5); large.Whole != 100 || !large.More || m.total != 100 {
		t.Errorf("%d of %d, %t", large.Whole, m.total, large.More)
	}
	m.keep(func(job string) bool { return job == "third" })
	if m.total != 0 || len(m.jobs) != 1 {
		t.Errorf("%d tags of %d jobs", m.total, len(m.jobs))
	}
}

// TestTagsOfSavedRuns: what an earlier process has imported is known from its runs, read once for each run of the job.
func TestTagsOfSavedRuns(t *testing.T) {
	t.Parallel()
	memory, err := store.Open(t.Context(), t.TempDir(), store.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	run := func(n int, actions ...record.Action) record.Run {
		r := record.Run{Started: begin, Ended: begin.Add(time.Duration(n) * time.Minute), Outcome: record.RunOK}
		if err := memory.KeepRun(t.Context(), record.JobRun{Job: "app", Run: r, Actions: actions}, record.State{}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	action := func(tag string, digest int, outcome record.Status) record.Action {
		return record.Action{Op: "import", Target: "target.example/app:" + tag, Digest: string(digestOf(digest)), Outcome: outcome}
	}
	run(1, action("v1", 1, record.Imported), action("v2", 2, record.Imported), action("v3", 3, record.Failed))
	last := run(2, action("v1", 4, record.Imported))
	d := details{tags: newTagMemory(100), store: memory}
	status := &record.JobStatus{Job: "app", Last: &last}
	for range 2 {
		tags, err := d.Tags(t.Context(), status, "", 0, 10)
		if err != nil || tags.Whole != 2 || tags.List[0].Digest != string(digestOf(4)) || !tags.List[0].Imported.Equal(begin.Add(2*time.Minute)) || !tags.List[1].Looked.Equal(begin.Add(time.Minute)) {
			t.Errorf("%+v, %v", tags, err)
		}
	}
	last = run(3, action("v5", 5, record.Imported))
	if tags, err := d.Tags(t.Context(), status, "", 0, 10); err != nil || tags.Whole != 3 {
		t.Errorf("%+v, %v", tags, err)
	}
}
