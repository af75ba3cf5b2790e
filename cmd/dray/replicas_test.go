package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// cluster are several dray run over one PostgreSQL, as processes, and two registries.
type cluster struct {
	t        *testing.T
	database string
	// ledger is the way to the database; nil if there is none between.
	ledger *postgrestest.Proxy
	// apart are ways of their own that replicas have to the ledger.
	apart          map[int]*postgrestest.Proxy
	source, target *registry.Registry
	from, to       string
	replicas       []*running
	desks          []desk
	images         int64
	// lease is that of all replicas, lines are more of the config of each, and mappings, where it is set, returns more mappings of one.
	lease    time.Duration
	lines    []string
	mappings func(replica int) []string

	mu sync.Mutex
	// under are the runs under way, as their source sees them: each lists the tags once, and slowly; twice is set where a job had two.
	under listings
	twice string
	// ran is when runs of each job listed the tags.
	ran map[string][]time.Time
}

// listings are the requests for lists of tags under way, by job.
type listings map[string][]context.Context

// begin notes one, and reports whether another one of the job is under way. A request ends before its answer leaves.
func (l listings) begin(job string, r *http.Request) (twice bool) {
	l[job] = append(slices.DeleteFunc(l[job], func(before context.Context) bool { return before.Err() != nil }), r.Context())
	return len(l[job]) > 1
}

// fencedLine is what a replica says that the ledger does not count as alive any more.
const fencedLine = "fenced: the ledger was silent for too long, so others may take over"

// steady are jobs that run all the time; the job "asked" runs when it is asked for.
const steady = 4

func newCluster(t *testing.T, replicas int) *cluster {
	t.Helper()
	database := postgrestest.Database(t)
	return newClusterOver(t, database, postgrestest.Proxied(t, database), replicas)
}

func newClusterOver(t *testing.T, database string, ledger *postgrestest.Proxy, replicas int) *cluster {
	t.Helper()
	c := &cluster{
		t: t, database: database, ledger: ledger, apart: map[int]*postgrestest.Proxy{}, under: listings{}, ran: map[string][]time.Time{},
		lease: 10 * time.Second, source: registry.New(registry.Options{}), target: registry.New(registry.Options{}),
	}
	c.from, c.to = start(t, c.source), start(t, c.target)
	for i := range steady {
		c.push(fmt.Sprint("steady-", i))
	}
	c.push("asked")
	c.source.Inject(registry.Fault{Delay: 300 * time.Millisecond, Match: func(r *http.Request) bool {
		repository, lists := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
		job, _, _ := strings.Cut(repository, ".") // a variant of the job may follow
		if !lists || !strings.HasPrefix(job, "steady-") && !strings.HasPrefix(job, "rolling-") {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ran[job] = append(c.ran[job], time.Now())
		if c.under.begin(job, r) {
			c.twice = job
		}
		return true
	}})
	t.Cleanup(func() {
		for _, r := range c.replicas {
			if r != nil && t.Failed() {
				t.Log(r.log)
			}
		}
	})
	if replicas > 0 {
		c.begin(replicas)
	}
	return c
}

// begin starts replicas, and waits until they know of each other.
func (c *cluster) begin(replicas int) {
	c.t.Helper()
	for range replicas {
		c.add()
	}
	c.alive(replicas)
	c.recorded("asked", 1) // its first run would take what is meant for the next
}

// add starts one replica more.
func (c *cluster) add() {
	c.t.Helper()
	n := len(c.desks)
	c.desks = append(c.desks, newDesk(c.t))
	c.write(n)
	c.replicas = append(c.replicas, nil)
	c.launch(n)
}

// write writes the config of a replica, with more jobs than the usual ones.
func (c *cluster) write(replica int, more ...string) {
	ledger := c.database
	switch own := c.apart[replica]; {
	case own != nil:
		ledger = own.URL
	case c.ledger != nil:
		ledger = c.ledger.URL
	}
	lines := []string{
		"version: 1", serverLine(c.desks[replica].socket), "stateDir: " + filepath.Join(c.desks[replica].target, "state"), "shutdownGrace: 1s",
		fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: %s}", withPassword(ledger), replica, c.lease),
	}
	lines = append(append(lines, c.lines...), "mappings:")
	for i := range steady {
		lines = append(lines, mapping("name: steady-%d, source: '%s/steady-%d', target: '%s/steady-%d', tags: ['v*'], schedule: '@every 10s', referrers: false", i, c.from, i, c.to, i))
	}
	for _, job := range append([]string{"asked"}, more...) {
		lines = append(lines, mapping("name: %s, source: '%s/%s', target: '%s/%s', tags: ['v*'], referrers: false", job, c.from, job, c.to, job))
	}
	if c.mappings != nil {
		lines = append(lines, c.mappings(replica)...)
	}
	c.desks[replica].write(c.desks[replica].config, strings.Join(lines, "\n"))
}

func (c *cluster) launch(replica int) {
	c.t.Helper()
	c.replicas[replica] = launch(c.t, c.desks[replica].config, c.desks[replica].socket)
}

// push moves the tag of a job's source to a new image.
func (c *cluster) push(job string) (digest string) {
	c.t.Helper()
	c.images++
	image := registry.SingleArch(c.images, "linux/amd64", registry.ImageOptions{LayerSize: 1000})
	if err := image.Push(c.source, job, "v1"); err != nil {
		c.t.Fatal(err)
	}
	return image.Digest
}

// arrives waits until a job's target has an image, and returns how long that took.
func (c *cluster) arrives(job, digest string, limit time.Duration) time.Duration {
	c.t.Helper()
	began := time.Now()
	for c.target.Digest(job, "v1") != digest {
		if took := time.Since(began); took > limit {
			c.t.Fatalf("%s has not arrived within %s", job, took)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// alive waits until all replicas that run know of so many.
func (c *cluster) alive(n int) {
	c.t.Helper()
	for _, r := range c.replicas {
		r.until(c.t, fmt.Sprintf("it knows of %d replicas", n), func() bool { return len(r.status(c.t).Replicas) == n })
	}
}

// hang has the job "asked" hang at its source, and returns which replica runs it. Its next run does not hang.
func (c *cluster) hang(through int) (at int) {
	c.t.Helper()
	r := c.replicas[through]
	r.until(c.t, "the job is idle", func() bool { return find(r.status(c.t), "asked").State == record.JobIdle })
	var hangs atomic.Bool
	c.source.Inject(registry.Fault{Hang: true, Times: 1, Match: func(r *http.Request) bool {
		if r.URL.Path != "/v2/asked/tags/list" {
			return false
		}
		hangs.Store(true)
		return true
	}})
	if _, err := r.client.Sync(c.t.Context(), "asked"); err != nil {
		c.t.Fatal(err)
	}
	r.until(c.t, "the job hangs", func() bool { // not only runs: whoever takes it over would hang else
		j := find(r.status(c.t), "asked")
		at = slices.IndexFunc(c.desks, func(d desk) bool { return j.Replica != "" && c.desks[replicaOf(j.Replica)].config == d.config })
		return at >= 0 && hangs.Load()
	})
	return at
}

func replicaOf(name string) (n int) {
	_, _ = fmt.Sscanf(name, "replica-%d", &n)
	return n
}

func find(s record.Snapshot, job string) record.JobStatus {
	i := slices.IndexFunc(s.Jobs, func(j record.JobStatus) bool { return j.Job == job })
	if i < 0 {
		return record.JobStatus{}
	}
	return s.Jobs[i]
}

// history returns how often a job has run.
func (c *cluster) history(replica int, job string) []record.JobRun {
	c.t.Helper()
	runs, err := c.replicas[replica].client.History(c.t.Context(), job, 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	return runs
}

// get returns the status of an answer by HTTP, and the answer.
func (c *cluster) get(replica int, path string) (int, string) {
	c.t.Helper()
	socket := c.desks[replica].socket
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Get("http://localhost" + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// recorded waits until the first replica knows of so many runs of a job. A connection may still be one to a ledger that is gone.
func (c *cluster) recorded(job string, n int) {
	c.t.Helper()
	r := c.replicas[0]
	r.until(c.t, "the run is recorded", func() bool {
		runs, err := r.client.History(c.t.Context(), job, 1000)
		return err == nil && len(runs) >= n
	})
}

// metric returns a metric of a replica; -1 if it has none of that name.
func (c *cluster) metric(replica int, name string) float64 {
	c.t.Helper()
	value, ok := c.replicas[replica].metrics(c.t, c.desks[replica].socket)[name]
	if !ok {
		return -1
	}
	return value
}

// ends checks that no job has run twice at once, and that no replica has told the ledger's password.
func (c *cluster) ends() {
	c.t.Helper()
	for i, r := range c.replicas {
		_, status := c.get(i, "/api/v1/status")
		checkNoPassword(c.t, r.log.String(), status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.twice != "" {
		c.t.Errorf("two runs at once: %s", c.twice)
	}
	for i := range steady {
		runs := c.history(0, fmt.Sprint("steady-", i))
		for i := range max(0, len(runs)-1) {
			if runs[i].Started.Before(runs[i+1].Ended) {
				c.t.Errorf("%+v began before the end of %+v", runs[i].Run, runs[i+1].Run)
			}
		}
	}
}

// timed marks a test of processes that have to keep to a lease of ten seconds. .ci/run runs these by themselves.
func timed(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("with the race detector, and beside all other tests, the processes are too slow for their lease")
	}
	t.Parallel()
}

// TestReplicaIsKilled: the jobs of a replica that is killed, or paused for longer than its lease, are taken over, and nothing that it says later
// holds; and any replica answers for all.
func TestReplicaIsKilled(t *testing.T) {
	timed(t)
	c := newCluster(t, 3)
	for i := range c.replicas { // whoever is asked
		digest := c.push("asked")
		if _, err := c.replicas[i].client.Sync(t.Context(), "asked"); err != nil {
			t.Fatal(err)
		}
		c.arrives("asked", digest, soon)
	}
	c.replicas[0].until(t, "the runs are recorded", func() bool { return len(c.history(0, "asked")) == 4 })

	digest := c.push("asked")
	dead := c.hang(0)
	if err := c.replicas[dead].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.replicas[dead].ended
	t.Logf("taken over from the dead %s after the kill", c.arrives("asked", digest, 30*time.Second))
	c.launch(dead)
	c.alive(3)

	digest = c.push("asked")
	paused := c.hang(0)
	if err := c.replicas[paused].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Logf("taken over from the paused %s after the stop", c.arrives("asked", digest, 30*time.Second))
	if err := c.replicas[paused].Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p := c.replicas[paused]
	p.until(t, "it says that it was fenced", func() bool { return strings.Contains(p.log.String(), "fenced") })
	p.until(t, "its run ends", func() bool { return strings.Contains(p.log.String(), "a run is not recorded") })
	c.alive(3)
	if n := c.metric(paused, "dray_fenced_total"); n != 1 {
		t.Errorf("dray_fenced_total is %v", n)
	}
	if entries := p.log.entries(t, fencedLine); len(entries) != 1 || entries[0]["replica"] != fmt.Sprint("replica-", paused) {
		t.Errorf("the log names no replica: %v", entries)
	}
	takeovers := 0.0
	for i := range c.replicas {
		takeovers += c.metric(i, `dray_takeovers_total{kind="job"}`)
		if n := c.metric(i, "dray_replicas"); n != 3 {
			t.Errorf("dray_replicas is %v", n)
		}
		if n := c.metric(i, `dray_ledger_request_duration_seconds_count{op="take"}`); n < 1 {
			t.Errorf("%v requests for jobs", n)
		}
	}
	if takeovers < 2 {
		t.Errorf("dray_takeovers_total is %v in all", takeovers)
	}
	want := []record.Result{"ok", "cut-off", "ok", "cut-off", "ok", "ok", "ok", "ok"}
	p.until(t, "all runs are recorded", func() bool { return len(c.history(paused, "asked")) >= len(want) }) // an image arrives before its run ends
	var outcomes []record.Result
	for _, run := range c.history(paused, "asked") {
		outcomes = append(outcomes, run.Outcome)
	}
	if !slices.Equal(outcomes, want) {
		t.Errorf("recorded are %q, where it was %q", outcomes, want)
	}
	terminate(t, p)
	c.replicas, c.desks = slices.Delete(c.replicas, paused, paused+1), slices.Delete(c.desks, paused, paused+1)
	c.alive(2)
	c.ends()
}

// TestLedgerIsAway: a ledger that is away for a moment ends no run; one that is away for longer than a lease ends all, before others could begin,
// and says so, and all goes on when it is back.
func TestLedgerIsAway(t *testing.T) {
	timed(t)
	c := newCluster(t, 0)
	c.lease = 20 * time.Second
	c.begin(2)
	digest := c.push("asked")
	c.source.Inject(registry.Fault{Delay: 7 * time.Second, Times: 1, Match: func(r *http.Request) bool { return r.URL.Path == "/v2/asked/tags/list" }})
	if _, err := c.replicas[0].client.Sync(t.Context(), "asked"); err != nil {
		t.Fatal(err)
	}
	c.replicas[0].until(t, "it runs", func() bool { return find(c.replicas[0].status(t), "asked").State == record.JobRunning })
	c.ledger.Down()
	time.Sleep(3 * time.Second) // a replica counts itself alive for 16 s after a renewal, and renews every 5
	c.ledger.Up()
	c.arrives("asked", digest, soon)
	c.recorded("asked", 2)
	for _, r := range c.replicas {
		if text := r.log.String(); strings.Contains(text, "fenced") || strings.Contains(text, "not recorded") {
			t.Errorf("a ledger that is away for three seconds ends runs:\n%s", text)
		}
	}

	c.ledger.Down()
	for i, r := range c.replicas {
		r.until(t, "it is fenced", func() bool { return strings.Contains(r.log.String(), "fenced") })
		if status, text := c.get(i, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "the ledger cannot be reached since 20") {
			t.Errorf("/readyz: %d %s", status, text)
		}
		if s := r.status(t); s.Ledger == nil || s.Ledger.Reachable || s.Ledger.Since.IsZero() || c.metric(i, "dray_ledger_up") != 0 {
			t.Errorf("the ledger is %+v, dray_ledger_up %v", s.Ledger, c.metric(i, "dray_ledger_up"))
		}
		if status, text := c.get(i, "/healthz"); status != http.StatusOK {
			t.Errorf("/healthz: %d %s", status, text)
		}
	}
	digest = c.push("steady-0")
	time.Sleep(6 * time.Second) // what was left of the lease
	if c.target.Digest("steady-0", "v1") == digest {
		t.Error("jobs run without a ledger")
	}
	c.ledger.Up()
	t.Logf("going on %s after the return", c.arrives("steady-0", digest, soon))
	c.alive(2)
	for i, r := range c.replicas {
		r.until(t, "it is ready", func() bool { status, _ := c.get(i, "/readyz"); return status == http.StatusOK })
		if s := r.status(t); !s.Ledger.Reachable || s.Ledger.Kind != "postgresql" || s.Ledger.RoundTrip <= 0 || c.metric(i, "dray_ledger_up") != 1 {
			t.Errorf("the ledger is %+v, dray_ledger_up %v", s.Ledger, c.metric(i, "dray_ledger_up"))
		}
	}
	c.ends()
}

// TestLedgerIsKilled: a PostgreSQL that is killed with SIGKILL while jobs run, and started again, loses nothing that it has said: all goes on, also where
// holds are gone with it, and no job runs twice at once.
func TestLedgerIsKilled(t *testing.T) {
	timed(t)
	server := postgrestest.NewMortal(t)
	c := newClusterOver(t, server.URL, nil, 2)
	for n := range 3 {
		digest := c.push("asked")
		c.source.Inject(registry.Fault{Delay: 4 * time.Second, Times: 1, Match: func(r *http.Request) bool { return r.URL.Path == "/v2/asked/tags/list" }})
		if _, err := c.replicas[n%2].client.Sync(t.Context(), "asked"); err != nil {
			t.Fatal(err)
		}
		c.replicas[0].until(t, "it runs", func() bool { return find(c.replicas[0].status(t), "asked").State == record.JobRunning })
		server.Kill(t)
		server.Start(t)
		t.Logf("the image is there %s after the return", c.arrives("asked", digest, time.Minute))
		c.recorded("asked", n+2)
	}
	c.alive(2)
	for i := range c.replicas {
		c.replicas[i].until(t, "it is ready", func() bool { status, _ := c.get(i, "/readyz"); return status == http.StatusOK })
	}
	c.ends()
}

// TestLedgerFailsOver kills a PostgreSQL while a job runs, and has its standby take over, which may have missed the last commits: the job's image arrives,
// all goes on at the new server, and as long as nothing is lost, no run is cut off.
func TestLedgerFailsOver(t *testing.T) {
	for name, lags := range map[string]bool{"all is there": false, "the last commits are lost": true} {
		t.Run(name, func(t *testing.T) {
			timed(t)
			server := postgrestest.NewPair(t)
			c := newClusterOver(t, server.URL, nil, 0)
			c.lease = 20 * time.Second
			c.begin(2)
			digest := c.push("asked")
			c.source.Inject(registry.Fault{Delay: 4 * time.Second, Times: 1, Match: func(r *http.Request) bool { return r.URL.Path == "/v2/asked/tags/list" }})
			if lags {
				server.LagBehind(t) // so that the standby does not know of what follows
			}
			if _, err := c.replicas[0].client.Sync(t.Context(), "asked"); err != nil {
				t.Fatal(err)
			}
			c.replicas[0].until(t, "it runs", func() bool { return find(c.replicas[0].status(t), "asked").State == record.JobRunning })
			began := time.Now()
			server.FailOver(t)
			took := time.Since(began)
			if lags { // nobody has asked for the run that the new server knows of
				if _, err := c.replicas[1].client.Sync(t.Context(), "asked"); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("the image is there %s after the failover", c.arrives("asked", digest, soon))
			c.recorded("asked", 2)
			c.alive(2)
			for i := range c.replicas {
				c.replicas[i].until(t, "it is ready", func() bool { status, _ := c.get(i, "/readyz"); return status == http.StatusOK })
			}
			digest = c.push("steady-0")
			t.Logf("going on %s after that", c.arrives("steady-0", digest, soon))
			if lags || took > 8*time.Second { // runs that are forgotten may run again before they end, and a slow failover may outlast a lease
				t.Logf("the failover took %s", took)
				return
			}
			for _, run := range c.history(0, "asked") {
				if run.Outcome != record.RunOK {
					t.Errorf("%+v", run.Run)
				}
			}
			c.ends()
		})
	}
}

// TestReplicaIsCutOff: a replica whose packets to the ledger vanish ends its runs before others begin them, and says that it is not ready; others run
// its jobs, and no job runs twice at once.
func TestReplicaIsCutOff(t *testing.T) {
	timed(t)
	c := newCluster(t, 0)
	c.lease = 20 * time.Second // it ends its runs four seconds before others begin them, which is enough for a machine that stands still for a while
	for n := range 3 {
		c.apart[n] = postgrestest.Proxied(t, c.database)
	}
	c.begin(3)
	digest := c.push("asked")
	cut := c.hang(0)
	c.apart[cut].Silence()
	r := c.replicas[cut]
	r.until(t, "it is fenced", func() bool { return len(r.log.entries(t, fencedLine)) > 0 })
	ended, err := time.Parse(time.RFC3339Nano, fmt.Sprint(r.log.entries(t, fencedLine)[0]["time"]))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("taken over %s after the end", c.arrives("asked", digest, 30*time.Second))
	r.until(t, "it is not ready", func() bool {
		status, text := c.get(cut, "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "the ledger cannot be reached since 20")
	})
	c.replicas, c.desks = slices.Delete(c.replicas, cut, cut+1), slices.Delete(c.desks, cut, cut+1)
	c.replicas[0].until(t, "both runs are recorded", func() bool {
		runs := c.history(0, "asked")
		return len(runs) > 1 && runs[0].Outcome == record.RunOK && runs[1].Outcome == record.RunCutOff
	})
	if began := c.history(0, "asked")[0].Started; !began.After(ended) {
		t.Errorf("others have begun at %s, before the end at %s", began, ended)
	}
	c.alive(2)
	c.ends()
}

// TestRollingConfig: a config that a minority has is not in force, and is once more than half have it; meanwhile what is the same in both runs.
func TestRollingConfig(t *testing.T) {
	timed(t)
	c := newCluster(t, 3)
	c.push("new")
	c.write(0, "new")
	first := c.replicas[0]
	first.until(t, "it says that others have another config", func() bool { return strings.Contains(first.log.String(), "most replicas have another config") })
	digest := c.push("steady-1")
	c.arrives("steady-1", digest, soon)
	for i, r := range c.replicas {
		if s, has := r.status(t).Config, c.metric(i, "dray_config_in_force"); s.Decides() != (i > 0) || s.InForce == "" || has == 1 != (i > 0) {
			t.Errorf("replica %d: %q is in force, its own is %q, dray_config_in_force %v", i, s.InForce, s.Hash, has)
		}
		if find(r.status(t), "new").Job != "" {
			t.Error("a minority decides")
		}
	}
	c.write(1, "new")
	c.arrives("new", c.source.Digest("new", "v1"), soon)
	last := c.replicas[2]
	last.until(t, "the one that has the config before shows what is in force", func() bool { return find(last.status(t), "new").Job != "" })
	digest = c.push("new") // who has the config before runs no job that it does not have
	if _, err := c.replicas[2].client.Sync(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	c.arrives("new", digest, soon)
	c.write(2, "new")
	c.replicas[2].until(t, "all have it", func() bool {
		return !slices.ContainsFunc(c.replicas[2].status(t).Replicas, func(r record.Replica) bool { return !r.InForce })
	})
	c.ends()
}
