package registry

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// about makes a manifest that refers to another.
func about(t *testing.T, subject image.Descriptor, n int) image.Manifest {
	t.Helper()
	empty := content([]byte("{}"))
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest, "artifactType": "application/signature",
		"config": empty, "layers": []image.Descriptor{empty}, "subject": subject, "annotations": map[string]string{"n": fmt.Sprint(n)},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := content(raw)
	d.MediaType = image.MediaTypeOCIManifest
	return image.Manifest{Descriptor: d, Raw: raw}
}

// TestFallbackTagUnderLoad: a registry without the referrers API that answers some requests with 503. Who writes a fallback tag must not
// wait for a place that is held by others who wait for him. It runs in no bubble, as a hang would end one.
func TestFallbackTagUnderLoad(t *testing.T) {
	for _, concurrency := range []int{1, 2, 0} {
		for _, refused := range []string{"GET", "PUT", ""} {
			t.Run(fmt.Sprint(concurrency, " ", refused), func(t *testing.T) {
				host := Host{Concurrency: concurrency}
				r, c := stand(t, emulator.Options{LaxManifests: true}, Options{Hosts: map[string]Host{home: host}, Retries: Retries{First: time.Millisecond, Max: 2 * time.Millisecond, Attempts: 50}})
				i := push(t, r, "app", "1")
				r.Inject(emulator.Fault{Match: requests(refused, emulator.KindManifest), Status: 503, Times: 30, Delay: time.Millisecond})
				const referrers = 20
				answers := make(chan error, referrers)
				for n := range referrers {
					root := i.Manifests[n%len(i.Manifests)]
					m := about(t, image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}, n)
					go func() { answers <- c.PutManifest(t.Context(), at("app").Digest(m.Digest), m) }()
				}
				for range referrers {
					select {
					case err := <-answers:
						if err != nil {
							t.Error(err)
						}
					case <-time.After(20 * time.Second):
						t.Fatal("it hangs")
					}
				}
				found := 0
				for _, m := range i.Manifests {
					list, err := c.Referrers(t.Context(), at("app"), image.Digest(m.Digest))
					if err != nil {
						t.Error(err)
					}
					found += len(list)
				}
				if found != referrers {
					t.Errorf("%d of %d referrers are listed", found, referrers)
				}
			})
		}
	}
}
