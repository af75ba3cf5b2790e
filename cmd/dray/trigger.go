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

// waitEvery is how often trigger --wait looks whether the run has ended, and waitMost how long it waits unless told otherwise.
const (
	waitEvery = time.Second
	waitMost  = 24 * time.Hour
)

// triggered is the answer of `dray trigger` in JSON.
type triggered struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	Job     string `json:"job"`
	// Tags are those that the run looks at; empty for all.
	Tags []string `json:"tags"`
	// Run is nil unless trigger has waited for it.
	Run *record.Run `json:"run"`
}

func (a *app) triggerCommand() *cobra.Command {
	var at daemonAddress
	var wait bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "trigger JOB [TAG…]",
		Short: "Have the daemon run a job now",
		Long: `Have the daemon run a job now, whatever its schedule says; if the job is running, it runs once more afterwards.
With TAGs the run looks at these only, and its schedule stays. A tag of a mapping with several repositories is
written as in the source, registry.example/team/app:v1. --wait waits for the end of the run and exits with 3 unless
it ended well.

` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("trigger takes a JOB; dray status lists the jobs")
			}
			return nil
		},
		ValidArgsFunction: a.completeJobs(&at),
		RunE: func(c *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usage("--timeout must be longer than 0s (got %s)", timeout)
			}
			ctx, cancel := context.WithTimeoutCause(c.Context(), timeout, fmt.Errorf("the run has not ended within %s; it goes on", timeout))
			defer cancel()
			return a.withClient(at, func(client *web.Client) error { return a.trigger(ctx, client, args[0], args[1:], wait) })
		},
	}
	addServer(c, &at)
	c.Flags().BoolVar(&wait, "wait", false, "wait until the run has ended")
	c.Flags().DurationVar(&timeout, "timeout", waitMost, "how long --wait waits, as 90s or 2h")
	return c
}

func (a *app) trigger(ctx context.Context, client *web.Client, job string, tags []string, wait bool) error {
	asked, err := client.Sync(ctx, job, tags...)
	if err != nil {
		return err
	}
	answer := triggered{Version: 1, Command: "trigger", Job: job, Tags: append([]string{}, tags...)}
	if wait {
		if asked.IsZero() {
			return errors.New("the daemon is older than this program, and does not say when it was asked: use its own dray, or leave --wait out")
		}
		if answer.Run, err = a.runAfter(ctx, client, job, len(tags) > 0, asked); err != nil {
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

// runAfter waits for the end of a run of a job, or of one for some of its tags, that began when the daemon was asked for it, or later, by the
// daemon's clock.
func (a *app) runAfter(ctx context.Context, client *web.Client, job string, some bool, asked time.Time) (*record.Run, error) {
	for {
		run, err := lastRun(ctx, client, job, some)
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("wait for the run of %s: %w", job, err)
		}
		if run != nil && !run.Started.Before(asked) {
			return run, nil
		}
		if err := pause(ctx, waitEvery); err != nil {
			return nil, err
		}
	}
}

// lastRun returns the last run of a job that looked at all its tags, or at some, nil for none. The job has to be there still.
func lastRun(ctx context.Context, client *web.Client, job string, some bool) (*record.Run, error) {
	status, err := client.Status(ctx)
	if err == nil {
		status, err = statusOf(status, job)
	}
	switch {
	case err != nil:
		return nil, err
	case !some:
		return status.Jobs[0].Last, nil
	}
	runs, err := client.History(ctx, job, 1)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return &runs[0].Run, nil
}

func (a *app) printTriggered(answer triggered) error {
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	if answer.Run == nil {
		_, err := fmt.Fprintf(a.out, "%s runs now, or after its current run. See dray history %[1]s.\n", report.Line(answer.Job))
		return err
	}
	run := record.JobRun{Job: answer.Job, Run: *answer.Run}
	return report.History(a.out, []record.JobRun{run}, time.Now(), a.style())
}
