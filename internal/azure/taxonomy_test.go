package azure

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRules holds the table together: a rule that an earlier one hides would never be heard of.
func TestRules(t *testing.T) {
	names := map[string]bool{}
	for i := range taxonomy() {
		r := &taxonomy()[i]
		t.Run(r.name, func(t *testing.T) {
			checkRule(t, r, names)
			if i > 0 && r.by < taxonomy()[i-1].by {
				t.Errorf("stands after rules that are asked later: %s", taxonomy()[i-1].name)
			}
			got, _ := ruleFor(hear(r.example))
			if got.name != r.name {
				t.Errorf("the example is taken by %s", got.name)
			}
			if f := Classify(r.example); f.Kind != r.kind || f.Side != r.side || f.Again != r.again || f.CopyCures != r.copies {
				t.Errorf("the example becomes %+v", f)
			}
			decides := map[decision]bool{byCode: len(r.codes) > 0, byStatus: r.to > 0 && len(r.codes) == 0, byMessage: r.text != nil && len(r.codes) == 0 && r.to == 0, byDefault: r.text == nil}
			if !decides[r.by] {
				t.Error("its conditions are not of its section")
			}
		})
	}
	for i := range foundByDray {
		r := &foundByDray[i]
		t.Run(r.name, func(t *testing.T) {
			checkRule(t, r, names)
			f := NewFailure(r.kind, r.example.Message)
			if f.Kind != r.kind || f.Side != r.side || f.Advice != r.advice || !strings.HasSuffix(f.Text, r.example.Message) {
				t.Errorf("becomes %+v", f)
			}
		})
	}
	last := taxonomy()[len(taxonomy())-1]
	if last.kind != CodeImportFailed || last.by != byDefault || len(last.codes) > 0 || last.text != nil || last.to != 0 || last.polled || last.posted || last.at != "" {
		t.Error("the last rule does not match everything")
	}
}

var names = regexp.MustCompile(`\{([a-z]+)\}`)

func checkRule(t *testing.T, r *failureRule, seen map[string]bool) {
	t.Helper()
	if seen[r.name] || r.name == "" {
		t.Error("not the only rule of that name")
	}
	seen[r.name] = true
	if r.kind == "" || r.what == "" || r.advice == "" || r.seen == "" || !slices.Contains([]string{SideSource, SideTarget, SideAzure}, r.side) {
		t.Errorf("incomplete: %+v", r)
	}
	if !slices.Contains(everyCode(), r.kind) {
		t.Errorf("the code %s is not in the document", r.kind)
	}
	if strings.ContainsAny(r.what+r.advice, "\n\r\t") || len(r.what) > 200 || len(r.advice) > 320 {
		t.Error("what or advice is not a short line")
	}
	for _, m := range names.FindAllStringSubmatch(r.what+r.advice, -1) {
		fromText := r.text != nil && slices.Contains(r.text.SubexpNames(), m[1])
		if !fromText && m[1] != "status" && m[1] != "code" && filled(m[0], nil) == "none" {
			t.Errorf("nothing fills in %s", m[0])
		}
	}
}

func TestEveryCodeHasRules(t *testing.T) {
	for _, code := range everyCode() {
		if len(rulesOf(code)) == 0 {
			t.Errorf("%s: none", code)
		}
		if f := NewFailure(code, "detail"); f.Kind != code || f.Text == "" || f.Advice == "" {
			t.Errorf("%s: NewFailure makes %+v", code, f)
		}
	}
}
