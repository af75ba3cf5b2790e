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
// run it is: all tags arrive, the history has each import once, and no more crosses twice than what was under way.
func TestReplicasShareARun(t *testing.T) {
	const tags, delay = 96, 3 * time.Second
	for name, tt := range map[string]struct {
		// happens is what happens to whose run it is, or to another.
		happens func(t *testing.T, c *cluster, own, other int)
	}{
		"nothing": {happens: func(*testing.T, *cluster, int, int) {}},
		"another is killed": {happens: func(t *testing.T, c *cluster, _, other int) {
			kill(t, c.replicas[other])
		}},
		"another stops": {happens: func(t *testing.T, c *cluster, _, other int) {
			c.replicas[other].stop(t)
		}},
		"another is paused": {happens: func(t *testing.T, c *cluster, _, other int) {
			freeze(t, c.replicas[other], 14*time.Second)
		}},
		"it is killed": {happens: func(t *testing.T, c *cluster, own, _ int) {
			kill(t, c.replicas[own])
		}},
		"it stops": {happens: func(t *testing.T, c *cluster, own, _ int) {
			c.replicas[own].stop(t)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			timed(t)
			c := newCluster(t, 3)
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
			tt.happens(t, c, own, (own+1)%3)
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
			if imported != tags || kept != before {
				t.Errorf("the history has %d imports, %d of them by runs that were cut off, and %d kept tags", imported, before, kept)
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
			if most := 16 * 2; again > most || name == "nothing" && again > 0 {
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

// freeze has a process stand still for some time.
func freeze(t *testing.T, r *running, d time.Duration) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d) // real processes
	if err := r.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
