package acr

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// errand is one manifest that goes to one registry.
type errand struct {
	*Engine
	order  mirror.Order
	target azure.ResourceID
	origin Origin
}

// attempts is how often an import is asked for whose tags turn out to be in another state than was observed.
const attempts = 3

// bring has the registry import the manifest under all its tags, and returns how that ended for each.
func (e *Engine) bring(ctx context.Context, order mirror.Order, members []mirror.Alike) map[image.Reference]outcome {
	outcomes := map[image.Reference]outcome{}
	settle := func(err error, members ...mirror.Alike) {
		for _, m := range members {
			outcomes[m.Target] = outcome{digest: order.Digest, err: err}
		}
	}
	t := &errand{Engine: e, order: order}
	if err := t.prepare(ctx); err != nil {
		settle(err, members...)
		return outcomes
	}
	pending := t.unlocked(ctx, members, settle)
	for range attempts {
		absent, held := split(pending)
		var again []mirror.Alike
		for _, group := range [][]mirror.Alike{absent, held} {
			if len(group) == 0 {
				continue
			}
			digest, err := t.operate(ctx, group)
			if isConflict(err) {
				again = append(again, t.observe(ctx, group, settle)...)
				continue
			}
			for _, m := range group {
				outcomes[m.Target] = outcome{digest: digest, err: err}
			}
		}
		if pending = again; len(pending) == 0 {
			return outcomes
		}
	}
	for _, m := range pending {
		settle(fail(azure.NewFailure(azure.CodeConflict, m.Target.String()), order.Source, m.Target), m)
	}
	return outcomes
}

// prepare finds out who the registries are, and brings what refers to the manifest.
func (t *errand) prepare(ctx context.Context) (err error) {
	if t.origin, err = t.options.Origin(ctx, t.order.Source.Repository); err != nil {
		return mirror.At(mirror.Source, t.order.Source, err)
	}
	if until := t.gate.rests(t.order.Source.Registry); !until.IsZero() {
		f := azure.NewFailure(azure.CodeSourceRateLimited, "")
		return mirror.At(mirror.Source, t.order.Source, &failed{Failure: f, at: until})
	}
	if t.target, err = t.options.Target(ctx, t.order.Target.Registry); err != nil {
		return t.azureError(err, false)
	}
	return t.referrers(ctx)
}

// unlocked leaves out tags that may not be moved.
func (t *errand) unlocked(ctx context.Context, members []mirror.Alike, settle func(error, ...mirror.Alike)) []mirror.Alike {
	locked := make([]bool, len(members))
	errs := make([]error, len(members))
	var group sync.WaitGroup
	for i, m := range members {
		if m.Was != "" && m.Target.Tag != "" {
			group.Go(func() { locked[i], errs[i] = t.options.Locks.Locked(ctx, m.Target) })
		}
	}
	group.Wait()
	var open []mirror.Alike
	for i, m := range members {
		switch {
		case errs[i] != nil:
			settle(mirror.At(mirror.Target, m.Target, fmt.Errorf("look whether the tag is locked: %w", errs[i])), m)
		case locked[i]:
			settle(&mirror.RefusedError{
				Reason: diff.Locked,
				Detail: "the tag is locked at the registry (changeableAttributes.writeEnabled is false): unlock it with az acr repository update --write-enabled true, or exclude it",
			}, m)
		default:
			open = append(open, m)
		}
	}
	return open
}

// observe asks again what tags hold of which Azure says that they are there, and returns those that do not hold the manifest.
func (t *errand) observe(ctx context.Context, members []mirror.Alike, settle func(error, ...mirror.Alike)) []mirror.Alike {
	var others []mirror.Alike
	for _, m := range members {
		d, err := t.options.Plane.Held(ctx, m.Target)
		switch {
		case isAbsent(err):
			others = append(others, mirror.Alike{Target: m.Target})
		case err != nil:
			settle(mirror.At(mirror.Target, m.Target, err), m)
		case d.Digest == t.order.Digest && t.order.Digest != "":
			settle(nil, m)
		default:
			others = append(others, mirror.Alike{Target: m.Target, Was: d.Digest})
		}
	}
	return t.unlocked(ctx, others, settle)
}

// split tells tags that are not there from those that are.
func split(members []mirror.Alike) (absent, held []mirror.Alike) {
	for _, m := range members {
		if m.Was == "" {
			absent = append(absent, m)
		} else {
			held = append(held, m)
		}
	}
	return absent, held
}

func isConflict(err error) bool {
	f, ok := errors.AsType[*failed](err)
	return ok && f.Kind == azure.CodeConflict
}

// azureError is the error of a request to Azure.
func (t *errand) azureError(err error, polled bool) error {
	if _, refused := errors.AsType[*azure.ResponseError](err); !refused {
		if _, signIn := errors.AsType[*azure.SignInError](err); !signIn {
			return mirror.At(mirror.Target, t.order.Target, &unreachable{err})
		}
	}
	return fail(failureOf(err, t.order.Target.Registry, polled), t.order.Source, t.order.Target)
}

// unreachable is that Azure gave no answer that can be read; another try may get one.
type unreachable struct{ error }

// Unwrap returns the cause.
func (u *unreachable) Unwrap() error { return u.error }

// Code is the stable short code for reports.
func (*unreachable) Code() string { return "azure-unreachable" }

// Temporary tells that another try may help, unless the cause says otherwise.
func (u *unreachable) Temporary() bool {
	lasting, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](u.error)
	return !ok || lasting.Temporary()
}
