package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// TestReplicasShareABudget has two replicas import from a hub that allows few pulls: both do, together they leave what the config keeps, in every
// window, nothing is pulled twice, and when one is killed the other goes on.
func TestReplicasShareABudget(t *testing.T) {
	timed(t)
	// Two windows. The two jobs that a replica runs at a time do not need all pulls of one, so that each replica gets some.
	const repositories, tags, limit, keep, window = 4, 9, 28, 4, 12 * time.Second
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	for i := range repositories {
		for tag := range tags {
			image := registry.SingleArch(int64(i*tags+tag), "linux/amd64", registry.ImageOptions{LayerSize: 50})
			if err := image.Push(source, fmt.Sprint("app-", i), fmt.Sprint("v", tag)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := hub.New(source, hub.Options{Limit: limit, Window: window})
	both := make(chan struct{}) // closed once both replicas have reserved pulls
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			select {
			case <-both:
			case <-r.Context().Done():
			}
		}
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	host, to := strings.TrimPrefix(server.URL, "http://"), start(t, target)
	ledger := postgrestest.Database(t)
	var replicas []*running
	var desks []desk
	for n := range 2 {
		d := newDesk(t)
		lines := []string{
			"version: 1", serverLine(d.socket), "jobs: 2", fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: 10s}", ledger, n),
			"registries:", fmt.Sprintf("  '%s': {plainHTTP: true, concurrency: 2, rateLimit: {keep: %d}}", host, keep), "mappings:",
		}
		for i := range repositories {
			for priority, path := range []string{"copy", "app"} { // of one source, so that what one has pulled serves the other
				lines = append(lines, mapping("name: %s-%d, source: '%s/app-%d', target: '%s/%s-%d', tags: ['v*'], referrers: false, priority: %d", path, i, host, i, to, path, i, priority))
			}
		}
		d.write(d.config, strings.Join(lines, "\n"))
		desks, replicas = append(desks, d), append(replicas, launch(t, d.config, d.socket))
	}
	arrived := func() (n int) {
		for i := range repositories {
			n += len(target.Tags(fmt.Sprint("app-", i))) + len(target.Tags(fmt.Sprint("copy-", i)))
		}
		return n
	}
	metric := func(n int, prefix string) (sum float64) {
		for name, value := range replicas[n].metrics(t, desks[n].socket) {
			if strings.HasPrefix(name, prefix) {
				sum += value
			}
		}
		return sum
	}
	each := func(prefix string) bool { return metric(0, prefix) > 0 && metric(1, prefix) > 0 }
	began := time.Now()
	until := func(what string, limit time.Duration, true func() bool) {
		t.Helper()
		for deadline := time.Now().Add(limit); !true(); time.Sleep(50 * time.Millisecond) {
			if time.Now().Before(deadline) {
				continue
			}
			for _, r := range replicas {
				if s, err := r.client.Status(t.Context()); err == nil {
					t.Logf("%+v\n%+v\n%s", s.Jobs, s.Budgets, r.log)
				}
			}
			t.Fatalf("not within %s: %s; %d have arrived; %+v", limit, what, arrived(), h.Account())
		}
	}
	until("both have reserved pulls", time.Minute, func() bool { return each("dray_budget_reserved{") })
	close(both)
	const pulls = "dray_pulls_total{"
	until("both pull, in more than a window", time.Minute, func() bool { return h.Account().Pulled > limit-keep && each(pulls) })
	t.Logf("%v and %v pulls in %s: %+v", metric(0, pulls), metric(1, pulls), time.Since(began), h.Account())
	if err := replicas[1].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-replicas[1].ended
	until("all has arrived", 2*time.Minute, func() bool { return arrived() == 2*repositories*tags })
	a := h.Account()
	t.Logf("all has arrived after %s: %+v", time.Since(began), a)
	if a.Refused > 0 || a.Lowest < keep || a.Repeated > 4 { // two were asked for at the kill, and two not written down
		t.Errorf("%+v", a)
	}
	replicas[0].until(t, "its budget is shown", func() bool {
		s := replicas[0].status(t)
		return len(s.Budgets) == 1 && s.Budgets[0].Limit == limit && s.Budgets[0].Keep == keep && find(s, "app-0").State != record.JobRunning
	})
}
