package transfer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

func TestMostSharedFirst(t *testing.T) {
	blobOf := func(name string, size int64) blob {
		return blob{Descriptor: image.Descriptor{Digest: image.DigestOf([]byte(name), ""), Size: size}}
	}
	base, runtime, app, config := blobOf("base", 10), blobOf("runtime", 10), blobOf("app", 500), blobOf("config", 1)
	l := newBlobLocations()
	for i, test := range []struct {
		manifest   string
		blobs, out []blob
	}{
		{"alone: the largest", []blob{config, base, runtime, app}, []blob{app, base, runtime, config}},
		{"another on the same base", []blob{blobOf("config 2", 1), base, blobOf("app 2", 20)}, []blob{base, blobOf("app 2", 20), blobOf("config 2", 1)}},
		{"the first again counts once", []blob{config, base, runtime, app}, []blob{base, app, runtime, config}},
	} {
		manifest := image.DigestOf([]byte(test.manifest), "")
		if i == 2 {
			manifest = image.DigestOf([]byte("alone: the largest"), "")
		}
		if diff := cmp.Diff(test.out, l.mostShared(manifest, test.blobs), cmp.AllowUnexported(blob{})); diff != "" {
			t.Errorf("%s: %s", test.manifest, diff)
		}
	}
	if n := l.sharers[base.Digest]; n != 2 {
		t.Errorf("the base is counted %d times", n)
	}
}
