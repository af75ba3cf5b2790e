package transfer_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// fromWhere notes where the first of the large blob is seen.
type fromWhere struct {
	meter
	first atomic.Int64
}

// Moved implements mirror.Meter.
func (m *fromWhere) Moved(bytes int64) {
	m.meter.Moved(bytes)
	if bytes > 100 { // it is no config
		m.first.CompareAndSwap(0, bytes)
	}
}

// TestHalfABlobCounts: what a try has brought of a blob is neither fetched nor sent again by the next, however the try ended; a registry that
// has forgotten it is given all of it, and wrong bytes are never resumed.
func TestHalfABlobCounts(t *testing.T) {
	fulltest.Long(t)
	const mib = 1 << 20
	blobs := func(method string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == method && strings.Contains(r.URL.Path, "/blobs/sha256:") && r.Header.Get("Range") == ""
		}
	}
	again := func(r *http.Request) bool { return r.Header.Get("Range") != "" }
	sends := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/uploads/") && r.ContentLength > mib
	}
	for name, test := range map[string]struct {
		size           int64
		target         emulator.UploadOptions
		source, broken []emulator.Fault // of the source and the target in the first try
		most           float64          // times the size
		begins         int64            // from where on the second try is seen to go on, at the least
	}{
		"a try that is ended": {
			size: 64 * mib, most: 1.1, begins: 36 * mib,
			source: []emulator.Fault{{Match: blobs(http.MethodGet), CutAt: 40 * mib}, {Match: again, Hang: true}},
		},
		"a source that breaks off": {
			size: 16 * mib, most: 1.1, begins: 8 * mib,
			source: []emulator.Fault{{Match: blobs(http.MethodGet), CutAt: 10 * mib}, {Match: again, Status: http.StatusServiceUnavailable}},
		},
		"a target that breaks off": {
			size: 16 * mib, most: 1.3, begins: 8 * mib, // what it has lost of a request is fetched again from a mark on, of which there is one every 4 MiB
			broken: []emulator.Fault{{Match: sends, CutRequestAt: 10 * mib, Times: 1}, {Match: sends, Reset: true}},
		},
		"a target that forgets": {
			size: 16 * mib, target: emulator.UploadOptions{Forgetful: true}, most: 1.8,
			source: []emulator.Fault{{Match: blobs(http.MethodGet), CutAt: 10 * mib}, {Match: again, Hang: true}},
		},
		"wrong bytes": {
			size: 16 * mib, most: 2.1, begins: 8 * mib, // that they were wrong is known in the end
			source: []emulator.Fault{{Match: blobs(http.MethodGet), FlipByte: 5 * mib, CutAt: 10 * mib}, {Match: again, Hang: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stand{source: emulator.New(emulator.Options{}), target: emulator.New(emulator.Options{Uploads: test.target}), third: emulator.New(emulator.Options{})}
				s.renew(t)
				data := make([]byte, test.size)
				_, _ = rand.NewChaCha8([32]byte{16}).Read(data) // never fails
				digest := s.put(t, image.MediaTypeOCIManifest, map[string]any{
					"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest,
					"config": s.blob("application/vnd.oci.image.config.v1+json", []byte("{}")),
					"layers": []any{s.blob("application/vnd.oci.image.layer.v1.tar", data)},
				})
				var heal []func()
				for _, f := range test.source {
					heal = append(heal, s.source.Inject(f))
				}
				for _, f := range test.broken {
					heal = append(heal, s.target.Inject(f))
				}
				ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
				o := order("team/app", "v1", digest)
				if s.try(ctx, o) == nil {
					t.Fatal("the first try did not fail")
				}
				end()
				for _, f := range heal {
					f()
				}
				s.rest(t) // what it began has ended
				m := &fromWhere{}
				if _, err := s.engine.Import(t.Context(), o, m); err != nil {
					t.Fatal(err)
				}
				m.check(t)
				if at := m.first.Load(); at < test.begins || test.begins == 0 && at > mib {
					t.Errorf("the second try is seen to begin at byte %d", at)
				}
				whole(t, s.target, "team/app", "v1", digest)
				var sent, fetched int64
				for _, q := range s.target.Requests() {
					sent += q.BytesIn
				}
				for _, q := range s.source.Requests() {
					fetched += q.BytesOut
				}
				t.Logf("fetched %.2f, sent %.2f times the size", float64(fetched)/float64(test.size), float64(sent)/float64(test.size))
				if most := int64(test.most * float64(test.size)); sent > most || fetched > most {
					t.Errorf("of %d bytes %d were fetched and %d sent", test.size, fetched, sent)
				}
			})
		})
	}
}
