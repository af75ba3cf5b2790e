package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/store"
)

// TestDaemonKeepsManifests runs a daemon and looks into its store: what it has fetched is paid for once, also when dray starts anew.
func TestDaemonKeepsManifests(t *testing.T) {
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	img := registry.MultiArch(1, registry.ImageOptions{Platforms: []string{"linux/amd64", "linux/arm64"}})
	if err := img.Push(source, "team/app", "1"); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(shortDir(t), "s")
	config := writeConfig(t, serverLine(socket), "registries:", "  '"+from+"': {plainHTTP: true}", "  '"+to+"': {plainHTTP: true}",
		"mappings:", mapping("name: app, source: '%s/team/app:1', target: '%s/app'", from, to))
	r := launch(t, config, socket)
	r.until(t, "it has run", func() bool { return r.status(t).Jobs[0].Last != nil })
	r.stop(t)
	memory, err := store.Open(t.Context(), filepath.Join(filepath.Dir(config), "state"), store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for _, m := range img.Manifests {
		if _, ok, err := memory.Manifest(t.Context(), image.Digest(m.Digest)); err != nil || !ok {
			t.Errorf("the store does not have %s: %v", m.Digest, err)
		}
	}
}

// TestCertificatesThatChange: connections are made anew when a file of certificates has changed, of a registry or of Azure.
func TestCertificatesThatChange(t *testing.T) {
	content := map[string]string{}
	p := &process{readFile: func(name string) ([]byte, error) { return []byte(content[name]), nil }}
	cfg := &config.Config{
		Registries: map[string]config.Registry{"r.example": {TLS: config.TLS{CAFile: "ca", CertFile: "cert", KeyFile: "key"}}},
		Azure:      config.Azure{Hosts: config.AzureHosts{CAFile: "stack"}},
	}
	seen := map[string]bool{p.certificates(cfg): true}
	for _, name := range []string{"ca", "cert", "key", "stack"} {
		content[name] = "another"
		seen[p.certificates(cfg)] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d of 4 changes are seen", len(seen)-1)
	}
}

// TestAzurePings: a connection to Azure on which nothing comes is found out.
func TestAzurePings(t *testing.T) {
	base, err := azureTransport("")
	if err != nil || base.HTTP2 == nil || base.HTTP2.SendPingTimeout != pingAfter {
		t.Errorf("%+v, %v", base, err)
	}
}
