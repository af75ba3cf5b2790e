package fault

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/emulator/registry"
)

// targetFaults are those that only a target can have, or has in a way of its own.
func targetFaults() []scenario {
	bodies := match(carries).and(large)
	each := func() match { return bodies.and(first(1)) }
	return []scenario{
		{
			fault: "503 on every upload request, once", side: Target,
			arm: injected(func() match { return match(upload).and(first(1)) }, registry.Fault{Status: http.StatusServiceUnavailable}),
		},
		{fault: "every upload cut at half, once", side: Target, arm: injected(each, registry.Fault{CutRequestAt: cutAt})},
		{
			fault: "every upload cut ten times in a row", side: Target,
			arm: injected(func() match { return bodies.and(first(10)) }, registry.Fault{CutRequestAt: layerSize / 16}),
		},
		{fault: "reset during every PUT, once", side: Target, arm: func(_ *stage, e *end, _ fixture) { e.wrap(each(), tear) }},
		{fault: "reset during every PUT, three times, and nothing kept", side: Target, arm: func(_ *stage, e *end, _ fixture) {
			f := &forgetful{torn: map[string]bool{}}
			e.wrap(bodies.and(first(3)), f.tear)
			e.wrap(f.knows, unknownUpload)
		}},
		{fault: "500 on every manifest PUT, once", side: Target, arm: injected(func() match {
			return kind(http.MethodPut, registry.KindManifest).and(first(1))
		}, registry.Fault{Status: http.StatusInternalServerError})},
		{
			fault: "a flipped byte in an upload", side: Target, must: must{causes: []string{"digest"}, spared: images - 1},
			arm: func(_ *stage, e *end, f fixture) { e.wrap(bodies.and(f.uploadsVictim), flip) },
		},
		{
			fault: "a token that ends in the middle", side: Target, auth: signedIn(shortLife),
			arm: func(_ *stage, e *end, _ fixture) { e.wrap(each(), takeSlowly(shortly)) },
		},
		{fault: "every mount answered 202", side: Target, arm: func(_ *stage, e *end, _ fixture) {
			e.wrap(kind(http.MethodPost, registry.KindUpload).and(mounts), withoutMount)
		}},
	}
}

// forgetful is a registry that drops an upload when its connection breaks.
type forgetful struct {
	mu   sync.Mutex
	torn map[string]bool
}

func (f *forgetful) tear(w http.ResponseWriter, r *http.Request, next http.Handler) {
	f.mu.Lock()
	f.torn[r.URL.Path] = true
	f.mu.Unlock()
	tear(w, r, next)
}

// knows matches requests to an upload that was dropped.
func (f *forgetful) knows(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.torn[r.URL.Path]
}

func unknownUpload(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	problem(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
}

// uploadsVictim matches what uploads the victim; a PATCH, which does not say what it carries, where it may.
func (f fixture) uploadsVictim(r *http.Request) bool {
	if r.Method == http.MethodPatch {
		return strings.HasPrefix(r.URL.Path, "/v2/"+targetOf(f.images[0].Repository)+"/")
	}
	return r.URL.Query().Get("digest") == f.victim
}

func mounts(r *http.Request) bool { return r.URL.Query().Get("mount") != "" }

// withoutMount opens an upload in the place of a mount, as registries do that cannot or will not mount.
func withoutMount(w http.ResponseWriter, r *http.Request, next http.Handler) {
	plain := r.Clone(r.Context())
	query := plain.URL.Query()
	query.Del("mount")
	query.Del("from")
	plain.URL.RawQuery = query.Encode()
	next.ServeHTTP(w, plain)
}

// noSpace is how the operating system says that a disk is full.
const noSpace = "no space left on device"

// fullDisks are targets that can take no more, at the start of an upload, in the middle of it, or at the manifest.
func fullDisks() []scenario {
	places := []struct {
		at    string
		match match
	}{
		{"POST", kind(http.MethodPost, registry.KindUpload)},
		{"PUT", carries},
	}
	var list []scenario
	for _, status := range []int{http.StatusInternalServerError, http.StatusInsufficientStorage} {
		for _, place := range places {
			list = append(list, fullDisk(fmt.Sprintf("disk full: %d on upload %s", status, place.at), status, place.match))
		}
	}
	return append(list, fullDisk("disk full: 507 on manifest PUT", http.StatusInsufficientStorage, kind(http.MethodPut, registry.KindManifest)))
}

func fullDisk(name string, status int, m match) scenario {
	return scenario{
		fault: name, side: Target, must: must{causes: []string{fmt.Sprint(status), noSpace}},
		arm: func(_ *stage, e *end, _ fixture) {
			e.wrap(m, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_, _ = io.CopyN(io.Discard, r.Body, cutAt) // it noticed in the middle
				problem(w, status, "UNKNOWN", noSpace)
			})
		},
	}
}
