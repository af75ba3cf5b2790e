package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// TestBucket has many move bytes in portions of all sizes for ten seconds: that is the rate, for each about the same.
func TestBucket(t *testing.T) {
	for _, rate := range []int64{64 << 10, 1_000_000, 50 << 20, 400 << 20} {
		for _, movers := range []int{1, 40} {
			t.Run(fmt.Sprintf("%d by %d", rate, movers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var b bucket
					b.set(rate)
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					moved := make([]int64, movers)
					var group sync.WaitGroup
					for i := range moved {
						group.Go(func() {
							for n := 1; ; n = n*7%32768 + 1 {
								if b.pay(ctx, n) != nil {
									return
								}
								moved[i] += int64(n)
							}
						})
					}
					group.Wait()
					total, least := int64(0), int64(math.MaxInt64)
					for _, n := range moved {
						total, least = total+n, min(least, n)
					}
					if off := float64(total)/float64(10*rate) - 1; math.Abs(off) > 0.05 {
						t.Errorf("%d bytes in 10 s, %.1f %% off", total, 100*off)
					}
					if movers > 1 && rate > 1<<20 && least < total/int64(movers)*8/10 {
						t.Errorf("one moved only %d of %d bytes", least, total)
					}
				})
			})
		}
	}
}

// TestBucketChanges: a change of the rate is one at once, for who waits as well, and a context that ends is no longer waited for.
func TestBucketChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bandwidth
		start := time.Now()
		after := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(start); got < want || got > want+100*time.Millisecond {
				t.Errorf("%s: after %s, want %s", what, got, want)
			}
			start = time.Now()
		}
		pay := func(ctx context.Context, n int) error { return b.in.pay(ctx, n) }
		if err := pay(t.Context(), 1<<40); err != nil {
			t.Error(err)
		}
		after("no limit", 0)
		b.Set(1000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := pay(ctx, 1_000_000); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		after("it gives up", time.Minute)
		time.AfterFunc(10*time.Second, func() { b.Set(0) })
		_ = pay(t.Context(), 1_000_000)
		after("the limit is removed", 10*time.Second)
		b.Set(1000)
		time.AfterFunc(10*time.Second, func() { b.Set(100_000) })
		_ = pay(t.Context(), 10_000)
		_ = pay(t.Context(), 10_000)
		after("the limit is raised", 10*time.Second+100*time.Millisecond)
		if err := b.out.pay(t.Context(), 4000); err != nil {
			t.Error(err)
		}
		after("the other direction", 0)
	})
}

// TestBandwidth moves blobs at the lowest rate, both ways, for so long that a registry that is as slow by itself would be given up; that is no
// work of the import, and small requests pass.
func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, rate = 20 << 20, 64 << 10
		blob := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		var got atomic.Int64
		listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			n, _ := io.Copy(io.Discard, q.Body)
			got.Add(n)
			if q.Method == http.MethodGet {
				_, _ = w.Write(blob)
			}
		}))
		_ = server.Listener.Close()
		server.Listener = listener
		server.Start()
		defer server.Close()
		one, all := &Bandwidth{}, &Bandwidth{}
		all.Common()
		all.Set(4 * rate)
		var began, ended atomic.Int64
		one.Set(rate)
		transport, err := New(Options{
			Name: "registry.example", API: "registry.example", Host: Host{PlainHTTP: true}, Start: 4, Most: 4, Bandwidth: []*Bandwidth{all, one}, Log: slog.New(slog.DiscardHandler),
			Wrap: func(_ string, next http.RoundTripper) http.RoundTripper {
				next.(*versions).newest.DialContext = func(context.Context, string, string) (net.Conn, error) {
					client, accepted := net.Pipe()
					listener.conns <- accepted
					return client, nil
				}
				return next
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.CloseIdleConnections()
		do := func(lane Lane, method string, body []byte) error {
			ctx, cancel := worktime.WithTimeout(t.Context(), 10*time.Second, errors.New("it worked for too long"))
			defer cancel()
			ctx = worktime.WithThrottle(ctx, func() func() { began.Add(1); return func() { ended.Add(1) } })
			q, err := http.NewRequestWithContext(ctx, method, "http://registry.example/", bytes.NewReader(body))
			if err != nil {
				return err
			}
			resp, err := transport.Do(q, Call{Operation: method, Lane: lane})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if method == http.MethodGet {
				got.Add(n)
			}
			return err
		}
		for name, tt := range map[string]struct {
			lane   Lane
			method string
			body   []byte
			want   time.Duration
		}{
			"download": {Downloads, http.MethodGet, nil, size / rate * time.Second},
			"upload":   {Uploads, http.MethodPut, blob, size / rate * time.Second},
			"manifest": {Reads, http.MethodGet, nil, 0},
			"write":    {Writes, http.MethodPut, blob, 0},
		} {
			got.Store(0)
			start := time.Now()
			if err := do(tt.lane, tt.method, tt.body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(start); math.Abs(float64(took-tt.want)) > 0.05*float64(tt.want) || got.Load() != size {
				t.Errorf("%s: %s, want %s; %d bytes", name, took, tt.want, got.Load())
			}
		}
		// Waits for the limit of one registry are none for that of all, but for the first bytes of each direction.
		if n := began.Load(); n > 10 || ended.Load() != n {
			t.Errorf("%d waits for the limit of all began, %d ended", n, ended.Load())
		}
		all.Set(rate / 2)
		if err := do(Downloads, http.MethodGet, nil); err != nil {
			t.Error(err)
		}
		if n := began.Load(); n < 1000 || ended.Load() != n {
			t.Errorf("%d waits for the limit of all began, %d ended", n, ended.Load())
		}
	})
}

// TestPortions: the more share a rate, the less each moves at once, so that none is silent for long.
func TestPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const movers, rate = 500, 1 << 20
		var b bucket
		b.set(rate)
		m := meter{slot: &slot{over: true}, buckets: []*bucket{&b}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var silent, total atomic.Int64
		var group sync.WaitGroup
		for range movers {
			group.Go(func() {
				buffer := make([]byte, 32<<10)
				for rounds := 0; ; rounds++ {
					began, n := time.Now(), len(m.portion(buffer))
					if m.pay(ctx, n) != nil {
						return
					}
					total.Add(int64(n))
					if took := int64(time.Since(began)); rounds > 0 && took > silent.Load() {
						silent.Store(took)
					}
				}
			})
		}
		group.Wait()
		if longest := time.Duration(silent.Load()); longest > 2*time.Second {
			t.Errorf("one has moved nothing for %s", longest)
		}
		if off := float64(total.Load())/(60*rate) - 1; math.Abs(off) > 0.05 {
			t.Errorf("%d bytes in a minute, %.1f %% off", total.Load(), 100*off)
		}
	})
}
