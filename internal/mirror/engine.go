package mirror

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// Order is what an engine needs to know to import one manifest.
type Order struct {
	diff.Action
	Platforms []image.Platform
	Referrers plan.Referrers
	// ReferrersOnly says that another engine imports the image, so that Refresh only looks for new referrers.
	ReferrersOnly bool
	// ReferrersInterval is how often to look for new referrers of an unchanged image.
	ReferrersInterval time.Duration
	// ForeignLayers also copies layers that a manifest names by URL.
	ForeignLayers bool
	// Fresh says that the target repository held none of the observed tags, so that the image is probably not there at all.
	Fresh bool
	// Sibling is a digest that the target repository was observed to hold under some tag; empty for none.
	Sibling image.Digest
	// RefuseMoved says that a tag which holds something else is not moved, even if it was set since the plan.
	RefuseMoved bool
	// Job is the name of the job, Engine the engine that it names, or "auto".
	Job, Engine string
	// ResolveServer says that only the target's registry can reach the source, so that Source and Digest may lack a digest.
	ResolveServer bool
	// Alike are the targets at the same registry that get the same manifest in this run, including this one.
	Alike []Alike
	// Offered is the index that the source offers; zero if it is not an index.
	Offered image.Descriptor
	// HeldAs is a tag of the target repository that was observed to hold Digest already; empty for none.
	HeldAs string
	// Observed are the tags of the target repository that the run has asked for, with what each holds; empty for none.
	Observed map[string]image.Digest
	// Since is when the run began to observe: anything seen earlier is memory.
	Since time.Time
}

// Alike is one of several targets for the same manifest.
type Alike struct {
	Target image.Reference
	// Was is its previous digest; empty if the tag did not exist.
	Was image.Digest
}

// Importer makes imports.
type Importer interface {
	// Name is its name in mappings and reports, such as "copy".
	Name() string
	// Measure returns what an import would cost at most, and changes nothing.
	Measure(ctx context.Context, order Order) (Cost, error)
	// Refresh copies attachments that have appeared since the last look, if one is due. The target holds the image, as order.HeldAs.
	Refresh(ctx context.Context, order Order, meter Meter) (Cost, error)
	// Import makes the target tag hold order.Digest. If it returns an error, the target tag is unchanged.
	Import(ctx context.Context, order Order, meter Meter) (Receipt, error)
}

// Engine is an Importer that knows which imports it can make.
type Engine interface {
	Importer
	// Fits reports whether it can make an import, and why, or why not. The reason may be empty.
	Fits(ctx context.Context, order Order) (ok bool, reason string)
}

// Remote is an [Engine] whose imports run elsewhere, from where registries can be reached that dray cannot reach.
type Remote interface {
	// Reaches reports, without a request, whether it can import for a job even if dray reaches neither source nor target.
	Reaches(job plan.Job, source image.Reference, target image.Repository) bool
	// Look returns what a target holds, and whether the target itself has said so.
	Look(ctx context.Context, target image.Reference) (d image.Descriptor, verified bool, err error)
	// Closed reports whether a target is known not to answer dray.
	Closed(target image.Repository) bool
	// Unreachable reports whether an error means that dray cannot reach a registry, rather than that the registry fails.
	Unreachable(err error) bool
}

// choice is the importer for one import, with the reason, which may be empty.
type choice struct {
	Importer
	reason string
}

// mayMake reports whether a job that names an engine, or "auto", allows this one.
func mayMake(e Engine, named string) bool { return named == "" || named == "auto" || named == e.Name() }

// choose returns the importer for an order. If the mapping names an engine that cannot make the import, the importer refuses, with the reason.
func (m *Mirror) choose(ctx context.Context, order Order) choice {
	why := ""
	for _, e := range m.Engines {
		if !mayMake(e, order.Engine) {
			continue
		}
		named := order.Engine == e.Name()
		switch ok, reason := e.Fits(ctx, order); {
		case ok && named:
			return choice{e, cmp.Or(reason, "the mapping says so")}
		case ok:
			return choice{e, cmp.Or(reason, why)}
		default:
			why = cmp.Or(why, reason)
		}
	}
	return choice{Importer: refusing{m.last(), order.Engine, cmp.Or(why, "there is no such engine")}}
}

// last returns the engine that makes what no other can.
func (m *Mirror) last() Engine { return m.Engines[len(m.Engines)-1] }

// remote returns the engine that imports for a job if dray cannot reach the registries; nil for none.
func (m *Mirror) remote(job plan.Job, source image.Reference, target image.Repository) Remote {
	for _, e := range m.Engines {
		if r, ok := e.(Remote); ok && mayMake(e, job.Engine) && r.Reaches(job, source, target) {
			return r
		}
	}
	return nil
}

// look asks what a target holds.
func (m *Mirror) look(ctx context.Context, job plan.Job, source, target image.Reference) (d image.Descriptor, verified bool, err error) {
	if r := m.remote(job, source, target.Repository); r != nil {
		return r.Look(ctx, target)
	}
	d, err = m.Observer.Held(ctx, target)
	return d, true, err
}

// unneeded reports whether dray need not reach a source of a job, which is named by digest and gave this error.
func (m *Mirror) unneeded(job plan.Job, source image.Reference, err error) bool {
	return !slices.ContainsFunc(job.Targets, func(target image.Reference) bool {
		r := m.remote(job, source, target.Repository)
		return r == nil || !r.Unreachable(err)
	})
}

// refusing refuses what the engine that a mapping names cannot import.
type refusing struct {
	Importer
	name, why string
}

// Name returns the engine's name.
func (r refusing) Name() string { return r.name }

// Measure refuses.
func (r refusing) Measure(context.Context, Order) (Cost, error) { return Cost{}, r.refuse() }

// Import refuses.
func (r refusing) Import(context.Context, Order, Meter) (Receipt, error) {
	return Receipt{}, r.refuse()
}

func (r refusing) refuse() error {
	return &RefusedError{Reason: diff.EngineUnfit, Detail: fmt.Sprintf("the mapping says engine: %s, but %s", r.name, r.why)}
}
