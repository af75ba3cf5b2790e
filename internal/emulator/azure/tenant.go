package azure

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// Tenant is a directory of Entra.
type Tenant struct {
	ID    string
	cloud *Cloud
	apps  map[string]*App // by client ID, lower case
}

// AddTenant makes a directory.
func (c *Cloud) AddTenant(id string) *Tenant {
	t := &Tenant{ID: id, cloud: c, apps: map[string]*App{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenants[strings.ToLower(id)] = t
	return t
}

func (c *Cloud) tenant(id string) *Tenant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenants[strings.ToLower(id)]
}

// AppOptions say how an app signs in; it may have several ways at a time.
type AppOptions struct {
	ClientID string
	// Secret is its password; "" is none.
	Secret string
	// Certificate is what assertions are signed for, with an RSA key.
	Certificate *x509.Certificate
	// Issuer and Subject are the federated credential: tokens of that issuer for that subject, such as those of a
	// service account of Kubernetes, are as good as a secret.
	Issuer, Subject string
}

// App is an app registration with its service principal, or a managed identity.
type App struct {
	ClientID string
	ObjectID string // what roles are granted to
	// ResourceID is that of a user-assigned managed identity.
	ResourceID string

	cloud   *Cloud
	home    *Tenant
	options AppOptions
	expired bool // the secret
	revoked bool
}

// AddApp registers an app. Its secret may be sent to Entra, to registries as a password, and to the Resource Manager with
// an import; it is a leak elsewhere.
func (t *Tenant) AddApp(options AppOptions) *App {
	a := &App{ClientID: options.ClientID, ObjectID: newGUID(), cloud: t.cloud, home: t, options: options}
	t.Admit(a)
	if options.Secret != "" {
		t.cloud.protect("client secret", options.Secret, place{t.cloud.options.Domains.Login, PartBody},
			place{t.cloud.options.Domains.Login, PartAuthorization},
			place{t.cloud.options.Domains.Management, PartBody}, place{anyRegistry, PartAuthorization}, place{anyRegistry, PartBody})
	}
	return a
}

// Admit lets an app of another tenant sign in here, as consent to a multi-tenant app does.
func (t *Tenant) Admit(a *App) {
	t.cloud.mu.Lock()
	defer t.cloud.mu.Unlock()
	t.apps[strings.ToLower(a.ClientID)] = a
}

// AddIdentity makes a managed identity of the virtual machine that asks the metadata service: with a resource ID it is a
// user-assigned one, else the system-assigned one.
func (t *Tenant) AddIdentity(clientID, resourceID string) *App {
	a := t.AddApp(AppOptions{ClientID: clientID})
	a.ResourceID = resourceID
	t.cloud.mu.Lock()
	defer t.cloud.mu.Unlock()
	t.cloud.identities = append(t.cloud.identities, a)
	return a
}

// ExpireSecret lets the app's secret have lapsed.
func (a *App) ExpireSecret() { a.set(func() { a.expired = true }) }

// SetSecret replaces the app's secret by another, which is not expired.
func (a *App) SetSecret(secret string) { a.set(func() { a.options.Secret, a.expired = secret, false }) }

// Revoke disables the app: it gets no tokens any more, and those it has are refused.
func (a *App) Revoke() { a.set(func() { a.revoked = true }) }

func (a *App) set(change func()) {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	change()
}

// state returns what set changes.
func (a *App) state() (options AppOptions, expired, revoked bool) {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	return a.options, a.expired, a.revoked
}

func (t *Tenant) app(clientID string) *App {
	t.cloud.mu.Lock()
	defer t.cloud.mu.Unlock()
	return t.apps[strings.ToLower(clientID)]
}

// principal finds the app that a token is about, in any tenant.
func (c *Cloud) principal(object string) *App {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tenants {
		for _, a := range t.apps {
			if a.ObjectID == object {
				return a
			}
		}
	}
	return nil
}

// identity finds a managed identity; without any selector it is the system-assigned one, or else the only one.
func (c *Cloud) identity(client, object, resource string) *App {
	c.mu.Lock()
	defer c.mu.Unlock()
	match := func(a *App) bool { return a.ResourceID == "" }
	switch {
	case client != "":
		match = func(a *App) bool { return strings.EqualFold(a.ClientID, client) }
	case object != "":
		match = func(a *App) bool { return strings.EqualFold(a.ObjectID, object) }
	case resource != "":
		match = func(a *App) bool { return strings.EqualFold(a.ResourceID, resource) }
	case len(c.identities) == 1:
		return c.identities[0]
	}
	if i := slices.IndexFunc(c.identities, match); i >= 0 {
		return c.identities[i]
	}
	return nil
}

// ServiceAccountToken makes a token as Kubernetes projects it into a pod, for a federated credential. It may be sent to
// Entra alone.
func (c *Cloud) ServiceAccountToken(issuer, subject string, ttl time.Duration) string {
	now := c.now()
	token := c.sign(claims{
		Audience: exchangeAudience, Issuer: issuer, Subject: subject,
		NotBefore: now.Unix(), IssuedAt: now.Unix(), Expires: now.Add(ttl).Unix(),
	})
	c.protect("service account token", token, place{c.options.Domains.Login, PartBody})
	return token
}

// exchangeAudience is what a federated token has to be for.
const exchangeAudience = "api://AzureADTokenExchange"

// Token makes a token of Entra for the app without a request: resource is like "https://management.azure.com". A TTL of
// 0 is that of the cloud's options, and a negative one makes a token that has lapsed.
func (t *Tenant) Token(a *App, resource string, ttl time.Duration) string {
	if ttl == 0 {
		ttl = t.cloud.options.EntraTTL
	}
	return t.token(a, audience(resource), ttl)
}

func (t *Tenant) token(a *App, resource string, ttl time.Duration) string {
	c := t.cloud
	now := c.now()
	token := c.sign(claims{
		Audience: resource, Issuer: "https://sts.windows.net/" + t.ID + "/", Tenant: t.ID, Object: a.ObjectID, App: a.ClientID,
		Subject: a.ObjectID, NotBefore: now.Add(-5 * time.Minute).Unix(), IssuedAt: now.Unix(), Expires: now.Add(ttl).Unix(),
	})
	places := []place{{anyRegistry, PartBody}, {c.options.Domains.Management, PartBody}}
	if resource != registryAudience {
		places = append(places, place{c.options.Domains.Management, PartAuthorization})
	}
	c.protect("Entra token for "+resource, token, places...)
	return token
}
