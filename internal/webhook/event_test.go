package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

func TestCloudEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(takes)
		s, _ := start(t, r, Hook{URL: hookURL, On: Kinds()})
		berlin := time.FixedZone("", 3600)
		s.Send(Event{Kind: Failed, Time: time.Date(2026, 11, 23, 9, 0, 0, 0, berlin), Data: Data{
			Job: "alpine", Started: time.Date(2026, 11, 23, 8, 59, 0, 0, berlin), Seconds: 1.5, Failures: 2,
			Counts: Counts{Imported: 1, Failed: 1, Kept: 8},
			Actions: []record.Action{
				{Outcome: "kept", Source: "docker.io/library/alpine:3.18"},
				{Op: "import", Outcome: "imported", Source: "docker.io/library/alpine:3.19", Target: "r.example/alpine:3.19", Digest: "sha256:a", Was: "sha256:b", Reason: "moved", Engine: "acr", Unverified: true, Pulls: 3, Bytes: 2, Mounted: 1, Duration: record.Seconds(time.Second)},
				{Outcome: "failed", Source: "docker.io/library/alpine:3.20", Target: "r.example/alpine:3.20", Digest: "sha256:c", Reason: "absent", Error: "target: 403"},
			},
		}})
		synctest.Wait()
		s.Send(Event{Kind: ConfigRejected, Data: Data{Errors: []string{"dray.yaml:1:1: a\nb", "dray.yaml:2:1: c"}, Generation: 7}})
		synctest.Wait()
		got := r.all()
		if len(got) != 2 {
			t.Fatalf("%d requests", len(got))
		}
		if diff := cmp.Diff([]string{"application/cloudevents+json", "dray"}, []string{got[0].Header.Get("Content-Type"), got[0].Header.Get("User-Agent")}); diff != "" {
			t.Error(diff)
		}
		ids := []string{got[0].Header.Get("webhook-id"), got[1].Header.Get("webhook-id")}
		if ids[0] == ids[1] {
			t.Errorf("two events have the id %s", ids[0])
		}
		want := []string{
			`{"specversion":"1.0","id":"` + ids[0] + `","source":"/dray","type":"io.github.draysync.dray.failed","subject":"alpine",` +
				`"time":"2026-11-23T08:00:00Z","datacontenttype":"application/json","data":{"kind":"failed",` +
				`"summary":"alpine failed (1 failed, 1 imported) for the 2nd time in a row: r.example/alpine:3.20: target: 403","job":"alpine",` +
				`"started":"2026-11-23T07:59:00Z","duration_seconds":1.5,"failures":2,` +
				`"counts":{"kept":8,"imported":1,"refused":0,"failed":1,"deferred":0},"actions":[` +
				`{"op":"","reason":"absent","source":"docker.io/library/alpine:3.20","target":"r.example/alpine:3.20","digest":"sha256:c","was":"","engine":"",` +
				`"outcome":"failed","pulls":0,"bytes":0,"bytes_mounted":0,"duration_seconds":0,"retry_at":null,"error":"target: 403","code":""},` +
				`{"op":"import","reason":"moved","source":"docker.io/library/alpine:3.19","target":"r.example/alpine:3.19","digest":"sha256:a","was":"sha256:b","engine":"acr",` +
				`"outcome":"imported","unverified":true,"pulls":3,"bytes":2,"bytes_mounted":1,"duration_seconds":1,"retry_at":null,"error":"","code":""}]}}`,
			`{"specversion":"1.0","id":"` + ids[1] + `","source":"/dray","type":"io.github.draysync.dray.config-rejected",` +
				`"time":"2000-01-01T00:00:00Z","datacontenttype":"application/json","data":{"kind":"config-rejected",` +
				`"summary":"the config was rejected: dray.yaml:1:1: a b (and 1 more)","errors":["dray.yaml:1:1: a b","dray.yaml:2:1: c"],"generation":7}}`,
		}
		if diff := cmp.Diff(want, []string{got[0].Body, got[1].Body}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNormal(t *testing.T) {
	var d Data
	for i := range 1000 {
		d.Actions = append(d.Actions, record.Action{Outcome: []record.Status{record.Imported, record.Kept, record.Deferred, record.Refused}[i%4], Target: fmt.Sprint(i)})
		d.Errors = append(d.Errors, fmt.Sprint(i))
	}
	d.Actions = append(d.Actions, record.Action{Outcome: "failed", Target: "last", Error: strings.Repeat("ü", 10_000)})
	got := normal(Failed, d)
	if len(got.Actions) != 50 || got.ActionsOmitted != 701 || len(got.Errors) != 50 || got.ErrorsOmitted != 950 {
		t.Fatalf("%d actions and %d more, %d errors and %d more", len(got.Actions), got.ActionsOmitted, len(got.Errors), got.ErrorsOmitted)
	}
	if got.Actions[0].Target != "last" || utf8.RuneCountInString(got.Actions[0].Error) != maxText+1 {
		t.Errorf("the failed action comes as %+v", got.Actions[0])
	}
	if got.Actions[1].Target != "3" || got.Actions[1].Outcome != "refused" {
		t.Errorf("then comes %+v", got.Actions[1])
	}
	d.Errors[0], d.Actions[len(d.Actions)-1].Target = "changed", "changed"
	if got.Errors[0] != "0" || got.Actions[0].Target != "last" {
		t.Error("memory is shared with the caller")
	}
}

func TestSummary(t *testing.T) {
	since := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		data Data
		want string
	}{
		"imported":           {Data{Kind: Imported, Job: "a", Counts: Counts{Imported: 3, Kept: 2}}, "a: 3 imported"},
		"nothing":            {Data{Kind: Imported, Job: "a"}, "a: nothing to do"},
		"failed as a whole":  {Data{Kind: Failed, Job: "a", Error: "no such host"}, "a failed (nothing to do): no such host"},
		"failed 11 times":    {Data{Kind: Failed, Job: "a", Failures: 11, Counts: Counts{Refused: 1, Deferred: 2}}, "a failed (1 refused, 2 deferred) for the 11th time in a row"},
		"failed 23 times":    {Data{Kind: Failed, Job: "a", Failures: 23, Counts: Counts{Failed: 1}}, "a failed (1 failed) for the 23rd time in a row"},
		"recovered":          {Data{Kind: Recovered, Job: "a", Counts: Counts{Kept: 4}}, "a recovered (4 kept)"},
		"recovered, since":   {Data{Kind: Recovered, Job: "a", Counts: Counts{Kept: 4}, FailingSince: since}, "a recovered (4 kept) after failing since 2026-11-23T08:00:00Z"},
		"rejected":           {Data{Kind: ConfigRejected}, "the config was rejected"},
		"rejected, one":      {Data{Kind: ConfigRejected, Errors: []string{"x"}}, "the config was rejected: x"},
		"rejected, too many": {Data{Kind: ConfigRejected, Errors: []string{"x", "y"}, ErrorsOmitted: 5}, "the config was rejected: x (and 6 more)"},
		"accepted":           {Data{Kind: ConfigAccepted}, "the config is good again"},
		"missed":             {Data{Kind: Missed, Missed: map[string]int{"imported": 3, "failed": 12}}, "notifications that did not arrive: 12 failed, 3 imported"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := summary(test.data); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzEvent holds whatever is sent to what CloudEvents asks of attributes, and to being JSON.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{"alpine", "", "a\x00b\u009b\u202e\ufffe\U0001ffff\xff", strings.Repeat("x \n", 400), `"},{"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := newNotice("/dray", Failed, time.Time{}, Data{Job: text, Error: text, Errors: []string{text}, Actions: []record.Action{{Outcome: "failed", Target: text, Error: text}}})
		body, _, err := (&compiled{}).body(n)
		if err != nil || !json.Valid(body) {
			t.Fatalf("%v: %s", err, body)
		}
		e := decode(t, string(body))
		for _, attribute := range []string{e.Subject, e.Data.Summary} {
			if utf8.RuneCountInString(attribute) > 2*maxText+1 {
				t.Errorf("%d characters", utf8.RuneCountInString(attribute))
			}
			if strings.ContainsFunc(attribute, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Errorf("%q has characters that no attribute may have", attribute)
			}
		}
	})
}
