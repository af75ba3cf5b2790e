package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/notify"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/receiver"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/transfer"
	"github.com/draysync/dray/internal/webhook"
)

const eventSecret = "a-secret-of-the-sender" //nolint:gosec // of a test

// sender sends events to a daemon's socket.
type sender struct {
	t      *testing.T
	client *http.Client
}

func newSender(t *testing.T, socket string) sender {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	s := sender{t, &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8}}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// post sends a body to a path, and returns the answer's status.
func (s sender) post(path, body string, headers ...string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://dray.example.com"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// build says as a CI job does that an image was pushed.
func (s sender) build(image string) int {
	return s.post("/hook/build", `{"image":"`+image+`"}`, "Authorization", "Bearer "+eventSecret)
}

// TestReceivers: a daemon whose schedule is far away brings what events name, over a restart too, and no stranger's.
func TestReceivers(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	d := newDesk(t)
	source, target := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
	from, to := start(t, source), start(t, target)
	seed := int64(0)
	push := func(repository, tag string) string {
		seed++
		image := emulator.SingleArch(seed, "linux/amd64", emulator.ImageOptions{LayerSize: 5000})
		if err := image.Push(source, repository, tag); err != nil {
			t.Fatal(err)
		}
		return source.Digest(repository, tag)
	}
	text := []string{
		"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "receivers:",
		"- {name: hub, type: dockerhub, secret: " + eventSecret + ", registry: '" + from + "'}",
		"- {name: gh, type: github, secret: " + eventSecret + ", registry: '" + from + "'}",
		"- {name: build, type: generic, secret: " + eventSecret + "}",
		"mappings:", mapping("name: app, source: '%s/acme/app', target: '%s/app', tags: ['v*'], schedule: '@every 24h'", from, to),
		mapping("name: tools, source: '%s/acme/tools', target: '%s/tools', tags: [latest], schedule: '@every 24h'", from, to),
	}
	push("acme/app", "v1")
	push("acme/tools", "latest")
	d.write(d.config, strings.Join(text, "\n"))
	r := launch(t, d.config, d.socket)
	ran := func() bool {
		return !slices.ContainsFunc(r.status(t).Jobs, func(j record.JobStatus) bool { return j.Last == nil })
	}
	r.until(t, "the first runs have ended", ran)
	s := newSender(t, d.socket)
	arrives := func(repository, tag, digest string) {
		t.Helper()
		r.until(t, repository+":"+tag+" arrives", func() bool { return target.Digest(repository, tag) == digest })
	}

	paths := map[string]string{}
	for _, receiver := range r.status(t).Receivers {
		paths[receiver.Name] = receiver.Path
	}
	source.Reset()
	v2, other := push("acme/app", "v2"), push("acme/app", "other")
	hub := `{"push_data":{"tag":"v2"},"repository":{"repo_name":"acme/app"}}`
	if status := s.post("/hook/hub", hub); status != http.StatusNotFound {
		t.Errorf("a stranger's event: %d", status)
	}
	if status := s.post(paths["hub"], hub); status != http.StatusAccepted {
		t.Errorf("the event of Docker Hub: %d", status)
	}
	arrives("app", "v2", v2)
	for _, q := range source.Requests() {
		if q.Kind == emulator.KindTags || q.Reference == "v1" || q.Repository == "acme/tools" {
			t.Errorf("besides the tag, %s %s was asked for", q.Method, q.Path)
		}
	}

	latest := push("acme/tools", "latest")
	github := `{"action":"published","registry_package":{"package_type":"CONTAINER","namespace":"acme","name":"tools","package_version":{"container_metadata":{"tag":{"name":"latest"}}}}}`
	mac := hmac.New(sha256.New, []byte(eventSecret))
	mac.Write([]byte(github))
	if status := s.post("/hook/gh", github, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil))); status != http.StatusAccepted {
		t.Errorf("the event of GitHub: %d", status)
	}
	arrives("tools", "latest", latest)
	for image, want := range map[string]int{from + "/acme/app:other": http.StatusOK, from + "/acme/none:v1": http.StatusOK, "none": http.StatusOK} {
		if status := s.build(image); status != want {
			t.Errorf("%s: %d", image, status)
		}
	}

	v3 := push("acme/app", "v3") // the daemon is stopped before it looks
	if status := s.build(from + "/acme/app:v3"); status != http.StatusAccepted {
		t.Errorf("a build's event: %d", status)
	}
	r.stop(t)
	r = launch(t, d.config, d.socket)
	arrives("app", "v3", v3)
	if target.Digest("app", "other") == other {
		t.Error("a tag that the mapping does not choose was imported")
	}
	r.until(t, "the runs have ended", ran)

	events := map[string]map[string]int64{}
	for _, receiver := range r.status(t).Receivers {
		events[receiver.Name] = receiver.Events
	}
	if len(events) != 3 || len(events["build"]) != 0 {
		t.Errorf("after the restart: %v", events)
	}
	d.write(d.config, strings.Join(slices.Delete(text, 4, 5), "\n"))
	if err := r.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := s.post(paths["hub"], hub); status != http.StatusNotFound {
		t.Errorf("a receiver that was removed: %d", status)
	}
	if strings.Contains(r.log.String(), eventSecret) || strings.Contains(r.log.String(), paths["hub"]) {
		t.Error("the log has a secret")
	}
}

// TestEventStorm sends ten thousand events about a hundred tags, many of them twice: all arrive, and what that costs at the source depends on
// the tags and not on the events. It tells how long a push takes to the target.
func TestEventStorm(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	d := newDesk(t)
	source, target := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
	from, to := start(t, source), start(t, target)
	d.write(d.config, strings.Join([]string{
		"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "receivers:",
		"- {name: build, type: generic, secret: " + eventSecret + "}",
		"mappings:", mapping("name: app, source: '%s/app', target: '%s/app', tags: {include: ['v*'], min: 0}, referrers: false, schedule: '@every 24h'", from, to),
	}, "\n"))
	if err := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{LayerSize: 100}).Push(source, "app", "first"); err != nil {
		t.Fatal(err)
	}
	r := launch(t, d.config, d.socket)
	r.until(t, "the first run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
	s := newSender(t, d.socket)

	tags, events := 100, int(fulltest.Rounds(1000, 10_000)) //nolint:gosec // small numbers
	took := make([]time.Duration, tags)
	var group sync.WaitGroup
	for i := range tags {
		group.Go(func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond)
			tag := fmt.Sprintf("v%d", i)
			if err := emulator.SingleArch(int64(i+2), "linux/amd64", emulator.ImageOptions{LayerSize: 1000}).Push(source, "app", tag); err != nil {
				t.Error(err)
				return
			}
			pushed := time.Now()
			if status := s.build(from + "/app:" + tag); status != http.StatusAccepted {
				t.Errorf("%s: %d", tag, status)
			}
			for deadline := time.Now().Add(soon); target.Digest("app", tag) == ""; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Errorf("%s does not arrive", tag)
					return
				}
			}
			took[i] = time.Since(pushed)
		})
	}
	group.Wait()
	slices.Sort(took)
	t.Logf("from the push to the target: median %s, 95 %% %s, longest %s", took[tags/2], took[tags*95/100], took[tags-1])

	source.Reset()
	began := time.Now()
	for n := range 8 {
		group.Go(func() {
			for i := n; i < events; i += 8 {
				if status := s.build(fmt.Sprintf("%s/app:v%d", from, i%tags)); status != http.StatusAccepted {
					t.Errorf("event %d: %d", i, status)
					return
				}
			}
		})
	}
	group.Wait()
	storm := time.Since(began)
	looks := func() (n int) {
		for _, q := range source.Requests() {
			if q.Kind == emulator.KindManifest && q.Method == http.MethodHead {
				n++
			}
		}
		return n
	}
	r.until(t, "each tag has been looked at", func() bool { return looks() >= tags })
	t.Logf("%d events in %s: %d looks at %d tags", events, storm, looks(), tags)
	if most := tags * (2 + int(storm/(2*time.Second))); looks() > most {
		t.Errorf("%d looks at %d tags, want %d at most", looks(), tags, most)
	}
	if got := r.status(t).Receivers[0].Events["accepted"]; got != int64(tags+events) {
		t.Errorf("%d accepted", got)
	}
}

// TestManyTagsOfAnEvent: the work for an event grows with its tags, and not with their square. It compares times of this thread, of which the smallest
// count.
func TestManyTagsOfAnEvent(t *testing.T) {
	cfg, err := config.Parse("dray.yaml", []byte("version: 1\nmappings: [{name: a, source: a.io/x, target: t.io/x, tags: ['*']}]\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := plan.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := looks{sources: &atomic.Pointer[plan.Sources]{}, unsigned: &mirror.Unsigned{}}
	l.sources.Store(new(plan.SourcesOf(jobs)))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	computed := func() time.Duration {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
			t.Fatal(err)
		}
		return time.Duration(now.Nano())
	}
	least := func(n int) time.Duration {
		var tags []image.Reference
		for i := range n {
			tags = append(tags, image.Repository{Registry: "a.io", Path: "x"}.Tag(fmt.Sprint("t", i)))
		}
		tags = append(tags, tags[0])
		best := time.Hour
		for range 10 {
			begun := computed()
			outcomes, wanted := l.wanted(tags)
			best = min(best, computed()-begun)
			if len(wanted["a"]) != n || len(outcomes) != n+1 || outcomes[n] != receiver.Accepted {
				t.Fatalf("%d of %d tags are wanted", len(wanted["a"]), n)
			}
		}
		return best
	}
	if few, many := least(1000), least(20_000); many > 150*few {
		t.Errorf("1,000 tags take %s, 20,000 take %s", few, many)
	}
}

// TestTargetFollowsEvents: a source changes two hundred times in an hour, and one event of ten is lost. What an event told of is at the target
// within five seconds; the rest is there right after the next run of the schedule.
func TestTargetFollowsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const host, mirrorHost = "192.0.2.1", "192.0.2.2"
		source, target := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
		network := emulator.Network{host: source, mirrorHost: target}
		client, err := registry.New(registry.Options{Wrap: func(string, http.RoundTripper) http.RoundTripper { return network }})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		log := slog.New(slog.NewTextHandler(new(bytes.Buffer), nil))
		engine := transfer.New(transfer.Options{Source: client, Artifacts: client, Target: client, Presence: client, Log: log})
		cfg, err := config.Parse("dray.yaml", []byte("version: 1\nmappings:\n"+
			mapping("name: app, source: '%s/app', target: '%s/app', tags: ['v*'], schedule: '@daily'", host, mirrorHost)), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := plan.Compile(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var sources atomic.Pointer[plan.Sources]
		sources.Store(new(plan.SourcesOf(jobs)))
		build := func(context.Context) (daemon.Generation, error) {
			return daemon.Generation{
				Jobs:     []daemon.Job{{Name: jobs[0].Name, Fingerprint: jobs[0].Fingerprint, Schedule: jobs[0].Schedule}},
				Parallel: 1, Take: func() {}, Close: func() {},
				Run: func(ctx context.Context, _ string, some []string, draining <-chan struct{}, w mirror.Watcher, _ mirror.Crew) mirror.Result {
					m := &mirror.Mirror{Observer: client, Manifests: engine, Engines: []mirror.Engine{engine}, Watcher: w, Log: log, Draining: draining}
					if some != nil {
						return m.SyncSome(ctx, jobs[0], nil, references(some))
					}
					return m.SyncOne(ctx, jobs[0], nil)
				},
			}, nil
		}
		hooks, err := webhook.New(webhook.Options{Source: "/dray", Log: log})
		if err != nil {
			t.Fatal(err)
		}
		alone := daemon.NewAlone(forgetful{}, func(record.JobStatus) {}, log)
		d := daemon.New(daemon.Options{
			Build: build, Work: alone, Plans: alone, View: alone, Events: newEvents(metrics.New("1", "copy"), hooks),
			Manager: notify.New(func(string) string { return "" }), Changed: make(chan struct{}), Log: log,
		})
		set := receiver.New(receiver.Options{Look: looks{daemon: d, sources: &sources}.look, Count: func(string, receiver.Outcome) {}, Log: log})
		set.Replace([]receiver.Receiver{{Name: "corp", Type: "generic", Secret: eventSecret}})
		halt, ended := make(chan struct{}), make(chan error, 1)
		push := func(seed int64, tag string) {
			if err := emulator.SingleArch(seed, "linux/amd64", emulator.ImageOptions{LayerSize: 1000}).Push(source, "app", tag); err != nil {
				t.Fatal(err)
			}
		}
		push(0, "v0")
		go func() { ended <- d.Run(t.Context(), halt) }()
		time.Sleep(time.Minute)

		random := rand.New(rand.NewPCG(1, 20)) //nolint:gosec // reproducible
		lost := map[string]bool{}
		begun := time.Now()
		for i := range 200 {
			time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Hour / 200)))
			tag := fmt.Sprintf("v%d", random.IntN(30))
			push(int64(i+1), tag)
			if lost[tag] = random.IntN(10) == 0; lost[tag] {
				continue
			}
			w := httptest.NewRecorder()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/hook/corp", strings.NewReader(`{"image":"`+host+"/app:"+tag+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", eventSecret)
			set.ServeHTTP(w, r)
			if w.Code != http.StatusAccepted {
				t.Errorf("the event of %s: %d", tag, w.Code)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if source.Digest("app", tag) != target.Digest("app", tag) {
				t.Errorf("%s is behind after %s", tag, time.Since(begun))
			}
		}
		behind := func() (n int) {
			for _, tag := range source.Tags("app") {
				if source.Digest("app", tag) != target.Digest("app", tag) {
					n++
				}
			}
			return n
		}
		if behind() == 0 {
			t.Error("no tag is behind, so nothing was lost")
		}
		time.Sleep(time.Until(begun.Truncate(24 * time.Hour).Add(24*time.Hour + time.Minute)))
		synctest.Wait()
		if n := behind(); n > 0 {
			t.Errorf("%d tags are behind after the run of the schedule", n)
		}
		close(halt)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = hooks.Close(t.Context())
	})
}
