package bench

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

func TestCheck(t *testing.T) {
	made := registry.MultiArch(1, registry.ImageOptions{})
	child, layer, config := made.Manifests[0].Digest, made.Blobs[0].Digest, made.Blobs[1].Digest
	other := registry.MultiArch(2, registry.ImageOptions{})
	tests := []struct {
		name          string
		spoil         func(*registry.Registry)
		shallow, deep string // parts of the error, "" is none
	}{
		{"whole", func(*registry.Registry) {}, "", ""},
		{"no tag", func(r *registry.Registry) { r.DeleteTag("a", "1") }, "a/manifests/1: 404", "a/manifests/1: 404"},
		{"another digest", func(r *registry.Registry) {
			if err := other.Push(r, "a", "1"); err != nil {
				t.Fatal(err)
			}
		}, "a:1 is", "a:1 is"},
		{"a layer is missing", func(r *registry.Registry) { r.DeleteBlob("a", layer) }, "", "a/blobs/" + layer},
		{"a config is missing", func(r *registry.Registry) { r.DeleteBlob("a", config) }, "", "a/blobs/" + config},
		{"a child is missing", func(r *registry.Registry) { r.DeleteManifest("a", child) }, "", "a/manifests/" + child},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := registry.New(registry.Options{})
			server, err := target.Start()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			if err := made.Push(target, "a", "1"); err != nil {
				t.Fatal(err)
			}
			test.spoil(target)
			want := map[image]string{{"a", "1"}: made.Digest}
			for deep, part := range map[bool]string{false: test.shallow, true: test.deep} {
				err := newChecker(server.URL).check(t.Context(), want, deep)
				if part == "" && err != nil || part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
					t.Errorf("deep %t: %v, want %q", deep, err, part)
				}
			}
		})
	}
}
