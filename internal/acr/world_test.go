package acr_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/acr"
	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/azure"
	registries "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/tagfilter"
	"github.com/draysync/dray/internal/transfer"
)

// TestMain keeps names of hosts from being looked up, as those are that are asked through a proxy. No request does here.
func TestMain(m *testing.M) {
	_ = os.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // it cannot fail
	os.Exit(m.Run())
}

const (
	tenantID       = "11111111-1111-1111-1111-111111111111"
	otherTenant    = "22222222-2222-2222-2222-222222222222"
	subscriptionID = "33333333-3333-3333-3333-333333333333"
	otherSub       = "44444444-4444-4444-4444-444444444444"
	thirdSub       = "66666666-6666-6666-6666-666666666666"
	clientID       = "55555555-5555-5555-5555-555555555555"
	secret         = "the-app's-secret~1"
	targetHost     = "targetregistry.azurecr.io"
	sourceHost     = "sourceregistry.azurecr.io"
)

// world is an Azure with a target, a source beside it, one in another subscription, one in another tenant, registries outside of it, and
// all of dray between them but its commands.
type world struct {
	cloud                 *emulator.Cloud
	app                   *emulator.App
	tenant, foreign       *emulator.Tenant
	target, source        *emulator.Registry
	beside, abroad        *emulator.Registry
	hub, private, windows *registries.Registry
	signIns               map[string]auth.Source
	origins               map[string]acr.Origin
	parallel, rate        int
	timeout               time.Duration
	credential            azure.Credential
	metered               bool
	access                acr.Access
	unseen                string // a host that cannot be looked up
	denied                string // a repository of which nobody may read
	// before is told of each request; nil for nobody.
	before func(*http.Request)
	memory memory
	dir    string
	log    *syncBuffer
	store  *store.Store
	azure  atomic.Pointer[azure.Client] // what a killed process has begun may still read the one before
	client *registry.Client
	engine *acr.Engine
	mirror *mirror.Mirror
}

// syncBuffer is a log that several write.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

func newWorld(t *testing.T, edit func(*emulator.Options)) *world {
	t.Helper()
	w := &world{
		hub: registries.New(registries.Options{}), windows: registries.New(registries.Options{}), log: &syncBuffer{}, dir: t.TempDir(),
		private: registries.New(registries.Options{Auth: &registries.Auth{Users: map[string]string{"ann": "private-password"}, Service: "private"}}),
		signIns: map[string]auth.Source{},
		origins: map[string]acr.Origin{}, parallel: 4, rate: 2, timeout: 30 * time.Minute,
		credential: azure.Credential{Kind: azure.KindClientSecret, TenantID: tenantID, ClientID: clientID, ClientSecret: secret},
	}
	options := emulator.Options{Outside: map[string]http.Handler{
		"docker.io": emulator.HideUnknown(w.hub), "registry.example.com:5000": w.private, "mcr.microsoft.com": w.windows,
	}}
	if edit != nil {
		edit(&options)
	}
	w.cloud = emulator.New(options)
	t.Cleanup(w.cloud.Close)
	w.tenant, w.foreign = w.cloud.AddTenant(tenantID), w.cloud.AddTenant(otherTenant)
	sub := w.tenant.AddSubscription(subscriptionID)
	w.app = w.tenant.AddApp(emulator.AppOptions{ClientID: clientID, Secret: secret})
	w.target = sub.AddRegistry(emulator.RegistryOptions{Name: "targetregistry"})
	w.source = sub.AddRegistry(emulator.RegistryOptions{Name: "sourceregistry"})
	w.beside = w.tenant.AddSubscription(thirdSub).AddRegistry(emulator.RegistryOptions{Name: "besideregistry"})
	w.abroad = w.foreign.AddSubscription(otherSub).AddRegistry(emulator.RegistryOptions{Name: "abroadregistry"})
	for _, r := range []*emulator.Registry{w.target, w.source, w.beside} {
		w.app.Grant(r.ID(), emulator.DataImporter)
	}
	w.signIns[targetHost], w.signIns[sourceHost] = w.entra, w.entra
	w.start(t)
	return w
}

// transport leads to all hosts.
func (w *world) transport() http.RoundTripper {
	next := w.cloud.Transport()
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if w.before != nil {
			w.before(r)
		}
		if w.denied != "" && strings.HasPrefix(r.URL.Path, "/v2/"+w.denied+"/") {
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// entra is the credential of a registry that is signed in to through Entra.
func (w *world) entra(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
	token, expires, err := w.azure.Load().RegistryToken(ctx, repo.Registry)
	return auth.Credential{Username: "Entra ID", IdentityToken: token}, expires, err
}

// start makes everything that a process has, anew.
func (w *world) start(t *testing.T) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.store, err = store.Open(t.Context(), w.dir, store.Options{Log: log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	w.memory.Store = w.store
	public, _ := azure.CloudNamed("public")
	client, err := azure.New(azure.Options{Cloud: public, Credential: w.credential, Transport: w.transport(), UserAgent: "dray/test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.azure.Store(client)
	w.client, err = registry.New(registry.Options{
		Keychain: auth.Keychain{Named: w.signIns}, Keep: w.store.PutManifest, Log: log,
		Wrap: func(string, http.RoundTripper) http.RoundTripper { return w.transport() },
	})
	if err != nil {
		t.Fatal(err)
	}
	copying := transfer.New(transfer.Options{
		Source: w.client, Artifacts: w.client, Target: w.client, Presence: w.client, Memory: w.store, Now: time.Now, Log: log,
	})
	w.engine = acr.New(acr.Options{
		Azure: client, Plane: w.client, Locks: locks{client}, Memory: w.memory, Fallback: copying,
		Target: func(ctx context.Context, host string) (azure.ResourceID, error) {
			return client.Find(ctx, subscriptionID, host)
		},
		Origin: func(_ context.Context, repo image.Repository) (acr.Origin, error) {
			if repo.Registry == w.unseen {
				return acr.Origin{}, fmt.Errorf("%s: %w", repo.Registry, azure.ErrNotFound)
			}
			if o, ok := w.origins[repo.Registry]; ok {
				return o, nil
			}
			if repo.Registry == sourceHost {
				return acr.Origin{ResourceID: w.source.ID()}, nil
			}
			return acr.Origin{Host: repo.Registry}, nil
		},
		SignIn: client.SignIn, Manifest: copying.Manifest,
		Registry: func(repo image.Repository) acr.Registry {
			_, known := w.signIns[repo.Registry]
			signed := w.origins[repo.Registry].Username != ""
			return acr.Registry{Azure: known && !signed, Signed: signed}
		},
		Access:   func(string) acr.Access { return w.access },
		Metered:  func(string) bool { return w.metered },
		Parallel: w.parallel, Rate: w.rate, Timeout: w.timeout, Log: log,
	})
	w.mirror = &mirror.Mirror{Observer: w.client, Manifests: copying, Engines: []mirror.Engine{w.engine, copying}, Watcher: silent{}, Log: log}
}

func (w *world) stop(t *testing.T) {
	t.Helper()
	_ = w.client.Close()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// memory is the store of a process that may end at a write.
type memory struct {
	*store.Store
	// begun and forgotten are called before an operation is saved, and after one is forgotten; nil for nobody.
	begun, forgotten func()
}

func (m memory) PutOperation(ctx context.Context, name string, state []byte) error {
	if state != nil && m.begun != nil {
		m.begun()
	}
	err := m.Store.PutOperation(ctx, name, state)
	if state == nil && m.forgotten != nil {
		m.forgotten()
	}
	return err
}

// locks asks registries for locks.
type locks struct{ *azure.Client }

func (l locks) Locked(ctx context.Context, ref image.Reference) (bool, error) {
	return l.Client.Locked(ctx, ref.Registry, ref.Path, ref.Tag)
}

// silent watches nothing.
type silent struct{}

func (silent) Observing(int)                  {}
func (silent) Observed()                      {}
func (silent) Planned(int)                    {}
func (silent) Begin(diff.Action) mirror.Meter { return silent{} }
func (silent) End(mirror.Outcome)             {}
func (silent) Expect(int64)                   {}
func (silent) Moved(int64)                    {}

// inBubble runs a test in fake time.
func inBubble(t *testing.T, edit func(*emulator.Options), f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, edit)
		f(t, w)
		w.stop(t)
		w.noSecrets(t)
	})
}

// noSecrets looks for what must be in no log, and for what went to a host that it is not for.
func (w *world) noSecrets(t *testing.T) {
	t.Helper()
	log := w.log.text()
	for _, s := range []string{secret, "private-password", "eyJ", "&s=", "Bearer "} {
		if strings.Contains(log, s) {
			t.Errorf("%q is in the log", s)
		}
	}
	for _, leak := range w.cloud.Account().Leaks {
		t.Errorf("leak: %+v", leak)
	}
}

// job imports some tags of a repository, or one image where the source has a tag or a digest.
func job(t *testing.T, source, target string, tags ...string) plan.Job {
	t.Helper()
	from, err := image.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	to, err := image.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	j := plan.Job{Name: source, Source: from, Targets: []image.Reference{to}, Engine: "acr", Timeout: 2 * time.Hour}
	if len(tags) > 0 {
		if j.Tags, err = tagfilter.Compile(tagfilter.Spec{Include: tags}); err != nil {
			t.Fatal(err)
		}
	} else if to.Tag == "" && from.Tag != "" {
		j.Targets[0].Tag = from.Tag
	}
	return j
}

// run syncs jobs once.
func (w *world) run(t *testing.T, jobs ...plan.Job) []mirror.Result {
	t.Helper()
	return w.mirror.Sync(t.Context(), jobs)
}

// all fails unless all outcomes of a result have one status, made by one engine.
func all(t *testing.T, r mirror.Result, status record.Status, engine string) {
	t.Helper()
	if r.Err != nil || len(r.Outcomes) == 0 {
		t.Fatalf("%d outcomes, %v", len(r.Outcomes), r.Err)
	}
	for _, out := range r.Outcomes {
		if out.Status != status || engine != "" && out.Engine != engine {
			t.Fatalf("%s is %s by %q: %v %s", out.Target, out.Status, out.Engine, out.Err, out.Detail)
		}
	}
}

// push puts an image for two platforms into a registry.
func push(t *testing.T, to *registries.Registry, repository, tag string, seed int64) registries.Image {
	t.Helper()
	i := registries.MultiArch(seed, registries.ImageOptions{Layers: 1, LayerSize: 1000})
	if err := i.Push(to, repository, tag); err != nil {
		t.Fatal(err)
	}
	return i
}

// holds fails unless a target's tag holds all of an image.
func (w *world) holds(t *testing.T, repository, tag, digest string) {
	t.Helper()
	if got := w.target.Content.Digest(repository, tag); got != digest {
		t.Errorf("%s:%s holds %q, want %s", repository, tag, got, digest)
	}
	if err := w.target.Content.Whole(repository, digest); err != nil {
		t.Error(err)
	}
}

// contextFor ends after a time.
func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
