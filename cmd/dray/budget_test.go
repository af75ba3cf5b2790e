package main

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
)

// TestBudget syncs ten images of three manifests from a hub that allows twelve pulls an hour, of which two are kept: plan says how long
// that takes, sync does what fits and exits with 3, the daemon shows what is left and waits; no pull is wasted.
func TestBudget(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	source := registry.New(registry.Options{})
	for i := range 10 {
		if err := registry.MultiArch(int64(i), registry.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "app", fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	h := hub.New(source, hub.Options{Limit: 12, Window: time.Hour})
	server := httptest.NewServer(h)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	d.write(d.config, strings.Join([]string{
		"version: 1", "stateDir: " + d.target + "/state", serverLine(d.socket), "registries:",
		"  '" + host + "': {plainHTTP: true, rateLimit: {keep: 2, pullsPerWindow: 12, window: 1h}}", "mappings:",
		mapping("name: app, source: '%s/app', target: 'ocidir://%s/out', tags: ['v*'], referrers: false", host, d.target),
	}, "\n"))
	a := dray(t, "sync", "-c", d.config)
	if a.code != exitPartly || !strings.Contains(a.out, "10 of") && !strings.Contains(a.out, "deferred") {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	if account := h.Account(); account.Pulled != 10 || account.Lowest != 2 || account.Refused > 0 {
		t.Errorf("%+v", account)
	}
	a = dray(t, "plan", "-c", d.config)
	// How many of the ten were spent on indexes, of which the rest is then known for sure, is up to chance.
	want := regexp.MustCompile(regexp.QuoteMeta(host) + `: 2 of 12 pulls left for 1h, 2 kept for others; more are tried in [0-9hms]+; the plan needs (about )?20: 0 now\n  app: (about )?20 pulls, 0 now, the last by .* \(in (2h|1h5[0-9]m)\)`)
	if !want.MatchString(a.out) {
		t.Errorf("%s\n%s", a.out, a.err)
	}
	r := launch(t, d.config, d.socket)
	r.until(t, "the job is deferred", func() bool { s := r.status(t); return string(s.Jobs[0].State) == "deferred" })
	s := r.status(t)
	if len(s.Budgets) != 1 || s.Budgets[0].Remaining != 2 || s.Budgets[0].Limit != 12 || s.Budgets[0].Keep != 2 || s.Budgets[0].RetryAt.IsZero() {
		t.Errorf("%+v", s.Budgets)
	}
	if wait := time.Until(s.Jobs[0].DeferredUntil); wait < 30*time.Minute || wait > 61*time.Minute {
		t.Errorf("it waits for %s", wait)
	}
	m := r.metrics(t, d.socket)
	if _, there := m[`dray_budget_remaining{account="`+host+`",registry="`+host+`"}`]; !there {
		t.Error("the metric is missing")
	}
	if m[`dray_pulls_saved_total{by="cache"}`] == 0 { // what the sync has fetched
		t.Error("nothing was saved")
	}
	a = dray(t, "status", "-c", d.config)
	if !strings.Contains(a.out, host+": 2 of 12 pulls left for 1h, 2 kept for others; more are tried in ") {
		t.Errorf("%s\n%s", a.out, a.err)
	}
	r.stop(t)
	if account := h.Account(); account.Pulled != 10 || account.Refused > 0 || account.Repeated > 0 {
		t.Errorf("%+v", account)
	}
}

// TestMirrorSparesPulls has nine of ten images come from a mirror, down to the bytes, and the tenth from the hub; what tags stand for is
// asked at the hub alone.
func TestMirrorSparesPulls(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	d := newDesk(t)
	source, cache := registry.New(registry.Options{}), registry.New(registry.Options{})
	for i := range 10 {
		image := registry.MultiArch(int64(i), registry.ImageOptions{Layers: 1, LayerSize: 50})
		if err := image.Push(source, "app", fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
		if i == 7 {
			continue
		}
		if err := image.Push(cache, "hub/app", "other"); err != nil {
			t.Fatal(err)
		}
	}
	h := hub.New(source, hub.Options{Limit: 12, Window: time.Hour})
	server, mirror := httptest.NewServer(h), httptest.NewServer(cache)
	defer server.Close()
	defer mirror.Close()
	host, other := strings.TrimPrefix(server.URL, "http://"), strings.TrimPrefix(mirror.URL, "http://")
	d.write(d.config, strings.Join([]string{
		"version: 1", "stateDir: " + d.target + "/state", serverLine(d.socket), "registries:",
		"  '" + host + "': {plainHTTP: true, rateLimit: {pullsPerWindow: 12, window: 1h}, mirrors: ['" + other + "/hub']}", "mappings:",
		mapping("name: app, source: '%s/app', target: 'ocidir://%s/out', tags: ['v*'], referrers: false", host, d.target),
	}, "\n"))
	a := dray(t, "plan", "-c", d.config)
	if !strings.Contains(a.out, "the plan needs about 3\n") || strings.Count(a.out, "size unknown") != 1 || h.Account().Pulled > 0 {
		t.Errorf("%s\n%s\n%+v", a.out, a.err, h.Account())
	}
	a = dray(t, "sync", "-c", d.config, "-o", "json")
	if a.code != exitDone || !strings.Contains(a.out, `"imported"`) || !strings.Contains(a.out, `"pulls": 3,`) {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	if account := h.Account(); account.Pulled != 3 || account.Repeated > 0 || account.Refused > 0 {
		t.Errorf("%+v", account)
	}
	blobs := source.Count(func(r registry.Request) bool { return r.Kind == registry.KindBlob })
	if want := 4; blobs != want { // two platforms with a config and a layer each
		t.Errorf("%d blobs were asked for at the hub, want %d", blobs, want)
	}
}

// TestCheckWarnsOfTooMuch has a daemon's runs leave more and more for later: check says that this schedule can never fit, and what helps.
func TestCheckWarnsOfTooMuch(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	state := d.target + "/state"
	d.write(d.config, strings.Join([]string{
		"version: 1", "stateDir: " + state, "registries:", "  'hub.example.com': {rateLimit: {keep: 10, pullsPerWindow: 200, window: 1h}}", "mappings:",
		mapping("name: app, source: 'hub.example.com/app', target: 'ocidir://%s/out', tags: ['v*'], schedule: '@hourly'", d.target),
	}, "\n"))
	s, err := store.Open(t.Context(), state, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 48 {
		at := time.Now().Add(time.Duration(i-47) * time.Hour)
		run := record.JobRun{Job: "app", Run: record.Run{Started: at, Ended: at, Counts: record.Counts{Import: 50, Deferred: 20 + 30*i, Pulls: 190}}}
		if err := s.KeepRun(t.Context(), run, record.State{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a := dray(t, "check", "-c", d.config)
	if a.code != exitDone || !strings.Contains(a.out, "! hub.example.com: the mappings need about 3") || !strings.Contains(a.out, " pulls in 1h, and 190 of 200 may be spent: 1430 imports wait") {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
}
