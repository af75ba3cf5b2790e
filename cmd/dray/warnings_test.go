package main

import (
	"testing"

	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/schedule"
)

func TestUnscheduled(t *testing.T) {
	daily, err := schedule.Parse("@daily", "")
	if err != nil {
		t.Fatal(err)
	}
	jobs := []plan.Job{{Name: "daily", Schedule: daily}}
	for _, want := range []string{
		"",
		"a has no schedule: dray run runs it at start and when it changes",
		"a, b have no schedule: dray run runs them at start and when they change",
		"a, b, c have no schedule: dray run runs them at start and when they change",
		"a, b, c and 1 more have no schedule: dray run runs them at start and when they change",
	} {
		if got := unscheduled(jobs); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		jobs = append(jobs, plan.Job{Name: string(rune('a' + len(jobs) - 1))})
	}
}
