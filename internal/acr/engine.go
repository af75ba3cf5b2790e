package acr

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// Azure starts imports, and tells how they go.
type Azure interface {
	Start(ctx context.Context, target azure.ResourceID, operation string, i azure.Import) (azure.Operation, error)
	Poll(ctx context.Context, op azure.Operation) (azure.Operation, error)
}

// Plane asks registries what they have: Held a target, which may not say it ([image.ErrHidden]).
type Plane interface {
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	Held(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error)
	Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error)
	DigestTags(ctx context.Context, repo image.Repository) ([]string, error)
}

// Locks tells whether a tag may not be moved.
type Locks interface {
	Locked(ctx context.Context, ref image.Reference) (bool, error)
}

// Memory keeps operations across restarts.
type Memory interface {
	Operation(ctx context.Context, name string) (state []byte, ok bool, err error)
	PutOperation(ctx context.Context, name string, state []byte) error
	// Tagged returns what was put under tags, PutTag keeps that.
	Tagged(ctx context.Context, repo image.Repository, tags []string) (map[string]image.Digest, error)
	PutTag(ctx context.Context, ref image.Reference) error
	// ReferrersSeen returns when referrers were last looked for on behalf of a target, PutReferrersSeen that it was just now.
	ReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) (time.Time, bool, error)
	PutReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) error
}

// Origin is how Azure reaches a source: by the resource ID of a registry, for which its own identity counts, or by a host with
// credentials or without.
type Origin struct {
	ResourceID         string
	Host               string
	Username, Password string
}

// Options of an [Engine]. All but Memory and Fallback are required.
type Options struct {
	Azure Azure
	Plane Plane
	Locks Locks
	// Memory is nil where there is none.
	Memory Memory
	// Target returns the resource ID of a target's registry.
	Target func(ctx context.Context, registry string) (azure.ResourceID, error)
	// Origin returns how Azure reaches a source.
	Origin func(ctx context.Context, source image.Repository) (Origin, error)
	// Registry tells what is known of the registry of a repository, and SignIn whether Azure can be signed in to.
	Registry func(repo image.Repository) Registry
	SignIn   func(ctx context.Context) error
	// Manifest fetches a manifest of a source by its digest.
	Manifest func(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// Access says what may be relied on of a target's data plane; nil for AccessAuto.
	Access func(registry string) Access
	// Planes is what is known of data planes, shared by engines that follow one another; nil for nothing.
	Planes *Planes
	// Metered tells whether a registry counts the manifests that are fetched.
	Metered func(registry string) bool
	// Fallback makes imports that Azure could not make, where the mapping leaves the engine to dray; it also brings what has come to refer
	// to an image since. nil for nobody.
	Fallback mirror.Importer
	// Parallel is how many imports one registry makes at once, Rate how many are asked for in a second, Timeout how long one may take.
	Parallel, Rate int
	Timeout        time.Duration
	Log            *slog.Logger
}

// Engine is the engine "acr". It is safe for concurrent use.
type Engine struct {
	options Options
	gate    *gate
	planes  *Planes

	mu      sync.Mutex
	batches map[string]*batch
	// refreshes are the looks for referrers under way, of which one serves all tags of an image.
	refreshes flight.Group[struct{}]
}

// New returns an engine.
func New(options Options) *Engine {
	planes := options.Planes
	if planes == nil {
		planes = &Planes{}
	}
	return &Engine{options: options, planes: planes, gate: newGate(options.Parallel, options.Rate), batches: map[string]*batch{}}
}

// Name returns "acr".
func (*Engine) Name() string { return "acr" }

// Measure returns nothing: what Azure imports costs no request of ours.
func (*Engine) Measure(context.Context, mirror.Order) (mirror.Cost, error) { return mirror.Cost{}, nil }

// Refresh brings what has come to refer to an image since: through dray, as that is small, or by an import where the target cannot be
// looked at.
func (e *Engine) Refresh(ctx context.Context, order mirror.Order, meter mirror.Meter) (mirror.Cost, error) {
	switch {
	case order.ResolveServer:
		return mirror.Cost{}, nil
	case e.closed(order.Target.Repository) != "":
		return mirror.Cost{}, e.refreshClosed(ctx, order)
	case e.options.Fallback == nil:
		return mirror.Cost{}, nil
	}
	order.ReferrersOnly = true
	cost, err := e.options.Fallback.Refresh(ctx, order, meter)
	if e.unasked(ctx, order, err) {
		err = nil
	}
	return cost, err
}

// Import has the target's registry import a manifest, together with the other tags that it is to have there.
func (e *Engine) Import(ctx context.Context, order mirror.Order, meter mirror.Meter) (mirror.Receipt, error) {
	receipt, err := e.together(ctx, order)
	if err == nil || ctx.Err() != nil || order.Engine != "auto" || e.options.Fallback == nil || !copyCures(err) || e.closed(order.Target.Repository) != "" {
		return receipt, err
	}
	e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the registry could not import it, copying instead", slog.String("job", order.Job),
		slog.String("source", order.Source.String()), slog.String("target", order.Target.String()), slog.Any("err", err))
	receipt, copyErr := e.options.Fallback.Import(ctx, order, meter)
	receipt.Engine = e.options.Fallback.Name()
	if copyErr != nil {
		return receipt, fmt.Errorf("%w; before that, Azure could not import it: %w", copyErr, err)
	}
	return receipt, nil
}
