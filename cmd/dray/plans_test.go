package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/web"
)

// TestApprovedPlan: a plan changes nothing, and its approval makes exactly its imports, once, and not after the job has changed.
func TestApprovedPlan(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	source, target := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
	from, to := start(t, source), start(t, target)
	push := func(seed int64, tag string) {
		t.Helper()
		if err := emulator.SingleArch(seed, "linux/amd64", emulator.ImageOptions{LayerSize: 500}).Push(source, "app", tag); err != nil {
			t.Fatal(err)
		}
	}
	push(1, "v1")
	write := func(tags string) {
		d.write(d.config, strings.Join([]string{
			"version: 1", "stateDir: " + filepath.Join(d.target, "state"), fmt.Sprintf("server: {listen: 'unix:%s', token: a-token-of-the-server}", d.socket), "mappings:",
			mapping("name: acme/app, source: '%s/app', target: '%s/copy', tags: ['%s'], referrers: false", from, to, tags),
		}, "\n")+"\n")
	}
	write("v*")
	launch(t, d.config, d.socket)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	do := func(method, path string, want int) (p web.Plan, text string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer a-token-of-the-server")
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }() // only read
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want {
			t.Fatalf("%s %s: %d, %v: %s", method, path, response.StatusCode, err, body)
		}
		_ = json.Unmarshal(body, &p) // unless it is another document
		return p, string(body)
	}
	asked := web.NewClient("unix:"+d.socket, "a-token-of-the-server")
	t.Cleanup(asked.Close)
	// ran returns the last run of a trigger, once it is saved.
	ran := func(trigger record.Trigger, n int) record.JobRun {
		t.Helper()
		for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
			runs, err := asked.History(t.Context(), "acme/app", 20)
			if err != nil {
				t.Fatal(err)
			}
			var some []record.JobRun
			for _, r := range runs {
				if r.Trigger == trigger {
					some = append(some, r)
				}
			}
			if len(some) >= n {
				return some[0]
			}
		}
		t.Fatalf("no run %d of the trigger %s", n, trigger)
		return record.JobRun{}
	}
	made := func() web.Plan {
		t.Helper()
		p, _ := do("POST", "/api/v1/jobs/acme%2Fapp/plan?by=ann", 202)
		for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
			if p, _ = do("GET", "/api/v1/plans/"+p.ID, 200); p.State != record.PlanUnderWay {
				return p
			}
		}
		t.Fatal("the plan is never made")
		return p
	}
	ran(record.First, 1)

	push(2, "v2")
	push(3, "v1")
	p := made()
	if p.State != record.PlanMade || p.Imports != 2 || p.Whole != 2 || len(p.Actions) != 2 || p.Actions[0].Reason != "moved" || p.Actions[1].Reason != "absent" || p.By != "ann (the socket)" {
		t.Errorf("%+v", p)
	}
	if target.Digest("copy", "v2") != "" {
		t.Error("the plan has imported something")
	}
	push(4, "v2") // moves after the plan was made
	push(5, "v3") // is not planned
	if got, _ := do("POST", "/api/v1/plans/"+p.ID+"/approve?by=ben", 202); got.State != record.PlanApproved || got.ApprovedBy != "ben (the socket)" {
		t.Errorf("%+v", got)
	}
	run := ran(record.Approved, 1)
	if run.Counts.Import != 1 || run.Counts.Refuse != 1 || len(run.Actions) != 2 || run.Actions[1].Reason != string(diff.NotPlanned) || run.Outcome != record.RunOK {
		t.Errorf("%+v", run)
	}
	if there := fmt.Sprint(target.Tags("copy")); there != "[v1]" {
		t.Errorf("the target has %s", there)
	}
	if _, text := do("POST", "/api/v1/plans/"+p.ID+"/approve", 409); !strings.Contains(text, "it was approved at") {
		t.Error(text)
	}
	if status, err := asked.Status(t.Context()); err != nil || status.Jobs[0].Last.Trigger != record.First {
		t.Errorf("%+v, %v", status.Jobs, err) // what is due is not changed by it
	}
	if _, text := do("GET", "/jobs/acme/app?show=plan&plan="+p.ID, 200); !strings.Contains(text, "ben (the socket)") || !strings.Contains(text, to+"/copy:v2") {
		t.Error(text)
	}

	p = made()
	write("v[0-9]")
	if err := asked.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, text := do("POST", "/api/v1/plans/"+p.ID+"/approve", 409); !strings.Contains(text, "has changed") {
		t.Error(text)
	}
	ran(record.First, 2) // all is there
	if p = made(); p.Imports != 0 || p.Counts.Keep != 3 {
		t.Errorf("%+v", p)
	}
	if _, text := do("POST", "/api/v1/plans/"+p.ID+"/approve", 409); !strings.Contains(text, "nothing to import") {
		t.Error(text)
	}
	do("POST", "/api/v1/plans/none/approve", 404)
	do("POST", "/api/v1/jobs/none/plan", 404)
}

// TestPlansAreBounded: plans are few, have few actions together, and expire.
func TestPlansAreBounded(t *testing.T) {
	t.Parallel()
	p := &plans{}
	add := func(actions int) *madePlan {
		plan := &madePlan{PlanStatus: record.PlanStatus{ID: fmt.Sprint(len(p.list), actions), Job: "app", State: record.PlanUnderWay}, progress: &planProgress{}}
		p.list = append(p.list, plan)
		result := mirror.Result{Job: "app", Outcomes: make([]mirror.Outcome, actions)}
		for i := range result.Outcomes {
			result.Outcomes[i].Action = diff.Action{Op: diff.Import, Target: image.Reference{Tag: "v1"}}
		}
		p.made(plan, result)
		return plan
	}
	first := add(maxPlanActions)
	if _, found := p.status(first.ID, 0, 1); !found || first.State != record.PlanMade {
		t.Errorf("%+v", first.PlanStatus)
	}
	second := add(1)
	if _, found := p.status(first.ID, 0, 1); found {
		t.Error("two plans have more actions than there may be")
	}
	if large := add(maxPlanActions + 1); large.State != record.PlanFailed || large.imports != nil || !strings.Contains(large.Error, "dray plan --out FILE") {
		t.Errorf("%+v", large.PlanStatus)
	}
	for range maxPlans {
		add(1)
	}
	if list := p.of("app"); len(list) != maxPlans || p.find(second.ID) != nil || len(p.of("other")) != 0 {
		t.Errorf("%d plans", len(list))
	}
	if s, _ := p.status(p.list[0].ID, 5, 5); len(s.Actions) != 0 || s.Whole != 1 {
		t.Errorf("%+v", s)
	}
	for _, plan := range p.list {
		plan.Expires = time.Now()
	}
	if list := p.of("app"); len(list) != 0 {
		t.Errorf("%d plans have not expired", len(list))
	}
}
