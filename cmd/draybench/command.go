package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/cmd/draybench/internal/bench"
	"github.com/draysync/dray/cmd/draybench/internal/corpus"
	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/cmd/draybench/internal/result"
	"github.com/draysync/dray/cmd/draybench/internal/server"
)

const long = `Run dray, regsync, skopeo sync, crane, oras, dregsy, image-syncer and ocync, as far as they are on PATH, in turn on
the same work, and compare what they take. Source and target are registry processes, behind proxies that count, and that add latency to every request.
Every run has a target of its own, which is empty at first.

Corpora: small is 10 repositories × 6 tags × 2 platforms, of 120 MB; wide is 20 repositories × 50 tiny images; big is 3
repositories × 2 images of 300 MB. They are made once, and kept below --dir.

Scenarios, of which every run goes through those chosen, in this order: first copies into an empty target; noop does it once
more; listed does it with registries that list tags with digests, after the tool has run there twice; shared adds a repository
whose images lie in other repositories; forgotten adds another one, with what the tool remembers removed; moved has one tag at
the source lead to a rebuilt image.

The answer is a table for each corpus, scenario and latency: medians, and in brackets how many times dray's they are.

"draybench faults" tells instead what each program makes of registries that misbehave, and "draybench scale" what dray takes for a million
tags.`

// choice is what the flags say.
type choice struct {
	corpora, scenarios, tools []string
	runs                      int
	latencies                 []time.Duration
	dray, registry            string
	dir, json                 string
	markdown, require, tls    bool
}

func command() *cobra.Command {
	var f choice
	c := &cobra.Command{
		Use:           "draybench",
		Short:         "Measure dray beside programs that do the same",
		Long:          long,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.measure(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.corpora, "corpus", []string{"small"}, "what to copy: small, wide, big")
	flags.StringSliceVar(&f.scenarios, "scenario", bench.Scenarios(), "what to measure")
	flags.StringSliceVar(&f.tools, "tools", nil, "which tools, of "+strings.Join(peer.Names(), ", ")+" (default all on PATH)")
	flags.IntVar(&f.runs, "runs", 5, "runs of each tool")
	flags.DurationSliceVar(&f.latencies, "latency", []time.Duration{0}, "added to every request by the proxies")
	flags.StringVar(&f.dray, "dray", "", "path of the program dray (default the one on PATH)")
	flags.StringVar(&f.registry, "registry", string(server.Debian), "debian: docker-registry 2.8; v3: distribution 3, registry")
	flags.BoolVar(&f.tls, "tls", false, "have the registries speak TLS; ocync speaks nothing else")
	flags.StringVar(&f.dir, "dir", "", "for corpora and targets (default below the user's cache folder)")
	flags.StringVar(&f.json, "json", "", "write every single run to this file")
	flags.BoolVar(&f.markdown, "markdown", false, "print the tables as Markdown")
	flags.BoolVar(&f.require, "require", false, "fail where dray misses one of its limits")
	c.AddCommand(faults(), scaling())
	return c
}

// measure runs the benchmark and prints what it found, also when it was interrupted.
func (f choice) measure(ctx context.Context, out, progress io.Writer) error {
	options, err := f.options(ctx, progress)
	if err != nil {
		return err
	}
	report, err := bench.Measure(ctx, options)
	if len(report.Runs) == 0 {
		return err
	}
	if f.markdown {
		err = errors.Join(err, report.Markdown(out))
	} else {
		err = errors.Join(err, report.Text(out))
	}
	if f.json != "" {
		err = errors.Join(err, write(f.json, report))
	}
	if f.require {
		limits, missed := report.Missed()
		fmt.Fprintf(out, "\n%s", limits)
		err = errors.Join(err, missed)
	}
	return err
}

// options reads the flags.
func (f choice) options(ctx context.Context, progress io.Writer) (bench.Options, error) {
	options := bench.Options{
		Scenarios: f.scenarios, Runs: f.runs, Latencies: f.latencies, Registry: server.Kind(f.registry), TLS: f.tls, Dir: f.dir,
		Progress: progress,
	}
	if f.runs < 1 {
		return options, errors.New("--runs must be at least 1")
	}
	if !slices.Contains(server.Kinds(), options.Registry) {
		return options, fmt.Errorf("--registry must be one of %v", server.Kinds())
	}
	for _, name := range f.corpora {
		shape, err := corpus.Find(name)
		if err != nil {
			return options, err
		}
		options.Shapes = append(options.Shapes, shape)
	}
	var err error
	if options.Tools, err = peer.Find(ctx, f.tools, f.dray, f.tls); err != nil {
		return options, err
	}
	if len(options.Tools) == 0 {
		return options, fmt.Errorf("none of %v is on PATH", peer.Names())
	}
	if options.Dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return options, fmt.Errorf("--dir is needed: %w", err)
		}
		options.Dir = filepath.Join(cache, "draybench")
	}
	return options, nil
}

// write writes the report as JSON.
func write(path string, report result.Report) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
