package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/cmd/draybench/internal/corpus"
	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/cmd/draybench/internal/result"
	"github.com/draysync/dray/cmd/draybench/internal/server"
	"github.com/draysync/dray/internal/fulltest"
)

func tiny() corpus.Shape {
	return corpus.Shape{
		Name: "tiny", Version: 1, Repositories: 2, Tags: 1, Platforms: []string{"linux/amd64", "linux/arm64"}, Families: 2,
		BaseLayer: 5000, FamilyLayer: 400, RepositoryLayer: 300, OwnLayer: 200,
	}
}

// options for a short measurement.
func options(t *testing.T, tools []peer.Tool) Options {
	t.Helper()
	fulltest.Program(t, "docker-registry", "Debian's package docker-registry")
	return Options{
		Shapes: []corpus.Shape{tiny()}, Scenarios: Scenarios(), Runs: 1, Latencies: []time.Duration{0}, Tools: tools,
		Registry: server.Debian, Dir: t.TempDir(), Progress: t.Output(),
	}
}

// TestMeasure has all tools that are here go through all scenarios, over TLS.
func TestMeasure(t *testing.T) {
	fulltest.Require(t)
	path := filepath.Join(t.TempDir(), "dray")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/draysync/dray/cmd/dray").CombinedOutput(); err != nil {
		t.Fatalf("build dray: %v\n%s", err, out)
	}
	tools, err := peer.Find(t.Context(), nil, path, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(tools) < len(peer.Names()) {
		t.Logf("of %v only these are measured: %v", peer.Names(), tools)
	}
	o := options(t, tools)
	o.TLS = true
	report, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Runs) != len(tools)*len(Scenarios()) {
		t.Errorf("%d runs", len(report.Runs))
	}
	about := report.Corpora[0]
	if about.Tags != 2 || about.Unique <= 0 || about.Unique >= about.PerRepository {
		t.Errorf("%+v", about)
	}
	for _, run := range report.Runs {
		t.Run(run.Tool+" "+run.Scenario, func(t *testing.T) {
			if run.Incomplete != "" {
				t.Fatalf("%s\n%s", run.Incomplete, run.Stderr)
			}
			if run.Wall <= 0 || run.CPU <= 0 || run.PeakRSS <= 0 || run.Source.Total() == 0 || run.Target.Total() == 0 {
				t.Errorf("not measured: %+v", run)
			}
			least := map[string]int64{first: about.Unique, moved: about.Rebuilt}[run.Scenario]
			if run.Fetched.Bytes-run.Fetched.RepeatedBytes < least || run.Sent < least {
				t.Errorf("fetched %d, sent %d, the tool must have done at least %d", run.Fetched.Bytes, run.Sent, least)
			}
			if run.Tool == "dray" {
				drayKeeps(t, run, about)
			}
			if run.Scenario == moved && run.Beyond < 6 || run.Scenario != moved && run.Beyond != 0 {
				t.Errorf("%d requests beyond the no-op's", run.Beyond)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(o.Dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// drayKeeps checks what is known of dray's runs whatever the corpus.
func drayKeeps(t *testing.T, run result.Run, about result.Corpus) {
	t.Helper()
	want := map[string]int64{first: about.Unique, moved: about.Rebuilt, noop: 0, shared: 0}
	if bytes, exact := want[run.Scenario]; exact && run.Fetched != (result.Fetched{Bytes: bytes}) {
		t.Errorf("fetched %+v, want %d", run.Fetched, bytes)
	}
}

// TestTurns lets two tools that do nothing take turns: the order, and how it is told that nothing was done.
func TestTurns(t *testing.T) {
	bin := t.TempDir()
	var tools []peer.Tool
	for _, name := range []string{"crane", "oras"} {
		path := filepath.Join(bin, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n: >$TMPDIR/file; rm $TMPDIR/file; echo gone >&2\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		tools = append(tools, peer.Tool{Name: name, Path: path})
	}
	o := options(t, tools)
	var progress bytes.Buffer
	o.Scenarios, o.Runs, o.Latencies, o.Progress = []string{first, noop}, 2, []time.Duration{time.Millisecond}, &progress
	report, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, run := range report.Runs {
		got = append(got, fmt.Sprintf("%g %d %s %s", run.Latency, run.Number, run.Tool, run.Scenario))
		if !strings.Contains(run.Incomplete, "mirror/app-0") || !strings.HasSuffix(run.Stderr, "gone\n") {
			t.Errorf("incomplete: %q, %q", run.Incomplete, run.Stderr)
		}
		if run.Temporary.Files == 0 {
			t.Error("its temporary files were not seen")
		}
	}
	want := []string{
		"0.001 1 crane first", "0.001 1 crane noop", "0.001 1 oras first", "0.001 1 oras noop",
		"0.001 2 crane first", "0.001 2 crane noop", "0.001 2 oras first", "0.001 2 oras noop",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(progress.String(), "INCOMPLETE"); n != len(want) {
		t.Errorf("%d lines of progress say so:\n%s", n, progress.String())
	}
}

func TestNeeded(t *testing.T) {
	tests := []struct {
		name   string
		wanted []string
		want   []string
	}{
		{"all, in order", []string{moved, forgotten, shared, listed, noop, first}, Scenarios()},
		{"first comes before everything", []string{shared}, []string{first, shared}},
		{"moved is compared with noop", []string{moved}, []string{first, noop, moved}},
		{"unknown", []string{"last"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := needed(test.wanted)
			if (err != nil) != (test.want == nil) || !slices.Equal(got, test.want) {
				t.Errorf("%v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	content := corpus.Content{
		Repositories: []corpus.Repository{{Path: "apps/a", Tags: []corpus.Tag{{Name: "1", Digest: "d1"}, {Name: "2", Digest: "d2"}}}},
		Promoted: []corpus.Repository{
			{Path: "apps/p", Tags: []corpus.Tag{{Name: "1", Digest: "d1"}}}, {Path: "apps/s", Tags: []corpus.Tag{{Name: "2", Digest: "d2"}}},
		},
		Rebuilt: corpus.Rebuilt{Repository: "apps/a", Tag: "2", Digest: "new"},
	}
	a := peer.Copy{Repository: "apps/a", Target: "mirror/a", Tags: []string{"1", "2"}}
	base := map[image]string{{"mirror/a", "1"}: "d1", {"mirror/a", "2"}: "d2"}
	tests := []struct {
		scenario string
		copies   []peer.Copy
		want     map[image]string
	}{
		{first, []peer.Copy{a}, base},
		{noop, []peer.Copy{a}, base},
		{shared, []peer.Copy{a, {Repository: "apps/p", Target: "mirror/p", Tags: []string{"1"}}},
			map[image]string{{"mirror/a", "1"}: "d1", {"mirror/a", "2"}: "d2", {"mirror/p", "1"}: "d1"}},
		{forgotten, []peer.Copy{a, {Repository: "apps/s", Target: "mirror/s", Tags: []string{"2"}}},
			map[image]string{{"mirror/a", "1"}: "d1", {"mirror/a", "2"}: "d2", {"mirror/s", "2"}: "d2"}},
		{moved, []peer.Copy{a}, map[image]string{{"mirror/a", "1"}: "d1", {"mirror/a", "2"}: "new"}},
	}
	for _, test := range tests {
		t.Run(test.scenario, func(t *testing.T) {
			got := plan(content, test.scenario)
			if diff := cmp.Diff(test.copies, got.copies); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.want, got.want); diff != "" {
				t.Error(diff)
			}
		})
	}
}
