package google

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/google"
	"github.com/draysync/dray/internal/emulator/registry"
)

const (
	pool   = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s"
	mirror = "mirror@acme.iam.gserviceaccount.com"
)

// stand is a cloud, a client of it, and the hosts that were asked.
type stand struct {
	cloud  *emulator.Cloud
	client *Client
	mu     sync.Mutex
	hosts  []string
	down   error // what all requests end with
}

// RoundTrip answers a request as the host that it is for.
func (s *stand) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.hosts = append(s.hosts, r.URL.Host)
	down := s.down
	s.mu.Unlock()
	if down != nil {
		return nil, down
	}
	return registry.Network{r.URL.Host: s.cloud}.RoundTrip(r)
}

// newStand makes one whose home folder is empty.
func newStand(t *testing.T, o emulator.Options, env map[string]string) *stand {
	t.Helper()
	cloud, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, home := &stand{cloud: cloud}, t.TempDir()
	s.client = New(Options{HTTP: s, Getenv: func(name string) string {
		if name == "HOME" && env[name] == "" {
			return home
		}
		return env[name]
	}})
	return s
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// federation is a file of workload identity federation, whose token is in a file; act names a service account to act as.
func federation(t *testing.T, subject, act string) string {
	t.Helper()
	text := `{"type":"external_account","audience":"` + pool + `","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"` + emulator.STS +
		`","credential_source":{"file":"` + write(t, subject) + `"}`
	if act != "" {
		text += `,"service_account_impersonation_url":"` + impersonateAt + act + `:generateAccessToken"`
	}
	return write(t, text+"}")
}

// subject is a token of another issuer.
var subject = "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("c3ViamVjdA", 20) + ".c2ln"

const refresh = "1//0refresh"

// user is a file of gcloud's.
const user = `{"type":"authorized_user","client_id":"c","client_secret":"cl13nt","refresh_token":"` + refresh + `","token_uri":"` + emulator.TokenURL + `"}`

// TestSources: each way to a credential ends with a token, and Google was asked for no more than it takes.
func TestSources(t *testing.T) {
	const (
		jwt   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
		token = "metadata instance/service-accounts/default/token"
	)
	for name, c := range map[string]struct {
		cloud emulator.Options
		as    func(t *testing.T, s *stand) Identity
		who   string
		calls []string
	}{
		"key": {as: func(t *testing.T, s *stand) Identity { return Identity{File: write(t, s.cloud.Key())} }, who: emulator.Email, calls: []string{jwt}},
		"key, which acts": {cloud: emulator.Options{Acts: []string{mirror}}, as: func(t *testing.T, s *stand) Identity {
			return Identity{File: write(t, s.cloud.Key()), Impersonate: mirror}
		}, who: mirror, calls: []string{jwt, mirror + ":generateAccessToken"}},
		"federation": {cloud: emulator.Options{Subject: subject, Audience: pool}, as: func(t *testing.T, _ *stand) Identity {
			return Identity{File: federation(t, subject, "")}
		}, calls: []string{"exchange"}},
		"federation, which acts": {cloud: emulator.Options{Subject: subject, Audience: pool, Acts: []string{mirror}}, as: func(t *testing.T, _ *stand) Identity {
			return Identity{File: federation(t, subject, mirror)}
		}, who: mirror, calls: []string{"exchange", mirror + ":generateAccessToken"}},
		"user": {cloud: emulator.Options{Refresh: refresh}, as: func(t *testing.T, _ *stand) Identity {
			return Identity{File: write(t, user)}
		}, calls: []string{"refresh_token"}},
		"instance": {cloud: emulator.Options{Account: "node@acme.iam.gserviceaccount.com"}, as: func(*testing.T, *stand) Identity { return Identity{} },
			who: "node@acme.iam.gserviceaccount.com", calls: []string{"metadata ", token, "metadata instance/service-accounts/default/email"}},
		"instance, which acts": {cloud: emulator.Options{Account: "node@acme.iam.gserviceaccount.com", Acts: []string{mirror}}, as: func(*testing.T, *stand) Identity {
			return Identity{Impersonate: mirror}
		}, who: mirror, calls: []string{"metadata ", token, mirror + ":generateAccessToken"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, c.cloud, nil)
			as := c.as(t, s)
			got, err := s.client.Token(t.Context(), as)
			if err != nil || got.Username != "oauth2accesstoken" || !strings.HasPrefix(got.Password, "ya29.") {
				t.Fatal(err)
			}
			if left := time.Until(got.Renew); left < 50*time.Minute || left > time.Hour {
				t.Errorf("renewed in %s", left)
			}
			if who := s.client.Who(t.Context(), as); who != c.who {
				t.Errorf("it is %q, want %q", who, c.who)
			}
			if calls := s.cloud.Calls(); !slices.Equal(calls, c.calls) {
				t.Errorf("calls are %q, want %q", calls, c.calls)
			}
		})
	}
}

// TestDefault: the environment names a file, or gcloud has written one; then the metadata service is not asked.
func TestDefault(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config", "gcloud"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".config", "gcloud", "application_default_credentials.json"), []byte(user), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStand(t, emulator.Options{Refresh: refresh}, map[string]string{"HOME": home})
	if _, err := s.client.Token(t.Context(), Identity{}); err != nil || !slices.Equal(s.cloud.Calls(), []string{"refresh_token"}) {
		t.Errorf("%v, %q", err, s.cloud.Calls())
	}
	env := map[string]string{"HOME": home}
	s = newStand(t, emulator.Options{}, env)
	env["GOOGLE_APPLICATION_CREDENTIALS"] = write(t, s.cloud.Key())
	if _, err := s.client.Token(t.Context(), Identity{}); err != nil || slices.Contains(s.cloud.Calls(), "refresh_token") {
		t.Errorf("%v, %q", err, s.cloud.Calls())
	}
}

// TestErrors: they have no secrets, and say what Google answered, whether to try again, and what to do.
func TestErrors(t *testing.T) {
	other, err := emulator.New(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) func(*testing.T) Identity {
		return func(t *testing.T) Identity { return Identity{File: write(t, text)} }
	}
	for name, c := range map[string]struct {
		cloud emulator.Options
		as    func(t *testing.T) Identity
		none  bool
		says  []string
	}{
		"nothing":           {as: func(*testing.T) Identity { return Identity{} }, none: true, says: []string{"there is no credential", "GOOGLE_APPLICATION_CREDENTIALS", "gcloud auth"}},
		"nothing that acts": {as: func(*testing.T) Identity { return Identity{Impersonate: mirror} }, none: true, says: []string{"there is no credential"}},
		"no such file":      {as: func(*testing.T) Identity { return Identity{File: "/none/key.json"} }, says: []string{"/none/key.json", "no such file", checkFile}},
		"not JSON":          {as: file("s3cr3t"), says: []string{"not JSON", checkFile}},
		"not a credential":  {as: file(`{"type":"other","private_key":"s3cr3t"}`), says: []string{"has no credentials", checkFile}},
		"a client's secret": {as: file(`{"type":"service_account","installed":{"client_id":"c","client_secret":"s3cr3t","redirect_uris":["http://x"]}}`), says: []string{"has no credentials"}},
		"no key":            {as: file(`{"type":"service_account","client_email":"a@b","private_key":"s3cr3t"}`), says: []string{"private key", checkFile}},
		"another's key":     {as: file(other.Key()), says: []string{"oauth2.googleapis.com answered 400 invalid_grant: Invalid JWT Signature.", checkKey}},
		"revoked":           {as: file(user), says: []string{"invalid_grant: Token has been expired or revoked.", checkKey}},
		"another audience": {cloud: emulator.Options{Subject: subject, Audience: "other"}, as: func(t *testing.T) Identity { return Identity{File: federation(t, subject, "")} },
			says: []string{"sts.googleapis.com answered 400 invalid_target", checkProvider}},
		"another subject": {cloud: emulator.Options{Subject: "x", Audience: pool}, as: func(t *testing.T) Identity { return Identity{File: federation(t, subject, "")} },
			says: []string{"invalid_grant: The given credential is rejected", checkProvider}},
		"no token of the other issuer": {cloud: emulator.Options{Subject: subject, Audience: pool}, as: file(
			`{"type":"external_account","audience":"` + pool + `","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"` + emulator.STS + `","credential_source":{"file":"/none/token"}}`),
			says: []string{"/none/token", checkFile}},
		"may not act, by the file": {cloud: emulator.Options{Subject: subject, Audience: pool}, as: func(t *testing.T) Identity { return Identity{File: federation(t, subject, mirror)} },
			says: []string{"iamcredentials.googleapis.com answered 403 PERMISSION_DENIED", mayNotAct}},
		"may not act": {cloud: emulator.Options{Account: "node@acme.iam.gserviceaccount.com"}, as: func(*testing.T) Identity { return Identity{Impersonate: mirror} },
			says: []string{"iamcredentials.googleapis.com answered 403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied", mayNotAct}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, c.cloud, nil)
			_, err := s.client.Token(t.Context(), c.as(t))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.None() != c.none || e.Temporary() {
				t.Fatalf("%+v", err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not in %s", text, err)
				}
			}
			for _, text := range append(s.cloud.Secrets(), subject, refresh, "cl13nt", "s3cr3t", "eyJ", "\n") {
				if len(text) > 1 && strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
					t.Errorf("the secret %q is in %s", text, err)
				}
			}
		})
	}
}

// TestMetadataOutsideCloud: where nothing answers at the metadata address, or something else does, the search ends after two seconds.
func TestMetadataOutsideCloud(t *testing.T) {
	page := registry.Network{"169.254.169.254": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}
	half := registry.Network{"169.254.169.254": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/token") {
			w.Header().Set("Metadata-Flavor", "Google")
		}
		_, _ = io.WriteString(w, `{"access_token":"planted","expires_in":3600}`)
	})}
	for name, network := range map[string]http.RoundTripper{
		"a token without the header": half, "silent": silent{}, "unreachable": &stand{down: &net.OpError{Op: "dial", Err: errors.New("no route to host")}}, "a sign-in page": page,
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				_, err := New(Options{HTTP: network, Getenv: func(name string) string { return map[string]string{"HOME": home}[name] }}).Token(t.Context(), Identity{})
				if e, ok := errors.AsType[*Error](err); !ok || !e.None() || time.Since(begun) > 2*time.Second {
					t.Errorf("%v, after %s", err, time.Since(begun))
				}
			})
		})
	}
}

// silent never answers.
type silent struct{}

// RoundTrip waits for the end of the request.
func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// TestOutage is waited for, with an end; a token that is still valid outlasts it.
func TestOutage(t *testing.T) {
	for what, fail := range map[string]func(*stand){
		"503":    func(s *stand) { s.cloud.Fail(1000, http.StatusServiceUnavailable) },
		"429":    func(s *stand) { s.cloud.Fail(1000, http.StatusTooManyRequests) },
		"silent": func(s *stand) { s.client.options.HTTP = silent{} },
	} {
		t.Run(what, func(t *testing.T) {
			s := newStand(t, emulator.Options{}, nil)
			as := Identity{File: write(t, s.cloud.Key())}
			synctest.Test(t, func(t *testing.T) {
				s.cloud.Fail(2, http.StatusServiceUnavailable)
				first, err := s.client.Token(t.Context(), as)
				if err != nil || len(s.cloud.Calls()) != 3 {
					t.Fatalf("%v after %d calls", err, len(s.cloud.Calls()))
				}
				time.Sleep(time.Until(first.Renew))
				fail(s)
				begun := time.Now()
				again, err := s.client.Token(t.Context(), as)
				if took := time.Since(begun); err != nil || again.Password != first.Password || !again.Renew.After(time.Now()) || took > fetchTimeout+requestTimeout {
					t.Errorf("%v after %s", err, took)
				}
				time.Sleep(margin)
				_, err = s.client.Token(t.Context(), as)
				if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary() {
					t.Error(err)
				}
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := s.client.Token(ended, as); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				time.Sleep(requestTimeout) // x/oauth2's request of an assertion does not end with the context
			})
		})
	}
}

// TestRenewal: a token is replaced before it ends, also where it comes with little time left, and all who wait share one request.
func TestRenewal(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{time.Hour: 55 * time.Minute, 4 * time.Minute: 2 * time.Minute, 12 * time.Hour: 55 * time.Minute} {
		s := newStand(t, emulator.Options{Life: life}, nil)
		as := Identity{File: write(t, s.cloud.Key())}
		synctest.Test(t, func(t *testing.T) {
			s.cloud.Fail(1, http.StatusServiceUnavailable) // so that all of them wait
			seen := map[string]bool{}
			var mu sync.Mutex
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() {
					got, err := s.client.Token(t.Context(), as)
					if err != nil || time.Until(got.Renew) != want {
						t.Errorf("%v, renewed in %s, want %s", err, time.Until(got.Renew), want)
					}
					mu.Lock()
					defer mu.Unlock()
					seen[got.Password] = true
				})
			}
			group.Wait()
			if len(seen) != 1 || len(s.cloud.Calls()) != 2 {
				t.Errorf("%d tokens by %d calls", len(seen), len(s.cloud.Calls()))
			}
		})
	}
}

// TestClockIsWrong: a token whose end has passed by this machine's clock is not asked for again with each request.
func TestClockIsWrong(t *testing.T) {
	for _, behind := range []time.Duration{-2 * time.Hour, time.Hour, 2 * time.Hour} {
		s := newStand(t, emulator.Options{Behind: behind, Account: "node@acme.iam.gserviceaccount.com", Acts: []string{mirror}}, nil)
		synctest.Test(t, func(t *testing.T) {
			got, err := s.client.Token(t.Context(), Identity{Impersonate: mirror})
			if left := time.Until(got.Renew); err != nil || left != usualLife-margin {
				t.Errorf("a clock behind by %s: %v, renewed in %s", behind, err, left)
			}
		})
	}
}

// TestProxy: no token of this machine is fetched through a proxy.
func TestProxy(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy.example"}
	o := Options{
		Getenv: func(name string) string { return map[string]string{"GCE_METADATA_HOST": "metadata.example:80"}[name] },
		Proxy:  func(*http.Request) (*url.URL, error) { return proxy, nil },
	}
	for address, want := range map[string]*url.URL{
		"http://169.254.169.254/computeMetadata/v1/": nil, "http://metadata.example:80/computeMetadata/v1/": nil, emulator.TokenURL: proxy,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.direct(r); got != want || err != nil {
			t.Errorf("%s: the proxy is %v, %v", address, got, err)
		}
	}
}
