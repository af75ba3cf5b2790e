package acr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// kept is an operation as the store has it.
type kept struct {
	azure.Operation
	Began time.Time `json:"began"`
}

// The limits of the pauses between polls, and the pause before an import is requested again if it is unknown whether Azure has accepted it.
const (
	pollMin   = 2 * time.Second
	pollUsual = 10 * time.Second
	pollMax   = 5 * time.Minute
	lostPause = 10 * time.Second
)

// operate has the registry import the manifest under some tags, waits, and verifies the result.
func (t *acrImport) operate(ctx context.Context, members []mirror.Alike) (image.Digest, error) {
	request := t.request(members)
	name := t.name(request)
	err := t.carry(ctx, name, request, members)
	if err != nil && !settledByLooking(err) {
		return "", err
	}
	if t.closed {
		return t.order.Digest, err // Azure's report cannot be verified
	}
	digest, missing := t.verify(ctx, members)
	if missing == nil || err == nil && t.shutNow(ctx, missing) {
		return digest, nil
	}
	if err != nil {
		return "", err // of an import that never ended: the target's content is no better evidence
	}
	if !repairable(missing) || ctx.Err() != nil || t.order.RefuseMoved {
		return "", missing
	}
	t.options.Log.LogAttrs(ctx, slog.LevelWarn, "the import ended well by Azure, and the target lacks the image; importing again", slog.String("job", t.order.Job),
		slog.String("source", t.order.Source.String()), slog.String("target", members[0].Target.String()), slog.Any("err", missing))
	request.Force = true
	if err := t.carry(ctx, t.name(request), request, members); err != nil {
		return "", err
	}
	return t.verify(ctx, members)
}

// shutNow reports whether the target has become unreadable, so that dray cannot verify Azure's report.
func (t *acrImport) shutNow(ctx context.Context, err error) bool {
	t.closed = t.closed || t.shut(ctx, t.order.Target.Repository, err)
	return t.closed
}

// request returns the import request.
func (t *acrImport) request(members []mirror.Alike) azure.Import {
	source := t.order.Source
	i := azure.Import{
		Source: azure.ImportSource{
			ResourceID: t.origin.ResourceID, RegistryURI: t.origin.Host, Username: t.origin.Username, Password: t.origin.Password,
			Image: source.Path + "@" + string(source.Digest),
		},
		Force: t.force(members[0]),
	}
	if source.Digest == "" {
		i.Source.Image = source.Path + ":" + source.Tag
	}
	for _, m := range members {
		if m.Target.Tag == "" {
			i.UntaggedRepositories = append(i.UntaggedRepositories, m.Target.Path)
		} else {
			i.TargetTags = append(i.TargetTags, m.Target.Path+":"+m.Target.Tag)
		}
	}
	slices.Sort(i.TargetTags)
	slices.Sort(i.UntaggedRepositories)
	return i
}

// force reports whether to overwrite a tag: never if it must not move.
func (t *acrImport) force(m mirror.Alike) bool {
	return !t.order.RefuseMoved && (m.Was != "" || t.dangling[m.Target] || t.closed)
}

// name returns the name under which an operation is saved: the same for the same request, and without secrets.
func (t *acrImport) name(i azure.Import) string {
	i.Source.Username, i.Source.Password = "", ""
	raw, err := json.Marshal(i)
	if err != nil {
		raw = []byte(t.order.Source.String() + t.order.Target.String()) // it always marshals
	}
	sum := sha256.Sum256(raw)
	return "import " + t.target.String() + " " + hex.EncodeToString(sum[:16])
}

// carry runs an operation to its end, and resumes one that was started before.
func (t *acrImport) carry(ctx context.Context, name string, i azure.Import, members []mirror.Alike) error {
	leave, err := t.gate.enter(ctx, t.order.Target.Registry)
	if err != nil {
		return err
	}
	defer leave()
	k, found := t.recall(ctx, name)
	if !found {
		k = kept{Began: time.Now()}
		if k.Operation, err = t.start(ctx, i, members, k.Began); err != nil {
			return err
		}
	}
	if !k.Done {
		t.rememberYet(ctx, name, &k) // otherwise the next start would begin another
		err = t.wait(ctx, name, &k)
	}
	switch {
	case err == nil && t.closed: // nothing else tells that dray has set the tags
		if t.note(ctx, t.order.Digest, members) {
			t.rememberYet(ctx, name, nil)
		}
	case ctx.Err() == nil: // if dray ends during an operation, the next start resumes it
		t.remember(ctx, name, nil)
	}
	return err
}

// start requests an import, again if Azure asks for a pause before it accepts it.
func (t *acrImport) start(ctx context.Context, i azure.Import, members []mirror.Alike, began time.Time) (azure.Operation, error) {
	for {
		if err := t.turn(ctx, i, members); err != nil {
			return azure.Operation{}, err
		}
		id := azure.NewOperationID()
		t.options.Log.LogAttrs(ctx, slog.LevelDebug, "asking Azure for an import", slog.String("job", t.order.Job),
			slog.String("source", t.order.Source.String()), slog.String("target", members[0].Target.String()), slog.String("operation", id))
		op, err := t.options.Azure.Start(ctx, t.target, id, i)
		if err == nil {
			t.gate.heard(op)
			return op, nil
		}
		pause, again := t.afterRefusal(err)
		switch {
		case ctx.Err() != nil:
			return op, context.Cause(ctx)
		case !again || time.Since(began)+pause > t.options.Timeout:
			return op, t.azureError(err, false)
		}
		if lost(err) {
			if err := backoff.Sleep(ctx, pause); err != nil {
				return op, err
			}
			if t.closed {
				continue
			}
			if _, missing := t.look(ctx, members); missing == nil { // it was accepted, and has ended
				return azure.Operation{Done: true, RemainingWrites: -1}, nil
			}
			continue
		}
		t.gate.pause(pause)
	}
}

// turn waits until the import may be requested. Since that may take long, it then checks the source's limit and the locks again.
func (t *acrImport) turn(ctx context.Context, i azure.Import, members []mirror.Alike) error {
	if err := t.gate.start(ctx); err != nil {
		return err
	}
	if err := t.rested(); err != nil || !i.Force || t.closed {
		return err
	}
	return t.locks(ctx, members)
}

// afterRefusal returns how long to wait before an import is requested again, and whether to do so.
func (t *acrImport) afterRefusal(err error) (pause time.Duration, again bool) {
	if lost(err) {
		return lostPause, true
	}
	refused, ok := errors.AsType[*azure.ResponseError](err)
	if !ok || !refused.MayPass() {
		return 0, false
	}
	return max(refused.RetryAfter, pollMin), true
}

// lost reports whether it is unknown if Azure has accepted an import.
func lost(err error) bool {
	u, ok := errors.AsType[interface {
		error
		Unknown() bool
	}](err)
	return ok && u.Unknown()
}

// wait polls an operation until it has ended, or its time is over.
func (t *acrImport) wait(ctx context.Context, name string, k *kept) error {
	deadline := k.Began.Add(t.options.Timeout)
	for !k.Done {
		pause := k.RetryAfter
		if pause <= 0 {
			pause = pollUsual
		}
		pause = min(max(pause, pollMin), pollMax)
		if left := time.Until(deadline); left < pause {
			if left <= 0 {
				return fail(azure.NewFailure(azure.CodeTimeout, t.options.Timeout.String()), t.order.Source, t.order.Target)
			}
			pause = left
		}
		if err := backoff.Sleep(ctx, pause); err != nil {
			return err
		}
		op, err := t.options.Azure.Poll(ctx, k.Operation)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			k.Operation = op
			t.remember(ctx, name, k)
		case t.goesOn(err):
			k.RetryAfter = max(k.RetryAfter, pollUsual)
		default:
			return t.ended(err)
		}
	}
	return nil
}

// goesOn reports whether an operation may still be running although polling it failed.
func (*acrImport) goesOn(err error) bool {
	if refused, ok := errors.AsType[*azure.ResponseError](err); ok {
		return refused.MayPass()
	}
	if _, foreign := errors.AsType[*azure.ForeignLocationError](err); foreign {
		return false
	}
	_, signIn := errors.AsType[*azure.SignInError](err)
	return !signIn
}

// ended returns the error of a failed operation.
func (t *acrImport) ended(err error) error {
	if _, refused := errors.AsType[*azure.ResponseError](err); !refused {
		return t.azureError(err, true)
	}
	f := failureOf(err, t.order.Source.Registry, t.order.Target.Registry, true)
	if f.Kind == azure.CodeSourceRateLimited {
		until := t.gate.refused(t.order.Source.Registry, f.RetryAfter)
		return mirror.At(mirror.Source, t.order.Source, &failed{Failure: f, at: until})
	}
	return fail(f, t.order.Source, t.order.Target)
}

// settledByLooking reports whether the target's content decides instead of the error, as for an operation that never ended.
func settledByLooking(err error) bool {
	f, ok := errors.AsType[*failed](err)
	return ok && f.Kind == azure.CodeTimeout
}

// recall returns an operation that was started before and has not passed its deadline.
func (t *acrImport) recall(ctx context.Context, name string) (kept, bool) {
	var k kept
	if t.options.Memory == nil {
		return k, false
	}
	raw, ok, err := t.options.Memory.Operation(ctx, name)
	if err != nil || !ok || json.Unmarshal(raw, &k) != nil || k.Location == "" || time.Since(k.Began) > t.options.Timeout {
		return kept{}, false
	}
	t.options.Log.LogAttrs(ctx, slog.LevelInfo, "taking up an import that was begun before", slog.String("job", t.order.Job),
		slog.String("source", t.order.Source.String()), slog.String("operation", k.ID))
	return k, true
}

// lastWrite limits how long a write may go on once dray stops.
const lastWrite = 250 * time.Millisecond

// rememberYet is remember for what must be written even if dray has stopped meanwhile.
func (t *acrImport) rememberYet(ctx context.Context, name string, k *kept) {
	last, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWrite, drop) })()
	t.remember(last, name, k)
}

// remember saves an operation for the next start; with nil it forgets it.
func (t *acrImport) remember(ctx context.Context, name string, k *kept) {
	if t.options.Memory == nil {
		return
	}
	var raw []byte
	if k != nil {
		raw, _ = json.Marshal(k) // strings and times always marshal
	}
	t.heed(ctx, t.options.Memory.PutOperation(ctx, name, raw))
}
