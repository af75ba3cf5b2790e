package aws

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	emulator "github.com/draysync/dray/internal/emulator/aws"
	"github.com/draysync/dray/internal/emulator/registry"
)

const (
	ours   = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	keyID  = "AKIAEMULATOR"
	secret = "the/user's+secret"
)

// stand is an AWS, a client of it, and the hosts that were asked.
type stand struct {
	cloud    *emulator.Cloud
	client   *Client
	mu       sync.Mutex
	hosts    []string
	down     error // what all requests end with
	switches bool  // all answers switch to another protocol
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
	if s.switches {
		body, _ := io.Pipe() // only its Close ends the reading of it
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: body, Request: r}, nil
	}
	return registry.Network{r.URL.Host: s.cloud}.RoundTrip(r)
}

func newStand(t *testing.T, o emulator.Options, env ...string) *stand {
	t.Helper()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	nowhere := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", nowhere)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
	for i := 0; i < len(env); i += 2 {
		t.Setenv(env[i], env[i+1])
	}
	s := &stand{cloud: emulator.New(o)}
	s.client = New(Options{HTTP: &http.Client{Transport: s}})
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

// withKeys is an AWS with a user, whose keys are in the environment.
func withKeys(t *testing.T) *stand {
	t.Helper()
	return newStand(t, emulator.Options{Keys: map[string]string{keyID: secret}}, "AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret)
}

const (
	mirrorRole = "arn:aws:iam::111122223333:role/mirror"
	podRole    = "arn:aws:iam::111122223333:role/pod"
)

// TestSources: each way to a credential ends with a token, and AWS was asked for no more than it takes.
func TestSources(t *testing.T) {
	keys := map[string]string{keyID: secret}
	for name, c := range map[string]struct {
		cloud emulator.Options
		env   func(t *testing.T) []string
		calls []string
	}{
		"keys": {emulator.Options{Keys: keys}, func(*testing.T) []string {
			return []string{"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret}
		}, []string{"ecr eu-west-1 GetAuthorizationToken user/" + keyID}},
		"profile": {emulator.Options{Keys: keys}, func(t *testing.T) []string {
			return []string{"AWS_PROFILE", "mirror", "AWS_SHARED_CREDENTIALS_FILE", write(t, "[mirror]\naws_access_key_id="+keyID+"\naws_secret_access_key="+secret+"\n")}
		}, []string{"ecr eu-west-1 GetAuthorizationToken user/" + keyID}},
		"role of a profile, with an external ID": {emulator.Options{Keys: keys, Roles: []emulator.Role{{ARN: mirrorRole, ExternalID: "ext"}}}, func(t *testing.T) []string {
			return []string{
				"AWS_PROFILE", "mirror", "AWS_CONFIG_FILE", write(t, "[profile mirror]\nrole_arn="+mirrorRole+"\nexternal_id=ext\nsource_profile=base\n"),
				"AWS_SHARED_CREDENTIALS_FILE", write(t, "[base]\naws_access_key_id="+keyID+"\naws_secret_access_key="+secret+"\n"),
			}
		}, []string{"sts AssumeRole user/" + keyID, "ecr eu-west-1 GetAuthorizationToken role/mirror"}},
		"web identity": {emulator.Options{Roles: []emulator.Role{{ARN: podRole, WebIdentity: "ey.jwt"}}}, func(t *testing.T) []string {
			return []string{"AWS_ROLE_ARN", podRole, "AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "ey.jwt")}
		}, []string{"sts AssumeRoleWithWebIdentity", "ecr eu-west-1 GetAuthorizationToken role/pod"}},
		"container": {emulator.Options{Container: "pod-token"}, func(t *testing.T) []string {
			return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, "pod-token")}
		}, []string{"container credentials", "ecr eu-west-1 GetAuthorizationToken role/container"}},
		"instance": {emulator.Options{Instance: "node"}, func(*testing.T) []string { return nil },
			[]string{"metadata PUT", "metadata GET", "metadata GET", "ecr eu-west-1 GetAuthorizationToken role/node"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, c.cloud, c.env(t)...)
			token, err := s.client.Token(t.Context(), ours, Identity{})
			if err != nil || token.Username != "AWS" || !strings.HasPrefix(token.Password, "passw0rd-eu-west-1") || time.Until(token.Renew) < 5*time.Hour {
				t.Fatalf("%v, renewed in %s", err, time.Until(token.Renew))
			}
			if calls := s.cloud.Calls(); !slices.Equal(calls, c.calls) {
				t.Errorf("calls are %q, want %q", calls, c.calls)
			}
		})
	}
}

// TestIdentities: registries of one region have tokens by identity, each fetched once, and a role takes its own external ID.
func TestIdentities(t *testing.T) {
	const otherRole = "arn:aws:iam::444455556666:role/mirror"
	s := newStand(t, emulator.Options{
		Keys: map[string]string{keyID: secret}, Roles: []emulator.Role{{ARN: mirrorRole}, {ARN: otherRole, ExternalID: "ext"}},
	}, "AWS_SHARED_CREDENTIALS_FILE", write(t, "[base]\naws_access_key_id="+keyID+"\naws_secret_access_key="+secret+"\n"), "AWS_EC2_METADATA_DISABLED", "true")
	base := Identity{Profile: "base"}
	seen := map[string]bool{}
	for _, as := range []Identity{base, {Profile: "base", Role: mirrorRole}, {Profile: "base", Role: otherRole, ExternalID: "ext"}} {
		first, err := s.client.Token(t.Context(), ours, as)
		if err != nil || seen[first.Password] {
			t.Fatalf("%+v: %v", as, err)
		}
		seen[first.Password] = true
		if again, err := s.client.Token(t.Context(), ours, as); err != nil || again.Password != first.Password {
			t.Errorf("%+v: %v", as, err)
		}
	}
	want := []string{
		"ecr eu-west-1 GetAuthorizationToken user/" + keyID,
		"sts AssumeRole user/" + keyID, "ecr eu-west-1 GetAuthorizationToken role/mirror",
		"sts AssumeRole user/" + keyID, "ecr eu-west-1 GetAuthorizationToken role/mirror",
	}
	if calls := s.cloud.Calls(); !slices.Equal(calls, want) {
		t.Errorf("calls are %q", calls)
	}
	for as, who := range map[Identity]string{base: "arn:aws:sts::111122223333:user/" + keyID, {Profile: "base", Role: mirrorRole}: "arn:aws:sts::111122223333:role/mirror", {Role: mirrorRole}: ""} {
		if got := s.client.Who(t.Context(), ours, as); got != who {
			t.Errorf("%+v is %q, want %q", as, got, who)
		}
	}
	for _, wrong := range []Identity{{Profile: "base", Role: otherRole}, {Profile: "base", Role: otherRole, ExternalID: "other"}} {
		_, err := s.client.Token(t.Context(), ours, wrong)
		if e, ok := errors.AsType[*Error](err); !ok || e.None() || e.Temporary() || !strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), "trust policy") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	for _, none := range []Identity{{}, {Role: mirrorRole}} {
		_, err := s.client.Token(t.Context(), ours, none)
		if e, ok := errors.AsType[*Error](err); !ok || !e.None() {
			t.Errorf("%+v: %v", none, err)
		}
	}
}

// TestAPIHosts: the API that is asked belongs to the registry's host.
func TestAPIHosts(t *testing.T) {
	for name, want := range map[string]string{
		ours: "api.ecr.eu-west-1.amazonaws.com",
		"111122223333.dkr.ecr-fips.us-east-1.amazonaws.com": "ecr-fips.us-east-1.amazonaws.com|api.ecr-fips.us-east-1.amazonaws.com",
		"111122223333.dkr-ecr.us-east-1.on.aws":             "ecr.us-east-1.api.aws",
		"111122223333.dkr-ecr-fips.us-east-1.on.aws":        "ecr-fips.us-east-1.api.aws",
		"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn":  "api.ecr.cn-north-1.amazonaws.com.cn",
		"111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov":     "api.ecr.us-iso-east-1.c2s.ic.gov",
		"public.ecr.aws":     "api.ecr-public.us-east-1.amazonaws.com",
		"ecr-public.aws.com": "ecr-public.us-east-1.api.aws",
	} {
		s := withKeys(t)
		if _, err := s.client.Token(t.Context(), name, Identity{}); err != nil || len(s.hosts) != 1 || !slices.Contains(strings.Split(want, "|"), s.hosts[0]) {
			t.Errorf("%s: %v, asked %q, want %s", name, err, s.hosts, want)
		}
	}
}

// TestErrors: they have no secrets, and say what AWS answered, whether to try again, and what to do.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		cloud     emulator.Options
		env       []string
		none      bool
		temporary bool
		says      []string
	}{
		"nothing":         {none: true, says: []string{"there is no credential", "AWS_PROFILE", "IRSA", "hop limit"}},
		"disabled":        {env: []string{"AWS_EC2_METADATA_DISABLED", "true"}, none: true, says: []string{"there is no credential"}},
		"no such profile": {env: []string{"AWS_PROFILE", "typo"}, says: []string{"typo", "check the AWS settings"}},
		"wrong secret": {cloud: emulator.Options{Keys: map[string]string{keyID: "other"}}, env: []string{"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret, "AWS_SESSION_TOKEN", ""},
			says: []string{"InvalidSignatureException", "check the secret key"}},
		"unknown key": {env: []string{"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret, "AWS_SESSION_TOKEN", "the-s3ssion"}, says: []string{"UnrecognizedClientException", checkKeys}},
		"other account's role": {cloud: emulator.Options{Roles: []emulator.Role{{ARN: mirrorRole, WebIdentity: "other"}}},
			env: []string{"AWS_ROLE_ARN", mirrorRole, "AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "ey.jwt")}, says: []string{"AccessDenied", "STS AssumeRoleWithWebIdentity", "trust policy"}},
		"role without rights": {cloud: emulator.Options{Roles: []emulator.Role{{ARN: mirrorRole, WebIdentity: "ey.jwt", Denied: true}}},
			env: []string{"AWS_ROLE_ARN", mirrorRole, "AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "ey.jwt")}, says: []string{"AccessDeniedException", "role/mirror", "ecr:GetAuthorizationToken"}},
		"container refuses": {cloud: emulator.Options{Container: "pod-token"},
			env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "wr0ng-token"}, says: []string{"AccessDenied"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, c.cloud, c.env...)
			_, err := s.client.Token(t.Context(), ours, Identity{})
			e, ok := errors.AsType[*Error](err)
			if !ok || e.None() != c.none || e.Temporary() != c.temporary {
				t.Fatalf("%+v", err)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not in %s", text, err)
				}
			}
			for _, text := range append(s.cloud.Secrets(), secret, "ey.jwt", "the-s3ssion", "wr0ng-token", "\n") {
				if text != "" && strings.Contains(err.Error(), text) {
					t.Errorf("the secret %q is in %s", text, err)
				}
			}
		})
	}
}

// TestSwitches: what switches to another protocol in place of an answer is not waited for.
func TestSwitches(t *testing.T) {
	for name, env := range map[string][]string{
		"keys":     {"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret},
		"role":     {"AWS_ROLE_ARN", mirrorRole, "AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "ey.jwt")},
		"pod":      {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"},
		"instance": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, emulator.Options{}, env...)
				s.switches = true
				if _, err := s.client.Token(t.Context(), ours, Identity{}); err == nil {
					t.Error("there is a token")
				}
			})
		})
	}
}

// TestMetadataOutsideCloud: where nothing answers at the metadata addresses, the search ends after two seconds.
func TestMetadataOutsideCloud(t *testing.T) {
	for name, down := range map[string]error{"silent": nil, "unreachable": &net.OpError{Op: "dial", Err: errors.New("no route to host")}} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, emulator.Options{})
			s.down = down
			synctest.Test(t, func(t *testing.T) {
				s.client = New(Options{HTTP: &http.Client{Transport: s}})
				if down == nil {
					s.client = New(Options{HTTP: &http.Client{Transport: silent{}}})
				}
				begun := time.Now()
				_, err := s.client.Token(t.Context(), ours, Identity{})
				if e, ok := errors.AsType[*Error](err); !ok || !e.None() || time.Since(begun) > 2*time.Second {
					t.Errorf("%v, after %s", err, time.Since(begun))
				}
				synctest.Wait()
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

// TestThrottling is waited for, with an end; a token that is still valid outlasts it.
func TestThrottling(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusTooManyRequests} {
		s := withKeys(t)
		synctest.Test(t, func(t *testing.T) {
			s.cloud.Throttle(4, status)
			begun := time.Now()
			first, err := s.client.Token(t.Context(), ours, Identity{})
			if err != nil || time.Since(begun) > fetchTimeout || len(s.cloud.Calls()) != 5 {
				t.Fatalf("%v after %s and %d calls", err, time.Since(begun), len(s.cloud.Calls()))
			}
			time.Sleep(time.Until(first.Renew))
			s.cloud.Throttle(1000, status)
			begun = time.Now()
			if again, err := s.client.Token(t.Context(), ours, Identity{}); err != nil || again.Password != first.Password || time.Until(again.Renew) != retryAfter || time.Since(begun) > fetchTimeout {
				t.Errorf("%v after %s", err, time.Since(begun))
			}
			_, err = s.client.Token(t.Context(), "111122223333.dkr.ecr.us-east-1.amazonaws.com", Identity{})
			if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary() || !strings.Contains(err.Error(), "Rate exceeded") {
				t.Error(err)
			}
			time.Sleep(6 * time.Hour)
			if _, err := s.client.Token(t.Context(), ours, Identity{}); err == nil {
				t.Error("a token that has ended is given out")
			}
		})
	}
}

// TestTokens are fetched once for the registries of a region and replaced before they end, for three days; one that is refused is replaced
// after a minute.
func TestTokens(t *testing.T) {
	s := withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		seen := map[string]time.Time{}
		for end := time.Now().Add(72 * time.Hour); time.Now().Before(end); {
			var got Token
			var group sync.WaitGroup
			for i := range 50 {
				group.Go(func() {
					token, err := s.client.Token(t.Context(), strings.Replace(ours, "1111", []string{"1111", "2222"}[i%2], 1), Identity{})
					if err != nil {
						t.Error(err)
					}
					if i == 0 {
						got = token
					}
				})
			}
			group.Wait()
			if _, known := seen[got.Password]; known {
				t.Error("a token is given out again after its end")
			}
			seen[got.Password] = time.Now()
			time.Sleep(time.Until(got.Renew))
		}
		if n := len(s.cloud.Calls()); n != len(seen) || n != 12 {
			t.Errorf("%d calls for %d tokens", n, len(seen))
		}
		first, err := s.client.Token(t.Context(), ours, Identity{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(freshFor)
		if other, err := s.client.Token(t.Context(), ours, Identity{}); err != nil || other.Password == first.Password {
			t.Errorf("a token that was refused is given out again: %v", err)
		}
	})
}

// TestProxy: no credential of this machine is fetched through a proxy.
func TestProxy(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy.example"}
	o := Options{Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }}
	for address, want := range map[string]*url.URL{
		"http://169.254.169.254/latest/api/token": nil, "http://169.254.170.2/v2": nil, "http://[fd00:ec2::254]/latest/api/token": nil, "http://[fd00:ec2::23]/v1/credentials": nil,
		"https://api.ecr.eu-west-1.amazonaws.com/": proxy, "http://[2001:db8::1]/": proxy,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.direct(r); got != want || err != nil {
			t.Errorf("%s: the proxy is %v, %v", address, got, err)
		}
	}
	if got, err := (Options{}).direct(&http.Request{URL: proxy}); got != nil || err != nil {
		t.Errorf("the proxy is %v, %v", got, err)
	}
}

// TestSilentProxy: no connection to a SOCKS proxy that does not answer stays open for ever.
func TestSilentProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	proxy := &url.URL{Scheme: "socks5", Host: l.Addr().String()}
	c := New(Options{Proxy: http.ProxyURL(proxy)})
	transport := c.options.HTTP.(*awshttp.BuildableClient).GetTransport() //nolint:forcetypeassert // as the SDK wants it
	if _, err := transport.Proxy(httptest.NewRequest(http.MethodGet, "https://api.ecr.eu-west-1.amazonaws.com/", nil)); err != nil {
		t.Fatal(err)
	}
	conn, err := transport.DialContext(t.Context(), "tcp", proxy.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, plain := conn.(*net.TCPConn); plain {
		t.Error("the connection has no limit")
	}
}
