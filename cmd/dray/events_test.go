package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/webhook"
)

// hookTransport keeps what hooks are sent.
type hookTransport struct{ heard []string }

// RoundTrip implements http.RoundTripper.
func (h *hookTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var event struct{ Data webhook.Data }
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		return nil, err
	}
	since := ""
	if !event.Data.FailingSince.IsZero() {
		since = " since " + event.Data.FailingSince.UTC().Format(time.TimeOnly)
	}
	h.heard = append(h.heard, fmt.Sprintf("%s %d%s", event.Data.Kind, event.Data.Failures, since))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(&bytes.Buffer{}), Request: r}, nil
}

// TestEventsSinceWhen: events of failed runs, and of the recovery, say when the first of them began, unless that was before this process.
func TestEventsSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hookTransport{}
		hooks, err := webhook.New(webhook.Options{Transport: h, Hooks: []webhook.Hook{{URL: "https://hooks.example", On: webhook.Kinds()}}})
		if err != nil {
			t.Fatal(err)
		}
		e := newEvents(metrics.New("1", "copy"), hooks)
		for at, step := range []struct{ before, after, imported int }{{0, 1, 0}, {1, 2, 1}, {2, 0, 1}, {0, 0, 1}, {7, 8, 0}, {8, 0, 0}, {0, 1, 0}} {
			e.Ran(daemon.Run{
				JobRun: record.JobRun{Job: "app", Run: record.Run{Counts: record.Counts{Import: step.imported}}},
				Result: mirror.Result{Job: "app", Started: time.Unix(int64(at), 0)}, State: record.State{Failures: step.after},
			}, record.State{Failures: step.before})
			synctest.Wait()
		}
		want := []string{
			"failed 1 since 00:00:00", "failed 2 since 00:00:00", "imported 2 since 00:00:00", "recovered 2 since 00:00:00", "imported 0", "imported 0",
			"failed 8", "recovered 8", "failed 1 since 00:00:06",
		}
		if d := cmp.Diff(want, h.heard); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		if err := hooks.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
