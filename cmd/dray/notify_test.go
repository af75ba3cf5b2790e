package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestNotifies: a hook hears of a failure, of the recovery and of what was imported, and of a config that is rejected and then good again;
// one that hangs holds up nothing.
func TestNotifies(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	var mu sync.Mutex
	heard := map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event struct {
			Type    string `json:"type"`
			Subject string `json:"subject"`
		}
		if json.Unmarshal(body, &event) != nil || r.Header.Get("Webhook-Signature") == "" {
			t.Errorf("received %q, signed %q", body, r.Header.Get("Webhook-Signature"))
		}
		mu.Lock()
		defer mu.Unlock()
		heard[strings.TrimPrefix(event.Type, "io.github.draysync.dray.")+" "+event.Subject]++
	}))
	defer receiver.Close()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)

	d := newDesk(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	config := strings.Join([]string{
		"version: 1", "stateDir: " + d.target + "/state", serverLine(d.socket), "notifications:",
		"  - {webhook: '" + receiver.URL + "', secret: 'a secret of twenty-four characters', on: [imported, failed, recovered, config-rejected, config-accepted]}",
		"  - {webhook: '" + hanging.URL + "', on: [imported, failed, recovered]}", "mappings:",
		mapping("name: app, source: '%s/app', target: '%s/app', tags: [v1]", start(t, source), start(t, target)),
	}, "\n")
	d.write(d.config, config)
	r := launch(t, d.config, d.socket)
	hears := func(what string) {
		t.Helper()
		r.until(t, "the hook hears "+what, func() bool { mu.Lock(); defer mu.Unlock(); return heard[what] == 1 })
	}
	hears("failed app")
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Sync(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	hears("recovered app")
	hears("imported app")
	d.replace(d.config, "nonsense") // at once: an empty file is rejected, too
	hears("config-rejected ")
	d.replace(d.config, config)
	hears("config-accepted ")
	r.stop(t)
	if text := r.log.String(); strings.Contains(text, "a secret of") {
		t.Error("the secret is in the log")
	}
	if len(heard) != 5 {
		t.Errorf("%v", heard)
	}
}
