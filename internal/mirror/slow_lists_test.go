package mirror_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// slow has a registry take these times for its next lists of tags.
func slow(r *emulator.Registry, delays ...time.Duration) {
	for _, delay := range delays {
		r.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodGet, emulator.KindTags), Times: 1, Delay: delay})
	}
}

const (
	soon  = 12 * time.Second
	later = 40 * time.Second
)

// rivals are two jobs that would write one tag, and each one of its own.
func (s *stand) rivals(t *testing.T) (one, two plan.Job) {
	t.Helper()
	push(t, s.a, 1, "x", "v1")
	push(t, s.a, 2, "x", "a")
	push(t, s.b, 3, "x", "v1")
	push(t, s.b, 4, "x", "b")
	return job(t, "one", "x", []string{"*"}, hostA, hostC), job(t, "two", "x", []string{"*"}, hostB, hostC)
}

// Two jobs list a tag late. In one sync, none of them writes it where they list within the time that they wait for each other; else only the
// one that lists first does. What only one of them lists is imported, without a wait for the other.
func TestSlowListsInOneSync(t *testing.T) {
	for name, tt := range map[string]struct {
		second     time.Duration
		one, other map[record.Status]int
	}{
		"together": {soon + 5*time.Second, map[record.Status]int{record.Imported: 1, record.Refused: 1}, map[record.Status]int{record.Imported: 1, record.Refused: 1}},
		"apart":    {later, map[record.Status]int{record.Imported: 2}, map[record.Status]int{record.Imported: 1, record.Refused: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				one, two := s.rivals(t)
				for range 2 { // also where the target has it
					slow(s.a, soon)
					slow(s.b, tt.second)
					results := s.mirror.Sync(t.Context(), []plan.Job{one, two})
					if diff := cmp.Diff([]map[record.Status]int{tt.one, tt.other}, []map[record.Status]int{statuses(results[0]), statuses(results[1])}); diff != "" {
						t.Error(diff)
					}
					for _, counts := range []map[record.Status]int{tt.one, tt.other} {
						if n := counts[record.Imported]; n > 0 {
							counts[record.Kept] = n
							delete(counts, record.Imported)
						}
					}
					if took := results[0].Duration; took > soon+10*time.Second {
						t.Errorf("the first one took %s", took)
					}
				}
			})
		})
	}
}

// A daemon runs each job by itself. Where both list late, and each finds the other's list later still, they do not take the tag in turns.
func TestSlowListsOfRuns(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *stand) {
			one, two := s.rivals(t)
			slow(s.a, soon, later)
			slow(s.b, later, soon)
			var group sync.WaitGroup
			var results [2]mirror.Result
			for i, jobs := range [][]plan.Job{{one, two}, {two, one}} {
				group.Go(func() { results[i] = s.mirror.SyncOne(t.Context(), jobs[0], jobs[1:]) })
				synctest.Wait() // its lists are asked for first
			}
			group.Wait()
			for _, r := range results {
				if diff := cmp.Diff(map[record.Status]int{record.Imported: 1, record.Refused: 1}, statuses(r)); diff != "" {
					t.Errorf("%s: %s", r.Job, diff)
				}
			}
			if s.c.Digest("x", "a") == "" || s.c.Digest("x", "b") == "" || s.c.Digest("x", "v1") != "" {
				t.Error("the target does not hold what it should")
			}
		})
	})
	t.Run("in turn", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *stand) {
			one, two := s.rivals(t)
			run := func(job, rival plan.Job, own, other *emulator.Registry, want map[record.Status]int) {
				t.Helper()
				slow(own, soon)
				slow(other, later)
				if diff := cmp.Diff(want, statuses(s.mirror.SyncOne(t.Context(), job, []plan.Job{rival}))); diff != "" {
					t.Error(diff)
				}
			}
			run(one, two, s.a, s.b, map[record.Status]int{record.Imported: 2})
			held := s.c.Digest("x", "v1")
			run(two, one, s.b, s.a, map[record.Status]int{record.Imported: 1, record.Refused: 1})
			run(one, two, s.a, s.b, map[record.Status]int{record.Kept: 1, record.Refused: 1})
			if now := s.c.Digest("x", "v1"); held == "" || now != held {
				t.Errorf("the tag has moved from %s to %s", held, now)
			}
			// Once one of them no longer has the tag, and is listed in time, the other may write it.
			s.a.DeleteTag("x", "v1")
			r := s.mirror.SyncOne(t.Context(), one, []plan.Job{two})
			if r.Err != nil {
				t.Error(r.Err)
			}
			run(two, one, s.b, s.a, map[record.Status]int{record.Imported: 1, record.Kept: 1})
		})
	})
}
