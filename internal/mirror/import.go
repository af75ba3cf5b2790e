package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/worktime"
)

// The pauses between the tries of one import. Requests are retried further down; this is for what such retries cannot fix, such as an
// upload that broke off.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// importOne makes one import, with its retries, and settles its outcome. It calls moved with the number of bytes. again says that another process may
// have made it: then the target is asked first.
func (m *Mirror) importOne(ctx context.Context, r *batch, i int, again bool, moved func(bytes int64)) {
	out := &r.outcomes[i]
	if m.stopping() {
		out.Engine = m.last().Name()
		m.settleError(out, ErrStopping)
		m.Watcher.End(*out)
		return
	}
	ctx = shared(ctx, out)
	meter := counted{m.Watcher.Begin(out.Action), moved}
	started := time.Now()
	receipt, err := m.perform(ctx, r, i, again, meter)
	if m.reconsider(ctx, r, out, err) {
		if out.Op != diff.Import { // as if it had been observed so
			out.Engine, out.EngineReason, out.Duration = "", "", time.Since(started)
			return
		}
		before := receipt.Cost
		receipt, err = m.perform(ctx, r, i, again, meter)
		receipt.add(before)
	}
	out.Cost, out.Unverified = receipt.Cost, receipt.Unverified
	out.Engine = cmp.Or(receipt.Engine, out.Engine)
	out.Duration = time.Since(started)
	switch {
	case err != nil:
		m.settleError(out, err)
	case receipt.Kept:
		out.Status, out.Digest = record.Kept, receipt.Digest
	default:
		out.Status = record.Imported
		out.Digest = receipt.Digest
	}
	m.logOutcome(out)
	m.Watcher.End(*out)
}

// perform has the engine make one import, with its retries.
func (m *Mirror) perform(ctx context.Context, r *batch, i int, again bool, meter Meter) (Receipt, error) {
	out, order := &r.outcomes[i], r.order(i)
	engine := m.choose(ctx, order)
	out.Engine, out.EngineReason = engine.Name(), engine.reason
	m.sayEngine(r.run, engine)
	return m.tries(ctx, r.run, order, func(ctx context.Context) (Receipt, error) {
		if err := m.verify(ctx, r.run, order); err != nil {
			return Receipt{}, err
		}
		if again && order.Digest != "" {
			if held, verified, err := m.look(ctx, r.job, order.Source, order.Target); err == nil && verified && held.Digest == order.Digest {
				return Receipt{Digest: held.Digest, Kept: true}, nil
			}
		}
		return engine.Import(ctx, order, meter)
	})
}

// sayEngine logs which engine makes the imports of a job, and why, once for each reason.
func (m *Mirror) sayEngine(r *run, c choice) {
	if c.reason == "" {
		return
	}
	if _, said := r.said.LoadOrStore(c.Name()+" "+c.reason, true); !said {
		m.Log.LogAttrs(context.Background(), slog.LevelInfo, "engine chosen", slog.String("job", r.job.Name), slog.String("engine", c.Name()), slog.String("reason", c.reason))
	}
}

// tries does something of an order until it succeeds, until trying again cannot help, or until the job's retries are spent. The receipt has
// the cost of all tries.
func (m *Mirror) tries(ctx context.Context, r *run, order Order, do func(context.Context) (Receipt, error)) (Receipt, error) {
	var spent Cost
	for attempt := 0; ; attempt++ {
		receipt, err := m.try(ctx, r, order, do)
		spent.add(receipt.Cost)
		receipt.Cost = spent
		if err == nil || attempt >= r.job.Retries || !worthRetrying(ctx, err) {
			return receipt, err
		}
		m.Log.LogAttrs(ctx, slog.LevelDebug, "import failed, trying again", slog.String("job", r.job.Name),
			slog.String("source", order.Source.String()), slog.String("target", order.Target.String()),
			slog.Int("attempt", attempt+1), slog.Any("err", err))
		if m.pause(ctx, attempt) != nil {
			return receipt, err
		}
	}
}

func (m *Mirror) try(ctx context.Context, r *run, order Order, do func(context.Context) (Receipt, error)) (Receipt, error) {
	ctx, cancel := within(ctx, r.job.Timeout)
	defer cancel()
	receipt, err := do(ctx)
	return receipt, late(ctx, r.job.Timeout, needed(order.Action, err))
}

// errTimeout says that a job's time is over. A retry can help: what was copied stays.
var errTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "timeout" }
func (timeoutError) Temporary() bool { return true }

// toLook limits a list, or a look at one tag: an hour is enough for more of a list than may be kept.
func toLook(job plan.Job) time.Duration { return min(job.Timeout, time.Hour) }

// within returns a context that ends after its work has taken a time; waiting for a slot at a registry does not count.
func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return worktime.WithTimeout(ctx, timeout, errTimeout)
}

// late marks an error that came because the time was over.
func late(ctx context.Context, timeout time.Duration, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("not done within the %w of %s: %w", errTimeout, timeout, err)
	}
	return err
}

func worthRetrying(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if _, ok := retryAt(err); ok {
		return false
	}
	return temporary(err)
}

// pause waits before the next try: exponentially, half of it random, so that imports which failed together are not retried together.
func (m *Mirror) pause(ctx context.Context, attempt int) error {
	d := min(firstPause<<attempt, maxPause)
	timer := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // spreads load, guards nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-m.Draining:
		return ErrStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settleError turns an engine's error into the outcome's status.
func (m *Mirror) settleError(out *Outcome, err error) {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		out.Op, out.Reason, out.Detail, out.Status = diff.Refuse, refused.Reason, refused.Detail, record.Refused
		return
	}
	out.Status, out.Err = record.Failed, err
	if errors.Is(err, ErrStopping) || errors.Is(err, record.ErrLost) {
		out.Status = record.Deferred
	}
	if at, ok := retryAt(err); ok {
		out.Status, out.RetryAt = record.Deferred, at
	}
}

func (m *Mirror) logOutcome(out *Outcome) {
	attrs := []slog.Attr{
		slog.String("job", out.Job), slog.String("op", string(out.Op)), slog.String("reason", string(out.Reason)),
		slog.String("source", out.Source.WithDigest("").String()), slog.String("target", out.Target.String()),
		slog.String("digest", string(out.Digest)), slog.String("engine", out.Engine),
		slog.Duration("duration", out.Duration),
	}
	switch out.Status {
	case record.Failed, record.NothingChosen, record.Absent:
		m.Log.LogAttrs(context.Background(), slog.LevelDebug, "failed", append(attrs, slog.Any("err", out.Err))...) // report says why, once
	case record.Deferred:
		attrs = append(attrs, slog.Any("err", out.Err), slog.Time("retry_at", out.RetryAt))
		m.Log.LogAttrs(context.Background(), slog.LevelWarn, "deferred", attrs...)
	case record.Refused:
		m.Log.LogAttrs(context.Background(), slog.LevelWarn, "refused", append(attrs, slog.String("err", out.Detail))...)
	case record.Kept:
		m.Log.LogAttrs(context.Background(), slog.LevelInfo, "kept", attrs...)
	case record.Imported:
		attrs = append(attrs, slog.Int64("bytes", out.Bytes), slog.String("was", string(out.Was)))
		if out.Unverified {
			m.Log.LogAttrs(context.Background(), slog.LevelInfo, "imported, unverified", attrs...)
			return
		}
		m.Log.LogAttrs(context.Background(), slog.LevelInfo, "imported", attrs...)
	}
}
