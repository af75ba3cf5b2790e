package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/web"
)

func (a *app) historyCommand() *cobra.Command {
	var at daemonAddress
	var limit int
	c := &cobra.Command{
		Use:   "history [JOB]",
		Short: "Show the daemon's last runs, the newest first",
		Long: `Show the last runs, the newest first: when and why each ran, how it ended, and what it did. With JOB, only its
runs. --verbose shows the tags that each run imported, refused, deferred or failed at.

` + exitHelp,
		Args:              atMostOneJob("history"),
		ValidArgsFunction: a.completeJobs(&at),
		RunE: func(c *cobra.Command, args []string) error {
			if limit < 1 || limit > web.MaxRuns {
				return usage("--limit must be between 1 and %d (got %d)", web.MaxRuns, limit)
			}
			job := ""
			if len(args) > 0 {
				job = args[0]
			}
			return a.withClient(at, func(client *web.Client) error { return a.history(c.Context(), client, job, limit) })
		},
	}
	addServer(c, &at)
	c.Flags().IntVar(&limit, "limit", 20, "show at most `N` runs, 1 to 1000")
	return c
}

func (a *app) history(ctx context.Context, client *web.Client, job string, limit int) error {
	runs, err := client.History(ctx, job, limit)
	if err != nil {
		return err
	}
	if job != "" && len(runs) == 0 { // a job that is gone may have a history, and one that has not run yet has none
		status, err := client.Status(ctx)
		if err == nil {
			_, err = statusOf(status, job)
		}
		if err != nil {
			return err
		}
	}
	if a.output == "json" {
		return a.writeJSON(web.History{Version: 1, Runs: runs})
	}
	return report.History(a.out, runs, time.Now(), a.style())
}
