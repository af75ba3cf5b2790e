package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/signature"
)

// verdictKey is an image whose signatures were looked for, and how many events of them had come before.
type verdictKey struct {
	image  image.Reference
	events int
}

// verify returns a *RefusedError if the source's image is not signed as the job's policy wants; with a policy that only warns it logs that. A run looks
// once for all tags of an image, and again after the event of a signature.
func (m *Mirror) verify(ctx context.Context, r *run, order Order) error {
	p := r.job.PolicyOf(order.Source.Repository)
	if p == nil {
		return nil
	}
	if order.Source.Digest == "" {
		return &RefusedError{Reason: diff.Unsigned, Detail: fmt.Sprintf("the policy %q cannot be satisfied: the source named no digest", p.Name)}
	}
	ref := order.Source.Repository.Digest(order.Source.Digest)
	if p.Warn {
		return m.verdict(ctx, r, p, order, verdictKey{image: ref})
	}
	events := m.Unsigned.waits(p.At(ref), r.job.Name, order.Source)
	err := m.verdict(ctx, r, p, order, verdictKey{ref, events})
	if _, refused := errors.AsType[*RefusedError](err); !refused { // what failed is tried again by itself
		m.Unsigned.forget(p.At(ref), r.job.Name, order.Source)
	}
	return err
}

// verdict says whether an image is signed as a policy wants, as verify does.
func (m *Mirror) verdict(ctx context.Context, r *run, p *plan.Policy, order Order, key verdictKey) error {
	ref := key.image
	report, err := r.verdicts.Do(ctx, fmt.Sprint(ref, " ", key.events), func(ctx context.Context) (signature.Report, error) {
		if known, ok := r.verdictOf.Load(key); ok {
			return known.(signature.Report), nil //nolint:forcetypeassert // what is stored below
		}
		report, err := p.Verify(ctx, m.Signatures, ref)
		if err == nil {
			r.verdictOf.Store(key, report)
		}
		return report, err //nolint:wrapcheck // it says what could not be looked at
	})
	if err == nil && !report.Verified || errors.Is(err, image.ErrAbsent) { // of what is not there, there is no verdict
		if gone := m.Manifests.Given(ctx, order.Source); gone != nil {
			return At(Source, order.Source, gone)
		}
	}
	detail := ""
	switch {
	case err == nil && report.Verified:
		return nil
	case err == nil:
		detail = fmt.Sprintf("the policy %q is not satisfied: %s (signature.%s)", p.Name, report.Problem, report.Code)
	case !p.Warn || ctx.Err() != nil:
		return At(Source, order.Source, err)
	default:
		detail = err.Error()
	}
	if !p.Warn {
		return &RefusedError{Reason: diff.Unsigned, Detail: detail}
	}
	if _, said := r.said.LoadOrStore(ref, true); !said {
		m.Log.LogAttrs(ctx, slog.LevelWarn, "an image that is not verified is let through, as the policy only warns",
			slog.String("job", r.job.Name), slog.String("source", order.Source.String()), slog.String("err", detail))
	}
	return nil
}
