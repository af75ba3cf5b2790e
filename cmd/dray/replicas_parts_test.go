package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/record"
)

// TestReplicasShareARun has three replicas make the imports of one mapping, and something happen to one that makes some of another's run, or to that whose
// run it is: all tags arrive, the history has each import once but those that were made and could not be recorded before the end, also after the next run,
// and no more crosses twice than what was under way.
func TestReplicasShareARun(t *testing.T) {
	const tags, delay = 96, 3 * time.Second
	for name, tt := range map[string]struct {
		// happens is what happens to whose run it is, or to another; then is to be called once it has.
		happens func(t *testing.T, c *cluster, own, other int, then func())
	}{
		"nothing": {happens: func(*testing.T, *cluster, int, int, func()) {}},
		"another is killed": {happens: func(t *testing.T, c *cluster, _, other int, then func()) {
			kill(t, c.replicas[other])
			then()
		}},
		"another stops": {happens: func(t *testing.T, c *cluster, _, other int, then func()) {
			terminate(t, c.replicas[other])
			then()
		}},
		"another is paused": {happens: func(t *testing.T, c *cluster, _, other int, then func()) {
			freeze(t, c.replicas[other], 24*time.Second, then)
		}},
		"it is killed": {happens: func(t *testing.T, c *cluster, own, _ int, then func()) {
			kill(t, c.replicas[own])
			then()
		}},
		"it stops": {happens: func(t *testing.T, c *cluster, own, _ int, then func()) {
			terminate(t, c.replicas[own])
			then()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			timed(t)
			c := newCluster(t, 0)
			c.lease = 20 * time.Second // so that only what is killed or paused loses what it has begun
			c.begin(3)
			digests := map[string]string{}
			for n := range tags {
				image := registry.SingleArch(int64(1000+n), "linux/amd64", registry.ImageOptions{LayerSize: 1000})
				digests[fmt.Sprint("v", n)] = image.Digest
				if err := image.Push(c.source, "many", fmt.Sprint("v", n)); err != nil {
					t.Fatal(err)
				}
			}
			blob := func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v2/many/blobs/")
			}
			c.source.Inject(registry.Fault{Delay: delay, Match: blob})
			for i := range c.replicas {
				c.write(i, "many")
				if err := c.replicas[i].client.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			db := ledgerDB(t, c.database)
			makers := func() (n int) {
				if err := db.QueryRowContext(t.Context(), "SELECT count(DISTINCT member) FROM dray.parts WHERE member IS NOT NULL").Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			r := c.replicas[0]
			var own int
			r.until(t, "the mapping runs, and all make parts of it", func() bool {
				at := find(r.status(t), "many").Replica
				own = replicaOf(at)
				return at != "" && makers() == 3
			})
			// How many imports may be made and not recorded: those under way that had reached the target by then, none unless the machine was slow.
			const most = 16 * 2
			there := 0
			tt.happens(t, c, own, (own+1)%3, func() { there = min(len(c.target.Tags("many")), most) })
			left := c.replicas[(own+2)%3]
			left.until(t, "the run has ended", func() bool {
				j := find(left.status(t), "many")
				return j.State == record.JobIdle && j.Last != nil && j.Last.Outcome == "ok"
			})
			for tag, digest := range digests {
				if got := c.target.Digest("many", tag); got != digest {
					t.Errorf("%s is %q, want %q", tag, got, digest)
				}
			}
			imported, kept, before := 0, 0, 0 // before: by a run that was cut off, so that the next one finds them at the target
			for _, run := range c.history((own+2)%3, "many") {
				imported += run.Counts.Import
				kept += run.Counts.Keep
				if run.Outcome == record.RunCutOff {
					before += run.Counts.Import
				}
				t.Logf("%+v", run.Run)
			}
			if unsaid := kept - before; unsaid < 0 || unsaid > there || imported+unsaid != tags {
				t.Errorf("the history has %d imports, %d of them by runs that were cut off, and %d kept tags; %d were there before", imported, before, kept, there)
			}
			fetched := map[string]int{}
			again := 0
			c.source.Count(func(q registry.Request) bool {
				if q.Method == http.MethodGet && strings.HasPrefix(q.Path, "/v2/many/blobs/") {
					if fetched[q.Path]++; fetched[q.Path] > 1 {
						again++
					}
				}
				return false
			})
			t.Logf("%d blobs, %d fetched again", len(fetched), again)
			if name == "nothing" {
				for i := range c.replicas {
					origin := "other"
					if i == own {
						origin = "own"
					}
					if n := c.metric(i, `dray_parts_total{origin="`+origin+`"}`); n < 1 {
						t.Errorf("dray_parts_total of %s is %v", origin, n)
					}
				}
			}
			last := c.history((own+2)%3, "many")[0].Started
			if _, err := left.client.Sync(t.Context(), "many"); err != nil {
				t.Fatal(err)
			}
			left.until(t, "it has run once more", func() bool { return c.history((own+2)%3, "many")[0].Started.After(last) })
			if next := c.history((own+2)%3, "many")[0]; next.Counts.Import > 0 || next.Counts.Keep != tags {
				t.Errorf("where nothing was to do the history has %+v", next.Run)
			}
			if again > most || name == "nothing" && again > 0 {
				t.Errorf("%d blobs were fetched again", again)
			}
		})
	}
}

func kill(t *testing.T, r *running) {
	t.Helper()
	if err := r.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.ended
}

// terminate ends a replica as a service manager does. Where the machine or the ledger held it up, it says that not all had ended: others then wait for
// its lease, as after a kill.
func terminate(t *testing.T, r *running) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	switch code := r.exit(t); {
	case code != 0 && strings.Contains(r.log.String(), "terminated before all had ended"):
		t.Log("a replica was held up at its stop")
	case code != 0:
		t.Errorf("it ended with %d\n%s", code, r.log)
	}
}

// freeze has a process stand still for some time, and calls a function once it does.
func freeze(t *testing.T, r *running, d time.Duration, then func()) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	then()
	time.Sleep(d) // real processes
	if err := r.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
