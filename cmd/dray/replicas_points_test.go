package main

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// point is where an import stands when its replica is stopped: before a request is processed, or after that, before it is answered.
type point struct {
	job   string
	after bool
	// source, target or ledger is set: what is asked for there. It is a method and how the path in the repository begins, or words of a statement.
	source, target string
	ledger         []string
}

// points are those of an import, each in a job of its own. layers are the layers of the jobs' images.
func points(layers map[string]registry.Layer) []point {
	return []point{
		{job: "source-tags", source: "GET /tags/list"},
		{job: "source-digest", source: "HEAD /manifests/v1"},
		{job: "source-manifest", source: "GET /manifests/sha256:"},
		{job: "source-blob", source: "GET /blobs/sha256:"},
		{job: "target-digest", target: "HEAD /manifests/v1"},
		{job: "upload-begin", target: "POST /blobs/uploads/"},
		{job: "upload-begun", target: "POST /blobs/uploads/", after: true},
		{job: "upload-end", target: "PUT /blobs/uploads/"},
		{job: "upload-ended", target: "PUT /blobs/uploads/", after: true},
		{job: "child-put", target: "PUT /manifests/sha256:"},
		{job: "child-there", target: "PUT /manifests/sha256:", after: true},
		{job: "tag-put", target: "PUT /manifests/v1"},
		{job: "tag-there", target: "PUT /manifests/v1", after: true},
		{job: "hold-asked", ledger: []string{"INSERT INTO dray.holds", "blob ", layers["hold-asked"].Digest}},
		{job: "hold-taken", ledger: []string{"INSERT INTO dray.holds", "blob ", layers["hold-taken"].Digest}, after: true},
		{job: "permit-asked", ledger: []string{"INSERT INTO dray.holds", "tag ", "/permit-asked:v1"}},
		{job: "permit-given", ledger: []string{"INSERT INTO dray.holds", "tag ", "/permit-given:v1"}, after: true},
		{job: "end", ledger: []string{"UPDATE dray.jobs SET member = NULL, begun = 0", "/end:v1"}},
	}
}

// halted has imports stop at their points until they are released.
type halted struct {
	released chan struct{}
	release  func()

	mu      sync.Mutex
	reached map[string]bool // jobs at their points
}

// wait waits until all of some jobs are at their points.
func (h *halted) wait(t *testing.T, jobs []string, at *running) {
	t.Helper()
	missing := func() []string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.DeleteFunc(slices.Clone(jobs), func(job string) bool { return h.reached[job] })
	}
	for deadline := time.Now().Add(soon); len(missing()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q are not at their points\n%s", missing(), at.log)
		}
	}
}

// halt has the next import of each job stop at its point.
func (c *cluster) halt(all []point) *halted {
	h := &halted{released: make(chan struct{}), reached: map[string]bool{}}
	h.release = sync.OnceFunc(func() { close(h.released) })
	c.t.Cleanup(h.release)
	for _, p := range all {
		stop := func() {
			h.mu.Lock()
			h.reached[p.job] = true
			h.mu.Unlock()
			<-h.released
		}
		if p.ledger != nil {
			c.ledger.Hold(p.after, stop, p.ledger...)
			continue
		}
		fault := registry.Fault{Times: 1, Match: asks(p.source+p.target, p.job)}
		if p.after {
			fault.After = stop
		} else {
			fault.Before = stop
		}
		if p.source != "" {
			c.source.Inject(fault)
		} else {
			c.target.Inject(fault)
		}
	}
	return h
}

// asks matches requests of a method, for what in a repository begins so.
func asks(what, repository string) func(*http.Request) bool {
	method, path, _ := strings.Cut(what, " ")
	return func(r *http.Request) bool {
		return r.Method == method && strings.HasPrefix(r.URL.Path, "/v2/"+repository+path)
	}
}

// TestReplicaIsStopped has a replica stop, for longer than its lease, while imports of it stand at all of their steps, each at another. Meanwhile the tags
// move at the source, and another replica takes the jobs over and imports them. Then the stopped one wakes: no run of it counts as completed, a tag that it
// still writes is followed by a run within five seconds, and all tags end where the source has them. DRAY_TEST_PAUSE says for how long it stops.
func TestReplicaIsStopped(t *testing.T) {
	timed(t)
	pause := 14 * time.Second
	if asked, err := time.ParseDuration(os.Getenv("DRAY_TEST_PAUSE")); err == nil {
		pause = asked
	}
	database := postgrestest.Database(t)
	c := newClusterOver(t, database, postgrestest.Proxied(t, database), 0)
	c.lease = pause * 5 / 7
	c.lines = []string{"jobs: 32"}

	var first, next []string
	layers, last := map[string]registry.Layer{}, map[string]string{}
	for n, p := range points(nil) {
		if p.ledger == nil {
			first = append(first, p.job)
		} else {
			next = append(next, p.job)
		}
		layers[p.job] = registry.NewLayer(int64(1000+n), 1<<20)
	}
	jobs := slices.Concat(first, next)
	move := func() {
		for _, job := range jobs {
			c.images++
			image := registry.MultiArch(c.images, registry.ImageOptions{Platforms: []string{"linux/amd64"}, Base: []registry.Layer{layers[job]}})
			if err := image.Push(c.source, job, "v1"); err != nil {
				t.Fatal(err)
			}
			last[job] = image.Digest
		}
	}
	move()
	halted := c.halt(points(layers))
	lines := map[string]string{}
	for _, job := range jobs { // each between addresses of its own, so that what stands keeps no other from the registries
		lines[job] = mapping("name: %s, source: '%s/%s', target: '%s/%s', tags: ['v*'], referrers: false", job, start(t, c.source), job, start(t, c.target), job)
	}
	present := first // what waits for an answer of the ledger does so only for some time, and so comes last
	c.mappings = func(int) (all []string) {
		for _, job := range present {
			all = append(all, lines[job])
		}
		return all
	}
	c.add()
	overtaken := c.replicas[0]
	halted.wait(t, present, overtaken)
	present = jobs
	c.write(0)
	if err := overtaken.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	halted.wait(t, present, overtaken)
	stop := time.Now()
	if err := overtaken.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	move()
	c.add()
	for _, job := range jobs {
		c.arrives(job, last[job], soon)
	}
	t.Logf("%d jobs are taken over %s after the stop", len(jobs), time.Since(stop))
	time.Sleep(time.Until(stop.Add(pause)))
	halted.release()
	late := map[string]time.Time{}
	see := func() {
		for _, job := range jobs {
			if late[job].IsZero() && c.target.Digest(job, "v1") != last[job] {
				late[job] = time.Now()
			}
		}
	}
	other := c.replicas[1]
	other.until(t, "a tag is written late", func() bool { see(); return !late["tag-put"].IsZero() })
	if err := overtaken.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	overtaken.until(t, "its runs end", func() bool {
		see()
		ended := map[any]bool{}
		for _, entry := range overtaken.log.entries(t, "a run is not recorded") {
			ended[entry["job"]] = true
		}
		return !slices.ContainsFunc(jobs, func(job string) bool { return !ended[job] })
	})
	const before = 2 // runs: the one that was cut off, and that of who took the job over
	other.until(t, "all that was written late has been followed by a run, and all have ended", func() bool {
		see()
		busy := slices.ContainsFunc(other.status(t).Jobs, func(j record.JobStatus) bool { return slices.Contains(jobs, j.Job) && j.State != record.JobIdle })
		return !busy && !slices.ContainsFunc(slices.Collect(maps.Keys(late)), func(job string) bool { return len(c.history(1, job)) <= before })
	})
	for _, job := range jobs {
		runs := c.history(1, job)
		slices.Reverse(runs)
		for n, run := range runs {
			if overtaken := n == 0; overtaken != (run.Outcome == record.RunCutOff) || overtaken != run.Started.Before(stop) || !overtaken && run.Outcome != record.RunOK {
				t.Errorf("run %d of %s: %+v", n, job, run.Run)
			}
		}
		if got := c.target.Digest(job, "v1"); got != last[job] {
			t.Errorf("the tag of %s is %s, want %s", job, got, last[job])
		}
		if late[job].IsZero() {
			continue
		}
		next := runs[before] // it may begin before the late write is seen
		t.Logf("%s: the tag was written late, and a run followed after %s", job, next.Started.Sub(late[job]))
		if after := next.Started.Sub(late[job]); after > 5*time.Second {
			t.Errorf("%s: the next run began %s after the late write", job, after)
		}
	}
}
