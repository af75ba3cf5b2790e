package mirror

import (
	"context"
	"slices"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// SyncSome is SyncOne for some tags of the job's sources: only those of them that the job selects are looked at, and imported if they changed.
// It lists tags only if the job keeps the newest of them.
func (m *Mirror) SyncSome(ctx context.Context, job plan.Job, others []plan.Job, tags []image.Reference) Result {
	r := newRun(job)
	r.some = tags
	return m.syncOne(ctx, r, writersOf(job, tags, others))
}

// writersOf returns those of the jobs that may write the targets of some tags of a job: the others need not list theirs.
func writersOf(job plan.Job, tags []image.Reference, others []plan.Job) (writers []plan.Job) {
	for _, other := range others {
		if slices.ContainsFunc(tags, func(tag image.Reference) bool {
			return slices.ContainsFunc(job.TargetsOf(tag), other.MayWrite)
		}) {
			writers = append(writers, other)
		}
	}
	return writers
}

// selectedOfSome lists those of the tags that the job selects.
func (m *Mirror) selectedOfSome(ctx context.Context, job plan.Job, tags []image.Reference) (selection, error) {
	if job.Image() {
		if !slices.Contains(tags, job.Source) {
			return nil, nil
		}
		return selection{{image: true, targets: job.Targets, source: job.Source}}, nil
	}
	if job.Images != nil {
		return imagesOf(job, func(source image.Reference) bool { return slices.Contains(tags, source) }), nil
	}
	named := map[image.Repository][]string{}
	var order []image.Repository
	for _, tag := range tags {
		if named[tag.Repository] == nil {
			order = append(order, tag.Repository)
		}
		named[tag.Repository] = append(named[tag.Repository], tag.Tag)
	}
	var all selection
	for _, repo := range order {
		route, ok := job.RouteOf(repo)
		if !ok {
			continue
		}
		selected := job.Tags.Select(named[repo])
		if job.Tags.Ranks() {
			listed, _, err := m.tags(ctx, job, repo)
			if err != nil {
				return nil, err
			}
			selected = slices.DeleteFunc(listed, func(tag string) bool { return !slices.Contains(named[repo], tag) })
		}
		all = append(all, selectedOf(route, image.NewTagList(selected)))
	}
	return all, nil
}
