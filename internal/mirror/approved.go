package mirror

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// SyncApproved is Sync for the imports that a plan has, by job. Of each job it looks only at their tags, and it refuses what would not be imported
// as planned: from the same digest, over the same one. [Mirror.CountKept] must not be set.
func (m *Mirror) SyncApproved(ctx context.Context, jobs []plan.Job, approved map[string][]diff.Action) []Result {
	runs := func(job plan.Job) *run { return newApprovedRun(job, approved[job.Name]) }
	results := m.inGroups(ctx, jobs, runs, func(p *batch, queues *queues) { m.bring(ctx, p, queues) }, m.report)
	for i := range results {
		results[i].refuseUnchosen(approved[results[i].Job])
	}
	return results
}

// SyncOneApproved is SyncApproved for one of several jobs, as [Mirror.SyncOne] is Sync.
func (m *Mirror) SyncOneApproved(ctx context.Context, job plan.Job, others []plan.Job, imports []diff.Action) Result {
	r := newApprovedRun(job, imports)
	result := m.syncOne(ctx, r, writersOf(job, r.some, others))
	result.refuseUnchosen(imports)
	return result
}

// Approvable returns the imports of a plan's result that an approval makes.
func (r Result) Approvable() (imports []diff.Action) {
	for _, out := range r.Outcomes {
		if out.Op == diff.Import && out.Status == "" {
			imports = append(imports, out.Action)
		}
	}
	return imports
}

func newApprovedRun(job plan.Job, imports []diff.Action) *run {
	r := newRun(job)
	r.some, r.approved = []image.Reference{}, make(map[image.Reference]diff.Action, len(imports))
	r.planned = make(map[image.Reference]image.Digest, len(imports))
	known := make(map[image.Reference]bool, len(imports))
	for _, a := range imports {
		source := a.Source.WithDigest("")
		if job.Image() {
			source = job.Source
		}
		for _, i := range job.Images {
			if slices.ContainsFunc(i.Targets, func(t image.Reference) bool { return diff.TagOrDigest(t) == diff.TagOrDigest(a.Target) }) {
				source = i.Source
			}
		}
		if !known[source] {
			known[source] = true
			r.some = append(r.some, source)
		}
		r.approved[diff.TagOrDigest(a.Target)] = a
		r.planned[a.Source.WithDigest("")] = a.Source.Digest
	}
	return r
}

// approve refuses an import that is not one of those that were approved.
func (r *run) approve(a *diff.Action) {
	if r.approved == nil || a.Op != diff.Import {
		return
	}
	planned, ok := r.approved[diff.TagOrDigest(a.Target)]
	why := ""
	switch {
	case !ok:
		why = "the plan does not have this import"
	case planned.Source.Digest != a.Source.Digest:
		why = changed("source", planned.Source.Digest, a.Source.Digest)
	case planned.Digest != a.Digest:
		why = fmt.Sprintf("the target would hold %s, and not %s as planned", orNothing(a.Digest), orNothing(planned.Digest))
	case planned.Was != a.Was:
		why = changed("target", planned.Was, a.Was)
	default:
		return
	}
	a.Op, a.Reason, a.Detail = diff.Refuse, diff.NotPlanned, why+"; make a new plan"
}

// unplanned reports whether a source has named another image than the plan has.
func (r *run) unplanned(source image.Reference) bool {
	digest, ok := r.planned[source.WithDigest("")]
	return ok && digest != source.Digest
}

func changed(side string, planned, now image.Digest) string {
	return fmt.Sprintf("the %s holds %s now, and held %s when the plan was made", side, orNothing(now), orNothing(planned))
}

func orNothing(d image.Digest) string { return cmp.Or(string(d), "nothing") }

// refuseUnchosen adds the imports that were approved, and that the job does not choose any more.
func (r *Result) refuseUnchosen(approved []diff.Action) {
	if r.Err != nil {
		return // it says why nothing is known
	}
	there := make(map[image.Reference]bool, len(r.Outcomes))
	for _, out := range r.Outcomes {
		there[diff.TagOrDigest(out.Target)] = true
	}
	for _, a := range approved {
		if there[diff.TagOrDigest(a.Target)] {
			continue
		}
		a.Op, a.Reason, a.Detail = diff.Refuse, diff.NotPlanned, "the mapping does not choose this tag any more; make a new plan"
		r.Outcomes = append(r.Outcomes, Outcome{Action: a, Job: r.Job, Status: record.Refused})
	}
	slices.SortStableFunc(r.Outcomes, func(a, b Outcome) int { return diff.Compare(a.Action, b.Action) })
}
