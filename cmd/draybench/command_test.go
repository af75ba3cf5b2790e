package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/cmd/draybench/internal/corpus"
	"github.com/draysync/dray/cmd/draybench/internal/result"
	"github.com/draysync/dray/cmd/draybench/internal/server"
	"github.com/draysync/dray/internal/fulltest"
)

// call runs a command line.
func call(t *testing.T, arguments ...string) (out, progress string, err error) {
	t.Helper()
	var stdout, stderr strings.Builder
	root := command()
	root.SetArgs(arguments)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// lonely leaves on PATH nothing but a program that is called crane and does nothing.
func lonely(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "crane"), []byte("#!/bin/sh\necho v1.2.3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
}

func TestRefuses(t *testing.T) {
	lonely(t)
	tests := []struct {
		name      string
		arguments []string
		want      string
	}{
		{"argument", []string{"small"}, "unknown command"},
		{"corpus", []string{"--corpus", "small,huge"}, `no corpus is named "huge"; there are small, wide, big`},
		{"scenario", []string{"--scenario", "last"}, `no scenario is named "last"`},
		{"tool", []string{"--tools", "podman"}, `no tool is named "podman"`},
		{"tool that is not here", []string{"--tools", "dray"}, "find dray:"},
		{"dray's path", []string{"--dray", "./none"}, "find dray:"},
		{"runs", []string{"--runs", "0"}, "--runs must be at least 1"},
		{"latency", []string{"--latency", "fast"}, "--latency"},
		{"registry", []string{"--registry", "harbor"}, "--registry must be one of [debian v3]"},
		{"faults with a tool that is not here", []string{"faults", "--tools", "dray"}, "find dray:"},
		{"scale of odd tags", []string{"scale", "--tags", "150"}, "--tags must be multiples of 100"},
		{"scale of few", []string{"scale", "--mappings", "few"}, "--mappings must be of many, one"},
		{"scale with other registries", []string{"scale", "--registries", "harbor"}, "--registries must be of heads, listed"},
		{"registry that is not here", []string{}, "find registry debian:"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			out, _, err := call(t, test.arguments...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

// TestMeasure measures a tool that does nothing with a corpus that is said to be small: tables, JSON and the limits.
func TestMeasure(t *testing.T) {
	fulltest.Program(t, "docker-registry", "Debian's package docker-registry")
	dir, path := t.TempDir(), os.Getenv("PATH")
	shape := corpus.Shape{Name: "small", Version: 1, Repositories: 2, Tags: 1, Platforms: []string{"linux/amd64"}, OwnLayer: 100}
	if _, err := shape.Fill(t.Context(), server.Debian, dir); err != nil {
		t.Fatal(err)
	}
	lonely(t)
	t.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+path)
	file := filepath.Join(t.TempDir(), "runs.json")
	out, progress, err := call(t,
		"--dir", dir, "--tools", "crane", "--runs", "1", "--scenario", "first", "--json", file, "--markdown", "--require")
	if err == nil || !strings.Contains(err.Error(), "missed: small, first, 0s: fetched = ") {
		t.Errorf("error: %v", err)
	}
	for _, want := range []string{"**small, first, 0s latency, 1 run**", "| crane v1.2.3 † |", "MISSED small, first"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the answer:\n%s", want, out)
		}
	}
	if !strings.Contains(progress, "draybench: small first 0s, run 1: crane in ") {
		t.Errorf("progress: %s", progress)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report result.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Runs) != 1 || report.Runs[0].Tool != "crane" || report.Runs[0].Incomplete == "" || report.Machine.Cores == 0 {
		t.Errorf("%+v", report)
	}
}

// TestFaults plays one fault with a tool that does nothing, and demands nothing of it.
func TestFaults(t *testing.T) {
	lonely(t)
	out, progress, err := call(t, "faults", "--tools", "crane", "--only", "source: 503", "--markdown")
	if err != nil || !strings.Contains(out, "| side | fault | dray must | crane v1.2.3 |") || !strings.Contains(out, "| source | 503") {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(progress, "crane: none, exit 0 (!)") {
		t.Errorf("progress: %s", progress)
	}
}
