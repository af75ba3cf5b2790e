package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/tagfilter"
)

// laterError says when to try again.
type laterError struct{ at time.Time }

func (e laterError) Error() string      { return "not now" }
func (e laterError) RetryAt() time.Time { return e.at }

// shy is a registry that puts everything off, to a time that is over, as one whose clock is wrong does; gone drops its tag after some asks.
type shy struct {
	asked atomic.Int64
	gone  int64
}

func (s *shy) Tags(context.Context, image.Repository, func(string) bool) ([]string, error) {
	if s.gone > 0 && s.asked.Load() >= s.gone {
		return nil, nil
	}
	return []string{"v1"}, nil
}

func (*shy) Held(context.Context, image.Reference) (image.Descriptor, error) {
	return image.Descriptor{}, image.ErrAbsent
}

func (s *shy) Head(context.Context, image.Reference) (image.Descriptor, error) {
	s.asked.Add(1)
	return image.Descriptor{}, laterError{time.Now().Add(-time.Minute)}
}

func (*shy) Catalog(context.Context, image.Repository, func(string) bool) ([]string, error) {
	return nil, errors.New("there is none")
}

// wait runs a job with --wait, as long as the context lets it.
func (s *shy) wait(ctx context.Context, t *testing.T) []mirror.Result {
	t.Helper()
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"v*"}})
	if err != nil {
		t.Fatal(err)
	}
	job := plan.Job{
		Name: "a", Tags: filter, Source: image.Reference{Repository: image.Repository{Registry: "source", Path: "a"}},
		Targets: []image.Reference{{Repository: image.Repository{Registry: "target", Path: "a"}}}, Timeout: time.Hour,
	}
	m := &mirror.Mirror{Observer: s, Watcher: quiet{}, Log: slog.New(slog.DiscardHandler)}
	jobs := []plan.Job{job}
	return untilDone(ctx, m, jobs, syncAll)
}

// A registry that names a time that is over is asked once a minute in the long run, not in a circle.
func TestWaitPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := &shy{}
		s.wait(ctx, t)
		if n := s.asked.Load(); n < 60 || n > 70 {
			t.Errorf("it was asked %d times in an hour", n)
		}
	})
}

// A tag that is gone is waited for no longer.
func TestWaitEndsWhereATagIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shy{gone: 3}
		results := s.wait(t.Context(), t)
		if n := s.asked.Load(); n != 3 || len(results) != 1 || len(results[0].Outcomes) != 1 || results[0].Outcomes[0].Status != record.NothingChosen {
			t.Errorf("it was asked %d times; %+v", n, results)
		}
	})
}
