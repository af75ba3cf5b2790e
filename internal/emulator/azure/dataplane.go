package azure

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// serve answers for the data plane. Imports of the cloud are within Azure; other clients have the address 192.0.2.1.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request, within bool) {
	o := r.settings()
	w.Header().Set("X-Ms-Correlation-Request-Id", newGUID())
	switch {
	case o.NoPublicAccess && within:
		failRegistry(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
		return
	case o.NoPublicAccess:
		failRegistry(w, http.StatusForbidden, "DENIED",
			"client with IP '192.0.2.1' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.")
		return
	}
	switch req.URL.Path {
	case "/oauth2/exchange":
		r.serveExchange(w, req)
		return
	case "/oauth2/token":
		r.serveAccess(w, req)
		return
	}
	need, repository := needs(req)
	if header := r.challenge(req, need); header != "" {
		w.Header().Set("WWW-Authenticate", header)
		failRegistry(w, http.StatusUnauthorized, "UNAUTHORIZED",
			"authentication required, visit https://aka.ms/acr/authorization for more information.")
		return
	}
	if strings.HasPrefix(req.URL.Path, "/acr/v1/") {
		r.serveAttributes(w, req)
		return
	}
	if reference, isManifest := manifestReference(req.URL.Path); isManifest && r.lockedFor(req.Method, repository, reference) {
		failLocked(w)
		return
	}
	r.Content.ServeHTTP(w, req)
}

// needs is what a request asks to do, and with which repository. A ping needs nothing but a token.
func needs(req *http.Request) (need []access, repository string) {
	action := map[string]string{http.MethodGet: "pull", http.MethodHead: "pull", http.MethodDelete: "delete"}[req.Method]
	if rest, found := strings.CutPrefix(req.URL.Path, "/acr/v1/"); found {
		return attributeNeeds(req.Method, rest)
	}
	rest, _ := strings.CutPrefix(req.URL.Path, "/v2/")
	switch {
	case rest == "_catalog":
		return []access{{"registry", "catalog", []string{"*"}}}, ""
	case rest == "" || req.URL.Path == "/v2":
		return nil, ""
	}
	repository = rest
	for _, noun := range []string{"/manifests/", "/blobs/", "/tags/list", "/referrers/"} {
		if at := strings.LastIndex(rest, noun); at > 0 {
			repository = rest[:at]
			break
		}
	}
	actions := []string{action}
	if action == "" {
		actions = []string{"pull", "push"}
	}
	need = []access{{"repository", repository, actions}}
	if from := req.URL.Query().Get("from"); from != "" && req.Method == http.MethodPost {
		need = append(need, access{"repository", from, []string{"pull"}})
	}
	return need, repository
}

// manifestReference reads the tag or digest out of a manifest's path.
func manifestReference(path string) (reference string, isManifest bool) {
	at := strings.LastIndex(path, "/manifests/")
	if at < 0 {
		return "", false
	}
	return path[at+len("/manifests/"):], true
}

// challenge returns "" for a request that may pass, else the WWW-Authenticate header.
func (r *Registry) challenge(req *http.Request, need []access) string {
	problem := ""
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		user, password, _ := req.BasicAuth()
		if who, known := r.user(user, password); known && covers(r.permitted(who, need), need) {
			return ""
		}
	case strings.EqualFold(scheme, "Bearer"):
		found, valid := r.cloud.parse(token)
		switch {
		case !valid || found.GrantType != "access_token" || found.Audience != r.LoginServer() || r.lapsed(found):
			problem = "invalid_token"
		case !covers(found.Access, need):
			problem = "insufficient_scope"
		default:
			return ""
		}
	}
	header := fmt.Sprintf("Bearer realm=%q,service=%q", origin(req)+"/oauth2/token", r.LoginServer())
	if len(need) > 0 {
		texts := make([]string, len(need))
		for i, n := range need {
			texts[i] = n.Type + ":" + n.Name + ":" + strings.Join(n.Actions, ",")
		}
		header += fmt.Sprintf(",scope=%q", strings.Join(texts, " "))
	}
	if problem != "" {
		header += fmt.Sprintf(",error=%q", problem)
	}
	return header
}

func (r *Registry) lapsed(found claims) bool { return r.cloud.now().After(time.Unix(found.Expires, 0)) }

// covers says whether have allows all of want.
func covers(have, want []access) bool {
	for _, w := range want {
		for _, action := range w.Actions {
			if !slices.ContainsFunc(have, func(h access) bool {
				return h.Type == w.Type && h.Name == w.Name && (slices.Contains(h.Actions, action) || slices.Contains(h.Actions, "*"))
			}) {
				return false
			}
		}
	}
	return true
}

// failRegistry answers with an error in the format of the distribution spec.
func failRegistry(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
}
