package main

import (
	"strings"
	"time"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/webhook"
)

// events tells metrics and hooks what happens in the daemon.
type events struct {
	metrics *metrics.Metrics
	hooks   *webhook.Sender
	// rejected is why the config is, empty while it is not.
	rejected string
}

// Ran implements daemon.Events.
func (e *events) Ran(run daemon.Run, before daemon.State) {
	e.metrics.Ran(run.Result)
	counts := countsOf(run.Result)
	data := webhook.Data{
		Job: run.Job, Started: run.Result.Started, Seconds: run.Result.Duration.Seconds(), Error: errorText(run.Result.Err),
		Failures: run.State.Failures, Counts: counts, Causes: mirror.Causes(run.Result), Actions: actionsOf(run.Result),
	}
	send := func(kind webhook.Kind) { e.hooks.Send(webhook.Event{Kind: kind, Data: data}) }
	if run.State.Failures > before.Failures {
		send(webhook.Failed)
	}
	if before.Failures > 0 && run.State.Failures == 0 {
		data.Failures = before.Failures
		send(webhook.Recovered)
		data.Failures = 0
	}
	if counts.Imported > 0 {
		send(webhook.Imported)
	}
}

func actionsOf(r mirror.Result) []webhook.Action {
	var list []webhook.Action
	for _, out := range r.Outcomes {
		if out.Status != mirror.Kept {
			list = append(list, webhook.Action{
				Outcome: string(out.Status), Source: out.Source.WithDigest("").String(), Target: out.Target.String(),
				Digest: string(out.Digest), Was: string(out.Was), Reason: string(out.Reason), Unverified: out.Unverified, Error: explanation(out),
			})
		}
	}
	return list
}

// Scheduled implements daemon.Events.
func (e *events) Scheduled(job daemon.JobStatus) {
	e.metrics.Scheduled(job.Name, metrics.Standing{
		NextRun: job.Due, LastSuccess: job.State.Succeeded, Deadline: job.Deadline, Failures: job.State.Failures,
	})
}

// Removed implements daemon.Events.
func (e *events) Removed(job string) { e.metrics.Removed(job) }

// Reloaded implements daemon.Events.
func (e *events) Reloaded(at time.Time, generation int, err error) {
	e.metrics.Reloaded(at, err)
	why := errorText(err)
	switch {
	case why != "" && why != e.rejected:
		e.hooks.Send(webhook.Event{Kind: webhook.ConfigRejected, Time: at, Data: webhook.Data{Errors: strings.Split(why, "\n"), Generation: generation}})
	case why == "" && e.rejected != "":
		e.hooks.Send(webhook.Event{Kind: webhook.ConfigAccepted, Time: at, Data: webhook.Data{Generation: generation}})
	}
	e.rejected = why
}
