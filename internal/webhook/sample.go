package webhook

import (
	"fmt"
	"text/template"
	"time"

	"github.com/draysync/dray/internal/record"
)

// tryTemplate executes t for events of the kinds, once with everything that there can be and once with next to nothing.
func tryTemplate(t *template.Template, kinds []Kind) error {
	for _, kind := range kinds {
		for _, data := range []Data{fullSample(), {}} {
			fields := fieldsOf(&notice{id: "sample", source: "/dray", at: sampleTime(), data: normal(kind, data)})
			if _, err := execute(t, fields); err != nil {
				return fmt.Errorf("for the event %s: %w", kind, err)
			}
		}
	}
	return nil
}

func sampleTime() time.Time { return time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) }

// fullSample has more of everything than fits, and in every text what breaks JSON where a template forgets to quote.
func fullSample() Data {
	odd := func(text string) string { return text + ` "quoted" \ {x} ünï` }
	action := func(outcome record.Status) record.Action {
		return record.Action{
			Outcome: outcome, Source: odd("docker.io/library/alpine:3.20"), Target: odd("registry.example/alpine:3.20"),
			Digest: odd("sha256:0"), Was: odd("sha256:1"), Reason: odd("moved"), Error: odd("denied"), Unverified: true,
		}
	}
	data := Data{
		Job: odd("alpine"), Error: odd("no such host"), Errors: []string{odd("dray.yaml:14:5: unknown key")},
		Started: sampleTime(), Seconds: 1.5, Failures: 3, FailingSince: sampleTime(), Generation: 7,
		Counts:  Counts{Kept: 1, Imported: 2, Refused: 3, Failed: 4, Deferred: 5},
		Causes:  []record.Cause{{Error: odd("denied"), Code: "denied", Count: 2, Job: odd("alpine"), References: []string{odd("registry.example/alpine:3.20"), odd("registry.example/alpine:3.21")}}},
		Actions: []record.Action{action(record.Imported), action(record.Failed), action(record.Refused), action(record.Deferred)},
		Missed:  map[string]int{string(Failed): 2, string(ConfigRejected): 1}, MissedSince: sampleTime(),
	}
	for range maxActions {
		data.Actions = append(data.Actions, action(record.Imported))
	}
	for range maxErrors {
		data.Errors = append(data.Errors, odd("dray.yaml:15:5: unknown key"))
	}
	return data
}
