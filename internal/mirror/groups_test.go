package mirror_test

import (
	"net/http"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
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
