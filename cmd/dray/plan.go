package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/report"
)

func (a *app) planCommand() *cobra.Command {
	var exitCode bool
	var out string
	c := &cobra.Command{
		Use:   "plan [MAPPING…]",
		Short: "Show what sync would do and cost, without changing anything",
		Long: `Compare both sides of all mappings, or of those named, and show what sync would import, move, refuse and keep,
how many bytes it may transfer, and how many manifests it would pull.

To know the bytes, plan fetches the manifests of what is to be imported, and keeps them for the sync. Docker Hub
counts such pulls, so there plan fetches one index of each unknown repository and estimates the rest. Where
platforms are selected it also fetches the indexes of changed tags. The sync reuses them.

With --out FILE, plan also writes the imports to a file. "dray sync FILE" makes exactly these, so that somebody can
approve them first.

` + exitHelp,
		ValidArgsFunction: a.completeMappings,
		RunE: func(c *cobra.Command, names []string) error {
			cfg, jobs, err := a.load()
			if err != nil {
				return err
			}
			if jobs, err = choose(jobs, names); err != nil {
				return err
			}
			return a.plan(c.Context(), cfg, jobs, names, out, exitCode)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write the imports to a `FILE`, for dray sync FILE")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 4 if imports are pending")
	return c
}

// outlooks estimate how much of the known budgets the imports need, and when.
func (g *generation) outlooks(results []mirror.Result, now time.Time) []report.Outlook {
	priority := make(map[string]int, len(g.jobs))
	for _, j := range g.jobs {
		priority[j.Name] = j.Priority
	}
	var list []report.Outlook
	for _, b := range g.limits.budgets() {
		o := report.Outlook{Budget: b}
		var needs []ratelimit.Need
		for _, r := range results {
			need := ratelimit.Need{Job: r.Job, Priority: priority[r.Job]}
			for _, out := range r.Outcomes {
				if out.Source.Registry == b.Registry && g.client.Account(out.Source.Repository) == b.Account {
					need.Pulls += out.Pulls
					o.About = o.About || out.About
				}
			}
			if need.Pulls > 0 {
				needs = append(needs, need)
			}
		}
		forecast, _ := g.limits.governor.Forecast(b.Registry, b.Account, needs, now)
		o.Others = forecast.Others
		for _, s := range forecast.Shares {
			o.Needs = append(o.Needs, report.Need{Job: s.Job, Pulls: s.Pulls, Now: s.Now, Done: s.Done})
		}
		list = append(list, o)
	}
	return list
}

// plan shows what sync would do, and writes it to a file if one is named.
func (a *app) plan(ctx context.Context, cfg *config.Config, jobs []plan.Job, names []string, out string, exitCode bool) error {
	started := time.Now()
	var outlooks []report.Outlook
	results, err := a.withMirror(ctx, cfg, jobs, func(g *generation, m *mirror.Mirror) []mirror.Result {
		m.CountKept = a.output != "json"
		results := m.Plan(ctx, jobs)
		outlooks = g.outlooks(results, time.Now())
		return results
	})
	if err != nil {
		return err
	}
	file := planned(jobs, results, started)
	// A plan that is empty since nothing could be seen would be a sync that is green.
	writes := out != "" && ctx.Err() == nil && (file.count() > 0 || !report.Judge(results).Incomplete)
	if writes {
		if err := file.write(out); err != nil {
			return &exitError{exitFailed, err}
		}
	}
	if a.output == "json" {
		a.answered = true
		err = report.JSON(a.out, "plan", started, time.Since(started), results)
	} else {
		style := a.style()
		for _, name := range names {
			style.Names += " " + report.Line(name)
		}
		err = report.Plan(a.out, results, style)
		for _, o := range outlooks {
			err = errors.Join(err, report.Forecast(a.out, o, time.Now()))
		}
		if writes && err == nil {
			_, err = fmt.Fprintf(a.out, "\n%s has the plan, with %d to import. To make exactly these imports: dray sync%s %[1]s\n", report.Line(out), file.count(), style.Config)
		}
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if out != "" && !writes && ctx.Err() == nil {
		fmt.Fprintln(a.err, "dray: "+report.Line(out)+" was not written: the plan has no imports, and what it lacks was refused or failed")
	}
	return verdict(ctx, results, exitCode)
}
