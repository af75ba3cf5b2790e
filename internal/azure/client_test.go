package azure

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
)

const (
	testTenant       = "11111111-1111-1111-1111-111111111111"
	testSubscription = "33333333-3333-3333-3333-333333333333"
	testClient       = "55555555-5555-5555-5555-555555555555"
	testSecret       = "the-app's-secret~1"
)

// stand is an Azure with a registry, and a client for it.
type stand struct {
	cloud    *emulator.Cloud
	tenant   *emulator.Tenant
	app      *emulator.App
	registry *emulator.Registry
	client   *Client
}

func newStand(t *testing.T, options emulator.Options) *stand {
	t.Helper()
	s := &stand{cloud: emulator.New(options)}
	t.Cleanup(s.cloud.Close)
	s.tenant = s.cloud.AddTenant(testTenant)
	sub := s.tenant.AddSubscription(testSubscription)
	s.app = s.tenant.AddApp(emulator.AppOptions{ClientID: testClient, Secret: testSecret})
	for _, name := range []string{"first", "second", "wanted"} {
		s.registry = sub.AddRegistry(emulator.RegistryOptions{Name: name + "registry", Hash: "a1b2"})
		s.app.Grant(s.registry.ID(), emulator.DataImporter)
	}
	public, _ := CloudNamed("public")
	var err error
	s.client, err = New(Options{
		Cloud: public, Transport: s.cloud.Transport(), UserAgent: "dray/test",
		Credential: Credential{Kind: KindClientSecret, TenantID: testTenant, ClientID: testClient, ClientSecret: testSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBodies: what Azure's command line was recorded to send is what we send, to the byte.
func TestBodies(t *testing.T) {
	raw, err := os.ReadFile("../emulator/azure/testdata/az.json")
	if err != nil {
		t.Fatal(err)
	}
	var bodies map[string]string
	if err := json.Unmarshal(raw, &bodies); err != nil || len(bodies) < 10 {
		t.Fatal(err, len(bodies))
	}
	for name, body := range bodies {
		var doc struct {
			Source struct {
				ResourceID  string                              `json:"resourceId"`
				RegistryURI string                              `json:"registryUri"`
				Credentials struct{ Username, Password string } `json:"credentials"`
				SourceImage string                              `json:"sourceImage"`
			} `json:"source"`
			TargetTags []string `json:"targetTags"`
			Untagged   []string `json:"untaggedTargetRepositories"`
			Mode       string   `json:"mode"`
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		i := Import{
			Source:     ImportSource{doc.Source.ResourceID, doc.Source.RegistryURI, doc.Source.Credentials.Username, doc.Source.Credentials.Password, doc.Source.SourceImage},
			TargetTags: doc.TargetTags, UntaggedRepositories: doc.Untagged, Force: doc.Mode == "Force",
		}
		if got, err := i.wire(); err != nil || string(got) != body {
			t.Errorf("%s:\n got %s\nwant %s (%v)", name, got, body, err)
		}
	}
	odd := Import{Source: ImportSource{RegistryURI: "a.b", Password: `p"w\<&>:, é`, Image: "x"}}
	got, err := odd.wire()
	if err != nil || !strings.Contains(string(got), `"password": "p\"w\\<&>:, é"}`) {
		t.Errorf("%s %v", got, err)
	}
}

// TestOperation starts an import, writes it down, and asks for it by another client.
func TestOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, emulator.Options{})
		image := registry.MultiArch(1, registry.ImageOptions{})
		if err := image.Push(s.registry.Content, "a", "1"); err != nil {
			t.Fatal(err)
		}
		id, err := s.client.Find(t.Context(), "", s.registry.LoginServer())
		if err != nil {
			t.Fatal(err)
		}
		name := NewOperationID()
		op, err := s.client.Start(t.Context(), id, name, Import{Source: ImportSource{ResourceID: id.String(), Image: "a:1"}, TargetTags: []string{"b:1"}})
		if err != nil || op.Done || op.ID != name || op.RetryAfter != 10*time.Second || op.RemainingWrites < 0 {
			t.Fatalf("%+v %v", op, err)
		}
		if got := s.cloud.Account().Imports[0]; got.RequestID != name || got.ID != name {
			t.Errorf("Azure knows it as %q", got.ID)
		}
		raw, err := json.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		var again Operation
		if err := json.Unmarshal(raw, &again); err != nil {
			t.Fatal(err)
		}
		for polls := 0; !again.Done; polls++ {
			was := again.Location
			if again, err = s.client.Poll(t.Context(), again); err != nil || polls > 5 {
				t.Fatal(polls, err)
			}
			if !again.Done && again.Location == was {
				t.Error("the newest Location is not followed")
			}
			time.Sleep(6 * time.Second)
		}
		if got := s.registry.Content.Digest("b", "1"); got != image.Digest {
			t.Errorf("b:1 holds %q", got)
		}
	})
}

// TestForeignHosts are shown no token: by a Location, by the link to a next page, and as registries.
func TestForeignHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, emulator.Options{PageSize: 1})
		for _, location := range []string{"https://evil.example.com/x", "http://management.azure.com/x", "https://management.azure.com.evil.example.com/x", "https://a@management.azure.com/x", "//evil.example.com", "https://management.azure.com:8443/x"} {
			_, err := s.client.Poll(t.Context(), Operation{Location: location})
			if _, ok := errors.AsType[*ForeignLocationError](err); !ok {
				t.Errorf("%s: %v", location, err)
			}
		}
		for _, host := range []string{"evil.example.com", "azurecr.io", "x.azurecr.io.evil.example.com", "x.azurecr.cn", "x.azurecr.io/../..", ""} {
			if token, _, err := s.client.RegistryToken(t.Context(), host); err == nil || token != "" {
				t.Errorf("%s: %v", host, err)
			}
		}
		s.cloud.Management.Inject(registry.Fault{Times: 1, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/registries") }, Status: http.StatusOK, Body: `{"value":[],"nextLink":"https://evil.example.com/next"}`})
		if _, err := s.client.Find(t.Context(), testSubscription, "nobody.azurecr.io"); err == nil || !strings.Contains(err.Error(), `"evil.example.com"`) {
			t.Error(err)
		}
		if _, err := s.client.Find(t.Context(), "", "nobody.azurecr.io"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "registries/read") {
			t.Error(err)
		}
		if leaks := s.cloud.Account().Leaks; len(leaks) > 0 {
			t.Errorf("%+v", leaks)
		}
	})
}

// TestRegistryToken is replaced before it lapses, for ten hours, and is asked for once by many at the same time.
func TestRegistryToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, emulator.Options{})
		host := s.registry.LoginServer()
		seen := map[string]time.Time{}
		for end := time.Now().Add(10 * time.Hour); time.Now().Before(end); time.Sleep(7 * time.Minute) {
			for range 20 {
				go func() { _, _, _ = s.client.RegistryToken(t.Context(), host) }() // the one below counts
			}
			token, expires, err := s.client.RegistryToken(t.Context(), host)
			if err != nil || !expires.After(time.Now()) {
				t.Fatal(expires, err)
			}
			if first, ok := seen[token]; ok && time.Since(first) > 3*time.Hour {
				t.Fatalf("a token is given out for %s", time.Since(first))
			} else if !ok {
				seen[token] = time.Now()
			}
		}
		if len(seen) < 4 || len(seen) > 6 {
			t.Errorf("%d tokens in ten hours", len(seen))
		}
		if n := s.registry.Count(func(r registry.Request) bool { return strings.HasSuffix(r.Path, "/exchange") }); n != len(seen) {
			t.Errorf("%d exchanges for %d tokens", n, len(seen))
		}
	})
}

// TestRefusals come back with what they say, and with the pause that they ask for, also where it is long.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, emulator.Options{})
		id, _ := ParseResourceID(s.registry.ID())
		i := Import{Source: ImportSource{ResourceID: id.String(), Image: "a:1"}, TargetTags: []string{"b:1"}}
		s.cloud.Inject(emulator.Behavior{Times: 1, Refuse: emulator.Throttled(2 * time.Minute)})
		_, err := s.client.Start(t.Context(), id, NewOperationID(), i)
		if e, ok := errors.AsType[*ResponseError](err); !ok || e.Status != http.StatusTooManyRequests || e.RetryAfter != 2*time.Minute || e.Code != "TooManyRequests" {
			t.Errorf("%#v", err)
		}
		s.cloud.Inject(emulator.Behavior{Times: 1, Lose: true})
		_, err = s.client.Start(t.Context(), id, NewOperationID(), i)
		if lost, ok := errors.AsType[*LostError](err); !ok || !lost.Unknown() {
			t.Errorf("%#v", err)
		}
		other := id
		other.Name = "nothere"
		_, err = s.client.Start(t.Context(), other, NewOperationID(), i)
		if e, ok := errors.AsType[*ResponseError](err); !ok || e.Status != http.StatusNotFound && e.Status != http.StatusForbidden || e.CorrelationID == "" {
			t.Errorf("%#v", err)
		}
		if n := len(s.cloud.Account().Imports); n != 1 {
			t.Errorf("%d imports were begun, want the one whose answer was lost", n)
		}
		for _, bad := range []string{"", "/subscriptions/x", s.registry.ID() + "/y", "/subscriptions/" + testSubscription + "/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/a-b"} {
			if _, err := ParseResourceID(bad); err == nil {
				t.Errorf("%q is taken for an ID", bad)
			}
		}
		r, err := s.client.Registry(t.Context(), id)
		if err != nil || r.LoginServer != s.registry.LoginServer() || r.SKU != "Premium" || !r.Public {
			t.Errorf("%+v %v", r, err)
		}
	})
}
