package mirror_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// shown follows what is kept: what begins, moves and ends.
type shown struct {
	silent

	mu              sync.Mutex
	planned         int
	begun, ended    []string
	expected, moved int64
}

func (s *shown) Planned(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned += n
}

func (s *shown) Begin(a diff.Action) mirror.Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = append(s.begun, a.Target.Tag)
	return s
}

func (s *shown) End(out mirror.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, out.Target.Tag)
}

func (s *shown) Expect(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected += n
}

func (s *shown) Moved(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved += n
}

// TestRefreshIsSeen: what is brought for an image that is kept is seen to move, and is tried again as an import is; one for which nothing is
// brought is not seen at all.
func TestRefreshIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []string
		p := plain{
			head: func(image.Reference) bool { return true },
			refreshed: func(_ context.Context, o mirror.Order, m mirror.Meter) (mirror.Cost, error) {
				if o.Target.Tag == "whole" {
					return mirror.Cost{}, nil
				}
				tries = append(tries, o.Target.Tag)
				m.Expect(7)
				m.Moved(7)
				if len(tries) < 3 {
					m.Moved(-7)
					m.Expect(-7)
					return mirror.Cost{Bytes: 7}, passes{}
				}
				return mirror.Cost{Bytes: 7}, nil
			},
		}
		watch := &shown{}
		m := p.mirror()
		m.Watcher = watch
		j := plainJob(t, "x", 0, "whole", "lost")
		j.Retries = 3
		for _, out := range m.Sync(t.Context(), []plan.Job{j})[0].Outcomes {
			want := mirror.Cost{}
			if out.Target.Tag == "lost" {
				want.Bytes = 21
			}
			if out.Status != record.Kept || out.Cost != want {
				t.Errorf("%s: %s, %+v, %v", out.Target, out.Status, out.Cost, out.Err)
			}
		}
		if len(tries) != 3 || !slices.Equal(watch.begun, []string{"lost"}) || watch.planned != 1 || watch.expected != 7 || watch.moved != 7 {
			t.Errorf("%d tries; seen are %d imports, %v, %d of %d bytes", len(tries), watch.planned, watch.begun, watch.moved, watch.expected)
		}
	})
}

// TestRefreshEnds: what is brought for an image that is kept has the timeout of the job for each try.
func TestRefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		p := plain{
			head: func(image.Reference) bool { return true },
			refreshed: func(ctx context.Context, _ mirror.Order, _ mirror.Meter) (mirror.Cost, error) {
				tries++
				<-ctx.Done()
				return mirror.Cost{}, ctx.Err()
			},
		}
		j := plainJob(t, "x", 0, "v1")
		j.Timeout, j.Retries = 10*time.Minute, 1
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		out := p.mirror().Sync(ctx, []plan.Job{j})[0].Outcomes[0]
		if took := time.Since(began); took < 20*time.Minute || took > 21*time.Minute || tries != 2 {
			t.Errorf("%d tries took %s", tries, took)
		}
		if out.Status != record.Failed || !strings.HasPrefix(out.Err.Error(), "not done within the timeout of 10m0s: ") {
			t.Errorf("%s: %v", out.Status, out.Err)
		}
	})
}

// A look that fails and has brought nothing is not tried again in the same run: there may be thousands of them at a registry that is gone.
func TestRefreshLooksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		p := plain{
			head: func(image.Reference) bool { return true },
			refreshed: func(context.Context, mirror.Order, mirror.Meter) (mirror.Cost, error) {
				tries++
				return mirror.Cost{}, passes{}
			},
		}
		j := plainJob(t, "x", 0, "v1")
		j.Retries = 3
		out := p.mirror().Sync(t.Context(), []plan.Job{j})[0].Outcomes[0]
		if tries != 1 || out.Status != record.Failed || out.Err.Error() != "broke off" {
			t.Errorf("%d tries: %s, %v", tries, out.Status, out.Err)
		}
	})
}

// TestRefreshRefused: what an engine refuses to bring for an image that is kept is refused, and no longer shown as under way.
func TestRefreshRefused(t *testing.T) {
	p := plain{
		head: func(image.Reference) bool { return true },
		refreshed: func(_ context.Context, _ mirror.Order, m mirror.Meter) (mirror.Cost, error) {
			m.Moved(7)
			return mirror.Cost{}, &mirror.RefusedError{Reason: diff.Immutable, Detail: "locked"}
		},
	}
	watch := &shown{}
	m := p.mirror()
	m.Watcher = watch
	out := m.Sync(t.Context(), []plan.Job{plainJob(t, "x", 0, "v1")})[0].Outcomes[0]
	if out.Status != record.Refused || out.Detail != "locked" || !slices.Equal(watch.begun, watch.ended) || len(watch.ended) != 1 {
		t.Errorf("%s, %q; begun %v, ended %v", out.Status, out.Detail, watch.begun, watch.ended)
	}
}

// passes is an error that may pass.
type passes struct{}

func (passes) Error() string   { return "broke off" }
func (passes) Temporary() bool { return true }
