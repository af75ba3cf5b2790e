package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
)

// The link of a replica, in bytes a second in each direction, and the size of a layer of its own that each tag has. A run is so long that little
// depends on how fast the machine is: a hundred tags take ten seconds of one link.
const (
	linkRate  = 1 << 20
	linkBurst = 64 << 10
	linkLayer = 100 << 10
	// scaleParts is how many mappings have the tags where they are divided.
	scaleParts = 12
)

// link is a way to a server that is as fast as the link of one replica: a proxy, which the replica finds in its environment.
func link(t *testing.T, server string) (proxy string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	there, back := rate.NewLimiter(linkRate, linkBurst), rate.NewLimiter(linkRate, linkBurst)
	pass := func(to, from net.Conn, limit *rate.Limiter) {
		defer to.Close()
		for buffer := make([]byte, linkBurst/4); ; {
			n, err := from.Read(buffer)
			if n > 0 && limit.WaitN(t.Context(), n) == nil {
				_, _ = to.Write(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go pass(conn, client, there)
			go pass(client, conn, back)
		}
	}()
	return "http://" + l.Addr().String()
}

// scale is what a run of replicas took.
type scale struct {
	took time.Duration
	// blobs is how many were fetched, and again how many of these fetches were of one that had been fetched before.
	blobs, again int
}

// scaleOf has replicas import tags, which one mapping has or several, from one repository into another.
func scaleOf(t *testing.T, replicas, mappings, tags int) (s scale) {
	t.Helper()
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	var mu sync.Mutex
	fetched := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "target.test" {
			target.ServeHTTP(w, r)
			return
		}
		if _, blob, ok := strings.Cut(r.URL.Path, "/blobs/"); ok && r.Method == http.MethodGet {
			mu.Lock()
			fetched[blob]++
			mu.Unlock()
		}
		source.ServeHTTP(w, r)
	}))
	defer server.Close()
	base := registry.NewLayer(1, linkLayer)
	push := func(mapping, tag int) {
		image := registry.SingleArch(int64(1+mapping*tags+tag), "linux/amd64", registry.ImageOptions{LayerSize: linkLayer, Base: []registry.Layer{base}})
		if err := image.Push(source, "app", fmt.Sprintf("m%d-%d", mapping, tag)); err != nil {
			t.Fatal(err)
		}
	}
	each := tags / mappings
	for m := range mappings {
		push(m, each)
	}
	ledger := postgrestest.Database(t)
	var all []*running
	for n := range replicas {
		d := newDesk(t)
		lines := []string{
			"version: 1", serverLine(d.socket), fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: 10s}", ledger, n),
			"registries: {source.test: {plainHTTP: true}, target.test: {plainHTTP: true}}", "mappings:",
		}
		for m := range mappings {
			lines = append(lines, mapping("name: app-%d, source: source.test/app, target: target.test/app, tags: ['m%d-*'], referrers: false", m, m))
		}
		d.write(d.config, strings.Join(lines, "\n"))
		all = append(all, launch(t, d.config, d.socket, "HTTP_PROXY="+link(t, server.Listener.Addr().String())))
	}
	r := all[0]
	r.until(t, "all replicas are there, and nothing is to do", func() bool {
		s := r.status(t)
		for _, j := range s.Jobs {
			if j.State != "idle" {
				return false
			}
		}
		return len(s.Replicas) == replicas && len(s.Jobs) == mappings
	})
	for m := range mappings {
		for tag := range each {
			push(m, tag)
		}
	}
	mu.Lock()
	clear(fetched)
	mu.Unlock()
	began := time.Now()
	for m := range mappings {
		if _, err := r.client.Sync(t.Context(), fmt.Sprint("app-", m)); err != nil {
			t.Fatal(err)
		}
	}
	r.within(t, 20*time.Minute, "all tags have arrived", func() bool { return len(target.Tags("app")) == (each+1)*mappings })
	s.took = time.Since(began)
	mu.Lock()
	defer mu.Unlock()
	for _, n := range fetched {
		s.blobs += n
		s.again += n - 1
	}
	for _, r := range all {
		r.stop(t)
	}
	return s
}

// TestScale measures how much faster three replicas are than one, where the network of each is the limit. DRAY_TEST_SCALE says with how many tags.
func TestScale(t *testing.T) {
	tags, err := strconv.Atoi(os.Getenv("DRAY_TEST_SCALE"))
	if err != nil {
		t.Skip("set DRAY_TEST_SCALE to a number of tags, such as 1200, to measure this for minutes")
	}
	one := scaleOf(t, 1, scaleParts, tags)
	several := scaleOf(t, 3, scaleParts, tags)
	undivided := scaleOf(t, 3, 1, tags)
	for what, s := range map[string]scale{"one replica": one, "three replicas": several, "three replicas, one mapping": undivided} {
		t.Logf("%s: %d tags in %.1f s, %.2f times as fast; %d blobs were fetched, %d of them again", what, tags, s.took.Seconds(), one.took.Seconds()/s.took.Seconds(), s.blobs, s.again)
	}
	for _, s := range []scale{several, undivided} {
		if faster := one.took.Seconds() / s.took.Seconds(); faster < 2.6 || s.again > 0 {
			t.Errorf("three replicas are %.2f times as fast as one, and fetched %d blobs again", faster, s.again)
		}
	}
}
