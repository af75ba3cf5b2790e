package mirror

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// settle records the immutable tags that targets have, and returns what remains to be asked. It asks each target for a list of its tags; if
// a target does not return one, nothing is settled.
func (m *Mirror) settle(ctx context.Context, r *run, asks []ask) []ask {
	wanted := map[image.Repository]map[string]bool{}
	for _, a := range asks {
		for _, target := range a.targets {
			if !r.job.Immutable.CanChoose(target.Tag) || byPattern(r.job, a.source.Tag) {
				continue
			}
			if wanted[target.Repository] == nil {
				wanted[target.Repository] = map[string]bool{}
			}
			wanted[target.Repository][target.Tag] = true
		}
	}
	if len(wanted) == 0 {
		return asks
	}
	there := m.there(ctx, r.job, wanted)
	left := make([]ask, 0, len(asks))
	for _, a := range asks {
		rest := ask{source: a.source}
		for _, target := range a.targets {
			if !there[target] {
				rest.targets = append(rest.targets, target)
				continue
			}
			r.stocked[target.Repository] = true
			r.seen = append(r.seen, diff.Observation{Source: a.source, Target: target, There: true})
		}
		if len(rest.targets) > 0 {
			left = append(left, rest)
		} else {
			m.Watcher.Observed()
		}
	}
	return left
}

// there returns which of the tags of target repositories exist.
func (m *Mirror) there(ctx context.Context, job plan.Job, wanted map[image.Repository]map[string]bool) map[image.Reference]bool {
	var mu sync.Mutex
	there := map[image.Reference]bool{}
	var group errgroup.Group
	group.SetLimit(observedTags)
	for repo, tags := range wanted {
		group.Go(func() error {
			if r := m.remote(job, job.Source, repo); m.stopping() || r != nil && r.Closed(repo) {
				return nil
			}
			list, err := m.Observer.Tags(ctx, repo, func(tag string) bool { return tags[tag] })
			if err != nil {
				m.Log.LogAttrs(ctx, slog.LevelDebug, "the target does not list its tags", slog.String("target", repo.String()), slog.Any("err", err))
				return nil // the questions for its tags will show what is wrong
			}
			list = slices.DeleteFunc(list, func(tag string) bool { return !m.holds(ctx, repo.Tag(tag)) })
			mu.Lock()
			defer mu.Unlock()
			for _, tag := range list {
				there[repo.Tag(tag)] = true
			}
			return nil
		})
	}
	_ = group.Wait()
	return there
}

// holds reports whether a target that lists a tag also has its manifest. A registry is assumed to; checking a layout costs no request.
func (m *Mirror) holds(ctx context.Context, target image.Reference) bool {
	if !target.IsLayout() {
		return true
	}
	_, err := m.Observer.Held(ctx, target)
	return err == nil
}
