package realworld

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
)

const (
	layerSize = 12_000_000
	layers    = 6
	cutAt     = 5_000_000
)

// TestGateways has gateways lose or break what dray sends: all arrives, and little of it is sent twice.
func TestGateways(t *testing.T) {
	for _, g := range []struct {
		name   string
		before func(t *testing.T) http.Handler
		// wasted is what may be wasted beyond a tenth: what every blob has lost once, as all are on their way at the first break.
		wasted int64
	}{
		{"every upload breaks off once", func(*testing.T) http.Handler { return breaking() }, 0},
		{"504 after the registry has said 201", func(t *testing.T) http.Handler { return losesAnswers(real(t)) }, 0},
		{"every body cut, sessions forgotten", func(t *testing.T) http.Handler { return &cuts{next: real(t)} }, layers * cutAt},
		{"500 to a session that goes on", func(*testing.T) http.Handler { return &mismatch{next: breaking()} }, layers * cutAt},
		{"Range off by one", func(*testing.T) http.Handler { return offByOne(breaking()) }, 0},
	} {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			gate := registry.NewGate(g.before(t))
			sent, blobs := bringLarge(t, gate, "")
			if most := blobs*11/10 + g.wasted; sent > most {
				t.Errorf("%d MB were sent for blobs of %d MB, want at most %d MB", sent/1_000_000, blobs/1_000_000, most/1_000_000)
			}
			t.Logf("%d MB were sent for blobs of %d MB", sent/1_000_000, blobs/1_000_000)
		})
	}
}

// TestOneSlot has every upload break off once at a registry that may be asked one thing at a time: no blob waits for a slot of which
// another waits for its own.
func TestOneSlot(t *testing.T) {
	t.Parallel()
	bringLarge(t, registry.NewGate(breaking()), "plainHTTP: true, concurrency: 1")
}

// bringLarge brings an image with large layers through a gate, and returns what was sent and how large its blobs are.
func bringLarge(t *testing.T, gate *registry.Gate, settings string) (sent, blobs int64) {
	t.Helper()
	o, u := newOrigin(t, 1), newUser(t)
	large := registry.SingleArch(77, "linux/amd64", registry.ImageOptions{Layers: layers, LayerSize: layerSize})
	if err := large.Push(o.Registry, "team/large", "1"); err != nil {
		t.Fatal(err)
	}
	s := &site{host: registrytest.Start(t, gate).Host, scheme: "http", settings: settings}
	s.direct = s.host
	defer tell(t, gate)
	u.sync(t, u.config(t, s.registries(""), fmt.Sprintf("source: '%s/team/large', target: '%s/team/large', tags: ['1']", o.host, s.host))).wants(t, 1, 0)
	if d := s.digest(t, "team/large", "1"); d != large.Digest {
		t.Errorf("the tag has %q, want %s", d, large.Digest)
	}
	for _, r := range gate.Requests() {
		sent += r.BytesIn
	}
	return sent, large.Size()
}

// tell lists the requests that carried a test to its failure.
func tell(t *testing.T, gate *registry.Gate) {
	t.Helper()
	if !t.Failed() {
		return
	}
	var lines strings.Builder
	for _, r := range gate.Requests() {
		fmt.Fprintf(&lines, "%s %s %s %s: %d, %d bytes\n", r.At.Format("05.000"), r.Method, r.Kind, r.Reference, r.Status, r.BytesIn)
	}
	t.Logf("requests:\n%s", tail(lines.String()))
}

// real is a docker-registry of its own, as a handler.
func real(t *testing.T) http.Handler {
	t.Helper()
	proxy, err := registry.NewProxy(settings{}.start(t, "docker-registry", folder(t)).URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return proxy
}

// breaking is a registry that breaks as many requests off as there are blobs, and can go on: that of the distribution project cannot.
func breaking() *registry.Registry {
	r := registry.New(registry.Options{Uploads: registry.UploadOptions{Plain: true}})
	r.Inject(registry.Fault{Times: layers, CutRequestAt: cutAt, Match: func(r *http.Request) bool { return carries(r) && r.ContentLength >= layerSize }})
	return r
}

// carries tells a request with bytes of a blob.
func carries(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/blobs/uploads/") && (r.Method == http.MethodPut || r.Method == http.MethodPatch)
}

// losesAnswers passes large blobs on, and then answers that it was too slow.
func losesAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !carries(r) || r.Method != http.MethodPut {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if answer.Code == http.StatusCreated && r.ContentLength >= layerSize {
			http.Error(w, "gateway time-out", http.StatusGatewayTimeout)
			return
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// cuts lets no more than some bytes of a request pass, and its registry forgets the upload then.
type cuts struct {
	next   http.Handler
	mu     sync.Mutex
	broken map[string]bool
}

func (c *cuts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	forgotten := c.broken[r.URL.Path]
	if carries(r) && r.ContentLength > cutAt && !forgotten {
		if c.broken == nil {
			c.broken = map[string]bool{}
		}
		c.broken[r.URL.Path] = true
		c.mu.Unlock()
		_, _ = io.CopyN(io.Discard, r.Body, cutAt)
		panic(http.ErrAbortHandler)
	}
	c.mu.Unlock()
	if forgotten {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}`)
		return
	}
	c.next.ServeHTTP(w, r)
}

// mismatch refuses with a 500 whatever goes on with an upload of which a request broke off, though it says how far that is.
type mismatch struct {
	next   http.Handler
	mu     sync.Mutex
	broken map[string]bool
}

func (m *mismatch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if trouble := recover(); trouble != nil {
			m.mu.Lock()
			if m.broken == nil {
				m.broken = map[string]bool{}
			}
			m.broken[r.URL.Path] = true
			m.mu.Unlock()
			panic(trouble)
		}
	}()
	m.mu.Lock()
	refuse := carries(r) && m.broken[r.URL.Path]
	m.mu.Unlock()
	if refuse {
		http.Error(w, `{"errors":[{"code":"UNKNOWN","message":"offset mismatch"}]}`, http.StatusInternalServerError)
		return
	}
	m.next.ServeHTTP(w, r)
}

// offByOne has the registry's Range name how many bytes there are, in place of the last one.
func offByOne(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/uploads/") {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		if last, err := strconv.Atoi(strings.TrimPrefix(answer.Header().Get("Range"), "0-")); err == nil && last > 0 {
			w.Header().Set("Range", fmt.Sprintf("0-%d", last+1))
		}
		w.WriteHeader(answer.Code)
	})
}
