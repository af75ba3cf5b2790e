package transfer

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/draysync/dray/internal/image"
)

// TestManifestOfTwoTags: of two tags for which a registry names one digest, which it does not have, each gets what there is for it, also where both are
// fetched at once.
func TestManifestOfTwoTags(t *testing.T) {
	d := image.DigestOf([]byte("named"), "")
	repo := image.Repository{Registry: "registry.example", Path: "app"}
	now := image.Descriptor{Digest: image.DigestOf([]byte("now"), "")}
	gone := fmt.Errorf("answered 404: %w", image.ErrAbsent)
	for name, first := range map[string]error{
		"the first has nothing": gone,
		"the first has moved":   &image.MovedError{Ref: repo.Tag("one").WithDigest(d), Now: image.Descriptor{Digest: image.DigestOf([]byte("other"), "")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newManifestCache()
				hold := make(chan struct{})
				var group sync.WaitGroup
				group.Go(func() {
					_, _, err := c.get(t.Context(), repo.Tag("one").WithDigest(d), func() (image.Manifest, bool, error) {
						<-hold
						return image.Manifest{}, true, first
					})
					if !errors.Is(err, first) {
						t.Errorf("the first tag: %v", err)
					}
				})
				synctest.Wait()
				group.Go(func() {
					two := repo.Tag("two").WithDigest(d)
					_, _, err := c.get(t.Context(), two, func() (image.Manifest, bool, error) {
						return image.Manifest{}, true, &image.MovedError{Ref: two, Now: now}
					})
					if moved, ok := errors.AsType[*image.MovedError](err); !ok || moved.Now.Digest != now.Digest {
						t.Errorf("the second tag: %v", err)
					}
				})
				synctest.Wait()
				close(hold)
				group.Wait()
			})
		})
	}
}
