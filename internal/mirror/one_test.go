package mirror_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// statuses counts how outcomes ended.
func statuses(r mirror.Result) map[record.Status]int {
	counts := map[record.Status]int{}
	for _, out := range r.Outcomes {
		counts[out.Status]++
	}
	return counts
}

// One job of several does not write what another would write as well, also where only a list of tags shows it.
func TestSyncOne(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		push(t, s.a, 2, "x", "v2")
		push(t, s.b, 3, "x", "v2")
		one, other := job(t, "one", "x", []string{"v*"}, hostA, hostC), job(t, "other", "x", []string{"*2"}, hostB, hostC)
		r := s.mirror.SyncOne(t.Context(), one, []plan.Job{other})
		if diff := cmp.Diff(map[record.Status]int{record.Imported: 1, record.Refused: 1}, statuses(r)); diff != "" {
			t.Error(diff)
		}
		if s.c.Digest("x", "v1") == "" || s.c.Digest("x", "v2") != "" {
			t.Error("the target does not hold what it should")
		}
		for _, out := range r.Outcomes {
			if out.Status == record.Refused && out.Reason != diff.TwoWriters {
				t.Errorf("refused for %s", out.Reason)
			}
		}
		s.b.Inject(emulator.Fault{Status: http.StatusForbidden}) // then the other cannot write either
		r = s.mirror.SyncOne(t.Context(), one, []plan.Job{other})
		if diff := cmp.Diff(map[record.Status]int{record.Kept: 1, record.Imported: 1}, statuses(r)); diff != "" {
			t.Error(diff)
		}
	})
}

// Once it drains, a mirror ends what is under way and begins nothing new.
func TestDraining(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		tags := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"}
		for i, tag := range tags {
			push(t, s.a, int64(i), "x", tag)
		}
		s.a.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodGet, emulator.KindBlob), Delay: 40 * time.Second})
		draining := make(chan struct{})
		s.mirror.Draining = draining
		time.AfterFunc(30*time.Second, func() { close(draining) })
		j := job(t, "x", "x", tags, hostA, hostC)
		j.Timeout = time.Hour
		r := s.mirror.SyncOne(t.Context(), j, nil)
		counts := statuses(r)
		if counts[record.Imported] == 0 || counts[record.Deferred] == 0 || counts[record.Imported]+counts[record.Deferred] != len(tags) {
			t.Errorf("%v of %d", counts, len(tags))
		}
		for _, out := range r.Outcomes {
			if held := s.c.Digest("x", out.Target.Tag); (out.Status == record.Imported) != (image.Digest(held) == out.Digest) {
				t.Errorf("%s is %s and holds %q", out.Target, out.Status, held)
			}
			if out.Status == record.Deferred && !errors.Is(out.Err, mirror.ErrStopping) {
				t.Error(out.Err)
			}
		}
		s.c.Reset()
		if r := s.mirror.SyncOne(t.Context(), j, nil); !errors.Is(r.Err, mirror.ErrStopping) || len(s.c.Requests()) > 0 {
			t.Errorf("a run that begins then: %v, %d requests", r.Err, len(s.c.Requests()))
		}
	})
}
