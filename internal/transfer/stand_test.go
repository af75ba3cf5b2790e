package transfer_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/transfer"
)

// The hosts are addresses for documentation (RFC 5737): nothing looks their names up.
const (
	sourceHost = "192.0.2.1"
	targetHost = "192.0.2.2"
	thirdHost  = "192.0.2.3"
)

// stand is two emulated registries with an engine between them.
type stand struct {
	source, target, third *emulator.Registry
	client                *registry.Client
	engine                *transfer.Engine
}

// both are the ways in which a registry can know of referrers.
var both = map[string]emulator.Options{"referrers API": {Referrers: true}, "fallback tag": {}}

// inBubble runs f with a stand in a bubble of fake time.
func inBubble(t *testing.T, options emulator.Options, f func(t *testing.T, s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stand{source: emulator.New(options), target: emulator.New(options), third: emulator.New(options)}
		s.renew(t)
		f(t, s)
	})
}

// renew gives the stand an engine and a client that remember nothing, as a new process has them.
func (s *stand) renew(t *testing.T) {
	t.Helper()
	network := emulator.Network{sourceHost: s.source, targetHost: s.target, thirdHost: s.third}
	client, err := registry.New(registry.Options{
		Retries: registry.Retries{Attempts: 2},
		Wrap:    func(string, http.RoundTripper) http.RoundTripper { return network },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	s.engine = transfer.New(transfer.Options{
		Source: client, Artifacts: client, Target: client, Presence: client, Log: slog.New(slog.DiscardHandler),
		Metered: func(registry string) bool { return registry == thirdHost },
	})
	t.Cleanup(func() { _ = client.Close() })
}

func at(host, path string) image.Repository { return image.Repository{Registry: host, Path: path} }

// order asks to bring a digest of a repository to the same path and tag at a target.
func order(path, tag, digest string) mirror.Order {
	return mirror.Order{Action: diff.Action{
		Op: diff.Import, Reason: diff.Absent, Digest: image.Digest(digest),
		Source: at(sourceHost, path).Tag(tag).WithDigest(image.Digest(digest)),
		Target: at(targetHost, path).Tag(tag),
	}, Fresh: true}
}

// withAll asks for all referrers as well.
func withAll(o mirror.Order) mirror.Order {
	o.Referrers = plan.Referrers{All: true}
	return o
}

// bring imports, and fails the test where that fails.
func (s *stand) bring(t *testing.T, o mirror.Order) mirror.Receipt {
	t.Helper()
	m := &meter{}
	receipt, err := s.engine.Import(t.Context(), o, m)
	if err != nil {
		t.Fatalf("import of %s: %v", o.Source, err)
	}
	m.check(t)
	if receipt.Digest != o.Digest {
		t.Errorf("receipt says %s, ordered was %s", receipt.Digest, o.Digest)
	}
	return receipt
}

// push puts an image into the source.
func (s *stand) push(t *testing.T, i emulator.Image, path, tag string) {
	t.Helper()
	if err := i.Push(s.source, path, tag); err != nil {
		t.Fatal(err)
	}
}

// whole checks that a target tag holds a digest with all below it.
func whole(t *testing.T, r *emulator.Registry, path, tag, digest string) {
	t.Helper()
	if got := r.Digest(path, tag); got != digest {
		t.Errorf("%s:%s holds %q, want %s", path, tag, got, digest)
	}
	if err := r.Whole(path, tag); err != nil {
		t.Error(err)
	}
}

// contains checks that there is an error and that it says all that is wanted.
func contains(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q lacks %q", err, part)
		}
	}
}

// count counts the requests of one method and kind; an empty string is any.
func count(r *emulator.Registry, method, kind string) int {
	return r.Count(func(q emulator.Request) bool {
		return (method == "" || q.Method == method) && (kind == "" || q.Kind == kind)
	})
}

// writes are the requests that can change something, as "METHOD kind reference".
func writes(r *emulator.Registry) []string {
	lines := []string{}
	for _, q := range r.Requests() {
		if q.Method != http.MethodGet && q.Method != http.MethodHead {
			lines = append(lines, fmt.Sprintf("%s %s %s", q.Method, q.Kind, q.Reference))
		}
	}
	return lines
}

// meter adds up.
type meter struct{ expected, moved atomic.Int64 }

func (m *meter) Expect(bytes int64) { m.expected.Add(bytes) }
func (m *meter) Moved(bytes int64)  { m.moved.Add(bytes) }

func (m *meter) check(t *testing.T) {
	t.Helper()
	if m.expected.Load() != m.moved.Load() {
		t.Errorf("the meter expects %d bytes and has %d moved", m.expected.Load(), m.moved.Load())
	}
}

// try imports and returns only the error.
func (s *stand) try(ctx context.Context, o mirror.Order) error {
	_, err := s.engine.Import(ctx, o, &meter{})
	return err
}
