package azure

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/dial"
)

// TestNoCredentialAtAll: where nothing has a credential, that is said within ten seconds, also where requests are answered by nobody, or by a
// proxy that cannot pass them on.
func TestNoCredentialAtAll(t *testing.T) {
	unset(t)
	t.Setenv("PATH", "/nonexistent")
	public, _ := CloudNamed("public")
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"nobody answers": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"somebody switches protocols": func(r *http.Request) (*http.Response, error) {
			body, _ := io.Pipe() // only its Close ends the reading of it
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: body, Request: r}, nil
		},
		"a proxy refuses": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				client, err := New(Options{Cloud: public, Credential: Credential{Kind: KindDefault}, UserAgent: "dray/test", Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					asked++
					return answer(r)
				})})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = client.SignIn(t.Context())
				took := time.Since(began)
				refused, ok := errors.AsType[*SignInError](err)
				if !ok || refused.Failure.Advice == "" || took > 10*time.Second || asked == 0 {
					t.Errorf("after %s and %d requests: %v", took, asked, err)
				}
				t.Logf("after %s and %d requests: %v", took, asked, err)
			})
		})
	}
}

// unset empties the environment of what names a credential.
func unset(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "AZURE_") || strings.HasPrefix(name, "IDENTITY_") || strings.HasPrefix(name, "MSI_") || name == "IMDS_ENDPOINT" {
			t.Setenv(name, value) // which puts it back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestMetadataService: one that is silent is given up after a minute at most, and one that refuses while the machine starts is asked until it gives a token.
func TestMetadataService(t *testing.T) {
	unset(t)
	const lost = "the metadata service of this machine does not answer: "
	wait := func(how time.Duration, err error) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(how):
				return nil, err
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
	}
	status := func(code int, body string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			header := http.Header{"Content-Type": {"application/json"}}
			return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		}
	}
	silent := wait(time.Hour, nil)
	token := status(http.StatusOK, `{"access_token":"t","expires_in":"3600","resource":"https://management.azure.com/","token_type":"Bearer"}`)
	busy, failing := status(http.StatusTooManyRequests, "{}"), status(http.StatusInternalServerError, "{}")
	noRoute := &net.OpError{Op: "dial", Err: errors.New("no route to host")}
	for name, c := range map[string]struct {
		answers []func(*http.Request) (*http.Response, error) // the last one for ever
		want    string                                        // empty for a token
		most    time.Duration
	}{
		"silent":                      {[]func(*http.Request) (*http.Response, error){silent}, lost + "169.254.169.254: it gave no answer in time", time.Minute},
		"without a connection":        {[]func(*http.Request) (*http.Response, error){wait(dial.Timeout, noRoute)}, lost + "169.254.169.254: dial: no route to host", time.Minute},
		"refused":                     {[]func(*http.Request) (*http.Response, error){wait(0, noRoute)}, lost, time.Minute},
		"silent after it was busy":    {[]func(*http.Request) (*http.Response, error){busy, busy, busy, silent}, lost, 2 * time.Minute},
		"busy while it starts":        {[]func(*http.Request) (*http.Response, error){busy, failing, failing, busy, failing, failing, token}, "", 3 * time.Minute},
		"silent once":                 {[]func(*http.Request) (*http.Response, error){silent, token}, "", time.Minute},
		"not there when it starts":    {[]func(*http.Request) (*http.Response, error){wait(0, noRoute), wait(0, noRoute), failing, token}, "", time.Minute},
		"has no identity, for always": {[]func(*http.Request) (*http.Response, error){status(http.StatusBadRequest, "{}")}, "the sign-in failed with status 400", time.Second},
		"fails for always":            {[]func(*http.Request) (*http.Response, error){failing}, "the sign-in failed with status 500", 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				public, _ := CloudNamed("public")
				asked := 0
				client, err := New(Options{
					Cloud: public, Credential: Credential{Kind: KindManagedIdentity, ClientID: name}, UserAgent: "dray/test", // tokens are kept by client
					Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						asked++
						return c.answers[min(asked, len(c.answers))-1](r)
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = client.SignIn(t.Context())
				took := time.Since(began)
				refused, _ := errors.AsType[*SignInError](err)
				switch {
				case took > c.most, c.want == "" && err != nil, c.want != "" && (refused == nil || !strings.Contains(err.Error(), c.want)):
					t.Errorf("after %s and %d requests: %v", took, asked, err)
				case strings.HasPrefix(c.want, lost) && (!refused.Temporary() || !strings.Contains(refused.Hint(), "set azure.credential")):
					t.Errorf("%v", err)
				}
				t.Logf("after %s and %d requests: %v", took, asked, err)
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
