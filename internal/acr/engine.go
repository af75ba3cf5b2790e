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

// Azure starts imports, and reports their progress.
type Azure interface {
	Start(ctx context.Context, target azure.ResourceID, operation string, i azure.Import) (azure.Operation, error)
	Poll(ctx context.Context, op azure.Operation) (azure.Operation, error)
}

// Plane reads from registries. Held reads a target, which may hide its content ([image.ErrHidden]).
type Plane interface {
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	Held(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error)
	Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error)
	DigestTags(ctx context.Context, repo image.Repository) ([]string, error)
}

// Locks reports whether a tag is locked.
type Locks interface {
	Locked(ctx context.Context, ref image.Reference) (bool, error)
}

// Memory stores operations across restarts.
type Memory interface {
	Operation(ctx context.Context, name string) (state []byte, ok bool, err error)
	PutOperation(ctx context.Context, name string, state []byte) error
	// Tagged returns the recorded digests of tags, PutTag records one.
	Tagged(ctx context.Context, repo image.Repository, tags []string) (map[string]image.Digest, error)
	PutTag(ctx context.Context, ref image.Reference) error
	// ReferrersSeen returns when referrers were last read for a target, PutReferrersSeen records that they were read just now.
	ReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) (time.Time, bool, error)
	PutReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) error
}

// Origin is how Azure reaches a source: by the resource ID of a registry, with Azure's own identity, or by a host with or without
// credentials.
type Origin struct {
	ResourceID         string
	Host               string
	Username, Password string
}

// Options of an [Engine]. All except Memory and Fallback are required.
type Options struct {
	Azure Azure
	Plane Plane
	Locks Locks
	// Memory is nil if there is no store.
	Memory Memory
	// Target returns the resource ID of a target's registry.
	Target func(ctx context.Context, registry string) (azure.ResourceID, error)
	// Origin returns how Azure reaches a source.
	Origin func(ctx context.Context, source image.Repository) (Origin, error)
	// Registry returns the configuration of a repository's registry; SignIn checks the sign-in to Azure.
	Registry func(repo image.Repository) Registry
	SignIn   func(ctx context.Context) error
	// Manifest fetches a manifest of a source by digest.
	Manifest func(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// Access says whether to use a target's data plane; nil for AccessAuto.
	Access func(registry string) Access
	// Planes remembers the states of data planes across successive engines; nil for none.
	Planes *Planes
	// Metered reports whether a registry counts fetched manifests.
	Metered func(registry string) bool
	// Fallback does the imports that Azure could not do, if the mapping leaves the choice of engine to dray; it also copies later
	// attachments. nil for none.
	Fallback mirror.Importer
	// Parallel limits the concurrent imports of one registry, Rate the import requests per second, Timeout the time of one import.
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
	// refreshes are the current reads of referrers; one serves all tags of an image.
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

// Measure returns zero: an import by Azure costs dray no requests.
func (*Engine) Measure(context.Context, mirror.Order) (mirror.Cost, error) { return mirror.Cost{}, nil }

// Refresh copies new attachments: through dray, since they are small, or by an import if the target cannot be read.
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

// Import has the target's registry import a manifest, together with its other tags there.
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
