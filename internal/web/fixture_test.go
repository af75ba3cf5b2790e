package web

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file below testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// fake is a daemon of functions; what is nil does nothing and succeeds.
type fake struct {
	status  func(ctx context.Context) (record.Snapshot, error)
	history func(job string, limit int) ([]record.JobRun, error)
	reload  func(ctx context.Context) error
	ready   func() error
	alive   func(ctx context.Context) error
	// pause is told of a pause, or with nil of a resume.
	pause func(job string, pause *record.Pause) (bool, error)
	jobs  []string
	// plan is what PLAN1 is, if that is not as usual; asked for and approved are counted.
	plan             *record.PlanStatus
	plans, approvals atomic.Int64

	asked   atomic.Int64
	reloads atomic.Int64
	mu      sync.Mutex
	synced  []string
	tags    []string
}

func (f *fake) Status(ctx context.Context) (record.Snapshot, error) {
	f.asked.Add(1)
	if f.status != nil {
		return f.status(ctx)
	}
	var s record.Snapshot
	for _, name := range f.jobs {
		s.Jobs = append(s.Jobs, record.JobStatus{Job: name, State: record.JobIdle})
	}
	return s, nil
}

func (f *fake) History(_ context.Context, job string, limit int) ([]record.JobRun, error) {
	if f.history == nil {
		return nil, nil
	}
	return f.history(job, limit)
}

func (f *fake) Sync(_ context.Context, job string, tags []string) (time.Time, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(tags) > 0 && tags[0] == "v9" {
		return time.Time{}, true, fmt.Errorf("%w: the mapping does not choose v9", ErrUnchosen)
	}
	f.tags = append(f.tags, tags...)
	for _, name := range f.jobs {
		if name == job {
			f.synced = append(f.synced, job)
			return time.Now(), true, nil
		}
	}
	if job == "stopping" {
		return time.Time{}, false, ErrUnavailable
	}
	return time.Time{}, false, nil
}

func (f *fake) Pause(_ context.Context, job string, pause record.Pause) (bool, error) {
	if f.pause != nil {
		return f.pause(job, &pause)
	}
	return job == "" || slices.Contains(f.jobs, job), nil
}

func (f *fake) Resume(_ context.Context, job, by string) (bool, error) {
	if f.pause != nil {
		return f.pause(job, nil)
	}
	return job == "" || slices.Contains(f.jobs, job), nil
}

// planned is the plan PLAN1, with many actions.
func planned() record.PlanStatus {
	p := record.PlanStatus{
		ID: "PLAN1", Job: "alpine", State: record.PlanMade, Asked: noon.Add(-time.Minute), By: hostile, Ended: noon.Add(-time.Second), Expires: noon.Add(time.Hour),
		Counts: record.Counts{Import: 148, Keep: 1200, Refuse: 1, Failed: 1, Pulls: 444, Bytes: 11_200_000}, Imports: 148, Error: "source: it broke",
	}
	for i := range 150 {
		a := record.Action{
			Op: "import", Reason: "moved", Source: fmt.Sprintf("docker.io/library/alpine:3.%d", i), Target: fmt.Sprintf("registry.corp.example:5000/mirror/alpine:3.%d", i),
			Digest: fmt.Sprintf("sha256:%064x", i), Was: fmt.Sprintf("sha256:%064x", i+1), Engine: "copy", Pulls: 3, Bytes: 75_000,
		}
		switch i {
		case 1:
			a.Op, a.Reason, a.Error = "refuse", "unsigned", hostile
		case 2:
			a.Op, a.Reason, a.Outcome, a.Error = "refuse", "unobserved", record.Failed, "it broke"
		}
		p.Actions = append(p.Actions, a)
	}
	return p
}

func (f *fake) Plan(_ context.Context, job, by string) (string, error) {
	if job == "stopping" {
		return "", ErrUnavailable
	}
	if !slices.Contains(f.jobs, job) {
		return "", nil
	}
	f.plans.Add(1)
	return "PLAN1", nil
}

func (f *fake) PlanStatus(_ context.Context, id string, from, most int) (record.PlanStatus, bool, error) {
	if id != "PLAN1" {
		return record.PlanStatus{}, false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := planned()
	if f.plan != nil {
		p = *f.plan
	}
	p.Whole = len(p.Actions)
	from = min(from, p.Whole)
	p.Actions = slices.Clone(p.Actions[from:min(p.Whole, from+most)])
	return p, true, nil
}

func (f *fake) Plans(_ context.Context, job string) ([]record.PlanStatus, error) {
	if job != "alpine" {
		return nil, nil
	}
	p, _, err := f.PlanStatus(context.Background(), "PLAN1", 0, 0)
	return []record.PlanStatus{p}, err
}

func (f *fake) Approve(_ context.Context, id, by string) (string, error) {
	switch id {
	case "PLAN1":
		f.approvals.Add(1)
		return "alpine", nil
	case "STALE":
		return "alpine", fmt.Errorf("%w: the mapping has changed", ErrStale)
	}
	return "", nil
}

func (f *fake) Reload(ctx context.Context) error {
	f.reloads.Add(1)
	if f.reload == nil {
		return nil
	}
	return f.reload(ctx)
}

func (f *fake) Ready(context.Context) error {
	if f.ready == nil {
		return nil
	}
	return f.ready()
}

func (f *fake) Alive(ctx context.Context) error {
	if f.alive == nil {
		return nil
	}
	return f.alive(ctx)
}

// fakeDetails has details of the job alpine.
type fakeDetails struct{}

func (fakeDetails) Job(j *record.JobStatus) (record.JobConfig, bool) {
	if j.Job != "alpine" {
		return record.JobConfig{}, false
	}
	return record.JobConfig{Position: "dray.yaml:4:5", Windows: "mon-fri 22:00-06:00 UTC", YAML: "name: alpine\ntarget: ${env:TARGET}\n", Next: []time.Time{noon.Add(time.Hour), noon.Add(3 * time.Hour)}}, true
}

func (fakeDetails) Tags(_ context.Context, j *record.JobStatus, text string, from, most int) (record.Tags, error) {
	if j.Job != "alpine" {
		return record.Tags{}, nil
	}
	all := record.Tags{More: true}
	for i := range 10_250 {
		tag := record.Tag{
			Target: fmt.Sprintf("registry.corp.example:5000/mirror/alpine:3.%d", i), Digest: fmt.Sprintf("sha256:%064x", i), Imported: noon.Add(-time.Duration(i) * time.Hour), Looked: noon.Add(-2 * time.Hour),
		}
		switch i {
		case 1:
			tag.Digest, tag.Imported = "", time.Time{}
		case 2:
			tag.Target, tag.Digest = hostile, hostile
		}
		if text != "" && !strings.Contains(tag.Target, text) {
			continue
		}
		if all.Whole++; all.Whole > from && all.Whole <= from+most {
			all.List = append(all.List, tag)
		}
	}
	return all, nil
}

func (fakeDetails) Log(job string, begin time.Time) []record.LogLine {
	if job != "alpine" {
		return nil
	}
	return []record.LogLine{
		{At: begin, Text: "level=INFO msg=imported op=import reason=moved err=<b>\x1b[31m"}, {At: begin.Add(time.Second), Text: "level=INFO msg=\"job done\"\nforged=line"},
	}
}

func (fakeDetails) Config() record.ConfigFiles {
	return record.ConfigFiles{Path: "dray.yaml", Files: []string{"/etc/dray/dray.yaml", "/run/secrets/hub"}, Added: []string{"alpine", hostile}, Removed: []string{"gone"}, ChangedAt: noon.Add(-2 * time.Hour)}
}

func (fakeDetails) Registries() []record.RegistryUse {
	return []record.RegistryUse{
		{Registry: "docker.io", Requests: 1234, Errors: 2, InFlight: 3, Failure: "GET: 503 Service Unavailable", FailedAt: noon.Add(-time.Minute),
			Accounts: []record.Account{{Part: "docker.io"}, {Part: "docker.io/acme", Name: "ann<b>"}}},
		{Registry: "registry.corp.example:5000", Requests: 7},
	}
}

// changes counts what POSTs have done.
func (f *fake) changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.synced) + int(f.reloads.Load()+f.plans.Load()+f.approvals.Load())
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve starts a server on a listener, and stops it with the test.
func serve(t *testing.T, options Options, listener net.Listener) *Server {
	t.Helper()
	if options.Log == nil {
		options.Log = quiet()
	}
	s := New(options)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// start serves on the loopback and returns the address.
func start(t *testing.T, options Options) string {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, options, listener)
	return listener.Addr().String()
}

// ask makes one request on a connection of its own.
func ask(t *testing.T, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Add(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

// pipes is a listener without sockets, for virtual time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.gone) }); return nil }
func (p *pipes) Addr() net.Addr { c, _ := net.Pipe(); return c.LocalAddr() }

// dial waits until the connection is accepted, which comes before it has a slot.
func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// say writes a request and returns the answer.
func say(conn net.Conn, request string) (*http.Response, string, error) {
	go func() { _, _ = io.WriteString(conn, request) }()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 1, time.FixedZone("CET", 3600))

// hostile is what wants to be markup, or to write on somebody's terminal.
const hostile = "\"'><script>alert(1)</script>&amp;\x1b[2J\u202e</pre>\n日本"

// full is a status that has everything.
func full() record.Snapshot {
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	return record.Snapshot{
		Dray: "1.2.3", Started: at(-50 * time.Hour), Now: noon, Totals: record.Totals{Parallel: 4},
		Config: record.Config{
			Generation: 3, Hash: "4f1c00112233445566", InForce: "4f1c00112233445566", Loaded: at(-2 * time.Hour), RejectedAt: at(-5 * time.Minute),
			Rejected: []string{"dray.yaml:14:5: mappings[2].tags.semver: <b>no</b> range", "dray.yaml:20:3: unknown key \"sorce\""},
		},
		Budgets: []record.Budget{
			{Registry: "docker.io", Account: "docker.io/corp", Limit: 200, Remaining: 60, Reserved: 6, Keep: 20, Window: record.Seconds(6 * time.Hour), Spent: 100, Others: 40, FullBy: at(5 * time.Hour), Levels: []record.BudgetLevel{
				{At: at(-7 * time.Hour), Spent: 190}, {At: at(-5 * time.Hour), Spent: 20, Others: 10}, {At: at(-295 * time.Minute), Spent: 60, Others: 30}, {At: at(-3 * time.Hour), Spent: 90, Others: 70}, {At: at(-20 * time.Minute), Spent: 100, Others: 40},
			}},
			{Registry: "ghcr.io", Account: "ghcr.io", Limit: -1, Remaining: -1, RetryAt: at(20 * time.Minute)},
		},
		Replicas: []record.Replica{
			{Name: "one", Dray: "1.2.3", Joined: at(-time.Hour), Generation: "4f1c00112233445566", InForce: true, Jobs: 2, Parts: 3, Me: true}, {Name: hostile, Dray: "1.2.2", Joined: at(-2 * time.Minute), Generation: hostile},
		},
		Ledger: &record.Ledger{Kind: "postgresql", Reachable: true, RoundTrip: 0.00123},
		Paused: &record.Pause{Since: at(-time.Minute), By: hostile, All: true},
		Receivers: []record.Receiver{
			{Name: "hub", Type: "dockerhub", Path: "/hook/hub/5d0c", Keyed: true, Events: map[string]int64{"accepted": 12, "refused": 1}, LastEvent: at(-time.Minute)},
			{Name: "corp", Type: "harbor", Path: "/hook/corp", Events: map[string]int64{}},
		},
		Closed: []record.ClosedRegistry{{Registry: "myregistry.azurecr.io", Repositories: 2, Reason: hostile}},
		Jobs: []record.JobStatus{
			{
				Job: "alpine", Schedule: "@every 2h", Source: "docker.io/library/alpine", Targets: []string{"registry.corp.example:5000/mirror/alpine"}, State: record.JobRunning, Trigger: "schedule", Started: at(-90 * time.Second),
				LastSuccess: at(-2 * time.Hour), Deadline: at(0),
				Last: &record.Run{Started: at(-2*time.Hour - time.Minute), Ended: at(-2 * time.Hour), Outcome: record.RunOK, Counts: record.Counts{Keep: 1200, Import: 2, Pulls: 6, Bytes: 11_200_000, Mounted: 5, Unverified: 3}},
				Progress: &record.Progress{Tags: 20, Observed: 20, Imports: 3, Completed: 1, UnderWay: []record.Import{
					{Source: "docker.io/library/alpine:3.20", Target: "registry.corp.example:5000/mirror/alpine:3.20", Started: at(-time.Minute), Bytes: 34_100_000, Total: 120_000_000, Rate: 12_400_000},
					{Source: "docker.io/library/alpine:3.21", Target: "registry.corp.example:5000/mirror/alpine:3.21", Started: at(-time.Second)},
				}},
			},
			{
				Job: "deferred", Schedule: "17 */6 * * *", Source: "2 images", Accounts: []string{"docker.io/corp", "ghcr.io"}, Targets: []string{"registry.corp.example:5000/mirror/debian"}, State: record.JobDeferred, Trigger: "retry", Due: at(20 * time.Minute), DeferredUntil: at(20 * time.Minute), LastSuccess: at(-26 * time.Hour),
				Last: &record.Run{Started: at(-3 * time.Minute), Ended: at(-2 * time.Minute), Outcome: record.RunDeferred, Counts: record.Counts{Deferred: 4}},
			},
			{
				Job: "failing", Schedule: "@daily", State: record.JobScheduled, Trigger: "retry", Due: at(4 * time.Minute), Failures: 3, LastSuccess: at(-3 * 24 * time.Hour), Deadline: at(-48*time.Hour - runTime),
				Last: &record.Run{Started: at(-3 * time.Minute), Ended: at(-2 * time.Minute), Outcome: record.RunFailed, Error: "source ghcr.io/acme/tool: list tags: ghcr.io gave no answer", Counts: record.Counts{Failed: 1}},
			},
			{Job: hostile, Schedule: hostile, Source: hostile, Targets: []string{hostile, "ocidir:///srv/layout"}, State: record.JobScheduled, Trigger: hostile, Due: at(time.Hour), Failures: 1,
				Last: &record.Run{Ended: at(-time.Hour), Outcome: record.RunPartly, Error: hostile, Counts: record.Counts{Failed: 1, Import: 1}}},
			{Job: "idle", State: record.JobIdle},
			{Job: "library/hello-world", Schedule: "@hourly", State: record.JobWaiting, Trigger: "first", Due: at(-time.Minute)},
			{Job: "observing", Schedule: "@hourly", State: record.JobRunning, Trigger: "manual", Started: at(-time.Second), Progress: &record.Progress{Tags: 1000, Observed: 400},
				Paused: &record.Pause{Since: at(-time.Minute), All: true}},
			{Job: "paused", Schedule: "@hourly", State: record.JobPaused, Paused: &record.Pause{Since: at(-3 * time.Hour), By: "ann@laptop (127.0.0.1)", Reason: hostile}},
		},
	}
}

func fullDaemon() *fake {
	return &fake{
		jobs:   []string{"alpine"},
		status: func(context.Context) (record.Snapshot, error) { return full(), nil },
		ready:  func() error { return errors.New("the config is rejected\nthe store cannot be written") },
		history: func(string, int) ([]record.JobRun, error) {
			return []record.JobRun{{
				Job: "alpine", Duration: record.Seconds(59500 * time.Millisecond),
				Run:     record.Run{Trigger: "schedule", Started: noon.Add(-time.Minute), Ended: noon, Outcome: record.RunPartly, Error: hostile, Counts: record.Counts{Import: 1, Failed: 1}},
				Repeats: 3, Since: noon.Add(-time.Hour), More: 7,
				Actions: []record.Action{{Op: "import", Reason: "absent", Source: "docker.io/library/alpine:3.20", Target: "registry.corp.example:5000/mirror/alpine:3.20",
					Digest: "sha256:01", Engine: "copy", Outcome: "imported", Pulls: 3, Bytes: 1, Mounted: 2, Unverified: true, Duration: record.Seconds(400 * time.Millisecond), RetryAt: new(noon)}},
			}, {Job: "quiet", Run: record.Run{Outcome: record.RunOK}}}, nil
		},
	}
}
