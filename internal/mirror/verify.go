package mirror

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
)

// verified is an image that satisfies a policy.
type verified struct {
	source image.Reference
	policy string
}

// verify returns a *RefusedError if the source's image is not signed as the job's policy wants; with a policy that only warns it logs that. It looks
// once in a run for all tags of an image.
func (m *Mirror) verify(ctx context.Context, r *run, order Order) error {
	p := r.job.PolicyOf(order.Source.Repository)
	if p == nil {
		return nil
	}
	key := verified{order.Source.Repository.Digest(order.Source.Digest), p.Name}
	if _, ok := r.verified.Load(key); ok {
		return nil
	}
	report, err := p.Verify(ctx, m.Signatures, key.source)
	if err != nil {
		return At(Source, order.Source, err)
	}
	if !report.Verified {
		detail := fmt.Sprintf("the policy %q is not satisfied: %s (signature.%s)", p.Name, report.Problem, report.Code)
		if !p.Warn {
			return &RefusedError{Reason: diff.Unsigned, Detail: detail}
		}
		m.Log.LogAttrs(ctx, slog.LevelWarn, "an image that is not verified is imported, as the policy only warns",
			slog.String("job", r.job.Name), slog.String("source", order.Source.String()), slog.String("err", detail))
	}
	r.verified.Store(key, true)
	return nil
}
