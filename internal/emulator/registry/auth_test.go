package registry_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func secured(edit func(*registry.Auth)) *registry.Registry {
	auth := &registry.Auth{Users: map[string]string{"ann": "secret"}}
	if edit != nil {
		edit(auth)
	}
	return registry.New(registry.Options{Auth: auth})
}

// token asks the token endpoint; user "" is anonymous.
func (c caller) token(user, password string, scopes ...string) (token string, status int) {
	c.tb.Helper()
	query := url.Values{"service": {"registry"}, "scope": scopes}
	var headers []string
	if user != "" {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, password)
		headers = []string{"Authorization", req.Header.Get("Authorization")}
	}
	a := c.do(http.MethodGet, "/token?"+query.Encode(), "", headers...)
	var document struct{ Token string }
	if a.Status == http.StatusOK {
		if err := json.Unmarshal([]byte(a.Body), &document); err != nil {
			c.tb.Fatal(err)
		}
	}
	return document.Token, a.Status
}

func TestTokenScopes(t *testing.T) {
	digest := registry.Sum([]byte("layer"))
	manifest, push := "/v2/a/manifests/v1", "/v2/a/blobs/uploads/"
	mount := push + "?from=b&mount=" + digest
	anonymous := func(a *registry.Auth) { a.AnonymousPull = true }
	reader := func(a *registry.Auth) {
		a.Permit = func(user, repository, action string) bool {
			return user == "ann" && repository == "a" && action == "pull"
		}
	}
	tests := []struct {
		name         string
		edit         func(*registry.Auth)
		user         string
		scopes       []string
		method, path string
		want         int
		scope        string // in the challenge
	}{
		{name: "pull", user: "ann", scopes: []string{"repository:a:pull"}, method: "GET", path: manifest, want: 200},
		{name: "pull elsewhere", user: "ann", scopes: []string{"repository:b:pull"}, method: "GET", path: manifest, want: 401, scope: "repository:a:pull"},
		{name: "push with pull", user: "ann", scopes: []string{"repository:a:pull"}, method: "POST", path: push, want: 401, scope: "repository:a:pull,push"},
		{name: "push", user: "ann", scopes: []string{"repository:a:pull,push"}, method: "POST", path: push, want: 202},
		{name: "delete with push", user: "ann", scopes: []string{"repository:a:pull,push"}, method: "DELETE", path: manifest, want: 401, scope: "repository:a:delete"},
		{name: "mount without pull", user: "ann", scopes: []string{"repository:a:pull,push"}, method: "POST", path: mount, want: 401, scope: "repository:a:pull,push repository:b:pull"},
		{name: "mount", user: "ann", scopes: []string{"repository:a:pull,push", "repository:b:pull"}, method: "POST", path: mount, want: 201},
		{name: "mount, scopes in one", user: "ann", scopes: []string{"repository:a:pull,push repository:b:pull"}, method: "POST", path: mount, want: 201},
		{name: "catalog", user: "ann", scopes: []string{"registry:catalog:*"}, method: "GET", path: "/v2/_catalog", want: 200},
		{name: "ping needs no scope", user: "ann", method: "GET", path: "/v2/", want: 200},
		{name: "anonymous pull", edit: anonymous, scopes: []string{"repository:a:pull"}, method: "GET", path: manifest, want: 200},
		{name: "anonymous push", edit: anonymous, scopes: []string{"repository:a:pull,push"}, method: "POST", path: push, want: 401, scope: "repository:a:pull,push"},
		{name: "reader pulls", edit: reader, user: "ann", scopes: []string{"repository:a:pull,push"}, method: "GET", path: manifest, want: 200},
		{name: "reader pushes", edit: reader, user: "ann", scopes: []string{"repository:a:pull,push"}, method: "POST", path: push, want: 401, scope: "repository:a:pull,push"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := secured(test.edit)
			mustPush(t, r, "a", "v1", registry.MultiArch(1, registry.ImageOptions{}))
			r.PutBlob("b", []byte("layer"))
			c := inMemory(t, r)
			token, status := c.token(test.user, "secret", test.scopes...)
			if status != http.StatusOK {
				t.Fatalf("token: %d", status)
			}
			a := c.do(test.method, test.path, "", "Authorization", "Bearer "+token)
			if a.Status != test.want {
				t.Errorf("got %d, want %d: %s", a.Status, test.want, a.Body)
			}
			if want := `scope="` + test.scope + `",error="insufficient_scope"`; test.want == 401 && !strings.Contains(a.Header.Get("WWW-Authenticate"), want) {
				t.Errorf("challenge %q, want %q in it", a.Header.Get("WWW-Authenticate"), want)
			}
			tokens := r.Count(func(r registry.Request) bool { return r.Kind == registry.KindToken && r.Status == 200 })
			if tokens != 1 {
				t.Errorf("%d token requests in the log, want 1", tokens)
			}
		})
	}
}

func TestTokenRefused(t *testing.T) {
	c := inMemory(t, secured(nil))
	if _, status := c.token("ann", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("wrong password: %d", status)
	}
	if _, status := c.token("", ""); status != http.StatusUnauthorized {
		t.Errorf("anonymous: %d", status)
	}
	a := c.do(http.MethodGet, "/v2/", "")
	if want := `Bearer realm="http://registry.test/token",service="registry"`; a.Status != 401 || a.Header.Get("WWW-Authenticate") != want {
		t.Errorf("challenge %d %q, want %q", a.Status, a.Header.Get("WWW-Authenticate"), want)
	}
	a = c.do(http.MethodGet, "/v2/", "", "Authorization", "Bearer made-up")
	if !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("made-up token: %q", a.Header.Get("WWW-Authenticate"))
	}
	form := url.Values{"grant_type": {"password"}, "username": {"ann"}, "password": {"secret"}, "scope": {"repository:a:pull"}}
	a = c.do(http.MethodPost, "/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if a.Status != http.StatusOK {
		t.Errorf("POST: %d %s", a.Status, a.Body)
	}
}

func TestTokenElsewhere(t *testing.T) {
	r := secured(func(a *registry.Auth) { a.Realm = "https://auth.test/token" })
	client := &http.Client{Transport: registry.Network{"registry.test": r, "auth.test": r}}
	a := caller{tb: t, client: client, url: "https://registry.test"}.do(http.MethodGet, "/v2/", "")
	if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), `Bearer realm="https://auth.test/token"`) {
		t.Errorf("challenge %q", a.Header.Get("WWW-Authenticate"))
	}
	token, _ := caller{tb: t, client: client, url: "https://auth.test"}.token("ann", "secret")
	a = caller{tb: t, client: client, url: "https://registry.test"}.do(http.MethodGet, "/v2/", "", "Authorization", "Bearer "+token)
	if a.Status != http.StatusOK {
		t.Errorf("ping: %d", a.Status)
	}
	if _, err := client.Get("https://other.test/"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("unknown host: %v", err)
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, secured(func(a *registry.Auth) { a.TTL = time.Minute }))
		token, _ := c.token("ann", "secret")
		ping := func() int { return c.do(http.MethodGet, "/v2/", "", "Authorization", "Bearer "+token).Status }
		time.Sleep(59 * time.Second)
		if got := ping(); got != http.StatusOK {
			t.Errorf("after 59 s: %d", got)
		}
		time.Sleep(time.Second)
		if got := ping(); got != http.StatusUnauthorized {
			t.Errorf("after a minute: %d", got)
		}
	})
}

func TestBasic(t *testing.T) {
	r := secured(func(a *registry.Auth) { a.Basic, a.AnonymousPull = true, true })
	mustPush(t, r, "a", "v1", registry.MultiArch(1, registry.ImageOptions{}))
	c := inMemory(t, r)
	if a := c.do(http.MethodGet, "/v2/a/manifests/v1", ""); a.Status != http.StatusOK {
		t.Errorf("anonymous pull: %d", a.Status)
	}
	a := c.do(http.MethodPost, "/v2/a/blobs/uploads/", "")
	if a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != `Basic realm="registry"` {
		t.Errorf("anonymous push: %+v", a)
	}
	for password, want := range map[string]int{"secret": http.StatusAccepted, "wrong": http.StatusUnauthorized} {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth("ann", password)
		if a := c.do(http.MethodPost, "/v2/a/blobs/uploads/", "", "Authorization", req.Header.Get("Authorization")); a.Status != want {
			t.Errorf("push with %q: %d, want %d", password, a.Status, want)
		}
	}
}

// An independent client finds its way through the token flow.
func TestTokenIndependentClient(t *testing.T) {
	r := secured(nil)
	s := registrytest.Start(t, r)
	image := mustPush(t, r, "team/app", "v1", registry.MultiArch(1, registry.ImageOptions{}))
	tag, err := name.ParseReference(s.Host + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	head, err := remote.Head(tag, remote.WithAuth(&authn.Basic{Username: "ann", Password: "secret"}))
	if err != nil {
		t.Fatal(err)
	}
	if head.Digest.String() != image.Digest {
		t.Errorf("got %s, want %s", head.Digest, image.Digest)
	}
	if _, err := remote.Head(tag); err == nil {
		t.Error("an anonymous client was let in")
	}
}
