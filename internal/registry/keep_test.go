package registry

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// TestKeptBeforeTheNext: a manifest that has arrived and is not kept yet has its slot among those in flight, so that a process that is killed
// has lost no more than that many.
func TestKeptBeforeTheNext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		goOn := make(chan struct{})
		var kept []image.Digest
		r, c := stand(t, emulator.Options{}, Options{Hosts: oneAtATime, Keep: func(_ context.Context, m image.Manifest) error {
			<-goOn
			kept = append(kept, m.Digest)
			return nil
		}})
		i := push(t, r, "team/app", "a")
		fetched := make(chan error, 2)
		for _, digest := range []string{i.Digest, i.Manifests[0].Digest} {
			go func() {
				_, err := c.Manifest(t.Context(), at("team/app").Digest(image.Digest(digest)))
				fetched <- err
			}()
			synctest.Wait()
		}
		if n := kind(r.Gate, http.MethodGet, emulator.KindManifest); n != 1 {
			t.Errorf("%d manifests were asked for while the first was being kept", n)
		}
		close(goOn)
		for range 2 {
			if err := <-fetched; err != nil {
				t.Error(err)
			}
		}
		if len(kept) != 2 || kept[0] != image.Digest(i.Digest) {
			t.Errorf("kept %v", kept)
		}
	})
}
