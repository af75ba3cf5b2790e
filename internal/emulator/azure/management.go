package azure

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// versions are the api-versions of Microsoft.ContainerRegistry, as its header named them in 2026.
func versions() []string {
	return []string{
		"2017-10-01", "2019-05-01", "2019-12-01-preview", "2020-11-01-preview", "2021-06-01-preview", "2021-08-01-preview", "2021-09-01",
		"2021-12-01-preview", "2022-02-01-preview", "2022-12-01", "2023-01-01-preview", "2023-06-01-preview", "2023-07-01",
		"2023-08-01-preview", "2023-11-01-preview", "2024-01-01-preview", "2024-11-01-preview", "2025-03-01-preview", "2025-04-01",
		"2025-05-01-preview", "2025-06-01-preview", "2025-09-01-preview", "2025-11-01", "2025-12-01-preview", "2026-01-01-preview",
		"2026-03-01-preview",
	}
}

// call is a request to the Resource Manager from somebody who is signed in.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	who  claims
	path []string // segments as they were sent
	low  []string // the same in lower case
}

// serveManagement is the Resource Manager.
func (c *Cloud) serveManagement(w http.ResponseWriter, r *http.Request) {
	correlation := r.Header.Get("X-Ms-Correlation-Request-Id")
	if correlation == "" {
		correlation = newGUID()
	}
	w.Header().Set("X-Ms-Request-Id", newGUID())
	w.Header().Set("X-Ms-Correlation-Request-Id", correlation)
	w.Header().Set("X-Ms-Routing-Request-Id", "WESTUS:"+c.now().UTC().Format("20060102T150405Z")+":"+correlation)
	w.Header().Set("Cache-Control", "no-cache")
	path := strings.Trim(r.URL.Path, "/")
	if strings.EqualFold(path, "metadata/endpoints") {
		c.serveEndpoints(w, r)
		return
	}
	k := call{w: w, r: r, path: strings.Split(path, "/"), low: strings.Split(strings.ToLower(path), "/")}
	if failure := c.admit(&k); failure != nil {
		failure.write(w)
		return
	}
	if failure := c.routeManagement(k); failure != nil {
		failure.write(w)
	}
}

// admit checks version, token, tenant and budget.
func (c *Cloud) admit(k *call) *Failure {
	version := k.r.URL.Query().Get("api-version")
	if version == "" {
		return &Failure{Code: "MissingApiVersionParameter", Message: "The api-version query parameter (?api-version=) is required for all requests."}
	}
	isProvider := slices.Contains(k.low, strings.ToLower(strings.TrimSuffix(provider, "/")))
	if isProvider {
		k.w.Header().Set("Api-Supported-Versions", strings.Join(versions(), ", "))
		if !slices.Contains(versions(), version) {
			return &Failure{Code: "NoRegisteredProviderFound", Message: fmt.Sprintf("No registered resource provider found for location 'westus' "+
				"and API version '%s' for type 'registries'. The supported api-versions are '%s'.", version, strings.Join(versions(), ", "))}
		}
	}
	if failure := c.authenticate(k); failure != nil {
		return failure
	}
	if k.low[0] != "subscriptions" || len(k.low) < 2 {
		return nil
	}
	s := c.subscription(k.low[1])
	switch {
	case s == nil:
		return &Failure{Status: http.StatusNotFound, Code: "SubscriptionNotFound", Message: "The subscription '" + k.path[1] + "' could not be found."}
	case !strings.EqualFold(s.tenant.ID, k.who.Tenant):
		return k.unauthorized(s.tenant, "InvalidAuthenticationTokenTenant", fmt.Sprintf("The access token is from the wrong issuer '%s'. It must match "+
			"the tenant 'https://sts.windows.net/%s/' associated with this subscription. Please use the authority (URL) 'https://login.windows.net/%s' to get the token. "+
			"Note, if the subscription is transferred to another tenant there is no impact to the services, but information about new tenant could take time to propagate (up to an hour).",
			k.who.Issuer, s.tenant.ID, s.tenant.ID))
	}
	return c.charge(k, s)
}

// charge takes the request out of the subscription's budget for the principal.
func (c *Cloud) charge(k *call, s *Subscription) *Failure {
	kind, bucket := "reads", c.options.Reads
	if k.r.Method != http.MethodGet && k.r.Method != http.MethodHead {
		kind, bucket = "writes", c.options.Writes
	}
	left, wait := c.take(s.ID+" "+k.who.Object+" "+kind, bucket)
	k.w.Header().Set("X-Ms-Ratelimit-Remaining-Subscription-"+kind, strconv.Itoa(left))
	if wait == 0 {
		return nil
	}
	return &Failure{
		Status: http.StatusTooManyRequests, Code: "SubscriptionRequestsThrottled", RetryAfter: wait,
		Message: fmt.Sprintf("Number of '%s' requests for subscription '%s' actor '%s' exceeded. Please try again after '%d' seconds after "+
			"additional tokens are available. Refer to https://aka.ms/arm-throttling for additional information.",
			strings.TrimSuffix(kind, "s"), s.ID, k.who.Object, wait/time.Second),
	}
}

// authenticate finds out who asks.
func (c *Cloud) authenticate(k *call) *Failure {
	token, sent := strings.CutPrefix(k.r.Header.Get("Authorization"), "Bearer ")
	if !sent {
		return k.unauthorized(nil, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	found, valid := c.parse(token)
	switch now := c.now(); {
	case !valid || found.GrantType != "" || found.Object == "":
		return k.unauthorized(nil, "InvalidAuthenticationToken", "The access token is invalid.")
	case !c.isManagement(found.Audience):
		return k.unauthorized(nil, "InvalidAuthenticationTokenAudience", fmt.Sprintf("The access token has been obtained for wrong audience or resource '%s'. "+
			"It should exactly match with one of the allowed audiences '%s/'.", found.Audience, strings.Join(c.options.Domains.Audiences, "/','")))
	case now.After(time.Unix(found.Expires, 0)):
		return k.unauthorized(nil, "ExpiredAuthenticationToken", fmt.Sprintf("The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			time.Unix(found.Expires, 0).UTC().Format("1/2/2006 3:04:05 PM"), now.UTC().Format("1/2/2006 3:04:05 PM")))
	}
	app := c.principal(found.Object)
	if app == nil {
		return k.unauthorized(nil, "InvalidAuthenticationToken", "The access token is invalid.")
	}
	if _, _, revoked := app.state(); revoked {
		return k.unauthorized(nil, "InvalidAuthenticationToken", "The access token has been revoked.")
	}
	k.who = found
	return nil
}

// unauthorized is a failure with the challenge that goes with it.
func (k *call) unauthorized(t *Tenant, code, message string) *Failure {
	tenant := "common"
	if t != nil {
		tenant = t.ID
	}
	k.w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization_uri="https://login.windows.net/%s", error="invalid_token", error_description=%q`, tenant, message))
	return &Failure{Status: http.StatusUnauthorized, Code: code, Message: message}
}

// routeManagement chooses what a path is about.
func (c *Cloud) routeManagement(k call) *Failure {
	n := len(k.low)
	switch {
	case k.low[0] == "tenants" && n == 1:
		writeJSON(k.w, http.StatusOK, map[string]any{"value": []any{map[string]string{"id": "/tenants/" + k.who.Tenant, "tenantId": k.who.Tenant}}})
		return nil
	case k.r.Method == http.MethodPost && slices.Equal(k.low, []string{"providers", "microsoft.resourcegraph", "resources"}) && !c.options.NoGraph:
		return c.serveGraph(k)
	case k.low[0] != "subscriptions":
		return notFound(k.r.URL)
	case n <= 2:
		c.serveSubscriptions(k)
		return nil
	case n == 3 && k.low[2] == "resources":
		return c.serveList(k, "", false)
	case n >= 5 && k.low[2] == "providers" && k.low[3] == "microsoft.containerregistry":
		return c.routeProvider(k, "", k.low[4:])
	case n >= 7 && k.low[2] == "resourcegroups" && k.low[4] == "providers" && k.low[5] == "microsoft.containerregistry":
		return c.routeProvider(k, k.path[3], k.low[6:])
	}
	return notFound(k.r.URL)
}

// routeProvider chooses among what the provider of registries has, in a resource group or, with none, in the subscription.
func (c *Cloud) routeProvider(k call, group string, rest []string) *Failure {
	isGet := k.r.Method == http.MethodGet
	switch {
	case rest[0] == "registries" && len(rest) == 1 && isGet:
		return c.serveList(k, group, true)
	case rest[0] == "registries" && len(rest) == 2 && group != "" && isGet:
		r, failure := c.resource(k, group, rest[1], actionRead)
		if failure == nil {
			writeJSON(k.w, http.StatusOK, r.document(true))
		}
		return failure
	case rest[0] == "registries" && len(rest) == 3 && rest[2] == "importimage" && group != "" && k.r.Method == http.MethodPost:
		return c.serveImport(k, group, rest[1])
	case rest[0] == "locations" && len(rest) == 4 && rest[2] == "operationresults" && group == "" && isGet:
		return c.servePoll(k, rest[3])
	}
	return notFound(k.r.URL)
}

func notFound(at *url.URL) *Failure {
	return &Failure{Status: http.StatusNotFound, Code: "InvalidResourceType", Message: "The resource type could not be found at '" + at.Path + "'."}
}
