package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/web"
)

// waitEvery is how often trigger --wait looks whether the run has ended.
const waitEvery = time.Second

// triggered is the answer of `dray trigger` in JSON.
type triggered struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	Job     string `json:"job"`
	// Run is nil unless trigger has waited for it.
	Run *record.Run `json:"run"`
}

func (a *app) triggerCommand() *cobra.Command {
	var at daemonAddress
	var wait bool
	c := &cobra.Command{
		Use:   "trigger JOB",
		Short: "Have the daemon run a job now",
		Long: `Have the daemon run a job now, whatever its schedule says; if the job is running, it runs once more afterwards.
--wait waits for the end of that run and exits with 3 unless it ended well.

` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("trigger takes one JOB (got %d); dray status lists the jobs", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeJobs(&at, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withClient(at, func(client *web.Client) error { return a.trigger(c.Context(), client, args[0], wait) })
		},
	}
	addServer(c, &at)
	c.Flags().BoolVar(&wait, "wait", false, "wait until the run has ended")
	return c
}

func (a *app) trigger(ctx context.Context, client *web.Client, job string, wait bool) error {
	asked, err := client.Sync(ctx, job)
	if err != nil {
		return err
	}
	answer := triggered{Version: 1, Command: "trigger", Job: job}
	if wait {
		if asked.IsZero() {
			return errors.New("the daemon is older than this program, and does not say when it was asked: use its own dray, or leave --wait out")
		}
		if answer.Run, err = a.runAfter(ctx, client, job, asked); err != nil {
			return err
		}
	}
	if err := a.printTriggered(answer); err != nil {
		return err
	}
	if run := answer.Run; run != nil && run.Outcome != record.RunOK {
		return &exitError{code: exitPartly}
	}
	return nil
}

// runAfter waits for the end of a run of a job that began when the daemon was asked for it, or later, by the daemon's clock.
func (a *app) runAfter(ctx context.Context, client *web.Client, job string, asked time.Time) (*record.Run, error) {
	for {
		status, err := client.Status(ctx)
		if err == nil {
			status, err = statusOf(status, job)
		}
		if err != nil {
			return nil, fmt.Errorf("wait for the run of %s: %w", job, err)
		}
		if last := status.Jobs[0].Last; last != nil && !last.Started.Before(asked) {
			return last, nil
		}
		if err := pause(ctx, waitEvery); err != nil {
			return nil, err
		}
	}
}

func (a *app) printTriggered(answer triggered) error {
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	if answer.Run == nil {
		_, err := fmt.Fprintf(a.out, "%s runs now, or after its current run. See dray status %[1]s.\n", report.Line(answer.Job))
		return err
	}
	run := record.JobRun{Job: answer.Job, Run: *answer.Run}
	return report.History(a.out, []record.JobRun{run}, time.Now(), a.style())
}
