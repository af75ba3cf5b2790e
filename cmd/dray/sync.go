package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/report"
)

func (a *app) syncCommand() *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "sync [MAPPING…|FILE]",
		Short: "Sync once, now",
		Long: `Compare both sides of all mappings, or of those named, and import what changed. What a registry's rate limit
does not allow now is deferred; dray says until when. With --wait, sync waits and imports that too.

With a FILE that "dray plan --out" has written, sync makes the imports of that plan and no others. It refuses those
whose source or target has changed since, and all of them if one of their mappings has.

` + exitHelp,
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			names, _ := a.completeMappings(c, args, word)
			return names, cobra.ShellCompDirectiveDefault // or a plan file
		},
		RunE: func(c *cobra.Command, names []string) error {
			cfg, jobs, err := a.load()
			if err != nil {
				return err
			}
			if isPlanFile(jobs, names) {
				return a.syncPlan(c.Context(), cfg, jobs, names[0], wait)
			}
			if jobs, err = choose(jobs, names); err != nil {
				return err
			}
			return a.sync(c.Context(), "sync", cfg, jobs, syncAll, wait)
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait, and import what is deferred")
	return c
}

// syncPlan makes the imports of a plan.
func (a *app) syncPlan(ctx context.Context, cfg *config.Config, jobs []plan.Job, path string, wait bool) error {
	file, err := readPlan(path)
	if err != nil {
		return err
	}
	jobs, imports, err := file.approved(path, jobs)
	if err != nil {
		return err
	}
	return a.sync(ctx, "sync", cfg, jobs, func(ctx context.Context, m *mirror.Mirror, jobs []plan.Job) []mirror.Result {
		m.CountKept = false // it has to see which of the imports are there
		return m.SyncApproved(ctx, jobs, imports)
	}, wait)
}

// syncing brings what jobs want.
type syncing func(ctx context.Context, m *mirror.Mirror, jobs []plan.Job) []mirror.Result

func syncAll(ctx context.Context, m *mirror.Mirror, jobs []plan.Job) []mirror.Result {
	return m.Sync(ctx, jobs)
}

// sync runs jobs and reports on them.
func (a *app) sync(ctx context.Context, command string, cfg *config.Config, jobs []plan.Job, do syncing, wait bool) error {
	started := time.Now()
	results, err := a.withMirror(ctx, cfg, jobs, func(_ *generation, m *mirror.Mirror) []mirror.Result {
		m.CountKept = a.output != "json" && !wait
		if wait {
			return untilDone(ctx, m, jobs, do)
		}
		return do(ctx, m, jobs)
	})
	if err != nil {
		return err
	}
	took := time.Since(started)
	if a.output == "json" {
		a.answered = true
		err = report.JSON(a.out, command, started, took, results)
	} else {
		style := a.style()
		_, drawn := a.draws()
		_, together := terminal(a.out)
		style.Shown = drawn && together
		err = report.Summary(a.out, command, results, took, style)
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return verdict(ctx, results, false)
}

// untilDone runs the jobs, and those with deferred actions again, each time when the first of these may be tried, until none is left.
func untilDone(ctx context.Context, m *mirror.Mirror, jobs []plan.Job, do syncing) []mirror.Result {
	results, vain := do(ctx, m, jobs), 0
	for {
		at, names, deferred := mirror.Deferral(results)
		if !deferred {
			return results
		}
		at = mirror.Again(at, time.Now(), vain)
		m.Log.LogAttrs(ctx, slog.LevelInfo, "waiting for deferred imports", slog.Time("next", at))
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return results
		}
		again := slices.DeleteFunc(slices.Clone(jobs), func(j plan.Job) bool { return !slices.Contains(names, j.Name) })
		later := do(ctx, m, again)
		vain++
		if slices.ContainsFunc(later, mirror.Result.Progress) {
			vain = 0
		}
		results = mirror.Merge(results, later)
	}
}

// withMirror builds a mirror, runs the jobs with it, and closes it.
func (a *app) withMirror(ctx context.Context, cfg *config.Config, jobs []plan.Job, work func(*generation, *mirror.Mirror) []mirror.Result) ([]mirror.Result, error) {
	watch, log := a.show(cfg.Log)
	built, err := a.build(ctx, cfg, jobs, log)
	if err != nil {
		watch.Close()
		return nil, err
	}
	results := work(built, built.mirror(watch))
	watch.Close()
	return results, built.close(ctx)
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
