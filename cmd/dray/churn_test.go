package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
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

// TestThousandReloadsOfFiles changes five included files and the main one at random, well and badly, one or two at a time. After each reload the
// daemon has of each file the jobs that were last good, a job that no change concerned has not run again, and what is wrong is said.
func TestThousandReloadsOfFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("reloads for seconds")
	}
	t.Parallel()
	const files = 5
	d := newDesk(t)
	source := registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	from := start(t, source) // a job that failed would run again by itself
	names := []string{"main"}
	for i := range files {
		names = append(names, fmt.Sprintf("f%d", i))
	}
	at := func(name string) string {
		if name == "main" {
			return d.config
		}
		return filepath.Join(d.dir, "conf.d", name+".yaml")
	}
	// good are the jobs of each file with how often each was changed, and last when each ran last.
	good, last := map[string]map[string]int{}, map[string]time.Time{}
	entry := func(job string, version int) string {
		return mapping("name: %s, source: '%s/app', target: 'ocidir://%s/to-%s', tags: [v1], retries: %d, schedule: '@every 24h'", job, from, d.target, job, version%10) + "\n"
	}
	text := func(name string, jobs map[string]int) string {
		head := "version: 1\n"
		if name == "main" {
			head = strings.Join([]string{"version: 1", "include: [conf.d/*.yaml]", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "log: {level: warn}", "jobs: 64", ""}, "\n")
		}
		lines := ""
		for _, job := range slices.Sorted(maps.Keys(jobs)) {
			lines += entry(job, jobs[job])
		}
		return head + "mappings:\n" + lines
	}
	version := 0
	fresh := func(name string) map[string]int {
		jobs := maps.Clone(good[name])
		if jobs == nil {
			jobs = map[string]int{}
		}
		version++
		job := fmt.Sprintf("%s-%d", name, rand.IntN(3))
		if _, ok := jobs[job]; ok && len(jobs) > 1 && rand.IntN(2) == 0 {
			delete(jobs, job)
		} else {
			jobs[job] = version
		}
		return jobs
	}
	for _, name := range names {
		good[name] = fresh(name)
		d.write(at(name), text(name, good[name]))
	}
	spoil := []func(name, text string) string{
		func(_, text string) string { return text[:len(text)-30] },
		func(_, text string) string { return text + "colour: red\n" },
		func(_, _ string) string { return "" },
		func(_, text string) string { return text + "\x01" },
		func(_, text string) string { return strings.Replace(text, "ocidir://", "${file:none}", 1) },
		func(name, text string) string { // the name of another's job
			other := names[(slices.Index(names, name)+1)%len(names)]
			return text + strings.Replace(entry(slices.Sorted(maps.Keys(good[other]))[0], 0), "/to-", "/elsewhere-", 1)
		},
		func(name, text string) string { // the target of another's job
			other := names[(slices.Index(names, name)+1)%len(names)]
			return text + strings.Replace(entry(slices.Sorted(maps.Keys(good[other]))[0], 0), "name: ", "name: second-", 1)
		},
	}
	r := launch(t, d.config, d.socket)
	bad := map[string]bool{}
	reloads := int(fulltest.Rounds(50, 1000)) //nolint:gosec // a small number
	for n := range reloads {
		before := map[string]map[string]int{}
		maps.Copy(before, good)
		changed := rand.Perm(len(names))[:1+rand.IntN(2)]
		for k, i := range changed {
			name := names[i]
			jobs := fresh(name)
			if k == 0 && rand.IntN(2) == 0 { // at most one takes what belongs to another
				bad[name] = true
				d.write(at(name), spoil[rand.IntN(len(spoil))](name, text(name, jobs)))
				continue
			}
			if other := names[(i+len(names)-1)%len(names)]; bad[other] {
				jobs = good[name] // what the other one wants to take stays
			}
			delete(bad, name)
			good[name] = jobs
			d.write(at(name), text(name, jobs))
		}
		err := r.client.Reload(t.Context())
		if len(bad) > 0 != (err != nil) {
			t.Fatalf("round %d: bad are %v, and the reload says %v", n, bad, err)
		}
		for name := range bad {
			if !strings.Contains(err.Error(), at(name)+":") {
				t.Fatalf("round %d: %s is bad, which the reload does not say: %v", n, name, err)
			}
		}
		var wanted []string
		for _, jobs := range good {
			wanted = slices.AppendSeq(wanted, maps.Keys(jobs))
		}
		slices.Sort(wanted)
		r.has(t, wanted...)
		var all []record.JobStatus
		r.until(t, "all have run", func() bool {
			all = r.status(t).Jobs
			return !slices.ContainsFunc(all, func(j record.JobStatus) bool {
				return j.Last == nil || j.State == record.JobRunning || j.State == record.JobWaiting
			})
		})
		for _, j := range all {
			name, _, _ := strings.Cut(j.Job, "-")
			was, known := before[name][j.Job]
			if known && was == good[name][j.Job] && !j.Last.Started.Equal(last[j.Job]) && !last[j.Job].IsZero() {
				t.Fatalf("round %d: %s ran again at %s after %s, and no change concerned it", n, j.Job, j.Last.Started, last[j.Job])
			}
			last[j.Job] = j.Last.Started
		}
	}
	r.stop(t)
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
