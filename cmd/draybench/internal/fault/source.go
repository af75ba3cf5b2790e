package fault

import (
	"net/http"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// sourceFaults are those that only a source can have, or has in a way of its own.
func sourceFaults() []scenario {
	blobs := func() match { return kind(http.MethodGet, registry.KindBlob) }
	each := func() match { return blobs().and(first(1)) }
	tenTimes := func() match { return blobs().and(first(10)) }
	return []scenario{
		{fault: "503 on every blob, once", side: Source, arm: injected(each, registry.Fault{Status: http.StatusServiceUnavailable})},
		{fault: "reset before every blob, once", side: Source, arm: injected(each, registry.Fault{Reset: true})},
		{fault: "every blob cut at half, once", side: Source, arm: injected(each, registry.Fault{CutAt: cutAt})},
		{fault: "every blob cut ten times in a row", side: Source, arm: injected(tenTimes, registry.Fault{CutAt: layerSize / 16})},
		{fault: "a blob cut ten times in a row, no ranges", side: Source, arm: func(_ *stage, e *end, f fixture) {
			e.inject(blob(f.victim).and(first(10)), registry.Fault{CutAt: cutAt})
			e.wrap(blobs(), withoutRange)
		}},
		{fault: "500 on every manifest, once", side: Source, arm: injected(func() match {
			return kind("", registry.KindManifest).and(first(1))
		}, registry.Fault{Status: http.StatusInternalServerError})},
		{fault: "a flipped byte in a layer, once", side: Source, arm: func(_ *stage, e *end, f fixture) {
			e.inject(blob(f.victim).and(first(1)), registry.Fault{FlipByte: cutAt})
		}},
		{fault: "a flipped byte in a manifest, once", side: Source, arm: func(_ *stage, e *end, f fixture) {
			e.inject(manifestOf(f.images[0]).and(first(1)), registry.Fault{FlipByte: 100})
		}},
		{
			fault: "a flipped byte in a layer", side: Source, must: must{causes: []string{"digest"}, spared: images - 1},
			arm: func(_ *stage, e *end, f fixture) { e.inject(blob(f.victim), registry.Fault{FlipByte: cutAt}) },
		},
		{
			fault: "a flipped byte in a manifest", side: Source, must: must{causes: []string{"digest"}, spared: images - 1},
			arm: func(_ *stage, e *end, f fixture) { e.inject(manifestOf(f.images[0]), registry.Fault{FlipByte: 100}) },
		},
		{
			fault: "a token that ends in the middle", side: Source, auth: signedIn(shortLife),
			arm: func(_ *stage, e *end, _ fixture) { e.wrap(each(), slowDown(shortly)) },
		},
	}
}

// shortLife is how long a token lives that ends in the middle, on a machine that runs many scenarios at once, and shortly is longer.
const (
	shortLife = 2 * time.Second
	shortly   = shortLife + 200*time.Millisecond
)

// manifestOf matches the download of an image's root, by tag or by digest.
func manifestOf(image registry.Tagged) match {
	path := "/v2/" + image.Repository + "/manifests/"
	return func(r *http.Request) bool {
		return r.Method == http.MethodGet && (r.URL.Path == path+image.Tag || r.URL.Path == path+image.Image.Digest)
	}
}

// withoutRange answers as a registry does that does not know ranges.
func withoutRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	whole := r.Clone(r.Context())
	whole.Header.Del("Range")
	next.ServeHTTP(w, whole)
}
