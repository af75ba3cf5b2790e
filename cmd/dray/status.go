package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/web"
)

// watchEvery is how often status --watch looks.
const watchEvery = 2 * time.Second

func (a *app) statusCommand() *cobra.Command {
	var at daemonAddress
	var watch bool
	c := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Show what the daemon does, waits for and did last",
		Long: `Show what the daemon does: each mapping with its last result, the age of its last success, its next run or what
it waits for, and the running imports. With JOB, only that and its last runs. dray finds the daemon by the config's
server.listen, or by --server.

` + exitHelp,
		Args:              atMostOneJob("status"),
		ValidArgsFunction: a.completeJobs(&at),
		RunE: func(c *cobra.Command, args []string) error {
			job := ""
			if len(args) > 0 {
				job = args[0]
			}
			return a.withClient(at, func(client *web.Client) error { return a.status(c.Context(), client, job, watch) })
		},
	}
	addServer(c, &at)
	c.Flags().BoolVar(&watch, "watch", false, "refresh every 2 seconds until interrupted")
	return c
}

// recentRuns is how many runs of a job are shown with its status.
const recentRuns = 5

func (a *app) status(ctx context.Context, client *web.Client, job string, watch bool) error {
	for {
		status, err := client.Status(ctx)
		if err == nil && job != "" {
			status, err = statusOf(status, job)
		}
		var runs []record.JobRun
		if err == nil && job != "" && a.output != "json" {
			runs, err = client.History(ctx, job, recentRuns)
		}
		if err == nil {
			err = a.showStatus(status, runs, watch)
		}
		if err != nil || !watch {
			return err
		}
		if err := pause(ctx, watchEvery); err != nil {
			return err
		}
	}
}

// showStatus writes the answer, and the last runs of the one job; a next one replaces it on a terminal.
func (a *app) showStatus(status record.Snapshot, runs []record.JobRun, again bool) error {
	var b bytes.Buffer
	_, onTerminal := terminal(a.out)
	if again && onTerminal {
		b.WriteString("\x1b[H\x1b[2J") // home, and clear (ECMA-48)
	}
	if a.output == "json" {
		a.answered = true
		encoder := json.NewEncoder(&b)
		if !again {
			encoder.SetIndent("", "  ")
		}
		if err := encoder.Encode(status); err != nil {
			return err
		}
	} else if err := report.Status(&b, status, a.style()); err != nil {
		return err
	} else if len(runs) > 0 {
		b.WriteByte('\n')
		if err := report.History(&b, runs, status.Now, a.style()); err != nil {
			return err
		}
	}
	_, err := io.Copy(a.out, &b)
	return err
}
