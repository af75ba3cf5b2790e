package mirror

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
)

// settle records the immutable tags of a batch that targets have, and returns what remains to be asked. It asks each target once for a list of its
// tags; if a target does not return one, nothing is settled.
func (m *Mirror) settle(ctx context.Context, r *batch) []ask {
	left := make([]ask, 0, len(r.asks))
	for _, a := range r.asks {
		rest := ask{source: a.source}
		for _, target := range a.targets {
			if !r.job.NeverMoves(target.Tag) || byPattern(r.job, a.source.Tag) || !m.lists(ctx, r.run, target) {
				rest.targets = append(rest.targets, target)
				continue
			}
			r.stock(target.Repository, "", true)
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

// lists reports whether a target's list has a tag.
func (m *Mirror) lists(ctx context.Context, r *run, target image.Reference) bool {
	r.mu.Lock()
	if r.there == nil {
		r.there = map[image.Repository]func() []string{}
	}
	tags := r.there[target.Repository]
	if tags == nil {
		tags = sync.OnceValue(func() []string { return m.immutable(ctx, r, target.Repository) })
		r.there[target.Repository] = tags
	}
	r.mu.Unlock()
	_, found := slices.BinarySearch(tags(), target.Tag)
	return found && m.holds(ctx, target)
}

// immutable lists the immutable tags that a target repository has of those that the run may write.
func (m *Mirror) immutable(ctx context.Context, r *run, repo image.Repository) []string {
	if engine := m.remote(r.job, r.job.Source, repo); m.stopping() || engine != nil && engine.Closed(repo) {
		return nil
	}
	list, err := m.Observer.Tags(ctx, repo, func(tag string) bool {
		return r.job.NeverMoves(tag) && (r.job.Image() || r.job.MayTag(tag))
	})
	if err != nil {
		m.Log.LogAttrs(ctx, slog.LevelDebug, "the target does not list its tags", slog.String("target", repo.String()), slog.Any("err", err))
		return nil // the questions for its tags will show what is wrong
	}
	slices.Sort(list)
	return list
}

// holds reports whether a target that lists a tag also has its manifest. A registry is assumed to; checking a layout costs no request.
func (m *Mirror) holds(ctx context.Context, target image.Reference) bool {
	if !target.IsLayout() {
		return true
	}
	_, err := m.Observer.Held(ctx, target)
	return err == nil
}
