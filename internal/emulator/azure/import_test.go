package azure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/google/go-cmp/cmp"
)

func TestSources(t *testing.T) {
	tests := []struct {
		name string
		// prepare pushes the image and returns the body.
		prepare func(t *testing.T, w *world) (registry.Image, string)
	}{
		{"resource ID by tag", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.source.Content, "a/b", "v1", 1), w.fromSource("a/b:v1", "NoForce", "x:y")
		}},
		{"resource ID by digest", func(t *testing.T, w *world) (registry.Image, string) {
			i := push(t, w.source.Content, "a/b", "v1", 1)
			return i, w.fromSource("a/b@"+i.Digest, "NoForce", "x:y")
		}},
		{"resource ID in other letters", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.source.Content, "a/b", "v1", 1), strings.Replace(w.fromSource("a/b:v1", "NoForce", "x:y"), "resourceGroups", "RESOURCEGROUPS", 1)
		}},
		{"resource ID without public access", func(t *testing.T, w *world) (registry.Image, string) {
			w.source.Change(func(o *azure.RegistryOptions) { o.NoPublicAccess = true })
			return push(t, w.source.Content, "a/b", "v1", 1), w.fromSource("a/b:v1", "NoForce", "x:y")
		}},
		{"the target itself", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.target.Content, "x", "old", 1), w.body(map[string]any{"resourceId": w.target.ID(), "sourceImage": "x:old"}, "NoForce", "x:y")
		}},
		{"Docker Hub", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.hub, "library/hello-world", "latest", 1), w.fromHost("docker.io", "", "", "library/hello-world", "x:y")
		}},
		{"Docker Hub by another name", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.hub, "library/hello-world", "latest", 1), w.fromHost("registry.hub.docker.com", "", "", "library/hello-world:latest", "x:y")
		}},
		{"private with a port", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.private, "p", "1", 1), w.fromHost("registry.example.com:5000", "ann", "private-password", "p:1", "x:y")
		}},
		{"login server with the admin user", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.source.Content, "a", "1", 1), w.fromHost(w.source.LoginServer(), "sourceregistry", "admin-password", "a:1", "x:y")
		}},
		{"regional endpoint with a repository token", func(t *testing.T, w *world) (registry.Image, string) {
			w.source.AddToken("puller", "token-password", "a", "pull")
			return push(t, w.source.Content, "a", "1", 1), w.fromHost("sourceregistry-b2c3.westus.geo.azurecr.io", "puller", "token-password", "a:1", "x:y")
		}},
		{"other tenant with a service principal", func(t *testing.T, w *world) (registry.Image, string) {
			app := w.other.AddApp(azure.AppOptions{ClientID: "abroad-app", Secret: "abroad-secret"})
			app.Grant(w.abroad.ID(), azure.AcrPull)
			return push(t, w.abroad.Content, "a", "1", 1), w.fromHost("abroad1.azurecr.io", "abroad-app", "abroad-secret", "a:1", "x:y")
		}},
		{"other tenant with a token of Entra alone", func(t *testing.T, w *world) (registry.Image, string) {
			app := w.other.AddApp(azure.AppOptions{ClientID: "abroad-app"})
			app.Grant(w.abroad.ID(), azure.AcrPull)
			return push(t, w.abroad.Content, "a", "1", 1), w.fromHost("abroad1.azurecr.io", "", w.other.Token(app, management, 0), "a:1", "x:y")
		}},
		{"login server, refresh token", func(t *testing.T, w *world) (registry.Image, string) {
			return push(t, w.source.Content, "a", "1", 1), w.fromHost(w.source.LoginServer(), "00000000-0000-0000-0000-000000000000", w.source.RefreshToken(w.app), "a:1", "x:y")
		}},
		{"anonymous", func(t *testing.T, w *world) (registry.Image, string) {
			w.source.Change(func(o *azure.RegistryOptions) { o.AnonymousPull = true })
			return push(t, w.source.Content, "a", "1", 1), w.fromHost(w.source.LoginServer(), "", "", "a:1", "x:y")
		}},
	}
	for _, test := range tests {
		inBubble(t, test.name, nil, func(t *testing.T, w *world) {
			image, body := test.prepare(t, w)
			wantDone(t, w.run(body))
			wantImage(t, w.target.Content, "x", "y", image.Digest)
			account := w.cloud.Account()
			if got := account.Imports[0]; got.Digest != image.Digest || got.Body != body || got.State != azure.StateSucceeded {
				t.Errorf("account has %+v", got)
			}
			if len(account.Leaks) > 0 {
				t.Errorf("leaks: %+v", account.Leaks)
			}
			if requests := len(w.source.Requests()) + len(w.target.Requests()); requests > 0 {
				t.Errorf("%d requests at data planes are taken for a client's", requests)
			}
		})
	}
}

func TestOnlyWhatIsNamedIsCopied(t *testing.T) {
	inBubble(t, "", nil, func(t *testing.T, w *world) {
		image := push(t, w.source.Content, "a", "1", 1)
		push(t, w.source.Content, "a", "2", 2)
		signature, err := w.source.Content.PutReferrer("a", image.Digest, "application/signature", []byte("signed"))
		if err != nil {
			t.Fatal(err)
		}
		wantDone(t, w.run(w.fromSource("a:1", "NoForce", "a:1", "a:one", "b:1")))
		for _, name := range []string{"a:1", "a:one", "b:1"} {
			repository, tag, _ := strings.Cut(name, ":")
			wantImage(t, w.target.Content, repository, tag, image.Digest)
		}
		if got := w.target.Content.Digest("a", signature); got != "" {
			t.Errorf("the referrer %s was copied", got)
		}
		got := w.cloud.Account().Imports[0]
		if got.Manifests != len(image.Manifests) || got.Blobs != len(image.Blobs) || got.Bytes != image.Size() {
			t.Errorf("copied %d manifests, %d blobs, %d bytes; want %d, %d, %d", got.Manifests, got.Blobs, got.Bytes,
				len(image.Manifests), len(image.Blobs), image.Size())
		}
		wantDone(t, w.run(`{"source":{"resourceId":"`+w.source.ID()+`","sourceImage":"a@`+signature+`"},"untaggedTargetRepositories":["a"]}`))
		if got := w.target.Content.Digest("a", signature); got != signature {
			t.Errorf("the referrer is %q by its digest", got)
		}
		if diff := cmp.Diff([]string{"1", "one"}, w.target.Content.Tags("a")); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
	})
}

func TestTargetTags(t *testing.T) {
	inBubble(t, "", nil, func(t *testing.T, w *world) {
		image := push(t, w.source.Content, "a", "1", 1)
		tests := []struct{ body, repository, tag string }{
			{w.fromSource("a:1", "NoForce", "n1"), "n1", "1"},
			{w.fromSource("a@"+image.Digest, "NoForce", "n2"), "n2", "latest"},
			{w.fromSource("a:1", "NoForce"), "a", "1"},
		}
		for _, test := range tests {
			wantDone(t, w.run(test.body))
			wantImage(t, w.target.Content, test.repository, test.tag, image.Digest)
		}
	})
}

func TestModes(t *testing.T) {
	const conflict = "Tag x:y already exists in target registry."
	tests := []struct {
		name, mode string
		lock       bool
		conflict   bool
	}{
		{"NoForce", "NoForce", false, true},
		{"no mode", "", false, true},
		{"Force", "Force", false, false},
		{"NoForce, locked", "NoForce", true, true},
		{"Force moves a locked tag", "Force", true, false},
	}
	for _, test := range tests {
		inBubble(t, test.name, nil, func(t *testing.T, w *world) {
			old := push(t, w.target.Content, "x", "y", 1)
			image := push(t, w.source.Content, "a", "1", 2)
			w.target.Lock("x", "y", test.lock)
			a := w.run(w.fromSource("a:1", test.mode, "x:y"))
			if test.conflict {
				if message := decode(t, a.body, "error", "message"); a.status != http.StatusConflict || !strings.HasSuffix(message, conflict) {
					t.Errorf("ended with %d %s", a.status, a.body)
				}
				wantImage(t, w.target.Content, "x", "y", old.Digest)
				if w.target.Content.Digest("x", image.Digest) != "" {
					t.Error("content was copied before the conflict")
				}
				return
			}
			wantDone(t, a)
			wantImage(t, w.target.Content, "x", "y", image.Digest)
			if w.target.Locked("x", "y") != test.lock {
				t.Error("the lock has changed")
			}
		})
	}
}

func TestRace(t *testing.T) {
	for _, byDigest := range []bool{false, true} {
		inBubble(t, map[bool]string{false: "by tag", true: "by digest"}[byDigest], nil, func(t *testing.T, w *world) {
			first := push(t, w.source.Content, "a", "1", 1)
			image := "a:1"
			if byDigest {
				image = "a@" + first.Digest
			}
			a := w.post(w.fromSource(image, "NoForce", "x:y"))
			time.Sleep(time.Second)
			second := push(t, w.source.Content, "a", "1", 2)
			wantDone(t, w.settle(a))
			if byDigest {
				wantImage(t, w.target.Content, "x", "y", first.Digest)
				return
			}
			if got := w.target.Content.TaggedDigest("x", "y"); got != second.Digest {
				t.Errorf("the tag is %s, want the one that came later", got)
			}
			if w.target.Content.Digest("x", "y") != "" || w.target.Content.Digest("x", first.Digest) == "" {
				t.Error("the tag does not dangle beside what was copied")
			}
			w.token = ""
			token := w.access(w.target, "repository:x:pull,metadata_read")
			if a := w.do(http.MethodGet, "https://targetregistry.azurecr.io/v2/x/manifests/y", "", "Authorization", "Bearer "+token); a.status != http.StatusNotFound {
				t.Errorf("the manifest: %d", a.status)
			}
			if a := w.do(http.MethodGet, "https://targetregistry.azurecr.io/acr/v1/x/_tags/y", "", "Authorization", "Bearer "+token); decode(t, a.body, "tag", "digest") != second.Digest {
				t.Errorf("the tag's attributes: %d %s", a.status, a.body)
			}
		})
	}
}

func TestSovereignCloud(t *testing.T) {
	for _, domains := range []azure.Domains{azure.ChinaDomains(), azure.GovernmentDomains()} {
		inBubble(t, domains.Registry, func(o *azure.Options) { o.Domains = domains }, func(t *testing.T, w *world) {
			image := push(t, w.source.Content, "a", "1", 1)
			if got, want := w.target.LoginServer(), "targetregistry."+domains.Registry; got != want {
				t.Errorf("login server %s, want %s", got, want)
			}
			endpoint := "https://" + domains.Management
			token := w.tenant.Token(w.app, endpoint, 0)
			a := w.do(http.MethodPost, endpoint+w.target.ID()+"/importImage?api-version=2025-11-01", w.fromSource("a:1", "NoForce", "x:y"), "Authorization", "Bearer "+token)
			if a.status != http.StatusAccepted || !strings.HasPrefix(a.header.Get("Location"), endpoint+"/") {
				t.Fatalf("%d, Location %.80s", a.status, a.header.Get("Location"))
			}
			time.Sleep(11 * time.Second) // at ten it ends
			wantDone(t, w.do(http.MethodGet, a.header.Get("Location"), "", "Authorization", "Bearer "+token))
			wantImage(t, w.target.Content, "x", "y", image.Digest)
		})
	}
}
