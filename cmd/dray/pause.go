package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/web"
)

// pausedAnswer is the answer of `dray pause` and `dray resume` in JSON.
type pausedAnswer struct {
	Command string `json:"command"`
	web.Paused
}

func (a *app) pauseCommand() *cobra.Command {
	var at daemonAddress
	var reason string
	c := &cobra.Command{
		Use:   "pause [JOB]",
		Short: "Have the daemon start no runs of a job, or of any",
		Long: `Have the daemon start no runs of JOB, or of any job, by schedule, by event or to retry, until dray resume. What is
under way goes on. The pause survives restarts and changes of the config; it ends when the job is gone from the
config. dray trigger JOB still runs a paused job, once.

What becomes due meanwhile runs when the job is resumed. A pause of all jobs also holds for jobs that the config
gets later, and a job may be paused by itself besides. The reason is shown by dray status, on the status page and
in the log, with who asked.

` + exitHelp,
		Args:              atMostOneJob("pause"),
		ValidArgsFunction: a.completeJobs(&at),
		RunE: func(c *cobra.Command, args []string) error {
			if len(reason) > web.MaxReason {
				return usage("--reason has %d bytes; it may have %d", len(reason), web.MaxReason)
			}
			return a.withClient(at, func(client *web.Client) error {
				return a.pausing(c.Context(), "pause", strings.Join(args, ""), func(ctx context.Context, job string) (web.Paused, error) {
					return client.Pause(ctx, job, a.asker(), reason)
				})
			})
		},
	}
	addServer(c, &at)
	c.Flags().StringVar(&reason, "reason", "", "why, as a `TEXT` for those who look")
	return c
}

func (a *app) resumeCommand() *cobra.Command {
	var at daemonAddress
	c := &cobra.Command{
		Use:   "resume [JOB]",
		Short: "End a pause",
		Long: `End the pause of JOB, or that of all jobs. What has become due meanwhile runs now. A job that is paused by itself
stays so after the resume of all jobs, and the other way round; the answer says so.

` + exitHelp,
		Args:              atMostOneJob("resume"),
		ValidArgsFunction: a.completeJobs(&at),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withClient(at, func(client *web.Client) error {
				return a.pausing(c.Context(), "resume", strings.Join(args, ""), func(ctx context.Context, job string) (web.Paused, error) {
					return client.Resume(ctx, job, a.asker())
				})
			})
		},
	}
	addServer(c, &at)
	return c
}

// asker is who calls the program, as far as the environment says.
func (a *app) asker() string {
	by := a.env("USER")
	if host, err := os.Hostname(); err == nil && by != "" {
		by += "@" + host
	}
	return by
}

// pausing makes a change, and says what holds then.
func (a *app) pausing(ctx context.Context, command, job string, change func(context.Context, string) (web.Paused, error)) error {
	now, err := change(ctx, job)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.writeJSON(pausedAnswer{command, now})
	}
	_, err = fmt.Fprintln(a.out, pausedText(now))
	return err
}

// pausedText says what holds after a pause or a resume.
func pausedText(now web.Paused) string {
	job := report.Line(now.Job)
	switch p := now.Paused; {
	case now.Job == "" && p != nil:
		return "All jobs are paused. What is under way goes on. dray resume ends the pause."
	case p != nil && p.All:
		return fmt.Sprintf("%s is still paused, since all jobs are: dray resume ends that.", job)
	case p != nil:
		return fmt.Sprintf("%s is paused. A run under way goes on. dray resume %[1]s ends the pause.", job)
	case now.Job != "":
		return job + " is resumed."
	case len(now.Jobs) > 0:
		return fmt.Sprintf("All jobs are resumed, but those that are paused by themselves: %s.", report.Line(strings.Join(now.Jobs, ", ")))
	}
	return "All jobs are resumed."
}
