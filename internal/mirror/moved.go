package mirror

import (
	"context"
	"errors"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// moved returns what a source gives for a tag, if err says that this is not what it had named. A digest that the config names stays what is wanted.
func (r *run) moved(source image.Reference, err error) (now image.Descriptor, ok bool) {
	moved, ok := errors.AsType[*image.MovedError](err)
	if !ok || moved.Ref != source || r.job.Source.Digest == source.Digest {
		return now, false
	}
	for _, i := range r.job.Images {
		if i.Source == source {
			return now, false
		}
	}
	return moved.Now, true
}

// reconsider decides anew on an import whose source gives another image than it had named, and reports whether it has.
func (m *Mirror) reconsider(ctx context.Context, r *batch, out *Outcome, err error) bool {
	now, ok := r.moved(out.Source, err)
	if !ok {
		return false
	}
	o := diff.Observation{Source: out.Source, Target: out.Target, Held: out.Was, Hidden: out.Reason == diff.Hidden, Unseen: out.Unverified}
	if err := m.offered(ctx, r, &o, now); err != nil {
		return false
	}
	out.Source, out.Digest = o.Source, o.Want
	out.Op, out.Reason, out.Detail = diff.Decide(r.job.RefusesMove(out.Target.Tag), o)
	if o.Short != "" && out.Op == diff.Import && out.Reason != diff.Absent {
		out.Op, out.Reason, out.Detail = diff.Refuse, diff.PlatformMissing, o.Short
	}
	r.approve(&out.Action)
	switch out.Op {
	case diff.Keep:
		out.Status = record.Kept
	case diff.Refuse:
		out.Status = record.Refused
	case diff.Import:
	}
	return true
}
