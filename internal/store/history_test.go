package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

func TestHistory(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	for i := range 120 {
		d.pass(time.Minute)
		run, state := busyRun(d, fmt.Sprint("job", i%3), 1+i%5)
		run.Counts.Pulls = i
		keep(t, s, run, state)
	}
	for name, tt := range map[string]struct {
		query       HistoryQuery
		runs        int
		first, last int
	}{
		"default":          {HistoryQuery{}, 50, 119, 70},
		"of a job":         {HistoryQuery{Job: "job1"}, 40, 118, 1},
		"few of a job":     {HistoryQuery{Job: "job2", Limit: 2}, 2, 119, 116},
		"all":              {HistoryQuery{Limit: 1_000_000}, 120, 119, 0},
		"negative":         {HistoryQuery{Limit: -1, Before: -1}, 50, 119, 70},
		"of nobody":        {HistoryQuery{Job: "job"}, 0, 0, 0},
		"before the first": {HistoryQuery{Before: 1}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := history(t, s, tt.query)
			if len(got) != tt.runs || tt.runs > 0 && (got[0].Counts.Pulls != tt.first || got[len(got)-1].Counts.Pulls != tt.last) {
				t.Error(len(got), got)
			}
			for _, r := range got {
				if len(r.Actions) != 1+r.Counts.Pulls%5 || r.Actions[0].Source != "source.test/a:0" || tt.query.Job != "" && r.Job != tt.query.Job {
					t.Error(r)
				}
			}
		})
	}
	var pages []int
	for q := (HistoryQuery{Job: "job0", Limit: 15}); ; {
		page := history(t, s, q)
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			pages = append(pages, r.Counts.Pulls)
		}
		q.Before = page[len(page)-1].ID
	}
	if len(pages) != 40 || pages[0] != 117 || pages[15] != 117-45 || pages[39] != 0 {
		t.Error(pages)
	}
}

// TestHistoryBounded asks for more than one answer may hold.
func TestHistoryBounded(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	s := d.open(t)
	for range 40 {
		run, state := busyRun(d, "a", 190)
		for i := range run.Actions {
			run.Actions[i].Error = strings.Repeat("x", 1000)
		}
		keep(t, s, run, state)
	}
	seen := 0
	for q := (HistoryQuery{Limit: 1000}); ; {
		page := history(t, s, q)
		if len(page) == 0 {
			break
		}
		size := 0
		for _, r := range page {
			size += runBytes(&r)
		}
		if size > maxPageSize || len(page) > 25 {
			t.Errorf("%d runs of %d bytes", len(page), size)
		}
		seen += len(page)
		q.Before = page[len(page)-1].ID
	}
	if seen != 40 {
		t.Errorf("%d runs on all pages", seen)
	}
}

func TestHistoryLimited(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	s := d.open(t)
	for i := range 1100 {
		run, state := quietRun(d, "a", i)
		keep(t, s, run, state)
	}
	if got := history(t, s, HistoryQuery{Limit: 2000}); len(got) != 1000 || got[999].Counts.Keep != 100 {
		t.Error(len(got))
	}
}

// TestHistoryHeld drops runs between two reads of one answer.
func TestHistoryHeld(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	s := d.open(t)
	run, state := busyRun(d, "a", 3)
	keep(t, s, run, state)
	done := make(chan error)
	go func() {
		for range 300 {
			if err := s.KeepRun(t.Context(), run, state); err != nil {
				done <- err
				return
			}
			if _, err := s.writer.Exec("DELETE FROM runs WHERE id < (SELECT max(id) FROM runs)"); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			must(t, err)
			return
		default:
			got := history(t, s, HistoryQuery{})
			if len(got) == 0 {
				t.Error("there is no run")
			}
			for _, r := range got {
				if len(r.Actions) != 3 {
					t.Errorf("a run has %d outcomes", len(r.Actions))
				}
			}
		}
	}
}
