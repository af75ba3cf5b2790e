package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

// A chart shows the levels of the last window, whatever they are; where there are none, there is no chart.
func TestChart(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	level := func(ago time.Duration, own, others int) record.BudgetLevel {
		return record.BudgetLevel{At: now.Add(-ago), Spent: own, Others: others}
	}
	for name, tt := range map[string]struct {
		budget record.Budget
		chart  bool
		own    string
		label  string
		rows   string
	}{
		"nothing": {record.Budget{Limit: 100}, false, "", "", ""},
		"one": {record.Budget{Limit: 113, Window: record.Seconds(time.Hour), Levels: []record.BudgetLevel{level(30*time.Minute, 60, 0)}}, true,
			"M230 120V60H480V120H230Z", "Of the pulls of 60 minutes, 60 were last spent by dray and 0 by others; 113 are allowed", "[{11:30 UTC 60 0}]"},
		"older than the window":  {record.Budget{Limit: 100, Window: record.Seconds(time.Hour), Levels: []record.BudgetLevel{level(2*time.Hour, 60, 0)}}, false, "", "", ""},
		"of a clock that is off": {record.Budget{Limit: 100, Window: record.Seconds(time.Hour), Levels: []record.BudgetLevel{level(-time.Hour, 60, 0)}}, false, "", "", ""},
		"no limit, no window": {record.Budget{Limit: -1, Levels: []record.BudgetLevel{level(time.Hour, 0, 0), level(0, 18, 0)}}, true,
			"M390 120V120H470V7H480V120H470V120H390Z", "Of the pulls of 6 hours, 18 were last spent by dray and 0 by others", "[{11:00 UTC 0 0} {12:00 UTC 18 0}]"},
		"a window of seconds": {record.Budget{Limit: 10, Window: record.Seconds(time.Second), Levels: []record.BudgetLevel{level(0, 5, 5)}}, true,
			"M470 120V66H480V120H470Z", "Of the pulls of 1 second, 5 were last spent by dray and 5 by others; 10 are allowed", "[{12:00 UTC 5 5}]"},
	} {
		t.Run(name, func(t *testing.T) {
			c := chartOf(&tt.budget, now)
			if c == nil || !tt.chart {
				if tt.chart != (c != nil) {
					t.Errorf("got %+v", c)
				}
				return
			}
			if rows := fmt.Sprint(c.Rows); c.Own != tt.own || c.Label != tt.label || rows != tt.rows {
				t.Errorf("%q, %q, %s", c.Own, c.Label, rows)
			}
		})
	}
}

// A hundred accounts, each with all there can be, are on pages of a bounded size.
func TestManyBudgets(t *testing.T) {
	daemon := newStage(func() record.Snapshot {
		s := record.Snapshot{Now: noon}
		for i := range 100 {
			b := record.Budget{Registry: "docker.io", Account: fmt.Sprintf("docker.io/%s-%02d", strings.Repeat("x", 60), i), Limit: 200_000, Remaining: 50, Window: record.Seconds(6 * time.Hour), FullBy: noon, RetryAt: noon}
			for k := range 49 {
				b.Levels = append(b.Levels, record.BudgetLevel{At: noon.Add(time.Duration(k-48) * 450 * time.Second), Spent: 100_000 + 999*(k%2), Others: 50_000 - 999*(k%3)})
			}
			s.Budgets = append(s.Budgets, b)
		}
		return s
	})
	address := start(t, Options{Daemon: daemon})
	for page, want := range map[string]string{"": "1 to 30 of 100 budgets", "?page=4": "91 to 100 of 100 budgets", "?page=9": "91 to 100 of 100 budgets"} {
		_, body := ask(t, "GET", "http://"+address+"/budgets"+page, nil)
		if len(body) > 200_000 || !strings.Contains(body, want) {
			t.Errorf("%s: %d bytes, without %q", page, len(body), want)
		}
		wellFormed(t, body)
	}
}

// A job is found by each registry that it reads from, and waits for the budgets of its own accounts only.
func TestJobOfSeveralSources(t *testing.T) {
	daemon := newStage(full)
	daemon.then(func(s *record.Snapshot) {
		s.Budgets = append(s.Budgets, record.Budget{Registry: "docker.io", Account: "docker.io/other", Limit: 100, Remaining: 100})
	})
	address := start(t, Options{Daemon: daemon})
	for _, registry := range []string{"docker.io", "ghcr.io", "registry.corp.example:5000"} {
		_, body := ask(t, "GET", "http://"+address+"/?registry="+registry, nil)
		if !strings.Contains(body, `<a href="/jobs/deferred">`) {
			t.Errorf("it is not found by %s", registry)
		}
		wellFormed(t, body)
	}
	_, body := ask(t, "GET", "http://"+address+"/budgets", nil)
	for _, section := range strings.Split(body, "<section id=\"budget-")[1:] {
		own := !strings.Contains(section, "docker.io/other")
		if strings.Contains(section, `<a href="/jobs/deferred">`) != own {
			t.Errorf("the job waits for it: %t, in\n%s", !own, section)
		}
	}
}
