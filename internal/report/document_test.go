package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// contract is the example that programs were written against, with a whole digest.
const contract = `{"version":1,"command":"sync","started":"2026-11-23T08:00:00Z","duration_seconds":1.2,` +
	`"totals":{"keep":0,"import":1,"refuse":0,"failed":0,"deferred":0,"pulls":3,"bytes":1048576,"bytes_mounted":4194304},"causes":[],` +
	`"jobs":[{"job":"alpine","error":"","actions":[` +
	`{"op":"import","reason":"absent","source":"docker.io/library/alpine:3.20","target":"registry.corp.example:5000/mirror/alpine:3.20",` +
	`"digest":"sha256:0101010101010101010101010101010101010101010101010101010101010101","was":"","engine":"copy","outcome":"imported","pulls":3,"bytes":1048576,"bytes_mounted":4194304,` +
	`"duration_seconds":0.4,"retry_at":null,"error":"","code":""}]}]}`

func document(t *testing.T, command string, started time.Time, results []mirror.Result) string {
	t.Helper()
	var b strings.Builder
	if err := JSON(&b, command, started, 1200*time.Millisecond, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestJSONContract(t *testing.T) {
	out := at(t, "3.20", 1, 0)
	out.Status, out.Duration = record.Imported, 400*time.Millisecond+1000
	out.Cost = mirror.Cost{Pulls: 3, Bytes: 1048576, Mounted: 4194304}
	started := time.Date(2026, 11, 23, 9, 0, 0, 5, time.FixedZone("CET", 3600))
	results := []mirror.Result{{Job: "alpine", Outcomes: []mirror.Outcome{out}}}

	t.Run("sync", func(t *testing.T) { sameJSON(t, contract, document(t, "sync", started, results)) })
	t.Run("plan", func(t *testing.T) {
		want := strings.NewReplacer(`"sync"`, `"plan"`, `"outcome":"imported",`, "").Replace(contract)
		sameJSON(t, want, document(t, "plan", started, results))
	})
	t.Run("nothing", func(t *testing.T) {
		want := `{"version":1,"command":"plan","started":"2026-11-23T08:00:00Z","duration_seconds":1.2,` +
			`"totals":{"keep":0,"import":0,"refuse":0,"failed":0,"deferred":0,"pulls":0,"bytes":0,"bytes_mounted":0},"causes":[],"jobs":[]}`
		sameJSON(t, want, document(t, "plan", started, nil))
	})
}

// sameJSON compares names, order and values, not white space.
func sameJSON(t *testing.T, want, got string) {
	t.Helper()
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(got)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, compact.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestJSON(t *testing.T) {
	tests := map[string][]mirror.Result{"plan": planResults(t), "sync": syncResults(t)}
	for command, results := range tests {
		t.Run(command, func(t *testing.T) {
			got := document(t, command, noon, results)
			checkHarmless(t, got)
			golden(t, command+".json", got)

			var doc Document
			if err := json.Unmarshal([]byte(got), &doc); err != nil {
				t.Fatal(err)
			}
			want := 0
			for _, r := range results {
				want += len(r.Outcomes)
				if r.Err != nil {
					want++
				}
			}
			n := doc.Totals
			if sum := n.Keep + n.Import + n.Refuse + n.Failed + n.Deferred; sum != want {
				t.Errorf("the totals sum up to %d, want %d actions and failed jobs", sum, want)
			}
		})
	}
}

func TestCode(t *testing.T) {
	coded := codedError{"no", "denied"}
	tests := map[string]struct {
		err  error
		want string
	}{
		"none":    {nil, ""},
		"uncoded": {errBroken, ""},
		"direct":  {coded, "denied"},
		"wrapped": {mirror.At(mirror.Target, reference(t, hub), fmt.Errorf("push: %w", coded)), "denied"},
		"hostile": {codedError{"no", "a\x1b\nb"}, "a\uFFFD b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := bounded(record.Code(test.err), maxCode); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
