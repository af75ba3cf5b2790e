package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/report"
)

func (a *app) syncCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sync [MAPPING…]",
		Short: "Sync now, once",
		Long: `Compare both sides of every mapping, or of those named, and import what changed.

` + exitHelp,
		RunE: func(c *cobra.Command, names []string) error {
			cfg, jobs, err := a.load()
			if err != nil {
				return err
			}
			if jobs, err = choose(jobs, names); err != nil {
				return err
			}
			return a.sync(c.Context(), "sync", cfg, jobs)
		},
	}
}

// sync runs jobs and reports on them.
func (a *app) sync(ctx context.Context, command string, cfg *config.Config, jobs []plan.Job) error {
	started := time.Now()
	results, err := a.withMirror(cfg, jobs, func(m *mirror.Mirror) []mirror.Result { return m.Sync(ctx, jobs) })
	if err != nil {
		return err
	}
	took := time.Since(started)
	if a.output == "json" {
		err = report.JSON(a.out, command, started, took, results)
	} else {
		err = report.Summary(a.out, results, took, a.style())
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return verdict(ctx, results, false)
}

// withMirror builds what runs the jobs, and takes it down when they have run.
func (a *app) withMirror(cfg *config.Config, jobs []plan.Job, work func(*mirror.Mirror) []mirror.Result) ([]mirror.Result, error) {
	watch, log := a.show(cfg.Log)
	built, err := a.build(cfg, jobs, watch, log)
	if err != nil {
		watch.Close()
		return nil, err
	}
	results := work(built.mirror)
	watch.Close()
	return results, built.client.Close()
}

// verdict turns results into an exit code.
func verdict(ctx context.Context, results []mirror.Result, pendingCounts bool) error {
	judged := report.Judge(results)
	switch {
	case ctx.Err() != nil:
		return &exitError{code: exitFailed}
	case judged.Incomplete:
		return &exitError{code: exitPartly}
	case judged.Pending && pendingCounts:
		return &exitError{code: exitPending}
	}
	return nil
}
