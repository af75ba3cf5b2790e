package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

// TestThousandReloads reloads good and bad configs in random order while syncs run: no run of a job that no reload touches fails or overlaps
// another of it, and goroutines, file descriptors and memory stay as they are.
func TestThousandReloads(t *testing.T) {
	if testing.Short() {
		t.Skip("reloads for seconds")
	}
	t.Parallel()
	reloads := int(fulltest.Rounds(200, 1000)) //nolint:gosec // a small number
	d := newDesk(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	source.Inject(registry.Fault{Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }, Delay: 20 * time.Millisecond})
	from, to := start(t, source), start(t, target)
	seed := int64(0)
	move := func() {
		seed++
		image := registry.SingleArch(seed, "linux/amd64", registry.ImageOptions{LayerSize: 5000})
		if err := image.Push(source, "app", fmt.Sprintf("v%d", seed%3)); err != nil {
			t.Fatal(err)
		}
	}
	job := func(name, more string) string {
		return mapping("name: %s, source: '%s/app', target: '%s/%s', tags: ['v*'], referrers: false, schedule: '@every 1h'%s", name, from, to, name, more)
	}
	write := func(names ...string) {
		lines := []string{
			"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "log: {level: warn}", "jobs: 8", "mappings:", job("steady", ""),
		}
		for _, name := range names {
			lines = append(lines, job(name, fmt.Sprintf(", retries: %d", rand.IntN(5))))
		}
		d.write(d.config, strings.Join(lines, "\n"))
	}
	move()
	write("a")
	r := launch(t, d.config, d.socket)
	var before map[string]float64
	rejected := 0
	var order []int
	for n := range reloads {
		if n%5 == 0 {
			order = rand.Perm(5)
		}
		switch order[n%5] {
		case 0:
			d.write(d.config, "version: 1\nmapings: []\n")
		case 1:
			write()
		default:
			write([]string{"a", "b", "c", "d"}[:1+rand.IntN(4)]...)
		}
		if n%3 == 0 {
			move()
			if _, err := r.client.Sync(t.Context(), "steady"); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.client.Reload(t.Context()); err != nil {
			rejected++
		}
		if n == reloads/5 { // by then all has been there that is to be
			before = r.metrics(t, d.socket)
		}
	}
	write("a")
	if err := r.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until(t, "nothing runs", func() bool {
		for _, j := range r.status(t).Jobs {
			if j.State == record.JobRunning || j.State == record.JobWaiting {
				return false
			}
		}
		return true
	})
	after := r.metrics(t, d.socket)
	for name, factor := range map[string]float64{"go_goroutines": 1.5, "process_open_fds": 1.5, "process_resident_memory_bytes": 1.5} {
		t.Logf("%s: %.0f, %.0f at the end", name, before[name], after[name])
		if name == "process_resident_memory_bytes" && !fulltest.AllRounds() {
			continue // so early it still grows
		}
		if after[name] > factor*before[name]+10 {
			t.Errorf("%s grew from %.0f to %.0f", name, before[name], after[name])
		}
	}
	runs, err := r.client.History(t.Context(), "steady", 1000)
	if err != nil || len(runs) < reloads/50 {
		t.Errorf("%v, %d runs", err, len(runs))
	}
	for _, run := range runs {
		if run.Outcome != record.RunOK {
			t.Errorf("a run that no reload concerned: %+v", run)
		}
	}
	plausible(t, r, reloads)
	if rejected < reloads/10 || r.status(t).Config.Generation < reloads/2 {
		t.Errorf("%d rejections, generation %d", rejected, r.status(t).Config.Generation)
	}
	r.stop(t)
	for i := range 3 {
		tag := fmt.Sprintf("v%d", i)
		if want := source.Digest("app", tag); target.Digest("steady", tag) != want {
			t.Errorf("%s is not what the source has", tag)
		}
	}
}

// metrics scrapes the daemon: the samples without labels.
func (r *running) metrics(t *testing.T, socket string) map[string]float64 {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Get("http://localhost/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	samples := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			samples[name] = value
		}
	}
	return samples
}
