package ratelimit

import (
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

// TestOvercommitted tells a config that wants more than there will ever be from a first import that takes its time.
func TestOvercommitted(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hourly := func(hours int, run func(hour int) record.Counts) []record.JobRun {
		var runs []record.JobRun
		for hour := range hours {
			r := record.Run{Started: now.Add(time.Duration(hour-hours+1) * time.Hour), Counts: run(hour)}
			runs = append(runs, record.JobRun{Job: "app", Run: r})
		}
		return runs
	}
	for name, tt := range map[string]struct {
		runs   []record.JobRun
		wanted int
		ok     bool
	}{
		"nothing":        {nil, 0, false},
		"all fits":       {hourly(72, func(int) record.Counts { return record.Counts{Pulls: 150, Import: 50} }), 0, false},
		"first import":   {hourly(72, func(h int) record.Counts { return record.Counts{Pulls: 200, Import: 50, Deferred: 4000 - 50*h} }), 0, false},
		"just begun":     {hourly(10, func(h int) record.Counts { return record.Counts{Pulls: 200, Import: 50, Deferred: 50 * h} }), 0, false},
		"grows":          {hourly(72, func(h int) record.Counts { return record.Counts{Pulls: 200, Import: 50, Deferred: 25 * h} }), 301, true},
		"never less":     {hourly(72, func(int) record.Counts { return record.Counts{Pulls: 200, Import: 50, Deferred: 40} }), 201, true},
		"nothing pulled": {hourly(72, func(int) record.Counts { return record.Counts{Deferred: 40} }), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := Overcommitted(tt.runs, time.Hour, now)
			if ok != tt.ok || ok && d.Wanted != tt.wanted {
				t.Errorf("%+v, %t", d, ok)
			}
		})
	}
}
