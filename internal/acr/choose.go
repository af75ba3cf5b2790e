package acr

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// Registry is what is known of a registry by the config, for the choice of an engine.
type Registry struct {
	// Azure says that it is an Azure Container Registry of ours, Issued that it has the suffix of the cloud's.
	Azure, Issued bool
	// Plain is spoken to without TLS, and Private by a certificate that only we trust, or with one of ours.
	Plain, Private bool
	// Signed says that the config has a user and a password for it, which Azure can be given; Stored that the credential store has a
	// credential, which stays here.
	Signed, Stored bool
}

// Chooser tells which engine makes an import: acr where Azure can do it, copy otherwise. It is safe for concurrent use, and is itself the
// engine that tells what targets will hold.
type Chooser struct {
	mirror.Importer // copy
	// ACR is nil where no registry is Azure's.
	ACR *Engine
	// Registry tells what is known of the registry of a repository.
	Registry func(repo image.Repository) Registry
	// Held is a look at a target.
	Held func(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	// SignIn tells whether Azure can be signed in to; it asks once.
	SignIn func(ctx context.Context) error
	// Manifest fetches a manifest of a source by its digest.
	Manifest func(ctx context.Context, ref image.Reference) (image.Manifest, error)

	mu      sync.Mutex
	offered map[image.Digest]image.Descriptor
}

// The most manifests that Azure imports with one image, and the fewest bytes that an index of more has.
const (
	maxManifests    = 50
	manyManifests   = (maxManifests - 1) * 150
	maxOffered      = 50_000
	needsNothing    = ""
	whyNotTarget    = "the target is no Azure Container Registry of registries.HOST.azure"
	whyNotPlatforms = "some platforms are chosen, and Azure imports all of them"
	whyNotLayout    = "the source is a folder"
)

// Resolve remembers what was offered.
func (c *Chooser) Resolve(ctx context.Context, source image.Reference, offered image.Descriptor, platforms []image.Platform) (image.Digest, error) {
	if image.IsIndex(offered.MediaType) && offered.Size > manyManifests {
		c.mu.Lock()
		if c.offered == nil || len(c.offered) >= maxOffered {
			c.offered = map[image.Digest]image.Descriptor{}
		}
		c.offered[offered.Digest] = offered
		c.mu.Unlock()
	}
	return c.Importer.Resolve(ctx, source, offered, platforms)
}

// Choose returns the engine for an import. Where the mapping names acr and Azure cannot do it, that is refused, with the reason.
func (c *Chooser) Choose(ctx context.Context, order mirror.Order) mirror.Choice {
	if order.Engine == "copy" {
		return mirror.Choice{Importer: c.Importer, Reason: "the mapping says so"}
	}
	why := c.unfit(ctx, order)
	switch {
	case why == needsNothing && order.Engine == "acr":
		return mirror.Choice{Importer: c.ACR, Reason: "the mapping says so" + c.unverified(order)}
	case why == needsNothing:
		return mirror.Choice{Importer: c.ACR, Reason: "Azure can import it by itself" + c.unverified(order)}
	case order.Engine == "acr":
		return mirror.Choice{Importer: refusing{c.Importer, why}}
	case why == whyNotTarget:
		return mirror.Choice{Importer: c.Importer}
	}
	return mirror.Choice{Importer: c.Importer, Reason: why}
}

// unverified says why what is imported cannot be looked at, where that is so.
func (c *Chooser) unverified(order mirror.Order) string {
	if why := c.ACR.closed(order.Target.Repository); why != "" {
		return ", unverified, as the target's data plane is closed to dray: " + why
	}
	return ""
}

// unfit returns the first reason for which Azure cannot make an import; empty where it can.
func (c *Chooser) unfit(ctx context.Context, order mirror.Order) string {
	target := c.Registry(order.Target.Repository)
	if c.ACR == nil || !target.Azure && (!target.Issued || order.Engine != "acr") {
		return whyNotTarget
	}
	if why := unfitSource(order, c.Registry); why != needsNothing {
		return why
	}
	if why := c.tooMany(ctx, order); why != needsNothing {
		return why
	}
	if err := c.SignIn(ctx); err != nil {
		return "Azure cannot be signed in to: " + err.Error()
	}
	return needsNothing
}

// unfitSource judges what the config says of the source.
func unfitSource(order mirror.Order, known func(image.Repository) Registry) string {
	source := order.Source
	switch {
	case len(order.Platforms) > 0:
		return whyNotPlatforms
	case source.IsLayout():
		return whyNotLayout
	case order.ForeignLayers:
		return "layers by URLs are wanted, which Azure leaves where they are"
	}
	r := known(source.Repository)
	switch {
	case r.Azure:
		return needsNothing
	case r.Plain:
		return source.Registry + " is spoken to without TLS, and Azure speaks TLS only"
	case r.Private:
		return source.Registry + " has a certificate that Azure does not trust"
	case !public(source.Registry):
		return source.Registry + " is no public host, and Azure cannot reach it"
	case r.Stored && !r.Signed:
		return "the credential for " + source.Registry + " is of the credential store, of a helper or a token, and stays here: put a username and a password into registries." + source.Registry + " to have Azure use them"
	}
	return needsNothing
}

// public tells whether a host may be reached from anywhere, by its name alone.
func public(registry string) bool {
	host := registry
	if h, _, err := net.SplitHostPort(registry); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if address, err := netip.ParseAddr(host); err == nil {
		return address.IsGlobalUnicast() && !address.IsPrivate()
	}
	for _, suffix := range []string{".local", ".internal", ".lan", ".home.arpa", ".localhost", ".localdomain"} {
		if strings.HasSuffix(host, suffix) {
			return false
		}
	}
	return strings.Contains(host, ".")
}

// tooMany tells whether an image has more manifests than Azure imports at once, by its length, and by itself where that may be so.
func (c *Chooser) tooMany(ctx context.Context, order mirror.Order) string {
	c.mu.Lock()
	_, maybe := c.offered[order.Source.Digest]
	c.mu.Unlock()
	if !maybe {
		return needsNothing
	}
	m, err := c.Manifest(ctx, order.Source.Repository.Digest(order.Source.Digest))
	if err != nil {
		return needsNothing // Azure will say
	}
	children, err := manifestsOf(m)
	if err != nil || len(children) < maxManifests {
		return needsNothing
	}
	return fmt.Sprintf("it has %d manifests with its index, and Azure imports %d at the most", len(children)+1, maxManifests)
}

// refusing declines what Azure cannot import.
type refusing struct {
	mirror.Importer
	why string
}

// Name returns "acr".
func (refusing) Name() string { return "acr" }

// Measure refuses.
func (r refusing) Measure(context.Context, mirror.Order) (mirror.Cost, error) {
	return mirror.Cost{}, r.refuse()
}

// Import refuses.
func (r refusing) Import(context.Context, mirror.Order, mirror.Meter) (mirror.Receipt, error) {
	return mirror.Receipt{}, r.refuse()
}

func (r refusing) refuse() error {
	return &mirror.RefusedError{Reason: diff.EngineUnfit, Detail: "the mapping says engine: acr, but " + r.why}
}
