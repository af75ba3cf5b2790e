package mirror_test

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/tagfilter"
	"github.com/draysync/dray/internal/transfer"
)

// The hosts are addresses for documentation (RFC 5737): nothing looks their names up.
const (
	hostA = "192.0.2.1"
	hostB = "192.0.2.2"
	hostC = "192.0.2.3"
	hostD = "192.0.2.4"
)

// stand is four emulated registries with a mirror between them.
type stand struct {
	a, b, c, d *emulator.Registry
	client     *registry.Client
	mirror     *mirror.Mirror
	records    *records
	log        *bytes.Buffer
	// hosts are what is configured of registries, from the next renew on; nil for nothing.
	hosts map[string]registry.Host
}

// records keeps outcomes.
type records struct {
	silent

	mu   sync.Mutex
	list []mirror.Outcome
}

func (r *records) End(out mirror.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, out)
}

// silent watches nothing.
type silent struct{}

func (silent) Observing(int)                  {}
func (silent) Observed()                      {}
func (silent) Planned(int)                    {}
func (silent) Begin(diff.Action) mirror.Meter { return silent{} }
func (silent) End(mirror.Outcome)             {}
func (silent) Expect(int64)                   {}
func (silent) Moved(int64)                    {}

// inBubble runs f with a stand in a bubble of fake time.
func inBubble(t *testing.T, f func(t *testing.T, s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stand{}
		for _, r := range []**emulator.Registry{&s.a, &s.b, &s.c, &s.d} {
			*r = emulator.New(emulator.Options{Referrers: true, PageSize: 7})
		}
		s.renew(t)
		f(t, s)
	})
}

// renew gives the stand a mirror that remembers nothing, as a new process has it.
func (s *stand) renew(t *testing.T) {
	t.Helper()
	network := emulator.Network{hostA: s.a, hostB: s.b, hostC: s.c, hostD: s.d}
	client, err := registry.New(registry.Options{
		Retries: registry.Retries{Attempts: 2}, Hosts: s.hosts,
		Wrap: func(string, http.RoundTripper) http.RoundTripper { return network },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	s.client, s.records, s.log = client, &records{}, &bytes.Buffer{}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	engine := transfer.New(transfer.Options{Source: client, Artifacts: client, Target: client, Presence: client, Log: log})
	s.mirror = &mirror.Mirror{Observer: client, Pages: client, Manifests: engine, Engines: []mirror.Engine{engine}, Watcher: s.records, Log: log}
}

func at(host, path string) image.Reference {
	return image.Reference{Repository: image.Repository{Registry: host, Path: path}}
}

// job mirrors tags of a repository from one host to others under the same path.
func job(t *testing.T, name, path string, tags []string, from string, to ...string) plan.Job {
	t.Helper()
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: tags})
	if err != nil {
		t.Fatal(err)
	}
	j := plan.Job{Name: name, Source: at(from, path), Tags: filter, Timeout: time.Minute}
	for _, host := range to {
		j.Targets = append(j.Targets, at(host, path))
	}
	return j
}

// push puts a small image into a registry and returns it.
func push(t *testing.T, r *emulator.Registry, seed int64, path, tag string) emulator.Image {
	t.Helper()
	i := emulator.MultiArch(seed, emulator.ImageOptions{})
	if err := i.Push(r, path, tag); err != nil {
		t.Fatal(err)
	}
	return i
}

// sync runs the jobs, checks what holds for every run, and returns the outcomes as lines.
func (s *stand) sync(t *testing.T, jobs ...plan.Job) []string {
	t.Helper()
	before := len(s.records.list)
	results := s.mirror.Sync(t.Context(), jobs)
	settled(t, jobs, results)
	count := 0
	for _, r := range results {
		count += len(r.Outcomes)
	}
	if got := len(s.records.list) - before; got != count {
		t.Errorf("%d outcomes are recorded, there are %d", got, count)
	}
	return lines(results)
}

// settled checks that every outcome of a sync has a status that goes with the rest of it.
func settled(t *testing.T, jobs []plan.Job, results []mirror.Result) {
	t.Helper()
	if len(jobs) != len(results) {
		t.Fatalf("%d results of %d jobs", len(results), len(jobs))
	}
	for n, r := range results {
		if r.Job != jobs[n].Name || r.Err != nil && len(r.Outcomes) > 0 {
			t.Errorf("result %+v for job %s", r, jobs[n].Name)
		}
		if !slices.IsSortedFunc(r.Outcomes, func(a, b mirror.Outcome) int { return diff.Compare(a.Action, b.Action) }) {
			t.Errorf("the outcomes of %s are not sorted", r.Job)
		}
		for _, out := range r.Outcomes {
			wrong := out.Status == "" || out.Job != r.Job ||
				(out.Err != nil) != (out.Status.Failure() || out.Status == record.Deferred) ||
				out.RetryAt.IsZero() == (out.Status == record.Deferred) ||
				(out.Op == diff.Keep) != (out.Status == record.Kept) || (out.Op == diff.Refuse) != (out.Status == record.Refused)
			if wrong {
				t.Errorf("outcome %+v", out)
			}
		}
	}
}

// lines writes results as "target reason status", and an error of a job as "job failed".
func lines(results []mirror.Result) []string {
	list := []string{}
	for _, r := range results {
		if r.Err != nil {
			list = append(list, r.Job+" failed")
		}
		for _, out := range r.Outcomes {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", out.Target, out.Reason, cmp.Or(string(out.Status), string(out.Op)))))
		}
	}
	return list
}

// whole checks that a tag holds a digest with all below it.
func whole(t *testing.T, r *emulator.Registry, path, tag, digest string) {
	t.Helper()
	if got := r.Digest(path, tag); got != digest {
		t.Errorf("%s:%s holds %q, want %s", path, tag, got, digest)
	}
	if err := r.Whole(path, tag); digest != "" && err != nil {
		t.Error(err)
	}
}

// count counts the requests of one method and kind; an empty string is any.
func count(r *emulator.Registry, method, kind string) int {
	return r.Count(func(q emulator.Request) bool {
		return (method == "" || q.Method == method) && (kind == "" || q.Kind == kind)
	})
}

// writes counts the requests that can change something.
func writes(r *emulator.Registry) int {
	return r.Count(func(q emulator.Request) bool { return q.Method != http.MethodGet && q.Method != http.MethodHead })
}
