package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/report"
)

func (a *app) planCommand() *cobra.Command {
	var exitCode bool
	c := &cobra.Command{
		Use:   "plan [MAPPING…]",
		Short: "Say what sync would do and cost, changing nothing",
		Long: `Compare both sides of every mapping, or of those named, and say what sync would import, move, refuse
and keep, how many bytes may have to move, and how many manifests would be pulled.

To know the bytes, plan fetches manifests of what is to be imported, and keeps them for the sync. Not so at Docker
Hub, which counts them: there only the index of a tag that changed is fetched, and only where platforms are chosen.

` + exitHelp,
		RunE: func(c *cobra.Command, names []string) error {
			cfg, jobs, err := a.load(nil)
			if err != nil {
				return err
			}
			if jobs, err = choose(jobs, names); err != nil {
				return err
			}
			return a.plan(c.Context(), cfg, jobs, exitCode)
		},
	}
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 4 where imports are pending")
	return c
}

// budgetNeed is what a plan takes of a budget.
type budgetNeed struct {
	report.Budget
	pulls   int
	atLeast bool // some cannot be known without spending one
}

// needs says what imports take of the budgets that are known.
func (g *generation) needs(results []mirror.Result) []budgetNeed {
	var list []budgetNeed
	for _, b := range g.limits.budgets() {
		need := budgetNeed{Budget: report.Budget{
			Registry: b.Registry, Account: b.Account, Limit: b.Limit, Remaining: b.Remaining, Keep: b.Keep, Window: b.Window, RetryAt: b.RetryAt,
		}}
		for _, r := range results {
			for _, out := range r.Outcomes {
				if out.Source.Registry == b.Registry && g.client.Account(out.Source.Repository) == b.Account {
					need.pulls += out.Pulls
					need.atLeast = need.atLeast || out.Unknown
				}
			}
		}
		list = append(list, need)
	}
	return list
}

// plan says what sync would do.
func (a *app) plan(ctx context.Context, cfg *config.Config, jobs []plan.Job, exitCode bool) error {
	started := time.Now()
	var budgets []budgetNeed
	results, err := a.withMirror(ctx, cfg, jobs, func(g *generation) []mirror.Result {
		results := g.mirror.Plan(ctx, jobs)
		budgets = g.needs(results)
		return results
	})
	if err != nil {
		return err
	}
	if a.output == "json" {
		err = report.JSON(a.out, "plan", started, time.Since(started), results)
	} else {
		err = report.Plan(a.out, results, a.style())
		for _, b := range budgets {
			err = errors.Join(err, report.Forecast(a.out, b.Budget, b.pulls, b.atLeast, time.Now()))
		}
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return verdict(ctx, results, exitCode)
}
