package webhook

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

// chat are the templates of the package's documentation.
func chat() map[string]string {
	return map[string]string{
		"slack, mattermost": `{"text": {{json (slack .Summary)}}}`,
		"teams": `{"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": {
	"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "wrap": true, "text": {{json .Summary}}}]}}]}`,
		"all fields": `{{range $i, $a := .Actions}}{{if not $i}}[{{else}},{{end}}{{json $a}}{{else}}[{{end}}{{if .Actions}},{{end}}
			{{json .ID}},{{json .Type}},{{json .Source}},{{json .Time}},{{json .Kind}},{{json .Job}},{{json .Error}},{{.Counts.Imported}},
			{{json (printf "%s (%d)" .Job .Failures)}},{{index .Missed "failed"}},{{json .Data}}]`,
	}
}

func TestTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(takes)
		s, _ := start(t, r,
			Hook{URL: "https://slack.example", Template: chat()["slack, mattermost"]},
			Hook{URL: "https://teams.example", Template: chat()["teams"]},
			Hook{URL: "https://all.example", Template: chat()["all fields"]})
		s.Send(Event{Kind: Failed, Time: time.Unix(0, 0), Data: Data{Job: `a"b`, Failures: 3, Error: `<!channel> & {x}`, Counts: Counts{Imported: 2}, Actions: []record.Action{{Outcome: "failed"}}}})
		synctest.Wait()
		got := map[string]any{}
		id := ""
		for _, d := range r.all() {
			var value any
			if err := json.Unmarshal([]byte(d.Body), &value); err != nil {
				t.Fatalf("%v: %s", err, d.Body)
			}
			if d.Header.Get("Content-Type") != "application/json" {
				t.Errorf("type %s", d.Header.Get("Content-Type"))
			}
			got[d.URL], id = value, d.Header.Get("Webhook-Id")
		}
		all := got["https://all.example"].([]any)
		first := all[0]
		if outcome := first.(map[string]any)["outcome"]; outcome != "failed" {
			t.Errorf("the first action is %v", first)
		}
		delete(got, "https://all.example")
		text := `a"b failed (2 imported) for the 3rd time in a row: `
		want := map[string]any{
			"https://slack.example": map[string]any{"text": text + `&lt;!channel&gt; &amp; {x}`},
			"https://teams.example": map[string]any{"type": "message", "attachments": []any{map[string]any{
				"contentType": "application/vnd.microsoft.card.adaptive", "content": map[string]any{"type": "AdaptiveCard", "version": "1.4",
					"body": []any{map[string]any{"type": "TextBlock", "wrap": true, "text": text + `<!channel> & {x}`}}}}}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		wantAll := []any{first, id, "io.github.draysync.dray.failed", "/dray", "1970-01-01T00:00:00Z", "failed",
			`a"b`, `<!channel> & {x}`, 2.0, `a"b (3)`, 0.0}
		if diff := cmp.Diff(wantAll, all[:len(all)-1]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTemplateIsRefused(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"syntax":              {`{{if}}`, "missing value for if"},
		"no such function":    {`{{env "HOME"}}`, `function "env" not defined`},
		"no such field":       {`{"a": {{json .Typo}}}`, "can't evaluate field Typo"},
		"field, only if":      {`{{if .Counts.Failed}}{{.Typo}}{{end}}{}`, "can't evaluate field Typo"},
		"field, else":         {`{{if .Counts.Failed}}{{else}}{{.Typo}}{{end}}{}`, "can't evaluate field Typo"},
		"field, by kind":      {`{{if eq .Kind "recovered"}}{{.Typo}}{{end}}{}`, "for the event recovered"},
		"field, when missed":  {`{{if eq .Kind "missed"}}{{.Typo}}{{end}}{}`, "for the event missed"},
		"field, when omitted": {`{{if .ActionsOmitted}}{{.Typo}}{{end}}{}`, "can't evaluate field Typo"},
		"first of none":       {`{{json (index .Actions 0).Target}}`, "index out of range"},
		"not JSON":            {"hello", "not JSON in line 1: invalid character 'h'"},
		"nothing":             {"{{/* */}}", "unexpected end of JSON input"},
		"two values":          {"{}\n{}", "not JSON in line 2"},
		"no quotes":           {"{\n\"text\": {{.Summary}}}", "not JSON in line 2"},
		"own quotes":          {`{"text": "{{.Job}}"}`, "not JSON"},
		"own quotes, errors":  {`{"text": "{{range .Errors}}{{.}}{{end}}"}`, "not JSON"},
		"too long":            {strings.Repeat(" ", maxTemplate) + "{}", "longer than 16384 bytes"},
		"much output":         {`"{{range 100}}{{range 99}}` + strings.Repeat("x", 1000) + `{{end}}{{end}}"`, "makes more than 262144 bytes"},
		"empty loop":          {`{{range 1000000000}}{{end}}{}`, "more than 10000 steps"},
		"nested loops":        {`{{range 300}}{{if 1}}{{with 1}}{{range 300}}{{end}}{{end}}{{end}}{{end}}{}`, "more than 10000 steps"},
		"loop in else":        {`{{if 0}}{{else}}{{with 0}}{{else}}{{range 0}}{{else}}{{range 1000000000}}{{end}}{{end}}{{end}}{{end}}{}`, "more than 10000 steps"},
		"loop in a define":    {`{{define "a"}}{{range 1000000000}}{{continue}}{{end}}{{end}}{{template "a"}}{}`, "more than 10000 steps"},
		"recursion":           {`{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}{}`, "more than 10000 steps"},
		"doubling":            {`{{$x := "xx"}}{{range 100}}{{$x = print $x $x}}{{end}}{}`, "makes more than 262144 bytes"},
		"doubling by printf":  {`{{$x := "xx"}}{{range 100}}{{$x = printf "%s%s" $x $x}}{{end}}{}`, "makes more than 262144 bytes"},
		"doubling by html":    {`{{$x := "xx"}}{{range 100}}{{$x = html $x $x}}{{end}}{}`, "makes more than 262144 bytes"},
		"doubling by json":    {`{{$x := "\\"}}{{range 100}}{{$x = json $x}}{{end}}{}`, "makes more than 262144 bytes"},
		"grown by slack":      {`{{$x := "&"}}{{range 16}}{{$x = print $x $x}}{{end}}{{$x = slack $x}}{}`, "makes more than 262144 bytes"},
		"much, unused":        {`{{$x := printf "%99999d" 1}}{{range 100}}{{$y := print $x}}{{end}}{}`, "makes more than 4194304 bytes with functions"},
		"wide":                {`{{$x := printf "%999999d" 1}}{}`, "makes more than 262144 bytes"},
		"long format":         {`{{$x := printf "` + strings.Repeat("%9d", 400) + `" 1}}{}`, "the format is longer than 1024 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Check([]Hook{{URL: hookURL, Template: test.text}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestTemplateFailsLate: what no sample shows costs that event, and the next goes out.
func TestTemplateFailsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(takes)
		s, log := start(t, r, Hook{URL: hookURL, Template: `{"data": {"kind": {{json .Kind}}, "job": {{if eq .Job "odd"}}oops{{else}}{{json .Job}}{{end}}}}`})
		s.Send(failed("odd"))
		s.Send(failed("even"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"failed even", "missed"}, r.told(t)); diff != "" {
			t.Error(diff)
		}
		if want := `err="make the body for hooks.example: the result is not JSON in line 1`; !strings.Contains(log.String(), want) {
			t.Errorf("the log says %s", log)
		}
	})
}

// TestLargestEvent fits into a template that says all of it.
func TestLargestEvent(t *testing.T) {
	hook, err := compile([]Hook{{URL: hookURL, Template: chat()["all fields"]}})
	if err != nil {
		t.Fatal(err)
	}
	name, digest := strings.Repeat("n", 255+128), "sha256:"+strings.Repeat("a", 64)
	var d Data
	for range 2 * maxActions {
		d.Actions = append(d.Actions, record.Action{Outcome: "imported", Source: name, Target: name, Digest: digest, Was: digest, Reason: "moved", Error: strings.Repeat("e", maxText)})
		d.Errors = append(d.Errors, strings.Repeat("e", maxText))
	}
	body, _, err := hook[0].body(newNotice("/dray", Failed, time.Time{}, d))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(body))
}

// FuzzTemplatesJSON puts odd text into every field: the result is JSON, and says what was put in.
func FuzzTemplatesJSON(f *testing.F) {
	for _, seed := range []string{"alpine", "", `"`, `\`, `"},{"`, "a\x00b\n\u2028\xff", "{{.Job}}", "</script><!channel>", "größer 🐳", `\u0022`} {
		for n := range len(Kinds()) + 1 {
			f.Add(seed, n)
		}
	}
	var texts []string
	for _, text := range chat() {
		texts = append(texts, text)
	}
	hooks := make([]Hook, 0, len(texts)+1)
	for _, text := range append(texts, `{"job": {{json .Job}}}`) {
		hooks = append(hooks, Hook{URL: hookURL, Template: text})
	}
	compiled, err := compile(hooks)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = min(max(n, 0), 60)
		d := Data{Job: text, Error: text, Failures: n}
		for range n {
			d.Actions = append(d.Actions, record.Action{Outcome: "failed", Source: text, Target: text, Digest: text, Was: text, Reason: text, Error: text})
			d.Errors = append(d.Errors, text)
		}
		kinds := append(Kinds(), Missed)
		kind := kinds[n%len(kinds)] // all of them each time would make the search slow
		for _, hook := range compiled {
			body, _, err := hook.body(newNotice("/dray", kind, time.Time{}, d))
			if errors.Is(err, errOutput) && 6*7*n*len(text) > maxOutput {
				continue // seven texts an action, each byte of which may take six: it is really too much
			}
			if err != nil || !json.Valid(body) {
				t.Fatalf("%v: %s", err, body)
			}
			var said struct{ Job *string }
			if json.Unmarshal(body, &said) == nil && said.Job != nil && *said.Job != clean(text, maxText) {
				t.Errorf("%q became %q", text, *said.Job)
			}
		}
	})
}

// FuzzTemplate: no template hangs or panics, and one that is taken makes JSON.
func FuzzTemplate(f *testing.F) {
	for _, text := range chat() {
		f.Add(text)
	}
	for _, text := range []string{`{{range 1000000000}}{{end}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{block "x" .}}{{end}}{}`, `{{_step}}{}`, `{{break}}`,
		`{{range .Actions}}{{break}}{{else}}{{end}}{}`, `{{define "template"}}{{end}}`, `{{.Time.Format "2006"}}`, `{{range $k, $v := .Missed}}{{end}}{}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		started := time.Now()
		hooks, err := compile([]Hook{{URL: hookURL, On: Kinds(), Template: text}})
		if took := time.Since(started); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		if err != nil || text == "" {
			return
		}
		body, _, err := hooks[0].body(newNotice("/dray", Failed, time.Time{}, fullSample()))
		if err == nil && !json.Valid(body) {
			t.Errorf("made %s", body)
		}
	})
}
