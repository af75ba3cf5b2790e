package main

import (
	"strings"
	"time"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/webhook"
)

// events reports the daemon's events to metrics and hooks.
type events struct {
	metrics *metrics.Metrics
	hooks   *webhook.Sender
	// rejected is why the config was rejected; empty if it was not.
	rejected string
	// failing is when the first of the failed runs in a row of a job began, where this process has seen it.
	failing map[string]time.Time
}

func newEvents(m *metrics.Metrics, hooks *webhook.Sender) *events {
	return &events{metrics: m, hooks: hooks, failing: map[string]time.Time{}}
}

// Ran implements daemon.Events.
func (e *events) Ran(run daemon.Run, before record.State) {
	e.metrics.Ran(run.Result)
	data := webhook.Data{
		Job: run.Job, Started: run.Result.Started, Seconds: run.Result.Duration.Seconds(), Error: errorText(run.Result.Err),
		Failures: run.State.Failures, Counts: webhook.CountsOf(run.Counts), Causes: mirror.Causes(run.Result), Actions: run.Actions,
	}
	if before.Failures == 0 && run.State.Failures > 0 {
		e.failing[run.Job] = run.Result.Started
	}
	data.FailingSince = e.failing[run.Job]
	if run.State.Failures == 0 {
		delete(e.failing, run.Job)
	}
	send := func(kind webhook.Kind) { e.hooks.Send(webhook.Event{Kind: kind, Data: data}) }
	if run.State.Failures > before.Failures {
		send(webhook.Failed)
	}
	if before.Failures > 0 && run.State.Failures == 0 {
		data.Failures = before.Failures
		send(webhook.Recovered)
		data.Failures, data.FailingSince = 0, time.Time{}
	}
	if run.Counts.Import > 0 {
		send(webhook.Imported)
	}
}

// Removed implements daemon.Events.
func (e *events) Removed(job string) {
	e.metrics.Removed(job)
	delete(e.failing, job)
}

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

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
