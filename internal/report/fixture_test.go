package report

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
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

// codedError is like a registry's.
type codedError struct{ text, code string }

func (e codedError) Error() string { return e.text }
func (e codedError) Code() string  { return e.code }

func digest(n int) image.Digest {
	return image.Digest("sha256:" + strings.Repeat(fmt.Sprintf("%02x", n), 32))
}

func reference(t *testing.T, s string) image.Reference {
	t.Helper()
	ref, err := image.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

const (
	hub  = "docker.io/library/alpine"
	corp = "registry.corp.example:5000/mirror/alpine"
)

// at returns an import of a tag, new where was is 0.
func at(t *testing.T, tag string, want, was int) mirror.Outcome {
	t.Helper()
	out := mirror.Outcome{Job: "alpine", Engine: "copy"}
	out.Action = diff.Action{
		Op: diff.Import, Reason: diff.Absent, Digest: digest(want),
		Source: reference(t, hub+":"+tag).WithDigest(digest(want)), Target: reference(t, corp+":"+tag),
	}
	if was != 0 {
		out.Reason, out.Was = diff.Moved, digest(was)
	}
	return out
}

func kept(t *testing.T, tag string) mirror.Outcome {
	t.Helper()
	out := at(t, tag, 1, 1)
	out.Op, out.Reason, out.Status, out.Engine = diff.Keep, diff.Unchanged, record.Kept, ""
	return out
}

func refused(t *testing.T, tag string, reason diff.Reason, detail string) mirror.Outcome {
	t.Helper()
	out := at(t, tag, 8, 9)
	out.Op, out.Reason, out.Detail, out.Status, out.Engine = diff.Refuse, reason, detail, record.Refused, ""
	return out
}

func unobserved(t *testing.T, tag string, err error) mirror.Outcome {
	t.Helper()
	out := at(t, tag, 1, 0)
	out.Status, out.Err, out.Engine = record.Failed, mirror.At(mirror.Source, reference(t, hub+":"+tag), err), ""
	out.Reason, out.Digest = diff.Unobserved, ""
	out.Source = reference(t, hub+":"+tag)
	return out
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 1, time.UTC)

// hostile is what a registry says that wants to write on somebody's terminal.
const hostile = "GET manifest:\r\n\x1b]0;owned\x07\x1b[2J\u009b31m \u202egnp.exe\x00\xff <html>&"

// planResults has everything that a plan can say.
func planResults(t *testing.T) []mirror.Result {
	t.Helper()
	fresh, moved, large := at(t, "3.20", 1, 0), at(t, "latest", 2, 3), at(t, "3.21", 4, 0)
	fresh.Cost = mirror.Cost{Pulls: 3, Bytes: 1048576, Mounted: 4194304}
	moved.Cost = mirror.Cost{Pulls: 6, Bytes: 11_200_000}
	large.Cost = mirror.Cost{Unknown: true, About: true, Pulls: 1}
	late := at(t, "edge", 5, 6)
	late.Status, late.RetryAt, late.Err = record.Deferred, noon, codedError{"docker.io allows no pull now", "budget"}
	pinned := at(t, "pinned", 7, 0)
	pinned.Source = reference(t, "ghcr.io/acme/base@"+string(digest(7)))
	pinned.Cost = mirror.Cost{Pulls: 1, Bytes: 999}
	outcomes := []mirror.Outcome{
		kept(t, "3.16"), unobserved(t, "3.17", codedError{hostile, "manifest-unknown"}),
		refused(t, "3.18", diff.Moved, "the tag moved at the source, and the mapping says moved: refuse"),
		refused(t, "3.19", diff.PlatformMissing, ""), fresh, large, late, moved, kept(t, "older"), pinned,
	}
	unsaid := at(t, "unsaid", 8, 0)
	unsaid.Reason, unsaid.Cost = diff.Hidden, mirror.Cost{Pulls: 1, Bytes: 1000}
	outcomes = append(outcomes, unsaid)
	other := kept(t, "1")
	other.Target = reference(t, "registry.corp.example:5000/second/alpine:1")
	second := at(t, "3.20", 1, 0)
	second.Target = reference(t, "ocidir:///srv/stage/alpine:stable")
	return []mirror.Result{
		{Job: "quiet", Outcomes: []mirror.Outcome{kept(t, "1"), kept(t, "2")}},
		{Job: "none"},
		{Job: "alpine", Outcomes: append(outcomes, other)},
		{Job: "stage", Outcomes: []mirror.Outcome{second}},
		{Job: "down\x1b[31m", Err: mirror.At(mirror.Source, reference(t, "ghcr.io/acme/tool"),
			fmt.Errorf("list tags: %w", errors.New("ghcr.io gave no answer:\ndial tcp: connection refused (3 attempts); is the registry up, and does its name resolve from here?")))},
		{Job: "last", Outcomes: []mirror.Outcome{kept(t, "1")}},
	}
}

// syncResults is what became of planResults.
func syncResults(t *testing.T) []mirror.Result {
	t.Helper()
	results := planResults(t)
	for _, r := range results {
		for i := range r.Outcomes {
			out := &r.Outcomes[i]
			if out.Op == diff.Import && out.Status == "" {
				out.Status, out.Unknown, out.Duration = record.Imported, false, time.Duration(i+1)*412*time.Millisecond
			}
		}
	}
	broken := at(t, "3.22", 10, 0)
	broken.Target = reference(t, "ocidir:///srv/stage/alpine:broken")
	broken.Status, broken.Err = record.Failed, errors.New("not done within the timeout of 5m0s: context deadline exceeded")
	stage := &results[3]
	stage.Outcomes = append(stage.Outcomes, broken)
	return results
}

// checkHarmless fails where text holds anything that a terminal would act on, colours and newlines aside.
func checkHarmless(t *testing.T, text string) {
	t.Helper()
	for _, c := range []color{red, green, yellow, "0"} {
		text = strings.ReplaceAll(text, "\x1b["+string(c)+"m", "")
	}
	for _, r := range text {
		if r != '\n' && !harmless(r) {
			t.Errorf("%q reached the terminal", r)
		}
	}
}
