package main

import (
	"path/filepath"
	"testing"
	"time"

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
