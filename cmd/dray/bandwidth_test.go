package main

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// scales is a registry that counts the bytes of blobs in both directions.
type scales struct {
	*registry.Registry
	in, out atomic.Int64
}

// ServeHTTP implements http.Handler.
func (s *scales) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "/blobs/") {
		r.Body = weighed{r.Body, &s.in}
		w = weighing{w, &s.out}
	}
	s.Registry.ServeHTTP(w, r)
}

type weighed struct {
	io.ReadCloser
	n *atomic.Int64
}

// Read implements io.Reader.
func (b weighed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

type weighing struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write implements io.Writer. It writes little at a time, so that what is counted has left.
func (w weighing) Write(p []byte) (int, error) {
	for done := 0; ; {
		n, err := w.ResponseWriter.Write(p[done:min(done+16<<10, len(p))])
		w.n.Add(int64(n))
		if done += n; err != nil || done == len(p) {
			return done, err
		}
	}
}

// TestBandwidth syncs two images between registries on this machine: for ten seconds as fast as the config says, by registry and in all, and
// then, after a reload, as fast as it goes.
func TestBandwidth(t *testing.T) {
	fulltest.Long(t)
	if raceDetector {
		t.Skip("it measures a speed, which the race detector changes")
	}
	for name, tt := range map[string]struct {
		top, source string
		want        float64
	}{
		"in all":      {"bandwidth: 8MiB/s", "", 8 << 20},
		"by registry": {"bandwidth: 80MiB/s", ", bandwidth: 4MiB/s", 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			source, target := &scales{Registry: registry.New(registry.Options{})}, &scales{Registry: registry.New(registry.Options{})}
			for i, tag := range []string{"v1", "v2"} {
				if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{Layers: 4, LayerSize: 24 << 20}).Push(source.Registry, "app", tag); err != nil {
					t.Fatal(err)
				}
			}
			hosts := map[*scales]string{}
			for _, s := range []*scales{source, target} {
				server := httptest.NewUnstartedServer(s)
				server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
					_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10) // what waits in it counts as sent
					return ctx
				}
				server.Start()
				t.Cleanup(server.Close)
				hosts[s] = strings.TrimPrefix(server.URL, "http://")
			}
			text := func(top, more string) string {
				return strings.Join([]string{
					"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), top, "registries:",
					"  '" + hosts[source] + "': {plainHTTP: true" + more + "}", "  '" + hosts[target] + "': {plainHTTP: true}", "mappings:",
					mapping("name: app, source: '%s/app', target: '%s/app', tags: ['v*'], referrers: false", hosts[source], hosts[target]),
				}, "\n")
			}
			d.write(d.config, text(tt.top, tt.source))
			r := launch(t, d.config, d.socket)
			r.until(t, "a MiB has arrived", func() bool { return target.in.Load() > 1<<20 })
			speeds := func() (all map[string]float64, slow bool) {
				fetched, sent, start := source.out.Load(), target.in.Load(), time.Now()
				time.Sleep(10 * time.Second) // what is measured is real time
				all = map[string]float64{}
				for what, n := range map[string]int64{"fetched": source.out.Load() - fetched, "sent": target.in.Load() - sent} {
					all[what] = float64(n)/time.Since(start).Seconds()/tt.want - 1
					t.Logf("%s: %+.1f %%", what, 100*all[what])
					slow = slow || all[what] < -0.05
				}
				return all, slow
			}
			all, slow := speeds()
			if slow { // the machine may have had something else to do
				all, _ = speeds()
			}
			for what, off := range all {
				most := 0.05
				if what == "fetched" {
					most = 0.1 // the connections' buffers are between it and dray
				}
				if math.Abs(off) > most {
					t.Errorf("%s: %+.1f %% of %.0f bytes a second", what, 100*off, tt.want)
				}
			}
			held := float64(8*(24<<20)-target.in.Load()) / tt.want // seconds, if it went on so
			d.write(d.config, text("", ""))
			if err := r.client.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			freed := time.Now()
			r.until(t, "the run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
			if took := time.Since(freed).Seconds(); took > max(5, held/2) {
				t.Errorf("without a limit it takes another %.1f s, with it %.1f", took, held)
			}
			if err := r.status(t).Jobs[0].Last.Error; err != "" {
				t.Error(err)
			}
			r.stop(t)
		})
	}
}
