package azure

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// trouble is an error of Entra.
type trouble struct {
	status int
	code   string // of OAuth
	number int    // AADSTS
	text   string
}

// serveLogin is Entra: discovery, the openid configuration and the token endpoints.
func (c *Cloud) serveLogin(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	if strings.HasSuffix(path, "discovery/instance") {
		c.serveDiscovery(w, r)
		return
	}
	name, rest, _ := strings.Cut(path, "/")
	if rest == "discovery/v2.0/keys" || rest == "discovery/keys" {
		writeJSON(w, http.StatusOK, map[string]any{"keys": []any{}})
		return
	}
	t := c.tenant(name)
	if t == nil && !slices.Contains([]string{"common", "organizations"}, name) {
		c.failLogin(w, r, trouble{http.StatusBadRequest, "invalid_tenant", 90002, "Tenant '" + name +
			"' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your " +
			"subscription administrator, this may happen if there are no active subscriptions for the tenant."})
		return
	}
	switch rest {
	case ".well-known/openid-configuration", "v2.0/.well-known/openid-configuration":
		c.serveOpenID(w, r, name, strings.HasPrefix(rest, "v2.0/"))
	case "oauth2/token", "oauth2/v2.0/token":
		c.serveToken(w, r, t, rest == "oauth2/token")
	default:
		http.NotFound(w, r)
	}
}

// serveDiscovery says where a tenant is, and which hosts are the same authority.
func (c *Cloud) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	at, err := url.Parse(r.FormValue("authorization_endpoint"))
	name, _, _ := c.site(hostOf(at), "/")
	if err != nil || name != c.options.Domains.Login {
		c.failLogin(w, r, trouble{http.StatusBadRequest, "invalid_instance", 50049, "Unknown or invalid instance."})
		return
	}
	tenant, _, _ := strings.Cut(strings.Trim(at.Path, "/"), "/")
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": at.Scheme + "://" + at.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []map[string]any{{
			"preferred_network": at.Host, "preferred_cache": at.Host, "aliases": []string{at.Host},
		}},
	})
}

func hostOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Host
}

func (c *Cloud) serveOpenID(w http.ResponseWriter, r *http.Request, tenant string, second bool) {
	base := origin(r) + "/" + tenant
	issuer, endpoint := base+"/", base+"/oauth2/"
	if second {
		issuer, endpoint = base+"/v2.0", base+"/oauth2/v2.0/"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": issuer, "token_endpoint": endpoint + "token", "authorization_endpoint": endpoint + "authorize",
		"device_authorization_endpoint": endpoint + "devicecode", "jwks_uri": base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"response_types_supported":              []string{"code", "id_token"}, "subject_types_supported": []string{"pairwise"},
		"tenant_region_scope": nil, "cloud_instance_name": "microsoftonline.com",
	})
}

// serveToken gives out tokens for client credentials; first is the older endpoint, with resource in place of scope.
func (c *Cloud) serveToken(w http.ResponseWriter, r *http.Request, t *Tenant, first bool) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	scope, _, _ := strings.Cut(r.PostFormValue("scope"), " ") // MSAL puts openid and others behind it
	resource := audience(scope)
	if first {
		resource = audience(r.PostFormValue("resource"))
	}
	app, problem := c.signIn(r, t)
	if problem == nil && !c.knownResource(resource) {
		problem = &trouble{http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named " + resource +
			" was not found in the tenant named " + t.ID + ". This can happen if the application has not been installed by the " +
			"administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."}
	}
	if problem != nil {
		c.failLogin(w, r, *problem)
		return
	}
	token, seconds := t.token(app, resource, c.options.EntraTTL), int(c.options.EntraTTL/time.Second)
	if first {
		writeJSON(w, http.StatusOK, c.oldForm(token, resource, seconds))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
	})
}

// oldForm is the answer of the older endpoint and of the metadata service, with numbers as strings.
func (c *Cloud) oldForm(token, resource string, seconds int) map[string]any {
	now := c.now()
	return map[string]any{
		"token_type": "Bearer", "access_token": token, "resource": resource,
		"expires_in": strconv.Itoa(seconds), "ext_expires_in": strconv.Itoa(seconds),
		"expires_on": strconv.FormatInt(now.Unix()+int64(seconds), 10), "not_before": strconv.FormatInt(now.Unix()-300, 10),
	}
}

// knownResource says whether tokens for it exist.
func (c *Cloud) knownResource(resource string) bool {
	return resource == registryAudience || c.isManagement(resource)
}

// isManagement says whether a token for the resource is one for the Resource Manager, which a loopback server's own address
// stands for as well.
func (c *Cloud) isManagement(resource string) bool {
	if slices.Contains(c.options.Domains.Audiences, resource) {
		return true
	}
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.aliases[strings.ToLower(u.Host)]
	return known
}

// signIn checks the credentials of an app.
func (c *Cloud) signIn(r *http.Request, t *Tenant) (*App, *trouble) {
	client, secret, hasBasic := r.BasicAuth()
	if !hasBasic {
		client, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	switch {
	case r.PostFormValue("grant_type") != "client_credentials":
		return nil, &trouble{http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '" +
			r.PostFormValue("grant_type") + "'."}
	case t == nil:
		return nil, &trouble{http.StatusBadRequest, "invalid_request", 50194, "The endpoint is not enabled for '/common' or '/organizations'. Use a tenant-specific endpoint."}
	}
	app := t.app(client)
	if app == nil {
		return nil, &trouble{http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '" + client +
			"' was not found in the directory '" + t.ID + "'. This can happen if the application has not been installed by the " +
			"administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."}
	}
	options, expired, revoked := app.state()
	assertion := r.PostFormValue("client_assertion")
	switch {
	case revoked:
		return nil, &trouble{http.StatusUnauthorized, "unauthorized_client", 7000112, "Application '" + client + "' (" + client + ") is disabled."}
	case assertion != "":
		return app, c.checkAssertion(options, assertion)
	case secret == "":
		return nil, &trouble{http.StatusUnauthorized, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	case secret != options.Secret:
		return nil, &trouble{http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being " +
			"sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + client + "'."}
	case expired:
		return nil, &trouble{http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys for app '" + client +
			"' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using " +
			"certificate credentials for added security: https://aka.ms/certCreds."}
	}
	return app, nil
}

// failLogin answers with an error in Entra's form.
func (c *Cloud) failLogin(w http.ResponseWriter, r *http.Request, t trouble) {
	trace, correlation := newGUID(), r.Header.Get("Client-Request-Id")
	if correlation == "" {
		correlation = newGUID()
	}
	at := c.now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, t.status, map[string]any{
		"error": t.code,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			t.number, t.text, trace, correlation, at),
		"error_codes": []int{t.number}, "timestamp": at, "trace_id": trace, "correlation_id": correlation,
		"error_uri": origin(r) + "/error?code=" + strconv.Itoa(t.number),
	})
}

// writeJSON answers with a document.
func writeJSON(w http.ResponseWriter, status int, document any) {
	data, err := json.Marshal(document)
	if err != nil {
		panic(err) // maps of plain values always encode
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // an error is the client's leaving
}
