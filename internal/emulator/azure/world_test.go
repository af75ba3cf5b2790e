package azure_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
)

const (
	home         = "11111111-1111-1111-1111-111111111111"
	elsewhere    = "22222222-2222-2222-2222-222222222222"
	subscription = "33333333-3333-3333-3333-333333333333"
	foreign      = "44444444-4444-4444-4444-444444444444"
	client       = "55555555-5555-5555-5555-555555555555"
	secret       = "the-app's-secret~1"
	management   = "https://management.azure.com"
)

// world is a cloud with a target, a source in the same subscription, one in another tenant, and two registries outside.
type world struct {
	tb             testing.TB
	cloud          *azure.Cloud
	tenant, other  *azure.Tenant
	sub            *azure.Subscription
	app            *azure.App
	target, source *azure.Registry
	abroad         *azure.Registry // in the other tenant
	hub, private   *registry.Registry
	client         *http.Client
	token          string
}

// newWorld makes a world whose app may import into the target and read the source; edit may change the options before.
func newWorld(tb testing.TB, edit func(*azure.Options)) *world {
	tb.Helper()
	w := &world{tb: tb}
	w.hub = registry.New(registry.Options{})
	w.private = registry.New(registry.Options{Auth: &registry.Auth{Users: map[string]string{"ann": "private-password"}, Service: "private"}})
	options := azure.Options{Outside: map[string]http.Handler{
		"docker.io": azure.HideUnknown(w.hub), "registry.example.com:5000": w.private,
	}}
	if edit != nil {
		edit(&options)
	}
	w.cloud = azure.New(options)
	tb.Cleanup(w.cloud.Close)
	w.tenant, w.other = w.cloud.AddTenant(home), w.cloud.AddTenant(elsewhere)
	w.sub = w.tenant.AddSubscription(subscription)
	w.app = w.tenant.AddApp(azure.AppOptions{ClientID: client, Secret: secret})
	w.target = w.sub.AddRegistry(azure.RegistryOptions{Name: "targetregistry"})
	w.source = w.sub.AddRegistry(azure.RegistryOptions{Name: "sourceregistry", Hash: "b2c3", Regions: []string{"westus"}, AdminPassword: "admin-password"})
	w.abroad = w.other.AddSubscription(foreign).AddRegistry(azure.RegistryOptions{Name: "abroad1"})
	w.app.Grant(w.target.ID(), azure.DataImporter)
	w.app.Grant(w.source.ID(), azure.DataImporter)
	w.client = &http.Client{Transport: w.cloud.Transport()}
	w.token = w.tenant.Token(w.app, management, 0)
	return w
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request with the token of the world's app, if there is one, and other headers as pairs.
func (w *world) do(method, address, body string, headers ...string) answer {
	w.tb.Helper()
	a, err := w.try(method, address, body, headers...)
	if err != nil {
		w.tb.Fatal(err)
	}
	return a
}

func (w *world) try(method, address, body string, headers ...string) (answer, error) {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, address, strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	if strings.HasPrefix(address, management) && w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	response, err := w.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(data)}, nil
}

// form posts one.
func (w *world) form(address string, values ...string) answer {
	w.tb.Helper()
	form := url.Values{}
	for i := 0; i < len(values); i += 2 {
		form.Set(values[i], values[i+1])
	}
	return w.do(http.MethodPost, address, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// decode reads a JSON body into a field by a path of keys.
func decode(tb testing.TB, body string, path ...string) string {
	tb.Helper()
	var document any
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		tb.Fatalf("%v in %q", err, body)
	}
	for _, name := range path {
		switch at := document.(type) {
		case map[string]any:
			document = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(at) {
				return ""
			}
			document = at[i]
		}
	}
	switch found := document.(type) {
	case string:
		return found
	case bool:
		return strconv.FormatBool(found)
	case float64:
		return strconv.FormatFloat(found, 'f', -1, 64)
	}
	return ""
}

// importURL is that of the target's importImage.
func (w *world) importURL() string {
	return management + w.target.ID() + "/importImage?api-version=2025-11-01"
}

// post starts an import.
func (w *world) post(body string, headers ...string) answer {
	w.tb.Helper()
	return w.do(http.MethodPost, w.importURL(), body, headers...)
}

// settle polls as a good client does: the newest Location, after Retry-After; it ends with the last answer.
func (w *world) settle(a answer) answer {
	w.tb.Helper()
	for n := 0; a.status == http.StatusAccepted && n < 100; n++ {
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil {
			w.tb.Fatalf("Retry-After: %v", err)
		}
		time.Sleep(time.Duration(seconds) * time.Second)
		a = w.do(http.MethodGet, a.header.Get("Location"), "")
	}
	return a
}

// run imports and waits for the end.
func (w *world) run(body string) answer {
	w.tb.Helper()
	return w.settle(w.post(body))
}

// fromSource is an import by resource ID.
func (w *world) fromSource(image, mode string, targets ...string) string {
	return w.body(map[string]any{"resourceId": w.source.ID(), "sourceImage": image}, mode, targets...)
}

// fromHost is an import by host; user and password may be "".
func (w *world) fromHost(host, user, password, image string, targets ...string) string {
	source := map[string]any{"registryUri": host, "sourceImage": image}
	if password != "" {
		credentials := map[string]string{"password": password}
		if user != "" {
			credentials["username"] = user
		}
		source["credentials"] = credentials
	}
	return w.body(source, "NoForce", targets...)
}

func (w *world) body(source map[string]any, mode string, targets ...string) string {
	w.tb.Helper()
	data, err := json.Marshal(map[string]any{"source": source, "targetTags": targets, "mode": mode})
	if err != nil {
		w.tb.Fatal(err)
	}
	return string(data)
}

// push puts an image into a registry.
func push(tb testing.TB, to *registry.Registry, repository, tag string, seed int64) registry.Image {
	tb.Helper()
	image := registry.MultiArch(seed, registry.ImageOptions{Attestations: true})
	if err := image.Push(to, repository, tag); err != nil {
		tb.Fatal(err)
	}
	return image
}

// inBubble runs a test with a clock that does not wait.
func inBubble(t *testing.T, name string, edit func(*azure.Options), test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, edit)) })
	})
}

// wantDone fails unless an import has succeeded.
func wantDone(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusOK || decode(t, a.body, "status") != "Succeeded" {
		t.Fatalf("import ended with %d %s", a.status, a.body)
	}
}

// wantImage fails unless all of the image is there under the tag.
func wantImage(t *testing.T, in *registry.Registry, repository, tag, digest string) {
	t.Helper()
	if got := in.Digest(repository, tag); got != digest {
		t.Errorf("%s:%s is %q, want %s", repository, tag, got, digest)
	}
	if err := in.Whole(repository, digest); err != nil {
		t.Error(err)
	}
}
