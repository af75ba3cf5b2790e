package acr

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// acrImport is the import of one manifest into one registry.
type acrImport struct {
	*Engine
	order  mirror.Order
	target azure.ResourceID
	origin Origin
	// dangling are existing tags without a manifest.
	dangling map[image.Reference]bool
	// closed says that the target cannot be read.
	closed bool
	// known says that origin and target are known.
	known bool
}

// attempts limits how often an import is requested if its tags differ from what was observed.
const attempts = 3

// bring has the registry import the manifest under all its tags, and returns the outcome of each. It treats readable and unreadable targets
// separately.
func (e *Engine) bring(ctx context.Context, order mirror.Order, members []mirror.Alike) map[image.Reference]outcome {
	outcomes := map[image.Reference]outcome{}
	for _, closed := range []bool{false, true} {
		some := slices.DeleteFunc(slices.Clone(members), func(m mirror.Alike) bool { return (e.closed(m.Target.Repository) != "") != closed })
		if len(some) == 0 {
			continue
		}
		own := order
		own.Target, own.Was, own.Alike = some[0].Target, some[0].Was, some
		maps.Copy(outcomes, e.bringInto(ctx, own, some, closed))
	}
	return outcomes
}

func (e *Engine) bringInto(ctx context.Context, order mirror.Order, members []mirror.Alike, closed bool) map[image.Reference]outcome {
	outcomes := map[image.Reference]outcome{}
	settle := func(o outcome, members ...mirror.Alike) {
		for _, m := range members {
			outcomes[m.Target] = o
		}
	}
	t := &acrImport{Engine: e, order: order, dangling: map[image.Reference]bool{}, closed: closed}
	if err := t.prepare(ctx); err != nil {
		settle(outcome{err: err}, members...)
		return outcomes
	}
	pending := members
	for range attempts {
		groups := t.split(pending)
		var again []mirror.Alike
		for k := 0; k < len(groups); k++ {
			group := groups[k]
			digest, err := t.operate(ctx, group)
			locked, isLocked := errors.AsType[*lockedError](err)
			switch {
			case isLocked:
				again = append(again, locked.unlocked(group, settle)...)
			case isConflict(err) && t.closed && len(group) > 1: // it is unknown which of them exists
				groups = slices.AppendSeq(groups, slices.Chunk(group, 1))
			case isConflict(err), repairable(err) && order.RefuseMoved:
				again = append(again, t.observe(ctx, group, settle)...)
			default:
				settle(outcome{digest: digest, err: err, unverified: err == nil && t.closed}, group...)
				if err == nil {
					t.note(ctx, digest, group)
				}
			}
		}
		if pending = again; len(pending) == 0 {
			return outcomes
		}
	}
	for _, m := range pending {
		settle(outcome{err: fail(azure.NewFailure(azure.CodeConflict, m.Target.String()), order.Source, m.Target)}, m)
	}
	return outcomes
}

// prepare looks up the registries, and imports the attachments of the manifest.
func (t *acrImport) prepare(ctx context.Context) error {
	if err := t.lookUp(ctx); err != nil {
		return err
	}
	return t.referrers(ctx)
}

// lookUp looks up the registries, and checks whether the source allows Azure any pulls.
func (t *acrImport) lookUp(ctx context.Context) (err error) {
	if t.known {
		return nil
	}
	if t.origin, err = t.options.Origin(ctx, t.order.Source.Repository); err != nil {
		return mirror.At(mirror.Source, t.order.Source, &lookupError{err})
	}
	if err := t.rested(); err != nil {
		return err
	}
	if t.target, err = t.options.Target(ctx, t.order.Target.Registry); err != nil {
		return &lookupError{t.azureError(err, false)}
	}
	t.known = true
	return nil
}

// rested defers an import while its source allows Azure no pulls.
func (t *acrImport) rested() error {
	until := t.gate.rests(t.order.Source.Registry)
	if until.IsZero() {
		return nil
	}
	f := azure.NewFailure(azure.CodeSourceRateLimited, "")
	return mirror.At(mirror.Source, t.order.Source, &failed{Failure: f, at: until})
}

// observe reads again the tags that Azure reports as existing, or that do not have the imported digest, and returns those that may be
// imported once more.
func (t *acrImport) observe(ctx context.Context, members []mirror.Alike, settle func(outcome, ...mirror.Alike)) []mirror.Alike {
	var again []mirror.Alike
	for _, m := range members {
		if t.closed {
			again = append(again, t.unseen(m, settle)...)
			continue
		}
		held, err := t.held(ctx, m.Target)
		if err != nil {
			settle(outcome{err: mirror.At(mirror.Target, m.Target, err)}, m)
			continue
		}
		t.dangling[m.Target] = held == ""
		if held == "" && t.order.RefuseMoved {
			settle(outcome{err: &mirror.RefusedError{Reason: diff.Moved, Detail: danglingDetail}}, m)
			continue
		}
		seen := diff.Observation{Want: t.order.Digest, Held: held, Unresolved: t.order.Digest == ""}
		switch op, reason, detail := diff.Decide(t.order.RefuseMoved, seen); op {
		case diff.Refuse:
			settle(outcome{err: &mirror.RefusedError{Reason: reason, Detail: detail}}, m)
		case diff.Keep:
			settle(outcome{digest: held, kept: t.order.Digest == ""}, m)
		case diff.Import:
			again = append(again, mirror.Alike{Target: m.Target, Was: held})
		}
	}
	return again
}

// unseen settles an unreadable tag that exists according to Azure's Conflict, or returns it if it may be overwritten.
func (t *acrImport) unseen(m mirror.Alike, settle func(outcome, ...mirror.Alike)) []mirror.Alike {
	switch {
	case !t.order.RefuseMoved:
		t.dangling[m.Target] = true // or not: it is overwritten in any case
		return []mirror.Alike{m}
	case t.order.Digest == "":
		settle(outcome{kept: true, unverified: true}, m)
	default:
		settle(outcome{err: &mirror.RefusedError{Reason: diff.Moved, Detail: "the target has the tag, which dray cannot read and has no record of setting, " +
			"and the mapping says moved: refuse"}}, m)
	}
	return nil
}

// danglingDetail explains a tag without a manifest, and what to do about it.
const danglingDetail = "the registry has the tag without its manifest, which an import by tag may leave (Azure/azure-cli#29974), and the mapping " +
	"says moved: refuse: remove it with az acr repository untag, and dray imports it then; or write moved: follow, and dray overwrites it"

// held returns the digest of a tag that Azure reports as existing. It is empty if the tag still has no manifest after the time by which the
// regions of a registry may lag.
func (t *acrImport) held(ctx context.Context, ref image.Reference) (image.Digest, error) {
	for _, pause := range grace() {
		if err := backoff.Sleep(ctx, pause); err != nil {
			return "", err
		}
		d, err := t.options.Plane.Held(ctx, ref)
		if err == nil || !isAbsent(err) {
			return d.Digest, err
		}
	}
	return "", nil
}

// split separates missing tags from those to overwrite.
func (t *acrImport) split(members []mirror.Alike) (groups [][]mirror.Alike) {
	var absent, held []mirror.Alike
	for _, m := range members {
		if m.Was == "" && !t.dangling[m.Target] {
			absent = append(absent, m)
		} else {
			held = append(held, m)
		}
	}
	return slices.DeleteFunc([][]mirror.Alike{absent, held}, func(group []mirror.Alike) bool { return len(group) == 0 })
}

func isConflict(err error) bool {
	f, ok := errors.AsType[*failed](err)
	return ok && f.Kind == azure.CodeConflict
}

// azureError converts the error of a request to Azure.
func (t *acrImport) azureError(err error, polled bool) error {
	if _, refused := errors.AsType[*azure.ResponseError](err); !refused {
		if _, signIn := errors.AsType[*azure.SignInError](err); !signIn {
			return mirror.At(mirror.Target, t.order.Target, &unreachable{err})
		}
	}
	return fail(failureOf(err, t.order.Source.Registry, t.order.Target.Registry, polled), t.order.Source, t.order.Target)
}

// unreachable says that Azure gave no readable answer; a retry may get one.
type unreachable struct{ error }

// Unwrap returns the cause.
func (u *unreachable) Unwrap() error { return u.error }

// Code returns the stable short code for reports.
func (*unreachable) Code() string { return "azure-unreachable" }

// Temporary reports that a retry may help, unless the cause says otherwise.
func (u *unreachable) Temporary() bool {
	lasting, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](u.error)
	return !ok || lasting.Temporary()
}
