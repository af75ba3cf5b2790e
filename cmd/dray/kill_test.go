package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// TestKilledAtAnyMoment kills a sync with SIGKILL at fifty random moments. After each, every target tag has to be absent,
// old and whole, or new and whole; and a run to the end has to leave nothing to do. Half of the rounds write a registry, half
// an OCI layout.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	const rounds = 50
	content := registry.New(registry.Options{})
	corpus := registry.Corpus{Prefix: "in/", Repositories: 3, Tags: 3, SharedLayers: 1, Image: registry.ImageOptions{LayerSize: 60_000}}
	digests, err := content.Fill(corpus)
	if err != nil {
		t.Fatal(err)
	}
	// A little latency spreads the requests, so that the moments hit different steps.
	content.Inject(registry.Fault{Match: func(*http.Request) bool { return true }, Delay: time.Millisecond})
	source := start(t, content)
	old := registry.MultiArch(999, registry.ImageOptions{})
	hit := map[string]int{}
	for round := range rounds {
		w := newWorld(t, source, digests, old, round%2 == 1)
		w.kill(t, 10*time.Millisecond+rand.N(80*time.Millisecond))
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
	if hit["new"] == 0 || hit["old"] == 0 || hit["absent"] == 0 {
		t.Errorf("the kills hit only some states, so little was tested: %v", hit)
	}
}

// world is one target, with some tags that it holds from before.
type world struct {
	config  string
	digests map[string]string
	old     string
	holds   func(repo, tag string) (digest string, whole error)
}

func newWorld(t *testing.T, source string, digests map[string]string, old registry.Image, folder bool) world {
	t.Helper()
	w := world{digests: digests, old: old.Digest}
	target := ""
	if folder {
		dir := t.TempDir()
		target = "ocidir://" + dir
		w.holds = func(repo, tag string) (string, error) { return layoutHolds(dir, repo, tag) }
	} else {
		r := registry.New(registry.Options{})
		r.Inject(registry.Fault{Match: func(*http.Request) bool { return true }, Delay: time.Millisecond})
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

// kill starts a sync as a process of its own and kills it after a while.
func (w world) kill(t *testing.T, after time.Duration) {
	t.Helper()
	command := exec.Command(os.Args[0], "sync", "-c", w.config)
	command.Env = []string{asDray + "=1", "HOME=" + t.TempDir()}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
	_ = command.Wait() // it was killed, or was faster
	timer.Stop()
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
