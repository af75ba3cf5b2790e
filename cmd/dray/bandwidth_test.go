package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// speed is how fast a count of bytes grows.
type speed struct {
	count *atomic.Int64
	// parts are how much was counted in short times, one after another.
	parts []part
}

type part struct{ bytes, seconds float64 }

// measure takes real time, as that is what is measured.
func (s *speed) measure(length time.Duration) {
	for began, bytes, at := time.Now(), s.count.Load(), time.Now(); time.Since(began) < length; {
		time.Sleep(length / 50)
		n, now := s.count.Load(), time.Now()
		s.parts = append(s.parts, part{float64(n - bytes), now.Sub(at).Seconds()})
		bytes, at = n, now
	}
}

// mean is that of all the time, in bytes a second.
func (s *speed) mean() float64 {
	var all part
	for _, p := range s.parts {
		all.bytes, all.seconds = all.bytes+p.bytes, all.seconds+p.seconds
	}
	return all.bytes / all.seconds
}

// usual is the speed while the machine does nothing else: the median.
func (s *speed) usual() float64 {
	var speeds []float64
	for _, p := range s.parts {
		speeds = append(speeds, p.bytes/p.seconds)
	}
	slices.Sort(speeds)
	return speeds[len(speeds)/2]
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
			var measured sync.WaitGroup
			for what, s := range map[string]*speed{"fetched": {count: &source.out}, "sent": {count: &target.in}} {
				measured.Go(func() {
					s.measure(10 * time.Second)
					mean, usual := s.mean()/tt.want-1, s.usual()/tt.want-1
					t.Logf("%s: %+.1f %%, when nothing was in the way %+.1f %%", what, 100*mean, 100*usual)
					most := 0.05
					if what == "fetched" {
						most = 0.1 // the connections' buffers are between it and dray
					}
					if mean > most || mean < -0.5 || usual < -most {
						t.Errorf("%s: %+.1f %% of %.0f bytes a second, when nothing was in the way %+.1f %%", what, 100*mean, tt.want, 100*usual)
					}
				})
			}
			measured.Wait()
			held := float64(8*(24<<20)-target.in.Load()) / tt.want // seconds, if it went on so
			d.write(d.config, text("", ""))
			if err := r.client.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			freed := time.Now()
			r.until(t, "the run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
			if took := time.Since(freed).Seconds(); took > 0.75*held {
				t.Errorf("without a limit it takes another %.1f s, with it %.1f", took, held)
			}
			if err := r.status(t).Jobs[0].Last.Error; err != "" {
				t.Error(err)
			}
			r.stop(t)
		})
	}
}
