package azure

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/emulator/registry"
)

// RegistryOptions shape a container registry of the cloud.
type RegistryOptions struct {
	// Name is the resource's, 5 to 50 letters and digits.
	Name string
	// Group is the resource group, "images" if empty; Location is the region, "westus" if empty.
	Group, Location string
	// Hash goes into the login server: NAME-HASH.azurecr.io.
	Hash string
	// Regions are those with an endpoint of their own: NAME.REGION.geo.azurecr.io.
	Regions []string
	// SKU is Premium if empty.
	SKU string
	// NoPublicAccess refuses requests from outside of Azure, and imports that name the registry by its host.
	NoPublicAccess bool
	// NoRoute has requests from outside of Azure fail, as where the registry has private endpoints only, whose names nobody here knows.
	NoRoute bool
	// NoTrustedServices refuses imports from and to a registry without public access in any form.
	NoTrustedServices bool
	// NoExport refuses imports from the registry.
	NoExport bool
	// NoManagementTokens takes only tokens of Entra that are for registries, none for the Resource Manager.
	NoManagementTokens bool
	// AnonymousPull lets everybody read.
	AnonymousPull bool
	// AdminPassword turns the admin user on, whose name is the registry's.
	AdminPassword string
	// Capacity is how many bytes of blobs an import may add up to; 0 is no limit.
	Capacity int64
}

// Registry is a container registry of the cloud. What it embeds logs and damages the requests that clients send to its
// data plane; an import's own are not among them.
type Registry struct {
	*registry.Gate
	// Content is what it holds, to fill it and to look into it without requests.
	Content *registry.Registry

	cloud        *Cloud
	subscription *Subscription

	mu         sync.Mutex
	options    RegistryOptions
	advertised string
	tokens     map[string]repositoryToken
	locked     map[string]attributes // by REPOSITORY:TAG and REPOSITORY@DIGEST
	filled     int64
	busy       int // imports under way
}

// repositoryToken is a user of one registry, for some repositories.
type repositoryToken struct {
	password string
	allowed  map[string][]string // actions by repository
}

// AddRegistry makes a registry, which is empty.
func (s *Subscription) AddRegistry(options RegistryOptions) *Registry {
	setDefault(&options.Group, "images")
	setDefault(&options.Location, "westus")
	setDefault(&options.SKU, "Premium")
	r := &Registry{
		Content: registry.New(registry.Options{Referrers: true}),
		cloud:   s.cloud, subscription: s, options: options,
		tokens: map[string]repositoryToken{}, locked: map[string]attributes{},
	}
	r.Gate = registry.NewGate(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.serve(w, req, false) }))
	s.cloud.mu.Lock()
	s.cloud.registries = append(s.cloud.registries, r)
	s.cloud.mu.Unlock()
	if options.AdminPassword != "" {
		r.protect("admin password", options.AdminPassword)
	}
	return r
}

// protect lets a secret go to this registry, and with an import to the Resource Manager.
func (r *Registry) protect(kind, value string) {
	host := r.LoginServer()
	r.cloud.protect(kind, value, place{host, PartAuthorization}, place{host, PartBody},
		place{r.cloud.options.Domains.Management, PartBody})
}

// Change edits the options of a registry in use; its name, group, location and hash stay.
func (r *Registry) Change(edit func(*RegistryOptions)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.options
	edit(&r.options)
	r.options.Name, r.options.Group, r.options.Location, r.options.Hash = was.Name, was.Group, was.Location, was.Hash
}

func (r *Registry) settings() RegistryOptions {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.options
}

// AddToken makes a repository-scoped token: a user of this registry that may only do the actions (content/read is "pull",
// content/write is "push", metadata/read is "metadata_read") with one repository. Several calls add up.
func (r *Registry) AddToken(name, password, repository string, actions ...string) {
	r.mu.Lock()
	token, known := r.tokens[name]
	if !known {
		token.allowed = map[string][]string{}
	}
	token.password = password
	token.allowed[repository] = append(token.allowed[repository], actions...)
	r.tokens[name] = token
	r.mu.Unlock()
	r.protect("repository token", password)
}

// ID is the resource ID.
func (r *Registry) ID() string {
	o := r.settings()
	return "/subscriptions/" + r.subscription.ID + "/resourceGroups/" + o.Group + "/providers/Microsoft.ContainerRegistry/registries/" + o.Name
}

// Name is the resource's.
func (r *Registry) Name() string { return r.settings().Name }

// LoginServer is the registry's host.
func (r *Registry) LoginServer() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.advertised != "" {
		return r.advertised
	}
	return strings.ToLower(r.host())
}

// host is the real one.
func (r *Registry) host() string {
	name := r.options.Name
	if r.options.Hash != "" {
		name += "-" + r.options.Hash
	}
	return name + "." + r.cloud.options.Domains.Registry
}

// Advertise replaces the login server, as where a loopback server stands for it. Do it before any secret is made.
func (r *Registry) Advertise(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advertised = host
}

// Hosts are all names the registry answers to: the login server first, then the regional endpoints.
func (r *Registry) Hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	hosts := []string{strings.ToLower(r.host())}
	if r.advertised != "" {
		hosts = slices.Insert(hosts, 0, r.advertised)
	}
	name, _, _ := strings.Cut(r.host(), ".")
	for _, region := range r.options.Regions {
		hosts = append(hosts, strings.ToLower(name+"."+region+".geo."+r.cloud.options.Domains.Registry))
	}
	return hosts
}
