package mirror_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// A registry that takes questions and answers none holds up no job but those that ask it.
func TestSilentRegistryDelaysNoOtherJob(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		s.b.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodHead, ""), Hang: true})
		done := make(chan time.Duration, 2)
		s.mirror.Watcher = ends{records: s.records, done: done, started: time.Now()}
		results := s.sync(t, job(t, "silent", "x", []string{"v1"}, hostA, hostB), job(t, "well", "x", []string{"v1"}, hostA, hostC))
		if len(done) != 1 {
			t.Fatalf("%d imports have ended well: %v", len(done), results)
		}
		if took := <-done; took > time.Second {
			t.Errorf("the import beside it took %s", took)
		}
	})
}

// It delays a job that writes the same repository, or is of lower priority, only for a while. If it lists a tag later that the other has
// written, it does not write it.
func TestSilentRegistryDelaysItsRivalsForAWhile(t *testing.T) {
	for name, alone := range map[string]bool{"beside it": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				push(t, s.a, 1, "x", "v1")
				push(t, s.b, 2, "x", "v1")
				s.b.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodGet, emulator.KindTags), Delay: 40 * time.Second})
				done := make(chan time.Duration, 2)
				s.mirror.Watcher = ends{records: s.records, done: done, started: time.Now()}
				well, silent := job(t, "well", "x", []string{"v*"}, hostA, hostC), job(t, "silent", "x", []string{"*"}, hostB, hostC)
				if alone {
					if r := s.mirror.SyncOne(t.Context(), well, []plan.Job{silent}); r.Err != nil {
						t.Error(r.Err)
					}
				} else {
					results := s.mirror.Sync(t.Context(), []plan.Job{silent, well})
					if diff := cmp.Diff(map[record.Status]int{record.Refused: 1}, statuses(results[0])); diff != "" {
						t.Error(diff)
					}
				}
				if len(done) != 1 {
					t.Fatalf("%d imports have ended well", len(done))
				}
				if took := <-done; took > 30*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
