package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// TestKilledAtAnyMoment kills a sync with SIGKILL at random moments, which are spread over all of it. After each, every target tag has to be absent,
// old and whole, or new and whole; and a run to the end has to leave nothing to do. Half of the rounds write a registry, half
// an OCI layout.
func TestKilledAtAnyMoment(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	rounds := int64(fulltest.Rounds(6, 30)) //nolint:gosec // a small number
	content := registry.New(registry.Options{})
	corpus := registry.Corpus{Prefix: "in/", Repositories: 3, Tags: 3, SharedLayers: 1, Image: registry.ImageOptions{LayerSize: 60_000}}
	digests, err := content.Fill(corpus)
	if err != nil {
		t.Fatal(err)
	}
	clock := &requestClock{}
	content.Inject(registry.Fault{Match: clock.tick, Delay: time.Millisecond})
	source := start(t, content)
	old := registry.MultiArch(999, registry.ImageOptions{})
	hit := map[string]int{}
	whole := map[bool]int64{} // requests of a run that nobody kills, by kind of target
	for _, folder := range []bool{false, true} {
		w := newWorld(t, source, digests, old, folder, clock)
		whole[folder] = w.kill(t, clock, 0)
	}
	for round := range rounds {
		folder := round%2 == 1
		w := newWorld(t, source, digests, old, folder, clock)
		request, parts := whole[folder], rounds/2 // of each kind one is killed at the last request, when most tags have moved
		if part := round / 2; part < parts-1 {
			request = 1 + (part*request+rand.Int64N(request))/parts
		}
		w.kill(t, clock, request)
		for tag, state := range w.states(t) {
			hit[state]++
			if state == "broken" {
				t.Errorf("round %d: %s is broken", round, tag)
			}
		}
		doc, a := drayJSON(t, "sync", "-c", w.config)
		if a.code != exitDone {
			t.Fatalf("round %d: the run to the end: exit code %d\n%s\n%s", round, a.code, a.out, a.err)
		}
		if doc, _ = drayJSON(t, "sync", "-c", w.config); doc.Totals.Keep != len(digests) {
			t.Errorf("round %d: the last run had something to do: %+v", round, doc.Totals)
		}
		for tag, state := range w.states(t) {
			if state != "new" {
				t.Errorf("round %d: %s is %s at the end", round, tag, state)
			}
		}
	}
	t.Logf("tags after a kill: %v", hit)
	if rounds < 16 {
		return
	}
	if hit["new"] == 0 || hit["old"] == 0 || hit["absent"] == 0 {
		t.Errorf("the kills hit only some states, so little was tested: %v", hit)
	}
}

// requestClock counts the requests that the registries see: a moment of a sync, whatever the machine's speed.
type requestClock struct {
	seen, alarm atomic.Int64
	ring, hold  atomic.Pointer[func()]
}

// afterAlarm is how many requests may come after the one that was waited for.
const afterAlarm = 16

// tick counts a request, and rings where it is the one that was waited for. What comes long after that is held. It matches every request.
func (c *requestClock) tick(*http.Request) bool {
	switch n, alarm := c.seen.Add(1), c.alarm.Load(); {
	case n == alarm:
		(*c.ring.Load())()
	case alarm > 0 && n > alarm+afterAlarm && c.hold.Load() != nil:
		(*c.hold.Load())()
	}
	return true
}

// world is one target, with some tags that it holds from before.
type world struct {
	config  string
	digests map[string]string
	old     string
	holds   func(repo, tag string) (digest string, whole error)
}

func newWorld(t *testing.T, source string, digests map[string]string, old registry.Image, folder bool, clock *requestClock) world {
	t.Helper()
	w := world{digests: digests, old: old.Digest}
	target := ""
	if folder {
		dir := t.TempDir()
		target = "ocidir://" + dir
		w.holds = func(repo, tag string) (string, error) { return layoutHolds(dir, repo, tag) }
	} else {
		r := registry.New(registry.Options{})
		r.Inject(registry.Fault{Match: clock.tick, Delay: time.Millisecond})
		target = start(t, r) + "/out"
		w.holds = func(repo, tag string) (string, error) {
			d := r.Digest("out/"+repo, tag)
			if d == "" {
				return "", nil
			}
			return d, r.Whole("out/"+repo, tag)
		}
		for i := range 3 { // what moves
			if err := old.Push(r, fmt.Sprintf("out/app-%02d", i), "1.0.0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines := []string{"mappings:"}
	for i := range 3 {
		lines = append(lines, mapping("source: '%s/in/app-%02d', target: '%s/app-%02d', tags: ['*'], referrers: false", source, i, target, i))
	}
	w.config = writeConfig(t, lines...)
	return w
}

// kill starts a sync as a process of its own and kills it at the given request, counted from 1; 0 lets it run to the end. It
// returns how many requests there were.
func (w world) kill(t *testing.T, clock *requestClock, request int64) int64 {
	t.Helper()
	command := exec.Command(os.Args[0], "sync", "-c", w.config)
	command.Env = []string{asDray + "=1", "HOME=" + t.TempDir()}
	ready, ended := make(chan struct{}), make(chan struct{})
	ring := func() {
		<-ready
		time.AfterFunc(rand.N(2*time.Millisecond), func() { _ = command.Process.Kill() }) // before, in the middle of, or after the answer
	}
	hold := func() { <-ended }
	clock.ring.Store(&ring)
	clock.hold.Store(&hold)
	clock.alarm.Store(request)
	clock.seen.Store(0)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	close(ready)
	_ = command.Wait() // it was killed, or was through
	close(ended)
	clock.alarm.Store(0)
	return clock.seen.Load()
}

// states tells of each tag whether it is absent, old, new or broken.
func (w world) states(t *testing.T) map[string]string {
	t.Helper()
	states := map[string]string{}
	for key, digest := range w.digests {
		repo, tag := key[len("in/"):len("in/app-00")], key[len("in/app-00:"):]
		held, err := w.holds(repo, tag)
		switch {
		case err != nil:
			t.Log(err)
			states[key] = "broken"
		case held == "":
			states[key] = "absent"
		case held == digest:
			states[key] = "new"
		case held == w.old:
			states[key] = "old"
		default:
			states[key] = "broken"
		}
	}
	return states
}

// layoutHolds reads a layout as another program would: index.json, and every file below a tag with its digest.
func layoutHolds(dir, repo, tag string) (string, error) {
	path := filepath.Join(dir, repo)
	ref := image.Repository{Path: path}.Tag(tag)
	d, err := layout.New().Head(ref)
	if errors.Is(err, image.ErrAbsent) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(d.Digest), wholeFile(path, string(d.Digest))
}

// wholeFile checks a blob of a layout and everything that it refers to.
func wholeFile(dir, digest string) error {
	want, err := image.ParseDigest(digest)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "blobs", want.Algorithm().String(), want.Encoded()))
	if err != nil {
		return err
	}
	if got := image.DigestOf(raw, want); got != want {
		return fmt.Errorf("%s has digest %s", want, got)
	}
	var refers struct {
		Manifests, Layers []struct{ Digest string }
		Config            struct{ Digest string }
	}
	if json.Unmarshal(raw, &refers) != nil { // a layer
		return nil
	}
	for _, child := range append(refers.Manifests, refers.Layers...) {
		if err := wholeFile(dir, child.Digest); err != nil {
			return err
		}
	}
	if refers.Config.Digest != "" {
		return wholeFile(dir, refers.Config.Digest)
	}
	return nil
}

// TestPullsSurviveKills kills a sync of 300 images from a registry that counts with SIGKILL, five times: no manifest that was paid for and
// arrived is paid for again, so that all of it costs 900 pulls and what was on its way at the kills.
func TestPullsSurviveKills(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const tags, pulls, inFlight = 300, 900, 16
	source := registry.New(registry.Options{})
	for i := range tags {
		if err := registry.MultiArch(int64(i), registry.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "app", fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	clock := &requestClock{}
	isPull := registry.MatchKind(http.MethodGet, registry.KindManifest)
	source.Inject(registry.Fault{Match: func(r *http.Request) bool { return isPull(r) && clock.tick(r) }, Delay: time.Millisecond})
	counts := hub.New(source, hub.Options{Limit: 2000, Window: time.Hour})
	server := httptest.NewServer(counts)
	defer server.Close()
	host, target := strings.TrimPrefix(server.URL, "http://"), registry.New(registry.Options{})
	w := world{config: writeConfig(t, "registries:", "  '"+host+"': {plainHTTP: true, rateLimit: {pullsPerWindow: 2000, window: 1h}}", "mappings:",
		mapping("name: app, source: '%s/app', target: '%s/app', tags: ['v*'], referrers: false", host, start(t, target)))}
	kills := 5
	for range kills {
		w.kill(t, clock, 100+rand.Int64N(50))
	}
	if n := len(target.Tags("app")); n == 0 || n >= tags {
		t.Errorf("%d tags have arrived before the kills, so little was tested", n)
	}
	if a := dray(t, "sync", "-c", w.config); a.code != exitDone {
		t.Fatalf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	a := counts.Account()
	t.Logf("%+v", a)
	if a.Refused > 0 || a.Repeated > kills*inFlight || a.Pulled != pulls+a.Repeated || len(target.Tags("app")) != tags {
		t.Errorf("%+v, %d tags", a, len(target.Tags("app")))
	}
}
