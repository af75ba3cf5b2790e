package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/notify"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/receiver"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/web"
	"github.com/draysync/dray/internal/webhook"
)

// TestViewsAgree: after random runs, failures, deferrals, reloads, stops and kills the API, the page, dray status, the history and the metrics
// say the same about every job.
func TestViewsAgree(t *testing.T) {
	for seed := range fulltest.Rounds(5, 100) {
		synctest.Test(t, func(t *testing.T) { randomViews(t, seed) })
	}
}

func randomViews(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // reproducible
	v := &views{t: t, dir: t.TempDir(), seed: seed}
	v.start()
	for step := range 15 {
		time.Sleep(time.Duration(random.Int64N(int64(2 * time.Hour))))
		synctest.Wait()
		v.compare(fmt.Sprintf("seed %d, step %d", seed, step))
		switch random.IntN(6) {
		case 0, 1:
			if _, err := v.daemon.Trigger(t.Context(), viewJobs[random.IntN(len(viewJobs))]); err != nil {
				t.Error(err)
			}
		case 2:
			if err := v.daemon.Reload(t.Context(), "test"); err != nil {
				t.Error(err)
			}
		case 3:
			v.stop()
			v.start()
		case 4:
			v.kill()
			v.start()
		}
		synctest.Wait()
		v.compare(fmt.Sprintf("seed %d, after step %d", seed, step))
	}
	v.stop()
}

var viewJobs = []string{"daily", "every", "once"}

// views is a daemon with everything that tells of it.
type views struct {
	t      *testing.T
	dir    string
	seed   uint64
	runs   atomic.Uint64
	silent bool // runs hang
	store  *store.Store
	daemon *daemon.Daemon
	hooks  *webhook.Sender
	server *web.Server
	client *http.Client
	halt   chan struct{}
	end    context.CancelFunc
	ended  chan error
	served chan error
}

func (v *views) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *views) start() {
	log, err := slog.New(slog.DiscardHandler), error(nil)
	v.store, err = store.Open(v.t.Context(), v.dir, store.Options{Log: log, Now: time.Now})
	v.must(err)
	v.hooks, err = webhook.New(webhook.Options{Source: "/dray", Log: log})
	v.must(err)
	m := metrics.New("1", "copy")
	alone := daemon.NewAlone(v.store, m.Scheduled, log)
	v.daemon = daemon.New(daemon.Options{
		Build: v.build, Work: alone, Plans: alone, View: alone, Events: newEvents(m, v.hooks), Manager: notify.New(func(string) string { return "" }), Changed: make(chan struct{}), Log: log,
	})
	door := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	v.server = web.New(web.Options{
		Daemon: answers{v.daemon, v.store, newLimits(v.store, 0, nil, nil, log), receiver.New(receiver.Options{}), &atomic.Pointer[azureJobs]{}, &atomic.Pointer[plan.Sources]{}, nil}, Metrics: m.Handler(), Address: door.Addr().String(), Log: log,
	})
	v.client = &http.Client{Transport: &http.Transport{DialContext: door.dial, DisableKeepAlives: true}}
	v.halt, v.ended, v.served = make(chan struct{}), make(chan error, 1), make(chan error, 1)
	var ctx context.Context
	ctx, v.end = context.WithCancel(v.t.Context())
	go func() { v.ended <- v.daemon.Run(ctx, v.halt) }()
	go func() { v.served <- v.server.Serve(door) }()
	synctest.Wait()
}

// stop ends the daemon as a signal does.
func (v *views) stop() {
	close(v.halt)
	v.close()
}

// kill ends it as kill -9 does: what it does from now on is not in the store that the next one finds.
func (v *views) kill() {
	next := v.t.TempDir()
	v.must(os.CopyFS(next, os.DirFS(v.dir)))
	v.end()
	v.close()
	v.dir = next
}

func (v *views) close() {
	if err := <-v.ended; err != nil {
		v.t.Error(err)
	}
	v.end()
	v.must(v.server.Shutdown(context.Background()))
	v.must(<-v.served)
	v.must(v.hooks.Close(context.Background()))
	v.must(v.store.Close())
}

func (v *views) build(context.Context) (daemon.Generation, error) {
	g := daemon.Generation{Parallel: 2, Grace: time.Minute, Take: func() {}, Close: func() {}, Run: v.run}
	for name, line := range map[string]string{"daily": "@daily", "every": "@every 50m", "once": ""} {
		j := daemon.Job{Name: name, Source: "registry.example/" + name, Fingerprint: "1"}
		if line != "" {
			var err error
			if j.Schedule, err = schedule.Parse(line, "UTC"); err != nil {
				return g, err
			}
		}
		g.Jobs = append(g.Jobs, j)
	}
	return g, nil
}

func (v *views) run(ctx context.Context, name string, _ []string, _ <-chan struct{}, _ mirror.Watcher, _ mirror.Crew) mirror.Result {
	random := rand.New(rand.NewPCG(v.seed, v.runs.Add(1))) //nolint:gosec // as random as it needs to be
	r := mirror.Result{Job: name, Started: time.Now()}
	if v.silent {
		<-ctx.Done()
		r.Err = ctx.Err()
		return r
	}
	select {
	case <-time.After(time.Duration(random.Int64N(int64(10 * time.Minute)))):
	case <-ctx.Done():
		r.Err = ctx.Err()
	}
	r.Duration = time.Since(r.Started)
	if r.Err != nil {
		return r
	}
	bad := errors.New("registry.example: broken <by> \"somebody\"")
	if random.IntN(4) == 0 {
		r.Err = bad
		return r
	}
	for range random.IntN(4) {
		r.Outcomes = append(r.Outcomes, []mirror.Outcome{
			{Status: record.Kept}, {Status: record.Imported, Cost: mirror.Cost{Pulls: 3, Bytes: 10}}, {Status: record.Failed, Err: bad},
			{Status: record.Deferred, RetryAt: time.Now().Add(time.Duration(1 + random.Int64N(int64(time.Hour))))},
		}[random.IntN(4)])
	}
	return r
}

// compare asks everybody and compares what they say.
func (v *views) compare(where string) {
	v.t.Helper()
	snapshot, err := v.daemon.Snapshot(v.t.Context())
	v.must(err)
	var status record.Snapshot
	raw := v.get("/api/v1/status")
	v.must(json.Unmarshal([]byte(raw), &status))
	var jobs web.Jobs
	v.must(json.Unmarshal([]byte(v.get("/api/v1/jobs")), &jobs))
	page, scrape := v.get("/?refresh=off"), v.get("/metrics")
	var text bytes.Buffer
	v.must((&app{streams: streams{out: &text}}).showStatus(status, nil, false))
	for i, j := range snapshot.Jobs {
		if status.Jobs[i].Job != j.Job || jobs.Jobs[i].Job != j.Job {
			v.t.Fatalf("%s: other jobs", where)
		}
		want := facts(j.Last, j.Failures, j.LastSuccess, j.Due)
		for view, got := range map[string]map[string]string{
			"status":  facts(status.Jobs[i].Last, status.Jobs[i].Failures, status.Jobs[i].LastSuccess, status.Jobs[i].Due),
			"jobs":    facts(jobs.Jobs[i].Last, jobs.Jobs[i].Failures, jobs.Jobs[i].LastSuccess, jobs.Jobs[i].Due),
			"history": v.history(j.Job),
			"metrics": fromMetrics(scrape, j.Job),
			"page":    fromPage(v.t, page, j.Job),
			"text":    fromText(v.t, text.String(), j.Job),
		} {
			for fact, is := range got {
				if diff := cmp.Diff(want[fact], is); diff != "" {
					v.t.Errorf("%s: %s: %s of %s (-the record +what is said): %s", where, j.Job, fact, view, diff)
				}
			}
		}
	}
}

func (v *views) get(path string) string {
	v.t.Helper()
	resp, err := v.client.Get("http://127.0.0.1:8484" + path)
	v.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	v.must(err)
	if resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: %s: %s", path, resp.Status, body)
	}
	return string(body)
}

// facts are what is compared, as texts.
func facts(last *record.Run, failures int, succeeded, due time.Time) map[string]string {
	f := map[string]string{"failures": strconv.Itoa(failures), "succeeded": instant(succeeded), "due": instant(due.Add(time.Second - 1)), "outcome": "", "error": "", "ended": "", "run": ""}
	if due.IsZero() {
		f["due"] = ""
	}
	if last != nil {
		f["outcome"], f["error"], f["ended"], f["run"] = string(last.Outcome), last.Error, instant(last.Ended), runText(last.Trigger, last.Started, last.Counts)
	}
	return f
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(time.Second).Format(time.RFC3339)
}

func runText(trigger record.Trigger, started time.Time, c record.Counts) string {
	return fmt.Sprint(trigger, " ", instant(started), " ", c)
}

func (v *views) history(job string) map[string]string {
	v.t.Helper()
	var h web.History
	v.must(json.Unmarshal([]byte(v.get("/api/v1/history?limit=1&job="+job)), &h))
	if len(h.Runs) == 0 {
		return map[string]string{"outcome": "", "ended": ""}
	}
	r := h.Runs[0]
	return map[string]string{"outcome": string(r.Outcome), "error": r.Error, "ended": instant(r.Ended), "run": runText(r.Trigger, r.Started, r.Counts)}
}

// fromMetrics reads the series of a job.
func fromMetrics(scrape, job string) map[string]string {
	read := func(name string) (float64, bool) {
		found := regexp.MustCompile(`(?m)^` + name + `\{job="` + job + `",mapping="` + job + `"\} (\S+)$`).FindStringSubmatch(scrape)
		if found == nil {
			return 0, false
		}
		value, err := strconv.ParseFloat(found[1], 64)
		return value, err == nil
	}
	at := func(name string) string {
		value, ok := read(name)
		if !ok {
			return ""
		}
		return instant(time.UnixMilli(int64(value * 1000)))
	}
	failures, _ := read("dray_job_consecutive_failures")
	return map[string]string{"failures": strconv.Itoa(int(failures)), "succeeded": at("dray_job_last_success_timestamp_seconds")}
}

// fromPage reads a job's row.
func fromPage(t *testing.T, page, job string) map[string]string {
	t.Helper()
	_, row, ok := strings.Cut(page, `<th scope="row"><a href="/jobs/`+job+`">`+job+`<`)
	if !ok {
		t.Fatalf("no row of %s", job)
	}
	row, _, _ = strings.Cut(row, `<th scope="row">`)
	cells := strings.Split(row, "<td>")
	const last, success = 2, 3
	cell := func(column int, expression string) string {
		found := regexp.MustCompile(expression).FindStringSubmatch(cells[column])
		if found == nil {
			return ""
		}
		return found[1]
	}
	parsed := func(text string) string {
		at, _ := time.Parse(time.RFC3339, text)
		return instant(at)
	}
	f := map[string]string{
		"outcome": cell(last, `class="tag [a-z]*">([a-z-]+)<`), "ended": parsed(cell(last, `datetime="([^"]+)"`)),
		"succeeded": parsed(cell(success, `datetime="([^"]+)"`)), "error": "",
	}
	if found := regexp.MustCompile(`<small class="error">(.*?)</small>`).FindStringSubmatch(row); found != nil {
		f["error"] = html.UnescapeString(found[1])
	}
	return f
}

// fromText reads a job's line of dray status.
func fromText(t *testing.T, text, job string) map[string]string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + job + `  +\S+  +(\S+)`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no line of %s in %s", job, text)
	}
	f := map[string]string{"outcome": strings.TrimPrefix(found[1], "–"), "error": ""}
	if said := regexp.MustCompile(`(?m)^error: job ` + job + `: (.*)$`).FindStringSubmatch(text); said != nil {
		f["error"] = said[1]
	}
	return f
}

// pipes is a listener without sockets.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8484} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// TestReadyWhileNothingMoves: readiness says when no run gets on, and that they do again.
func TestReadyWhileNothingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &views{t: t, dir: t.TempDir(), silent: true}
		v.start()
		a := answers{daemon: v.daemon, store: v.store}
		time.Sleep(nothingMoves - time.Second)
		if err := a.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if err := a.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing has moved for 5m") {
			t.Error(err)
		}
		v.stop()
	})
}
