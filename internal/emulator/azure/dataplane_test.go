package azure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/azure"
)

// access signs the world's app in at a registry, all the way.
func (w *world) access(r *azure.Registry, scope string) string {
	w.tb.Helper()
	base := "https://" + r.LoginServer()
	a := w.form(base+"/oauth2/exchange", "grant_type", "access_token", "service", r.LoginServer(), "tenant", home,
		"access_token", w.tenant.Token(w.app, "https://containerregistry.azure.net", 0))
	refresh := decode(w.tb, a.body, "refresh_token")
	a = w.form(base+"/oauth2/token", "grant_type", "refresh_token", "service", r.LoginServer(), "scope", scope, "refresh_token", refresh)
	token := decode(w.tb, a.body, "access_token")
	if token == "" {
		w.tb.Fatalf("no access token: %d %s", a.status, a.body)
	}
	return token
}

func TestExchange(t *testing.T) {
	tests := []struct {
		name   string
		token  func(w *world) string
		edit   func(o *azure.RegistryOptions)
		later  time.Duration
		status int
	}{
		{name: "audience of registries", token: func(w *world) string { return w.tenant.Token(w.app, "https://containerregistry.azure.net", 0) }, status: 200},
		{name: "audience of the Resource Manager", token: func(w *world) string { return w.token }, status: 200},
		{name: "that turned off", token: func(w *world) string { return w.token }, edit: func(o *azure.RegistryOptions) { o.NoManagementTokens = true }, status: 401},
		{name: "lapsed", token: func(w *world) string { return w.token }, later: time.Hour + time.Second, status: 401},
		{name: "other tenant", token: func(w *world) string { w.other.Admit(w.app); return w.other.Token(w.app, management, 0) }, status: 401},
		{name: "none", token: func(*world) string { return "x.y.z" }, status: 401},
		{name: "a refresh token", token: func(w *world) string { return w.target.RefreshToken(w.app) }, status: 401},
		{name: "revoked", token: func(w *world) string { w.app.Revoke(); return w.token }, status: 401},
	}
	for _, test := range tests {
		inBubble(t, test.name, nil, func(t *testing.T, w *world) {
			if test.edit != nil {
				w.target.Change(test.edit)
			}
			token := test.token(w)
			time.Sleep(test.later)
			a := w.form("https://targetregistry.azurecr.io/oauth2/exchange", "grant_type", "access_token", "service", "targetregistry.azurecr.io", "access_token", token)
			if a.status != test.status || (decode(t, a.body, "refresh_token") != "") != (test.status == 200) {
				t.Errorf("%d %s, want %d", a.status, a.body, test.status)
			}
		})
	}
}

func TestDataPlane(t *testing.T) {
	const base = "https://targetregistry.azurecr.io"
	inBubble(t, "challenge", nil, func(t *testing.T, w *world) {
		a := w.do(http.MethodGet, base+"/v2/x/manifests/y", "")
		want := `Bearer realm="https://targetregistry.azurecr.io/oauth2/token",service="targetregistry.azurecr.io",scope="repository:x:pull"`
		if got := a.header.Get("WWW-Authenticate"); a.status != 401 || got != want {
			t.Errorf("%d %s", a.status, got)
		}
	})
	inBubble(t, "tokens lapse", nil, func(t *testing.T, w *world) {
		image := push(t, w.target.Content, "x", "y", 1)
		token := w.access(w.target, "repository:x:pull")
		ask := func() answer {
			return w.do(http.MethodGet, base+"/v2/x/manifests/y", "", "Authorization", "Bearer "+token)
		}
		if a := ask(); a.status != 200 || a.header.Get("Docker-Content-Digest") != image.Digest {
			t.Errorf("%d", a.status)
		}
		time.Sleep(76 * time.Minute)
		if a := ask(); a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("after 76 minutes: %d %v", a.status, a.header)
		}
		refresh := w.target.RefreshToken(w.app)
		time.Sleep(3*time.Hour + time.Second)
		if a := w.form(base+"/oauth2/token", "grant_type", "refresh_token", "refresh_token", refresh, "scope", "repository:x:pull"); a.status != 401 {
			t.Errorf("refresh token after 3 hours: %d", a.status)
		}
	})
	inBubble(t, "roles", nil, func(t *testing.T, w *world) {
		push(t, w.target.Content, "x", "y", 1)
		put := func() int {
			media, body, _ := w.target.Content.Manifest("x", "y")
			token := w.access(w.target, "repository:x:pull,push")
			return w.do(http.MethodPut, base+"/v2/x/manifests/z", string(body), "Authorization", "Bearer "+token, "Content-Type", media).status
		}
		if got := put(); got != 401 {
			t.Errorf("a reader pushes: %d", got)
		}
		w.app.Grant(w.target.ID(), azure.AcrPush)
		if got := put(); got != 201 {
			t.Errorf("AcrPush pushes: %d", got)
		}
		w.app.Ungrant(w.target.ID())
		w.app.Grant("/subscriptions/"+subscription, azure.Contributor)
		if got := put(); got != 201 {
			t.Errorf("a contributor of the subscription pushes: %d", got)
		}
	})
	inBubble(t, "network rules", nil, func(t *testing.T, w *world) {
		w.target.Change(func(o *azure.RegistryOptions) { o.NoPublicAccess = true })
		if a := w.do(http.MethodGet, base+"/v2/", ""); a.status != 403 || !strings.Contains(a.body, "client with IP '192.0.2.1' is not allowed access") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestLock(t *testing.T) {
	const base = "https://targetregistry.azurecr.io"
	inBubble(t, "", nil, func(t *testing.T, w *world) {
		image := push(t, w.target.Content, "x", "y", 1)
		w.app.Grant(w.target.ID(), azure.Contributor)
		bearer := "Bearer " + w.access(w.target, "repository:x:pull,push,delete,metadata_read,metadata_write")
		call := func(method, path, body, media string) answer {
			return w.do(method, base+path, body, "Authorization", bearer, "Content-Type", media)
		}
		if a := call("PATCH", "/acr/v1/x/_tags/y", `{"writeEnabled":false}`, "application/json"); decode(t, a.body, "tag", "changeableAttributes", "writeEnabled") != "false" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := call("GET", "/acr/v1/x/_tags/y", "", ""); decode(t, a.body, "tag", "changeableAttributes", "writeEnabled") != "false" || decode(t, a.body, "tag", "digest") != image.Digest {
			t.Errorf("%d %s", a.status, a.body)
		}
		media, body, _ := w.target.Content.Manifest("x", "y")
		for _, refused := range []answer{
			call("PUT", "/v2/x/manifests/y", string(body), media),
			call("DELETE", "/v2/x/manifests/y", "", ""),
			call("DELETE", "/v2/x/manifests/"+image.Digest, "", ""),
			call("DELETE", "/acr/v1/x/_tags/y", "", ""),
		} {
			if refused.status != 405 || decode(t, refused.body, "errors", "0", "code") != "REGISTRY_DISALLOWED_OPERATION" {
				t.Errorf("%d %s", refused.status, refused.body)
			}
		}
		if a := call("PUT", "/v2/x/manifests/z", string(body), media); a.status != 201 {
			t.Errorf("another tag: %d %s", a.status, a.body)
		}
		call("PATCH", "/acr/v1/x/_tags/y", `{"writeEnabled":true}`, "application/json")
		if a := call("PUT", "/v2/x/manifests/y", string(body), media); a.status != 201 {
			t.Errorf("unlocked: %d %s", a.status, a.body)
		}
		if a := call("GET", "/acr/v1/x/_tags/none", "", ""); a.status != 404 {
			t.Errorf("no such tag: %d", a.status)
		}
	})
}
