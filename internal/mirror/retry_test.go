package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
)

func sideOf(err error) mirror.Side {
	if e, ok := errors.AsType[*mirror.SideError](err); ok {
		return e.Side
	}
	return ""
}

// timed runs one job and returns its lines and how long it took.
func (s *stand) timed(t *testing.T, j plan.Job) ([]string, time.Duration) {
	t.Helper()
	started := time.Now()
	got := s.sync(t, j)
	return got, time.Since(started)
}

// puts counts how often the target was asked to take the tag. The client itself sends each of those twice.
func puts(r *emulator.Registry, tag string) int {
	return r.Count(func(q emulator.Request) bool { return q.Method == http.MethodPut && q.Reference == tag }) / 2
}

func TestTemporaryFailureIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		fault(s.b, http.MethodPut, "v1", emulator.Fault{Status: http.StatusServiceUnavailable})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		j.Retries = 3
		got, took := s.timed(t, j)
		want(t, got, hostB+"/x:v1 absent failed")
		if n := puts(s.b, "v1"); n != 4 {
			t.Errorf("tried %d times", n)
		}
		if took < 3500*time.Millisecond || took > 10*time.Second { // half of 1+2+4 s at the least, and the client's own pauses
			t.Errorf("it took %s", took)
		}
		out := s.records.list[0]
		if sideOf(out.Err) != mirror.Target || out.Pulls != 3 {
			t.Errorf("outcome %+v", out)
		}
		if n := strings.Count(s.log.String(), "trying again"); n != 3 {
			t.Errorf("%d retries are logged", n)
		}
	})
}

func TestRetrySucceeds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		i := push(t, s.a, 1, "x", "v1")
		s.b.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodPut, emulator.KindUpload), Times: 3, CutRequestAt: 10})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		j.Retries = 5
		want(t, s.sync(t, j), hostB+"/x:v1 absent imported")
		whole(t, s.b, "x", "v1", i.Digest)
		if out := s.records.list[0]; out.Pulls != 3 || out.Bytes < i.Size() {
			t.Errorf("the cost of all tries is %+v", out.Cost)
		}
	})
}

func TestPermanentFailureIsNotTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		fault(s.b, http.MethodPut, "v1", emulator.Fault{Status: http.StatusForbidden})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		j.Retries = 3
		got, took := s.timed(t, j)
		want(t, got, hostB+"/x:v1 absent failed")
		if n := s.b.Count(func(q emulator.Request) bool { return q.Method == http.MethodPut && q.Reference == "v1" }); n != 1 || took > time.Second {
			t.Errorf("tried %d times, it took %s", n, took)
		}
	})
}

// docker-registry answers 500 to layers by URL that it does not allow, as to what passes.
func TestLayersByURLAreNotTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{Platforms: []string{"windows/amd64"}, Foreign: true})
		if err := i.Push(s.a, "x", "v1"); err != nil {
			t.Fatal(err)
		}
		s.b.Inject(emulator.Fault{
			Match: emulator.MatchKind(http.MethodPut, emulator.KindManifest), Status: http.StatusInternalServerError, Header: http.Header{"Content-Type": {"application/json"}},
			Body: `{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"invalid URL on layer"}]}`,
		})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		j.Retries = 3
		got, took := s.timed(t, j)
		want(t, got, hostB+"/x:v1 absent failed")
		if n := s.b.Count(func(q emulator.Request) bool { return q.Method == http.MethodPut && q.Kind == emulator.KindManifest }); n != 1 || took > time.Second {
			t.Errorf("tried %d times, it took %s", n, took)
		}
		if err := s.records.list[0].Err; !strings.Contains(err.Error(), "foreignLayers") || !strings.Contains(err.Error(), hostB+"/x:v1") {
			t.Errorf("error %v", err)
		}
	})
}

// A pull-through cache refuses each blob of each image, and is not asked for each.
func TestTargetThatTakesNothingIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		const images = 40
		for i := range images {
			push(t, s.a, int64(i), "x", fmt.Sprintf("v%d", i))
		}
		s.b.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodPost, emulator.KindUpload), Status: http.StatusMethodNotAllowed})
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		j.Retries = 3
		s.timed(t, j)
		for _, out := range s.records.list {
			if out.Status != record.Failed || !strings.Contains(out.Err.Error(), "accepts no uploads") || !strings.Contains(out.Err.Error(), out.Target.String()) {
				t.Errorf("outcome %+v", out)
			}
		}
		if n := writes(s.b); len(s.records.list) != images || n > images {
			t.Errorf("%d images failed, by %d writes", len(s.records.list), n)
		}
	})
}

func TestTimeoutBoundsEachTry(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		push(t, s.a, 2, "x", "v2")
		fault(s.b, http.MethodPut, "v1", emulator.Fault{Hang: true})
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		j.Timeout, j.Retries = 20*time.Second, 1
		got, took := s.timed(t, j)
		want(t, got, hostB+"/x:v1 absent failed", hostB+"/x:v2 absent imported")
		if took < 20*time.Second || took > 50*time.Second {
			t.Errorf("it took %s", took)
		}
		for _, out := range s.records.list {
			if out.Status == record.Failed && !strings.Contains(out.Err.Error(), "not done within the timeout of 20s") {
				t.Errorf("error = %v", out.Err)
			}
		}
	})
}

// A registry says when to come back: the outcome says so, and nobody waits.
func TestLaterIsDeferred(t *testing.T) {
	later := emulator.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}}
	for name, inject := range map[string]func(s *stand){
		"as it is observed": func(s *stand) { fault(s.a, http.MethodHead, "v1", later) },
		"as it is imported": func(s *stand) { fault(s.b, http.MethodPut, "v1", later) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				push(t, s.a, 1, "x", "v1")
				push(t, s.a, 2, "x", "v2")
				inject(s)
				j := job(t, "x", "x", []string{"*"}, hostA, hostB)
				j.Retries = 3
				got, took := s.timed(t, j)
				if !strings.HasSuffix(got[0], "deferred") || !strings.HasSuffix(got[1], "imported") {
					t.Errorf("outcomes %q", got)
				}
				if took > time.Millisecond {
					t.Errorf("it took %s", took)
				}
				for _, out := range s.records.list {
					if wait := time.Until(out.RetryAt).Round(time.Minute); out.Status == record.Deferred && wait != time.Hour {
						t.Errorf("deferred for %s", wait)
					}
				}
			})
		})
	}
}

// Cancelled in the middle of anything, a run ends at once and settles everything.
func TestCancellationSettlesEverything(t *testing.T) {
	kinds := map[string]func(*http.Request) bool{
		"tag list": emulator.MatchKind("", emulator.KindTags), "head": emulator.MatchKind(http.MethodHead, ""),
		"manifest": emulator.MatchKind(http.MethodGet, emulator.KindManifest), "upload": emulator.MatchKind("", emulator.KindUpload),
		"blob": emulator.MatchKind(http.MethodGet, emulator.KindBlob), "put": emulator.MatchKind(http.MethodPut, emulator.KindManifest),
	}
	for name, match := range kinds {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				for n := range int64(30) {
					push(t, s.a, n, "x", "v"+string(rune('a'+n)))
				}
				s.a.Inject(emulator.Fault{Match: match, Hang: true})
				s.b.Inject(emulator.Fault{Match: match, Hang: true})
				j := job(t, "x", "x", []string{"*"}, hostA, hostB)
				j.Retries = 5
				ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
				defer cancel()
				started := time.Now()
				results := s.mirror.Sync(ctx, []plan.Job{j})
				if took := time.Since(started); took != 7*time.Second {
					t.Errorf("it took %s", took)
				}
				settled(t, []plan.Job{j}, results)
				if results[0].Err == nil && len(results[0].Outcomes) == 0 {
					t.Error("nothing tells of the end")
				}
			})
		})
	}
}

// Cancelled while it waits for the next try, a run ends at once too.
func TestCancellationEndsAPause(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		fault(s.b, http.MethodPut, "v1", emulator.Fault{Status: http.StatusServiceUnavailable})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		j.Retries = 100
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		started := time.Now()
		results := s.mirror.Sync(ctx, []plan.Job{j})
		if took := time.Since(started); took != 20*time.Second {
			t.Errorf("it took %s", took)
		}
		settled(t, []plan.Job{j}, results)
		want(t, lines(results), hostB+"/x:v1 absent failed")
	})
}

// A registry that hangs holds up nobody else's imports.
func TestHangingRegistryHasAQueueOfItsOwn(t *testing.T) {
	for method, kind := range map[string]string{http.MethodPost: emulator.KindUpload, http.MethodPut: emulator.KindManifest} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				for n := range int64(10) {
					push(t, s.a, n, "x", "v"+string(rune('a'+n)))
				}
				s.b.Inject(emulator.Fault{Match: emulator.MatchKind(method, kind), Hang: true})
				j := job(t, "x", "x", []string{"*"}, hostA, hostB, hostC)
				j.Timeout = 10 * time.Minute
				done := make(chan time.Duration, 10)
				s.mirror.Watcher = ends{records: s.records, done: done, started: time.Now()}
				s.sync(t, j)
				if len(done) != 10 {
					t.Fatalf("%d imports have ended well", len(done))
				}
				for range 10 {
					if took := <-done; took > 30*time.Second {
						t.Errorf("an import to the registry next to it took %s", took)
					}
				}
			})
		})
	}
}

// ends tells when imports into registry C end.
type ends struct {
	*records

	done    chan time.Duration
	started time.Time
}

func (e ends) End(out mirror.Outcome) {
	e.records.End(out)
	if out.Status == record.Imported && out.Target.Registry == hostC {
		e.done <- time.Since(e.started)
	}
}

// TestTimeoutSparesQueues: imports that wait for their turn at a registry, which takes 40 seconds for each manifest, are not ended by a timeout of
// a minute.
func TestTimeoutSparesQueues(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		const tags = 24
		for i := range tags {
			if err := emulator.SingleArch(int64(i), "linux/amd64", emulator.ImageOptions{}).Push(s.a, "x", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		s.b.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodPut, emulator.KindManifest), Delay: 40 * time.Second})
		s.hosts = map[string]registry.Host{hostB: {Concurrency: 4}}
		s.renew(t)
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		longest := time.Duration(0)
		for _, out := range s.mirror.Sync(t.Context(), []plan.Job{j})[0].Outcomes {
			longest = max(longest, out.Duration)
			if out.Status != record.Imported {
				t.Errorf("%s: %s after %s: %v", out.Target, out.Status, out.Duration, out.Err)
			}
		}
		if longest <= j.Timeout {
			t.Errorf("the longest took %s only: nothing has waited", longest)
		}
	})
}

// TestTimeoutOfAnother: an import whose manifest another one was fetching, when the time of that one was over, fetches it itself.
func TestTimeoutOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		i := push(t, s.a, 1, "x", "v1")
		asked := make(chan struct{})
		slow := emulator.MatchKind(http.MethodGet, emulator.KindManifest)
		s.a.Inject(emulator.Fault{Match: func(r *http.Request) bool {
			if !slow(r) {
				return false
			}
			close(asked) // once only
			return true
		}, Times: 1, Delay: time.Minute})
		hasty, patient := job(t, "hasty", "x", []string{"v1"}, hostA, hostB), job(t, "patient", "x", []string{"v1"}, hostA, hostC)
		hasty.Timeout, patient.Timeout = 10*time.Second, time.Hour
		var group sync.WaitGroup
		var first, second mirror.Result
		group.Go(func() { first = s.mirror.SyncOne(t.Context(), hasty, nil) })
		<-asked
		group.Go(func() { second = s.mirror.SyncOne(t.Context(), patient, nil) })
		group.Wait()
		if out := first.Outcomes[0]; out.Status != record.Failed || out.Err == nil || !strings.Contains(out.Err.Error(), "timeout of 10s") {
			t.Errorf("the hasty one is %s: %v", out.Status, out.Err)
		}
		if out := second.Outcomes[0]; out.Status != record.Imported || s.c.Digest("x", "v1") != i.Digest {
			t.Errorf("the patient one is %s: %v", out.Status, out.Err)
		}
	})
}

// TestTimeoutBoundsLooking: a source that dribbles its list, and registries that hang where a tag is looked for, cost a job no more than its
// timeout.
func TestTimeoutBoundsLooking(t *testing.T) {
	for name, tt := range map[string]struct {
		method, kind string
		atTarget     bool
		tags         []string
	}{
		"list":        {http.MethodGet, emulator.KindTags, false, []string{"*"}},
		"source head": {http.MethodHead, emulator.KindManifest, false, []string{"v1"}},
		"target head": {http.MethodHead, emulator.KindManifest, true, []string{"v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				push(t, s.a, 1, "x", "v1")
				at := s.a
				if tt.atTarget {
					at = s.b
				}
				at.Inject(emulator.Fault{Match: emulator.MatchKind(tt.method, tt.kind), Hang: true})
				j := job(t, "x", "x", tt.tags, hostA, hostB)
				j.Timeout = 7 * time.Second
				started := time.Now()
				results := s.mirror.Sync(t.Context(), []plan.Job{j})
				if took := time.Since(started); took > 8*time.Second {
					t.Errorf("it took %s", took)
				}
				err := results[0].Err
				if len(results[0].Outcomes) > 0 {
					err = results[0].Outcomes[0].Err
				}
				if err == nil || !strings.Contains(err.Error(), "not done within the timeout of 7s") {
					t.Error(err)
				}
			})
		})
	}
}
