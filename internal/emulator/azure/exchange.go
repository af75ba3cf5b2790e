package azure

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenUser is the name that goes with a refresh token as password.
const tokenUser = "00000000-0000-0000-0000-000000000000"

// identity is who talks to a registry: an app of Entra by its object ID, the admin, a repository-scoped token by its name,
// or, with nothing set, everybody.
type identity struct {
	object string
	admin  bool
	token  string
}

// user checks a name and a password: of an app, of the admin, of a repository-scoped token, or of a refresh token. No name
// at all is everybody, where that is allowed.
func (r *Registry) user(name, password string) (identity, bool) {
	o := r.settings()
	r.mu.Lock()
	token, isToken := r.tokens[name]
	r.mu.Unlock()
	switch {
	case name == "" && password == "":
		return identity{}, o.AnonymousPull
	case name == tokenUser || name == "<token>":
		found, valid := r.cloud.parse(password)
		return r.refreshed(found, valid)
	case isToken:
		return identity{token: name}, token.password == password
	case o.AdminPassword != "" && strings.EqualFold(name, o.Name):
		return identity{admin: true}, o.AdminPassword == password
	}
	app := r.subscription.tenant.app(name)
	if app == nil {
		return identity{}, false
	}
	options, expired, revoked := app.state()
	return identity{object: app.ObjectID}, options.Secret != "" && options.Secret == password && !expired && !revoked
}

// refreshed says whom a refresh token is of.
func (r *Registry) refreshed(found claims, valid bool) (identity, bool) {
	if !valid || found.GrantType != "refresh_token" || found.Audience != r.LoginServer() || r.lapsed(found) {
		return identity{}, false
	}
	if app := r.cloud.principal(found.Object); app != nil {
		_, _, revoked := app.state()
		return identity{object: found.Object}, !revoked
	}
	return identity{}, false
}

// permitted is the part of what is wanted that somebody may have.
func (r *Registry) permitted(who identity, want []access) []access {
	var granted []access
	for _, w := range want {
		w.Actions = slices.DeleteFunc(slices.Clone(w.Actions), func(action string) bool { return !r.permits(who, w, action) })
		if len(w.Actions) > 0 {
			granted = append(granted, w)
		}
	}
	return granted
}

func (r *Registry) permits(who identity, w access, action string) bool {
	o := r.settings()
	reads := action == "pull" || action == "metadata_read"
	switch {
	case who.admin:
		return true
	case who.token != "":
		r.mu.Lock()
		defer r.mu.Unlock()
		return w.Type == "repository" && slices.Contains(r.tokens[who.token].allowed[w.Name], action)
	case who.object == "":
		return o.AnonymousPull && w.Type == "repository" && reads
	}
	needed := map[string]string{
		"pull": actionPull, "metadata_read": actionPull, "push": actionPush, "metadata_write": actionPush, "delete": actionDelete,
	}[action]
	if w.Type == "registry" || action == "*" {
		needed = actionPull
	}
	return needed != "" && r.cloud.may(who.object, needed, r.ID())
}

// serveExchange trades a token of Entra for a refresh token of the registry.
func (r *Registry) serveExchange(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		failRegistry(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	found, valid := r.cloud.parse(req.PostFormValue("access_token"))
	app := r.cloud.principal(found.Object)
	isManagement := valid && r.cloud.isManagement(found.Audience)
	switch grantType := req.PostFormValue("grant_type"); {
	case grantType != "access_token" && grantType != "access_token_refresh_token":
		failRegistry(w, http.StatusBadRequest, "UNSUPPORTED", "grant_type not supported")
		return
	case !slices.Contains(r.Hosts(), strings.ToLower(req.PostFormValue("service"))):
		failRegistry(w, http.StatusBadRequest, "UNSUPPORTED", "service is not this registry")
		return
	case !valid || app == nil || r.lapsed(found), found.Audience != registryAudience && !isManagement,
		isManagement && r.settings().NoManagementTokens, !strings.EqualFold(found.Tenant, r.subscription.tenant.ID):
		failRegistry(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information.")
		return
	}
	if _, _, revoked := app.state(); revoked {
		failRegistry(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information.")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"refresh_token": r.refreshToken(app)})
}

// RefreshToken makes a refresh token without a request, as somebody would paste it from another program.
func (r *Registry) RefreshToken(a *App) string { return r.refreshToken(a) }

func (r *Registry) refreshToken(a *App) string {
	token := r.sign(claims{Tenant: a.home.ID, Object: a.ObjectID, App: a.ClientID, GrantType: "refresh_token"}, r.cloud.options.RefreshTTL)
	r.protect("refresh token", token)
	return token
}

// sign makes a token of the registry.
func (r *Registry) sign(c claims, ttl time.Duration) string {
	now := r.cloud.now()
	c.Issuer, c.Audience = "Azure Container Registry", r.LoginServer()
	c.NotBefore, c.IssuedAt, c.Expires = now.Add(-15*time.Minute).Unix(), now.Unix(), now.Add(ttl).Unix()
	return r.cloud.sign(c)
}

// serveAccess gives out access tokens: by POST for a refresh token or a password, by GET for Basic credentials.
func (r *Registry) serveAccess(w http.ResponseWriter, req *http.Request) {
	var who identity
	known := false
	if err := req.ParseForm(); err != nil {
		failRegistry(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
		return
	}
	switch grantType := req.PostFormValue("grant_type"); {
	case req.Method == http.MethodGet:
		user, password, _ := req.BasicAuth()
		who, known = r.user(user, password)
	case req.Method != http.MethodPost:
		failRegistry(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	case grantType == "refresh_token":
		found, valid := r.cloud.parse(req.PostFormValue("refresh_token"))
		who, known = r.refreshed(found, valid)
	case grantType == "password":
		who, known = r.user(req.PostFormValue("username"), req.PostFormValue("password"))
	default:
		failRegistry(w, http.StatusBadRequest, "UNSUPPORTED", "grant_type not supported")
		return
	}
	if !known {
		failRegistry(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information.")
		return
	}
	token := r.sign(claims{
		Object: who.object, GrantType: "access_token", Access: r.permitted(who, parseScopes(req.Form["scope"])),
	}, r.cloud.options.AccessTTL)
	r.cloud.protect("access token", token, place{r.LoginServer(), PartAuthorization})
	writeJSON(w, http.StatusOK, map[string]string{"access_token": token})
}

// parseScopes reads "repository:NAME:ACTION,ACTION", several separated by spaces; a name may have colons.
func parseScopes(values []string) []access {
	var scopes []access
	for _, text := range strings.Fields(strings.Join(values, " ")) {
		kind, rest, _ := strings.Cut(text, ":")
		if name, actions, found := cutLast(rest, ':'); found {
			scopes = append(scopes, access{kind, name, strings.Split(actions, ",")})
		}
	}
	return scopes
}
