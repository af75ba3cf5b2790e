package azure

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
)

// TestSilence: whoever of Azure's falls silent, nobody waits for long.
func TestSilence(t *testing.T) {
	find := func(ctx context.Context, c *Client, r *emulator.Registry) error {
		_, err := c.Find(ctx, "", r.LoginServer())
		return err
	}
	start := func(ctx context.Context, c *Client, r *emulator.Registry) error {
		id, err := ParseResourceID(r.ID())
		if err != nil {
			return err
		}
		op, err := c.Start(ctx, id, NewOperationID(), Import{Source: ImportSource{ResourceID: r.ID(), Image: "a:1"}, TargetTags: []string{"b:1"}})
		if err == nil {
			_, err = c.Poll(ctx, op)
		}
		return err
	}
	for name, c := range map[string]struct {
		silent func(*http.Request) bool
		ask    func(context.Context, *Client, *emulator.Registry) error
	}{
		"Entra":            {func(r *http.Request) bool { return r.URL.Host == "login.microsoftonline.com" }, find},
		"Resource Manager": {func(r *http.Request) bool { return r.URL.Host == "management.azure.com" }, find},
		"an import":        {func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/importImage") }, start},
		"a running import": {func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Host == "management.azure.com" }, start},
		"a registry's token": {func(r *http.Request) bool { return r.URL.Path == "/oauth2/exchange" }, func(ctx context.Context, c *Client, r *emulator.Registry) error {
			_, _, err := c.RegistryToken(ctx, r.LoginServer())
			return err
		}},
		"a lock": {func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/acr/v1/") }, func(ctx context.Context, c *Client, r *emulator.Registry) error {
			_, err := c.Locked(ctx, r.LoginServer(), "a", "1")
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, emulator.Options{})
				if err := registry.MultiArch(1, registry.ImageOptions{}).Push(s.registry.Content, "a", "1"); err != nil {
					t.Fatal(err)
				}
				transport := roundTripper(func(r *http.Request) (*http.Response, error) {
					if c.silent(r) {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return s.cloud.Transport().RoundTrip(r)
				})
				client, err := New(Options{Cloud: s.client.options.Cloud, Credential: s.client.options.Credential, Transport: transport, UserAgent: "dray/test"})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = c.ask(t.Context(), client, s.registry)
				if took := time.Since(began); err == nil || took > 3*time.Minute || !strings.Contains(err.Error(), "gave no answer in time") {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}
