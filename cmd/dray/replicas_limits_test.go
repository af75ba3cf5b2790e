package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
)

// inFlight is a registry that is slow, and counts the HEADs that it has at once. They wait while it is shut.
type inFlight struct {
	http.Handler

	mu              sync.Mutex
	now, most, sent int
	gate            chan struct{} // closed when it opens
}

// shut has HEADs wait until open is called.
func (f *inFlight) shut() (open func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

// opens returns what is closed when HEADs need not wait.
func (f *inFlight) opens() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gate
}

func (f *inFlight) count(by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now += by
	f.most = max(f.most, f.now)
	f.sent += max(0, by)
}

// begin returns the most HEADs at once since the last call, and how many there were.
func (f *inFlight) begin() (most, sent int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	most, sent = f.most, f.sent
	f.most, f.sent = 0, 0
	return most, sent
}

func (f *inFlight) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		f.count(1)
		select {
		case <-f.opens():
		case <-r.Context().Done():
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
		}
		f.count(-1)
	}
	f.Handler.ServeHTTP(w, r)
}

// TestReplicasShareConcurrency: the replicas that are alive send together no more requests at once than the config allows, and one that is left alone
// has all of them.
func TestReplicasShareConcurrency(t *testing.T) {
	timed(t)
	const replicas, jobs, tags, concurrency = 2, 2, 300, 4
	source := registry.New(registry.Options{})
	for j := range jobs {
		image := registry.SingleArch(int64(j), "linux/amd64", registry.ImageOptions{LayerSize: 50})
		for tag := range tags {
			if err := image.Push(source, fmt.Sprint("app-", j), fmt.Sprint("v", tag)); err != nil {
				t.Fatal(err)
			}
		}
	}
	slow := &inFlight{Handler: source}
	slow.shut()()
	server := httptest.NewServer(slow)
	defer server.Close()
	host, to := strings.TrimPrefix(server.URL, "http://"), start(t, registry.New(registry.Options{}))
	ledger := postgrestest.Database(t)
	var all []*running
	for n := range replicas {
		d := newDesk(t)
		lines := []string{
			"version: 1", serverLine(d.socket), "jobs: 1", fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: 10s}", ledger, n),
			"registries:", fmt.Sprintf("  '%s': {plainHTTP: true, concurrency: %d}", host, concurrency), "mappings:",
		}
		for j := range jobs {
			lines = append(lines, mapping("name: app-%d, source: '%s/app-%d', target: '%s/app-%d', tags: ['v*'], referrers: false", j, host, j, to, j))
		}
		d.write(d.config, strings.Join(lines, "\n"))
		all = append(all, launch(t, d.config, d.socket))
	}
	db := ledgerDB(t, ledger)
	// renewed waits until each replica has renewed its lease twice, and so knows how many they are.
	renewed := func(r *running, among int) {
		t.Helper()
		last, changes := map[string]int64{}, map[string]int{}
		r.until(t, "all replicas have renewed their leases", func() bool {
			rows, err := db.QueryContext(t.Context(), "SELECT name, expires FROM dray.members")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			known := 0
			for rows.Next() {
				var name string
				var expires int64
				if err := rows.Scan(&name, &expires); err != nil {
					t.Fatal(err)
				}
				if expires != last[name] {
					last[name] = expires
					changes[name]++
				}
				if changes[name] > 2 { // the first is what was there
					known++
				}
			}
			return known == among
		})
	}
	run := func(r *running, among int) (most int) {
		t.Helper()
		r.until(t, "the jobs are idle, and all replicas known", func() bool {
			s := r.status(t)
			return len(s.Replicas) == among && find(s, "app-0").State == "idle" && find(s, "app-1").State == "idle"
		})
		renewed(r, among)
		slow.begin()
		open := slow.shut()
		defer open()
		for j := range jobs {
			if _, err := r.client.Sync(t.Context(), fmt.Sprint("app-", j)); err != nil {
				t.Fatal(err)
			}
		}
		r.until(t, "all replicas run a job", func() bool {
			ran := map[string]bool{}
			for _, j := range r.status(t).Jobs {
				ran[j.Replica] = true
			}
			delete(ran, "")
			return len(ran) == among
		})
		open()
		sent := 0
		r.until(t, "both jobs have run", func() bool {
			m, n := slow.begin()
			most, sent = max(most, m), sent+n
			return sent >= jobs*tags
		})
		return most
	}
	most := run(all[0], replicas)
	t.Logf("%d replicas: %d at once", replicas, most)
	if most > concurrency {
		t.Errorf("%d replicas sent %d requests at once", replicas, most)
	}
	if err := all[1].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-all[1].ended
	if most = run(all[0], 1); most != concurrency {
		t.Errorf("one that is left alone sent %d requests at once", most)
	}
}

// TestReplicasShareABlob: what mappings at two replicas want at the same moment is fetched once.
func TestReplicasShareABlob(t *testing.T) {
	timed(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	base := registry.NewLayer(1, 2<<20)
	ledger := postgrestest.Database(t)
	var all []*running
	var sockets []string
	for n := range 2 {
		d := newDesk(t)
		sockets = append(sockets, d.socket)
		d.write(d.config, strings.Join([]string{
			"version: 1", serverLine(d.socket), "jobs: 1", fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: 25s}", ledger, n), "mappings:",
			mapping("name: one, source: '%s/one', target: '%s/one', tags: [v1], referrers: false", from, to),
			mapping("name: two, source: '%s/two', target: '%s/two', tags: [v1], referrers: false", from, to),
		}, "\n"))
		all = append(all, launch(t, d.config, d.socket))
	}
	r := all[0]
	r.until(t, "both are there, and the first runs have found nothing", func() bool {
		s := r.status(t)
		return len(s.Replicas) == 2 && find(s, "one").Last != nil && find(s, "two").Last != nil
	})
	wanted := make(chan struct{}) // closed once both are at it, before the first has it
	has := sync.OnceFunc(func() { close(wanted) })
	defer has()
	source.Inject(registry.Fault{Before: func() { <-wanted }, Match: func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+base.Digest)
	}})
	for n, name := range []string{"one", "two"} {
		image := registry.SingleArch(int64(n), "linux/amd64", registry.ImageOptions{LayerSize: 1000, Base: []registry.Layer{base}})
		if err := image.Push(source, name, "v1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one", "two"} {
		if _, err := r.client.Sync(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	r.until(t, "one waits for the other", func() bool {
		waited := 0.0
		for n, socket := range sockets {
			waited += all[n].metrics(t, socket)[`dray_holds_waited_total{kind="blob"}`]
		}
		return waited > 0
	})
	has()
	r.until(t, "both have arrived", func() bool { return target.Digest("one", "v1") != "" && target.Digest("two", "v1") != "" })
	fetched := source.Count(func(q registry.Request) bool {
		return q.Method == http.MethodGet && q.Kind == "blob" && strings.HasSuffix(q.Path, base.Digest)
	})
	if fetched != 1 {
		t.Errorf("%d fetches", fetched)
	}
}
