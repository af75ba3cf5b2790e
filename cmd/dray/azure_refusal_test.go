package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	ours "github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/image"
)

// TestAzureRefusals: a registry of somebody else's that gives this identity no token, and an Entra that gives none, are not asked again for
// minutes, whoever wants to know: the registries that the config does not name, or the choice of an engine.
func TestAzureRefusals(t *testing.T) {
	for name, secret := range map[string]string{"a registry": azureSecret, "Entra": "wrong"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := azure.New(azure.Options{})
				defer cloud.Close()
				cloud.AddTenant(azureTenant).AddApp(azure.AppOptions{ClientID: azureClient, Secret: azureSecret})
				abroad := cloud.AddTenant("22222222-2222-2222-2222-222222222222").AddSubscription("44444444-4444-4444-4444-444444444444").
					AddRegistry(azure.RegistryOptions{Name: "abroadsource", AnonymousPull: true})
				cfg := &config.Config{Azure: config.DefaultAzure()}
				cfg.Azure.Set = true
				cfg.Azure.Credential.Kind, cfg.Azure.Credential.TenantID = "client-secret", azureTenant
				cfg.Azure.Credential.ClientID, cfg.Azure.Credential.ClientSecret = azureClient, config.Secret(secret)
				asked := 0
				side, err := newAzure(cfg, func(http.RoundTripper) http.RoundTripper {
					return roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.Method == http.MethodPost {
							asked++
						}
						return cloud.Transport().RoundTrip(r)
					})
				}, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				ask := func(want int) {
					t.Helper()
					asked = 0
					for _, path := range []string{"a", "b"} {
						credential, _, err := side.implied(t.Context(), image.Repository{Registry: abroad.LoginServer(), Path: path})
						if err != nil || !credential.Anonymous() || credential.Lacking == "" {
							t.Fatalf("%+v, %v", credential, err)
						}
					}
					if err := side.signIn(t.Context()); (err != nil) != (secret == "wrong") {
						t.Error(err)
					}
					if (asked > 0) != (want > 0) || asked > want {
						t.Errorf("%d requests, want %d", asked, want)
					}
				}
				ask(5) // what a registry refuses is tried once with a new token
				for range 9 {
					time.Sleep(time.Minute)
					ask(0)
				}
				time.Sleep(time.Minute)
				ask(5)
			})
		})
	}
}

// TestAzureRefusalsApart: an Entra that gives no token for the Resource Manager may give one for registries, and the other way round: what one is
// refused is not held against the other.
func TestAzureRefusalsApart(t *testing.T) {
	for refused, scope := range map[string]string{"the Resource Manager": "management.", "registries": "containerregistry.azure.net"} {
		t.Run(refused, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := azure.New(azure.Options{})
				defer cloud.Close()
				tenant := cloud.AddTenant(azureTenant)
				app := tenant.AddApp(azure.AppOptions{ClientID: azureClient, Secret: azureSecret})
				target := tenant.AddSubscription(azureSubscription).AddRegistry(azure.RegistryOptions{Name: "targetregistry"})
				app.Grant(target.ID(), azure.DataImporter)
				cfg := &config.Config{Azure: config.DefaultAzure()}
				cfg.Azure.Set = true
				cfg.Azure.Credential.Kind, cfg.Azure.Credential.TenantID = "client-secret", azureTenant
				cfg.Azure.Credential.ClientID, cfg.Azure.Credential.ClientSecret = azureClient, azureSecret
				asked := 0
				side, err := newAzure(cfg, func(http.RoundTripper) http.RoundTripper {
					return roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/token") || strings.HasPrefix(r.URL.Path, "/oauth2/") {
							return cloud.Transport().RoundTrip(r)
						}
						body, err := io.ReadAll(r.Body)
						if err != nil {
							return nil, err
						}
						if r.Body = io.NopCloser(bytes.NewReader(body)); !bytes.Contains(body, []byte(scope)) {
							return cloud.Transport().RoundTrip(r)
						}
						asked++
						return &http.Response{
							StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
							Body: io.NopCloser(strings.NewReader(`{"error":"invalid_resource","error_description":"AADSTS500011: The resource principal was not found in the tenant.","error_codes":[500011]}`)),
						}, nil
					})
				}, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				for minute := range 5 {
					for range 3 {
						credential, _, err := side.implied(t.Context(), image.Repository{Registry: target.LoginServer(), Path: "app"})
						if err != nil || credential.Anonymous() != (refused == "registries") {
							t.Errorf("registries, minute %d: %+v, %v", minute, credential, err)
						}
						if err := side.signIn(t.Context()); (err != nil) != (refused != "registries") {
							t.Errorf("the Resource Manager, minute %d: %v", minute, err)
						}
					}
					time.Sleep(time.Minute)
				}
				if asked == 0 || asked > 2 { // once more with a new credential
					t.Errorf("Entra was asked %d times for a token that it refuses", asked)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPassing: only an answer that refuses for good, or a credential that is none, has nobody signed in for a while; a connection that breaks has not.
func TestPassing(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("exchange: %w", &net.OpError{Op: "read", Err: syscall.ECONNRESET}), true},
		{io.ErrUnexpectedEOF, true},
		{errors.New("the answer of Azure cannot be read"), true},
		{&ours.ResponseError{Status: 503}, true},
		{&ours.ResponseError{Status: 429}, true},
		{fmt.Errorf("exchange: %w", &ours.ResponseError{Status: 401}), false},
		{&ours.ResponseError{Status: 403}, false},
		{&ours.SignInError{Failure: ours.Failure{Again: true}}, true},
		{&ours.SignInError{}, false},
	} {
		if got := passing(test.err); got != test.want {
			t.Errorf("%T %v: %t, want %t", test.err, test.err, got, test.want)
		}
	}
}
