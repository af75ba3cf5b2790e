package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/emulator/hub"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/tagfilter"
	"github.com/draysync/dray/internal/transfer"
)

const targetHost = "192.0.2.1"

// stand is a hub and a target, with all of dray between them but its commands.
type stand struct {
	*hub.Hub
	source, target *emulator.Registry
	dir            string
	rule           ratelimit.Rule
	log            bytes.Buffer
	logMu          sync.Mutex

	store    *store.Store
	client   *registry.Client
	governor *ratelimit.Governor
	mirror   *mirror.Mirror
	pulled   int
	// jobs are what is synced; nil for the stand's one job.
	jobs []plan.Job
	// network and hosts are nil for the hub and the target, without a credential.
	network emulator.Network
	signIns map[string]auth.Source
	// sourceHost is Docker Hub, unless it is a site.
	sourceHost string
	// signed says that requests carry a credential.
	signed bool
	// onEach is told of each result of untilDone; nil for nobody.
	onEach func(mirror.Result)
}

// Write keeps the log, of which no line may name an account.
func (s *stand) Write(p []byte) (int, error) {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return s.log.Write(p)
}

func newStand(t *testing.T, options hub.Options, rule ratelimit.Rule) *stand {
	t.Helper()
	s := &stand{source: emulator.New(emulator.Options{}), target: emulator.New(emulator.Options{}), dir: t.TempDir(), rule: rule, sourceHost: image.DockerHub}
	s.Hub = hub.New(s.source, options)
	s.start(t)
	return s
}

// start makes everything that a process has, anew.
func (s *stand) start(t *testing.T) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(s, nil))
	var err error
	if s.store, err = store.Open(t.Context(), s.dir, store.Options{Log: log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	s.governor = ratelimit.New(ratelimit.Options{
		Rule: func(host string) ratelimit.Rule {
			if host != s.sourceHost {
				return ratelimit.Rule{}
			}
			return s.rule
		},
		Account: func(string, string) string { return "hub" }, SignsIn: func(string, string) bool { return s.signed }, Store: s.store, Pulled: func(string, string) { s.pulled++ }, Log: log,
	})
	network := s.network
	if network == nil {
		network = emulator.Network{"registry-1.docker.io": s.Hub, targetHost: s.target}
	}
	s.client, err = registry.New(registry.Options{Keychain: auth.Keychain{Named: s.signIns}, Keep: s.store.PutManifest, Log: log, Wrap: func(host string, _ http.RoundTripper) http.RoundTripper {
		return s.governor.Transport(host, network)
	}})
	if err != nil {
		t.Fatal(err)
	}
	engine := transfer.New(transfer.Options{
		Source: s.client, Artifacts: s.client, Target: s.client, Presence: s.client, Memory: s.store, Now: time.Now, Log: log,
		Metered: s.governor.Metered,
		Reserve: func(ctx context.Context, repo image.Repository, pulls int, begun bool) (context.Context, func(int)) {
			return s.governor.Reserve(ctx, repo.Registry, repo.Path, pulls, begun)
		},
	})
	s.mirror = &mirror.Mirror{Observer: s.client, Manifests: engine, Engines: []mirror.Engine{engine}, Watcher: silent{}, Log: log}
}

func (s *stand) stop(t *testing.T) {
	t.Helper()
	_ = s.client.Close()
	s.governor.Keep() // otherwise it goes on
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
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

// fill pushes images for two platforms, of three manifests each.
func (s *stand) fill(t *testing.T, tags int) {
	t.Helper()
	for i := range tags {
		if err := emulator.MultiArch(int64(i+1), emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(s.source, "team/app", fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stand) job(t *testing.T) plan.Job {
	t.Helper()
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	repo := func(host string) image.Reference {
		return image.Reference{Repository: image.Repository{Registry: host, Path: "team/app"}}
	}
	return plan.Job{Name: "app", Source: repo(s.sourceHost), Targets: []image.Reference{repo(targetHost)}, Tags: filter, Timeout: time.Hour}
}

// untilDone syncs whenever what was deferred may be tried, and returns how long it took.
func (s *stand) untilDone(t *testing.T, between func(round int)) time.Duration {
	t.Helper()
	began := time.Now()
	for round := range 200 {
		jobs := s.jobs
		if jobs == nil {
			jobs = []plan.Job{s.job(t)}
		}
		results := s.mirror.Sync(t.Context(), jobs)
		var later time.Time
		for _, r := range results {
			var refused interface{ RetryAt() time.Time }
			if errors.As(r.Err, &refused) && !refused.RetryAt().IsZero() { // of the whole registry
				later = refused.RetryAt()
			} else if r.Err != nil {
				t.Fatal(r.Err)
			}
			if s.onEach != nil {
				s.onEach(r)
			}
			for _, out := range r.Outcomes {
				if out.Status == record.Failed {
					t.Fatalf("round %d: %v", round, out.Err)
				}
				if out.Err != nil && strings.Contains(out.Err.Error(), "dckr") {
					t.Fatal(out.Err)
				}
			}
		}
		at, _, deferred := mirror.Deferral(results)
		switch {
		case !later.IsZero():
			at = later
		case !deferred:
			return time.Since(began)
		}
		if between != nil {
			between(round)
		}
		time.Sleep(time.Until(at))
	}
	t.Fatal("it never ends")
	return 0
}

func (s *stand) check(t *testing.T, tags int) {
	t.Helper()
	if n := len(s.target.Tags("team/app")); n != tags {
		t.Errorf("%d tags of %d have arrived", n, tags)
	}
	s.checkLog(t)
}

// checkLog looks for what must be in no log.
func (s *stand) checkLog(t *testing.T) {
	t.Helper()
	s.logMu.Lock()
	defer s.logMu.Unlock()
	for _, secret := range []string{"dckr", "192.0.2.77", "ann"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// 300 images of three manifests at a hundred pulls a window arrive in the least number of windows, plus at most one, and no pull is
// wasted: whatever the window does and the hub says of it, and with somebody else who spends, and a process that ends in the midst of it.
func TestNineHundredPulls(t *testing.T) {
	fulltest.Long(t)
	const tags, pulls = 300, 900
	for name, tt := range map[string]struct {
		options hub.Options
		rule    ratelimit.Rule
		// windows is the most that it may take; vain and refused are what cannot be known beforehand.
		windows, refused int
		between          func(s *stand, t *testing.T, round int)
	}{
		"sliding":         {hub.Options{}, ratelimit.Rule{}, 10, 0, nil},
		"fixed":           {hub.Options{Fixed: true}, ratelimit.Rule{}, 10, 0, nil},
		"six hours":       {hub.Options{Window: 6 * time.Hour}, ratelimit.Rule{}, 10, 0, nil},
		"x-headers":       {hub.Options{Headers: hub.Extended}, ratelimit.Rule{}, 10, 0, nil},
		"plain headers":   {hub.Options{Headers: hub.Plain}, ratelimit.Rule{}, 10, 0, nil},
		"mixed headers":   {hub.Options{Headers: hub.Mixed}, ratelimit.Rule{}, 10, 0, nil},
		"half is counted": {hub.Options{Half: true}, ratelimit.Rule{}, 6, 0, nil},
		"head refused":    {hub.Options{RefuseHead: true}, ratelimit.Rule{}, 11, 0, nil},
		"skewed clock":    {hub.Options{Skew: 7 * time.Minute}, ratelimit.Rule{}, 10, 0, nil},
		"keep a number":   {hub.Options{}, ratelimit.Rule{Keep: 25}, 13, 0, nil},
		"keep a part":     {hub.Options{}, ratelimit.Rule{KeepPercent: 50}, 19, 0, nil},
		"said beforehand": {hub.Options{Headers: hub.None}, ratelimit.Rule{Limit: 100, Window: time.Hour}, 10, 0, nil},
		"nothing is said": {hub.Options{Headers: hub.None, RetryAfter: hub.UnixTime}, ratelimit.Rule{}, 11, 80, nil},
		"killed": {hub.Options{}, ratelimit.Rule{}, 10, 0, func(s *stand, t *testing.T, round int) {
			if round < 5 {
				s.stop(t)
				s.start(t)
			}
		}},
		"window changes": {hub.Options{Window: 6 * time.Hour}, ratelimit.Rule{}, 10, 0, func(s *stand, _ *testing.T, round int) {
			if round == 3 {
				s.Change(func(o *hub.Options) { o.Window = time.Hour })
			}
		}},
		"somebody else": {hub.Options{Fixed: true}, ratelimit.Rule{}, 15, 0, func(s *stand, _ *testing.T, _ int) {
			time.AfterFunc(61*time.Minute, func() { s.Spend(30) })
		}},
	} {
		if !fulltest.AllRounds() && !slices.Contains([]string{"sliding", "killed", "nothing is said", "somebody else"}, name) {
			continue
		}
		if testing.Short() && name != "killed" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				options := tt.options
				options.Limit = 100
				if options.Window == 0 {
					options.Window = time.Hour
				}
				rule := tt.rule
				rule.Metered = true
				s := newStand(t, options, rule)
				s.fill(t, tags)
				var between func(int)
				if tt.between != nil {
					between = func(round int) { tt.between(s, t, round) }
				}
				took := s.untilDone(t, between)
				s.check(t, tags)
				a := s.Account()
				windows := int(took/options.Window) + 1
				t.Logf("%d windows, %d rounds' worth of time %s; %+v", windows, tags, took, a)
				if a.Pulled != pulls || a.Repeated > 0 || a.Vain > tt.refused || a.Refused > tt.refused {
					t.Errorf("%+v, want %d pulls", a, pulls)
				}
				if windows > tt.windows {
					t.Errorf("it took %d windows, want %d at the most", windows, tt.windows)
				}
				if keep := max(tt.rule.Keep, tt.rule.KeepPercent); a.Lowest < keep {
					t.Errorf("%d pulls were left, want %d", a.Lowest, keep)
				}
				if _, err := s.client.Head(context.Background(), s.job(t).Targets[0].Repository.Tag("v0")); err != nil {
					t.Error(err)
				}
				s.stop(t)
			})
		})
	}
}
