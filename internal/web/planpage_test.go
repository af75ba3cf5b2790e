package web

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/record"
)

// The page of a plan says how far it is, and offers to approve it only where that would be done.
func TestPlanPage(t *testing.T) {
	const button = "Approve: make exactly"
	alone := func() record.Snapshot {
		s := world(12)()
		s.Ledger, s.Replicas = nil, nil
		return s
	}
	for name, tt := range map[string]struct {
		change  func(p *record.PlanStatus)
		world   func() record.Snapshot
		token   string
		says    string
		approve bool
	}{
		"made":                {nil, alone, "", button + " 148 imports", true},
		"made, not signed in": {nil, alone, token, "registry.corp.example:5000/mirror/alpine:3.99", false},
		"with replicas":       {nil, full, "", "Where replicas share the jobs, a plan cannot be approved here", false},
		"under way": {func(p *record.PlanStatus) {
			p.State, p.Actions, p.Progress = record.PlanUnderWay, nil, &record.Progress{Tags: 1000, Observed: 400}
		}, alone, "", "looked at 400 of 1\u202f000 tags", false},
		"measuring": {func(p *record.PlanStatus) {
			p.State, p.Actions, p.Progress = record.PlanUnderWay, nil, &record.Progress{Tags: 10, Observed: 10, Imports: 3}
		}, alone, "", "finds out what 3 imports would cost", false},
		"failed":        {func(p *record.PlanStatus) { p.State, p.Actions = record.PlanFailed, nil }, alone, "", "source: it broke", false},
		"approved":      {func(p *record.PlanStatus) { p.State, p.Approved, p.ApprovedBy = record.PlanApproved, noon, "ann" }, alone, "", "by ann", false},
		"nothing to do": {func(p *record.PlanStatus) { p.Actions, p.Imports = nil, 0 }, alone, "", "There is nothing to do", false},
		"only refused":  {func(p *record.PlanStatus) { p.Imports = 0 }, alone, "", "refused", false},
	} {
		t.Run(name, func(t *testing.T) {
			daemon := newStage(tt.world)
			if tt.change != nil {
				p := planned()
				tt.change(&p)
				daemon.fake.plan = &p
			}
			response, page := ask(t, "GET", "http://"+start(t, Options{Daemon: daemon, Details: fakeDetails{}, Token: tt.token})+"/jobs/alpine?show=plan&plan=PLAN1", nil)
			if response.StatusCode != 200 || !strings.Contains(page, tt.says) || strings.Contains(page, button) != tt.approve || len(page) > 200_000 {
				t.Errorf("%d, %d bytes, without %q:\n%s", response.StatusCode, len(page), tt.says, page)
			}
			harmless(t, page)
			wellFormed(t, page)
		})
	}
	address := start(t, Options{Daemon: newStage(world(12)), Details: fakeDetails{}})
	for _, path := range []string{"/jobs/alpine?show=plan&plan=PLAN9", "/jobs/alpine?show=plan", "/jobs/idle?show=plan&plan=PLAN1"} {
		if response, page := ask(t, "GET", "http://"+address+path, nil); response.StatusCode != 404 || !strings.Contains(page, "There is no such plan") {
			t.Errorf("%s: %d\n%s", path, response.StatusCode, page)
		}
	}
}

// A plan is the one of the token's holder to ask for and to approve, and everybody's to look at.
func TestPlanOfTheAPI(t *testing.T) {
	daemon := newStage(world(12))
	address := start(t, Options{Daemon: daemon, Token: token})
	for _, path := range []string{"/api/v1/jobs/alpine/plan", "/api/v1/plans/PLAN1/approve"} {
		if response, _ := ask(t, "POST", "http://"+address+path, nil); response.StatusCode != 401 {
			t.Errorf("%s without a token: %d", path, response.StatusCode)
		}
		if response, _ := ask(t, "POST", "http://"+address+path, nil, "Authorization: Bearer "+token, "Origin: http://evil.example"); response.StatusCode != 403 {
			t.Errorf("%s of another site: %d", path, response.StatusCode)
		}
		if daemon.changes() != 0 {
			t.Fatal("it was done")
		}
	}
	for _, path := range []string{"/api/v1/jobs/alpine/plan?by=ann", "/api/v1/plans/PLAN1/approve?by=ann"} {
		if response, body := ask(t, "POST", "http://"+address+path, nil, "Authorization: Bearer "+token); response.StatusCode != 202 || !strings.Contains(body, `"id":"PLAN1"`) {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
	}
	if daemon.plans.Load() != 1 || daemon.approvals.Load() != 1 {
		t.Errorf("%d plans, %d approvals", daemon.plans.Load(), daemon.approvals.Load())
	}
	_, body := ask(t, "GET", "http://"+address+"/api/v1/plans/PLAN1?from=148&limit=10", nil)
	if strings.Count(body, `"op":`) != 2 || !strings.Contains(body, `"actions_in_all":150`) {
		t.Errorf("got %s", body)
	}
}
