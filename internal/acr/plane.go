package acr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/wire"
)

// Access says whether dray reads tags through the data plane of a target's registry.
type Access string

// AccessAuto uses it if it answers, AccessRequired always, and AccessNone never.
const (
	AccessAuto     Access = "auto"
	AccessRequired Access = "required"
	AccessNone     Access = "none"
)

// notLooked is why a repository is not read if the config says so.
const notLooked = "dataPlane: none"

// closedFor is the pause before an unreadable repository is tried again.
const closedFor = 5 * time.Minute

// Planes records the repositories that dray cannot read, because their registry accepts no requests from this machine or this identity. The
// zero value is ready.
type Planes struct {
	mu    sync.Mutex
	known map[image.Repository]*planeState
}

// planeState is the state of one repository.
type planeState struct {
	looking chan struct{} // held while someone asks about an unknown repository
	open    bool
	met     bool   // it was readable before, so a failure to answer does not mean a closed data plane
	why     string // why it cannot be read; empty if it can
	until   time.Time
}

func (p *Planes) of(repo image.Repository) *planeState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[image.Repository]*planeState{}
	}
	s := p.known[repo]
	if s == nil {
		s = &planeState{looking: make(chan struct{}, 1)}
		p.known[repo] = s
	}
	return s
}

// ClosedRegistry is a registry with unreadable repositories.
type ClosedRegistry struct {
	Registry string
	// Repositories is the number of its unreadable repositories, Reason why the first of them cannot be read.
	Repositories int
	Reason       string
}

// Closed returns the registries whose data plane is known to be closed for wanted repositories, sorted.
func (p *Planes) Closed(wanted func(image.Repository) bool) []ClosedRegistry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ClosedRegistry
	for _, repo := range slices.SortedFunc(maps.Keys(p.known), func(a, b image.Repository) int {
		return cmp.Or(cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Path, b.Path))
	}) {
		why := p.known[repo].why
		if why == "" || !wanted(repo) {
			continue
		}
		if last := len(list) - 1; last >= 0 && list[last].Registry == repo.Registry {
			list[last].Repositories++
			continue
		}
		list = append(list, ClosedRegistry{Registry: repo.Registry, Repositories: 1, Reason: why})
	}
	return list
}

// closed returns why a repository cannot be read; empty if no reason is known.
func (e *Engine) closed(repo image.Repository) string {
	if repo.IsLayout() {
		return ""
	}
	if e.access(repo.Registry) == AccessNone {
		return notLooked
	}
	s := e.planes.of(repo)
	e.planes.mu.Lock()
	defer e.planes.mu.Unlock()
	return s.why
}

func (e *Engine) access(registry string) Access {
	if e.options.Access == nil {
		return AccessAuto
	}
	return e.options.Access(registry)
}

// shut records that a repository cannot be read, if err says so, and reports whether it does.
func (e *Engine) shut(ctx context.Context, repo image.Repository, err error) bool {
	if err == nil || ctx.Err() != nil || !Closed(err) || e.access(repo.Registry) == AccessRequired {
		return false
	}
	s := e.planes.of(repo)
	e.planes.mu.Lock()
	if s.met && statusOf(err) == 0 && !errors.Is(err, image.ErrHidden) {
		e.planes.mu.Unlock()
		return false
	}
	first := s.why == ""
	s.why, s.open, s.until = err.Error(), false, time.Now().Add(closedFor)
	e.planes.mu.Unlock()
	if first {
		e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the target's data plane is closed to dray: Azure imports, and what it says is not verified",
			slog.String("target", repo.String()), slog.Any("err", err))
	}
	return true
}

// Closed reports whether the error of a request to a target means that a registry's data plane is closed: its network rules refuse, the
// identity has no right to pull, or there is no route to it.
func Closed(err error) bool {
	if _, entra := errors.AsType[*azure.SignInError](err); entra {
		return false
	}
	if errors.Is(err, image.ErrHidden) {
		return true
	}
	if status := statusOf(err); status != 0 {
		return status == http.StatusForbidden || status == http.StatusUnauthorized
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		return dial.Op == "dial" || dial.Op == "proxyconnect"
	}
	_, unnamed := errors.AsType[*net.DNSError](err)
	return unnamed
}

// statusOf returns the status of a registry's answer, also to the exchange of tokens; 0 if none came.
func statusOf(err error) int {
	if answer, ok := errors.AsType[*wire.Error](err); ok && answer.Status != 0 {
		return answer.Status
	}
	if answer, ok := errors.AsType[*azure.ResponseError](err); ok {
		return answer.Status
	}
	return 0
}

// Reaches reports whether Azure can import for a job, judging by the configuration of source and target.
func (e *Engine) Reaches(job plan.Job, source image.Reference, target image.Repository) bool {
	order := mirror.Order{Platforms: job.Platforms, ForeignLayers: job.ForeignLayers}
	order.Source = source
	return !target.IsLayout() && e.options.Registry(target).Azure && unfitSource(order, e.options.Registry) == needsNothing
}

// Unreachable reports whether an error means that a registry does not answer dray. Azure may reach it.
func (*Engine) Unreachable(err error) bool { return Closed(err) }

// unasked reports whether the referrers of an image cannot be read because dray cannot reach the source, which has a digest.
func (e *Engine) unasked(ctx context.Context, order mirror.Order, err error) bool {
	if err == nil || ctx.Err() != nil || order.Source.Tag != "" || !Closed(err) {
		return false
	}
	e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the source cannot be reached, so the image's referrers are not imported", slog.String("job", order.Job),
		slog.String("source", order.Source.String()), slog.Any("err", err))
	return true
}

// Closed reports whether the data plane of a target is known to be closed.
func (e *Engine) Closed(target image.Repository) bool { return e.closed(target) != "" }

// Look returns a target's manifest from its data plane. If that is closed, it returns the one that dray itself has put there, unverified; if
// none is known, the error wraps [image.ErrUnseen].
func (e *Engine) Look(ctx context.Context, target image.Reference) (d image.Descriptor, verified bool, err error) {
	s := e.planes.of(target.Repository)
	if e.access(target.Registry) == AccessNone {
		e.planes.mu.Lock()
		s.why = notLooked
		e.planes.mu.Unlock()
		d, err = e.remembered(ctx, target)
		return d, false, err
	}
	for mine := false; ; {
		e.planes.mu.Lock()
		open, why, fresh := s.open, s.why, time.Now().Before(s.until)
		e.planes.mu.Unlock()
		if why != "" && fresh {
			d, err = e.remembered(ctx, target)
			return d, false, err
		}
		if open {
			break
		}
		if mine {
			return e.probe(ctx, s, target)
		}
		select { // one asks, the others wait for its answer
		case s.looking <- struct{}{}:
			defer func() { <-s.looking }()
			mine = true
		case <-ctx.Done():
			return d, false, context.Cause(ctx)
		}
	}
	return e.probe(ctx, s, target)
}

// probe asks the data plane.
func (e *Engine) probe(ctx context.Context, s *planeState, target image.Reference) (d image.Descriptor, verified bool, err error) {
	d, err = e.options.Plane.Held(ctx, target)
	switch {
	case err == nil || isAbsent(err):
		e.planes.mu.Lock()
		s.open, s.met, s.why = true, true, ""
		e.planes.mu.Unlock()
	case e.access(target.Registry) == AccessRequired && Closed(err):
		return d, true, &closedError{err}
	case e.shut(ctx, target.Repository, err):
		d, err = e.remembered(ctx, target)
		return d, false, err
	}
	return d, true, err
}

// closedError says that a required data plane is closed. It does not count as a target that hides what it has.
type closedError struct{ cause error }

func (e *closedError) Error() string {
	return fmt.Sprintf("%v; write registries.HOST.azure.dataPlane: auto to import without reading the target", e.cause)
}

// remembered returns the manifest that dray itself has put under a tag.
func (e *Engine) remembered(ctx context.Context, target image.Reference) (image.Descriptor, error) {
	if e.options.Memory != nil {
		key := memorable(target)
		known, err := e.options.Memory.Tagged(ctx, key.Repository, []string{key.Tag})
		if d, ok := known[key.Tag]; ok && err == nil {
			return image.Descriptor{Digest: d}, nil
		}
	}
	return image.Descriptor{}, image.ErrUnseen
}

// note records the digest that the tags have now, and reports whether it did.
func (e *Engine) note(ctx context.Context, d image.Digest, members []mirror.Alike) bool {
	if e.options.Memory == nil || d == "" {
		return true
	}
	var errs []error
	for _, m := range members {
		errs = append(errs, e.options.Memory.PutTag(ctx, memorable(m.Target).WithDigest(d)))
	}
	err := errors.Join(errs...)
	e.heed(ctx, err)
	return err == nil
}

// memorable returns the name under which a target is remembered: its digest if it has no tag. No tag has such a name.
func memorable(target image.Reference) image.Reference {
	if target.Tag == "" {
		return target.Repository.Tag(string(target.Digest))
	}
	return target.Repository.Tag(target.Tag)
}
