package ratelimit_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/emulator/hub"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/ratelimit"
)

// The hosts of a site: addresses for documentation.
const (
	siteHost = "192.0.2.7"
	authHost = "192.0.2.8"
	blobHost = "192.0.2.9"
)

// onSite has the stand talk to a whole Docker Hub, as an account where it has a password.
func (s *stand) onSite(t *testing.T, options hub.Options, password string) *hub.Site {
	t.Helper()
	site := hub.NewSite(s.source, options, "https://"+authHost, "https://"+blobHost, map[string]string{"ann": "secret"})
	s.Hub = site.Hub
	network := emulator.Network{siteHost: site.Registry(), authHost: site.Auth(), blobHost: site.Blobs(), targetHost: s.target}
	signIns := map[string]auth.Source{}
	if password != "" {
		signIns[siteHost] = auth.Static(auth.Credential{Username: "ann", Password: password})
	}
	s.network, s.signIns, s.sourceHost = network, signIns, siteHost
	s.stop(t)
	s.start(t)
	return site
}

// A whole Docker Hub: tokens of another host that end after five minutes, blobs of a third one that takes no credential, an account beside
// an address. No pull is wasted, the credential goes nowhere else, and what the account has left is its own.
func TestSite(t *testing.T) {
	fulltest.Long(t)
	for _, password := range []string{"", "secret"} {
		t.Run("password "+password, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, hub.Options{}, ratelimit.Rule{Metered: true})
				site := s.onSite(t, hub.Options{Limit: 100, Window: time.Hour}, password)
				defer s.stop(t)
				s.fill(t, 120)
				site.Spend(40) // of the address, not of the account
				took := s.untilDone(t, nil)
				s.check(t, 120)
				a := site.Account()
				if a.Pulled != 360 || a.Refused > 0 || a.Repeated > 0 {
					t.Errorf("%+v", a)
				}
				if windows := int(took/time.Hour) + 1; windows > 5 || password == "secret" && windows > 4 {
					t.Errorf("it took %s", took)
				}
				if b := site.SiteAccount(); b.Leaked > 0 || b.Wrong > 0 || b.Tokens == 0 || b.Tokens > 60 {
					t.Errorf("%+v", b)
				}
				if strings.Contains(s.log.String(), "signature") || strings.Contains(s.log.String(), "secret") {
					t.Error("a secret is in the log")
				}
			})
		})
	}
}

// An abuse limit in mid-run stops everything that goes to that registry, for longer each time; it is no pull limit, and all ends well.
func TestAbuseInMidRun(t *testing.T) {
	fulltest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, hub.Options{Limit: 1000, Window: time.Hour}, ratelimit.Rule{Metered: true})
		defer s.stop(t)
		s.fill(t, 100)
		s.source.Inject(emulator.Fault{Times: 1, Match: func(r *http.Request) bool {
			if s.Account().Pulled < 120 {
				return false
			}
			s.Abuse(true)
			time.AfterFunc(5*time.Minute, func() { s.Abuse(false) })
			return true
		}})
		took := s.untilDone(t, nil)
		s.check(t, 100)
		if a := s.Account(); a.Repeated > 16 || a.Refused > 30 || took < 5*time.Minute || took > 20*time.Minute {
			t.Errorf("%+v after %s", a, took)
		}
	})
}

// TestMeteredByItsAnswers: whatever a registry is called, it is asked for no more than its answers say that it allows. Before it has said
// so, no more than one window is wasted.
func TestMeteredByItsAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		options hub.Options
		mute    bool // HEAD says nothing
		vain    int
	}{
		"sliding":        {hub.Options{Limit: 15, Window: 8 * time.Second}, false, 0},
		"fixed":          {hub.Options{Limit: 15, Window: 8 * time.Second, Fixed: true}, false, 0},
		"one spelling":   {hub.Options{Limit: 15, Window: 8 * time.Second, Headers: hub.Extended}, false, 0},
		"HEAD is silent": {hub.Options{Limit: 15, Window: 8 * time.Second}, true, 15},
		"hours":          {hub.Options{Limit: 15, Window: time.Hour}, true, 15},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, tt.options, ratelimit.Rule{})
				s.sourceHost = siteHost
				s.network = emulator.Network{siteHost: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if tt.mute && q.Method == http.MethodHead {
						s.source.ServeHTTP(w, q)
						return
					}
					s.Hub.ServeHTTP(w, q)
				}), targetHost: s.target}
				s.stop(t)
				s.start(t)
				defer func() { s.stop(t) }()
				s.fill(t, 12)
				took := s.untilDone(t, nil)
				s.check(t, 12)
				a := s.Account()
				if a.Pulled != 36 || a.Refused > tt.vain || a.Repeated > 0 || took > 4*tt.options.Window {
					t.Errorf("%+v after %s", a, took)
				}
				if s.pulled == 0 || len(s.governor.Budgets(time.Now())) != 1 {
					t.Errorf("%d pulls were told of, budgets: %+v", s.pulled, s.governor.Budgets(time.Now()))
				}
			})
		})
	}
}
