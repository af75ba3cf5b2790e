package azure

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoCredentialAtAll: where nothing has a credential, that is said within ten seconds, also where requests are answered by nobody, or by a
// proxy that cannot pass them on.
func TestNoCredentialAtAll(t *testing.T) {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "AZURE_") || strings.HasPrefix(name, "IDENTITY_") || strings.HasPrefix(name, "MSI_") || name == "IMDS_ENDPOINT" {
			t.Setenv(name, value) // which puts it back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
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

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
