package acr

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// Registry is the configuration of a registry, as far as it matters for the choice of an engine.
type Registry struct {
	// Azure says that the config marks it as an Azure Container Registry, Issued that it has the suffix of the cloud's registries.
	Azure, Issued bool
	// Plain says that dray uses it without TLS, Private that it needs a private certificate authority or a client certificate.
	Plain, Private bool
	// Signed says that the config has a username and password for it, which can be passed to Azure; Stored that there is another
	// credential, which is not passed to Azure.
	Signed, Stored bool
}

// The most manifests that Azure imports with one image, and the smallest size of an index with more.
const (
	maxManifests    = 50
	manyManifests   = (maxManifests - 1) * 150
	needsNothing    = ""
	whyNotTarget    = "the target is not configured as an Azure Container Registry (registries.HOST.azure)"
	whyNotPlatforms = "some platforms are chosen, and Azure imports all of them"
	whyNotLayout    = "the source is an OCI layout"
)

// Fits reports whether Azure can do an import, or the first reason why not.
func (e *Engine) Fits(ctx context.Context, order mirror.Order) (ok bool, reason string) {
	named := order.Engine == e.Name()
	switch target := e.options.Registry(order.Target.Repository); {
	case target.Azure, target.Issued && named:
	case named:
		return false, whyNotTarget
	default:
		return false, "" // most targets are not
	}
	if why := unfitSource(order, e.options.Registry); why != needsNothing {
		return false, why
	}
	if why := e.tooMany(ctx, order); why != needsNothing {
		return false, why
	}
	if err := e.options.SignIn(ctx); err != nil {
		return false, "dray cannot sign in to Azure: " + err.Error()
	}
	reason = "Azure can import it by itself"
	if named {
		reason = "the mapping says so"
	}
	if why := e.closed(order.Target.Repository); why != "" {
		reason += ", unverified, as the target's data plane is closed to dray: " + why
	}
	return true, reason
}

// unfitSource returns why Azure cannot import from the source, judging by the config.
func unfitSource(order mirror.Order, known func(image.Repository) Registry) string {
	source := order.Source
	switch {
	case len(order.Platforms) > 0:
		return whyNotPlatforms
	case source.IsLayout():
		return whyNotLayout
	case order.ForeignLayers:
		return "the mapping has foreignLayers, and Azure does not import layers by URL"
	}
	r := known(source.Repository)
	switch {
	case r.Azure:
		return needsNothing
	case r.Plain:
		return "dray uses no TLS for " + source.Registry + ", and Azure requires it"
	case r.Private:
		return source.Registry + " has a certificate that Azure does not trust"
	case !public(source.Registry):
		return source.Registry + " is not a public host, so Azure cannot reach it"
	case r.Stored && !r.Signed:
		return "dray does not pass the credential for " + source.Registry + " to Azure, since it comes from the credential store, a helper or a cloud, or is a token: " +
			"set registries." + source.Registry + ".username and password"
	}
	return needsNothing
}

// public reports whether a host may be reachable from anywhere, judging by its name alone.
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

// tooMany returns why Azure cannot import an image with too many manifests. It reads the index only if its size suggests that.
func (e *Engine) tooMany(ctx context.Context, order mirror.Order) string {
	if order.Offered.Size <= manyManifests {
		return needsNothing
	}
	m, err := e.options.Manifest(ctx, order.Source.Repository.Digest(order.Source.Digest))
	if err != nil {
		return needsNothing // Azure will say
	}
	children, err := manifestsOf(m)
	if err != nil || len(children) < maxManifests {
		return needsNothing
	}
	return fmt.Sprintf("it has %d manifests including its index, and Azure imports at most %d", len(children)+1, maxManifests)
}
