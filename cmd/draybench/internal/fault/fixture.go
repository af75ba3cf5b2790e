package fault

import (
	"slices"

	"github.com/draysync/dray/internal/emulator/registry"
)

const (
	// layerSize is large enough for a body to be cut at several places, and small enough for many runs at once.
	layerSize = 200_000
	// cutAt is half of a layer, in bytes; a config is smaller and passes.
	cutAt = layerSize / 2

	repositories = 2
	images       = 4
	// layers is how many a platform has of its own: enough that a program which gives up after some failures does so.
	layers = 4

	user     = "robot"
	password = "p4ss-w0rd-of-the-fault-table"
)

// fixture is what each source holds: made once, since making images costs more than keeping them.
type fixture struct {
	images []registry.Tagged
	// victim is a layer of the first image, and of no other.
	victim string
}

func newFixture() fixture {
	corpus := registry.Corpus{
		Seed: 6, Repositories: repositories, Tags: images / repositories, SharedLayers: 1,
		Image: registry.ImageOptions{Layers: layers, LayerSize: layerSize},
	}
	f := fixture{images: slices.Collect(corpus.Images())}
	for _, blob := range f.images[0].Image.Blobs {
		if len(blob.Data) > cutAt && !f.shared(blob.Digest) {
			f.victim = blob.Digest
		}
	}
	return f
}

// shared tells whether another image than the first has the blob.
func (f fixture) shared(digest string) bool {
	return slices.ContainsFunc(f.images[1:], func(other registry.Tagged) bool {
		return slices.Contains(other.Image.Digests(), digest)
	})
}
