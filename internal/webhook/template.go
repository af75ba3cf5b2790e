package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// Fields is what a template sees: the event's attributes and, without a further name, the fields of [Data]; thus .ID and
// .Job, .Counts.Imported, .Actions.
type Fields struct {
	ID     string
	Type   string
	Source string
	Time   time.Time
	Data
}

const (
	maxTemplate = 16 << 10
	// maxOutput bounds the body, and each text that a function returns.
	maxOutput = 256 << 10
	maxFormat = 1 << 10
	// maxMade bounds what all functions return in one execution, output or not.
	maxMade = 4 << 20
	// maxSteps bounds rounds of range and calls of templates in one execution.
	maxSteps = 10_000
	// step is the function that counts them. Nothing else could end {{range 1000000000}}{{end}}.
	step = "_step"
)

var (
	errSteps  = fmt.Errorf("takes more than %d steps", maxSteps)
	errOutput = fmt.Errorf("makes more than %d bytes", maxOutput)
	errMade   = fmt.Errorf("makes more than %d bytes with functions", maxMade)
)

func parseTemplate(text string) (*template.Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("is longer than %d bytes", maxTemplate)
	}
	t, err := template.New("template").Option("missingkey=zero").Funcs(functions(new(spent))).Parse(text)
	if err != nil {
		return nil, err
	}
	counter, err := template.New("step").Funcs(functions(new(spent))).Parse("{{" + step + "}}")
	if err != nil {
		return nil, err
	}
	count := counter.Root.Nodes[0]
	for _, each := range t.Templates() {
		if each.Tree != nil && each.Root != nil {
			countSteps(each.Root, count)
			each.Root.Nodes = append([]parse.Node{count}, each.Root.Nodes...)
		}
	}
	return t, nil
}

// countSteps puts count into the body of every range.
func countSteps(list *parse.ListNode, count parse.Node) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.RangeNode:
			countSteps(n.List, count)
			countSteps(n.ElseList, count)
			n.List.Nodes = append([]parse.Node{count}, n.List.Nodes...)
		case *parse.IfNode:
			countSteps(n.List, count)
			countSteps(n.ElseList, count)
		case *parse.WithNode:
			countSteps(n.List, count)
			countSteps(n.ElseList, count)
		}
	}
}

// spent is what one execution has used up.
type spent struct{ steps, made int }

func (s *spent) step() (string, error) {
	if s.steps++; s.steps > maxSteps {
		return "", errSteps
	}
	return "", nil
}

func (s *spent) text(made string) (string, error) {
	s.made += len(made)
	switch {
	case len(made) > maxOutput:
		return "", errOutput
	case s.made > maxMade:
		return "", errMade
	}
	return made, nil
}

// functions replaces those built-in functions that make text by bounded ones: doubling a variable in a loop needs few
// steps and no output.
func functions(s *spent) template.FuncMap {
	return template.FuncMap{
		step: s.step,
		"json": func(v any) (string, error) {
			text, err := json.Marshal(v)
			if err != nil {
				return "", err
			}
			return s.text(string(text))
		},
		"slack":    func(text string) (string, error) { return s.text(slackEscaper().Replace(text)) },
		"print":    func(args ...any) (string, error) { return s.text(fmt.Sprint(args...)) },
		"println":  func(args ...any) (string, error) { return s.text(fmt.Sprintln(args...)) },
		"html":     func(args ...any) (string, error) { return s.text(template.HTMLEscaper(args...)) },
		"js":       func(args ...any) (string, error) { return s.text(template.JSEscaper(args...)) },
		"urlquery": func(args ...any) (string, error) { return s.text(template.URLQueryEscaper(args...)) },
		"printf": func(format string, args ...any) (string, error) {
			if len(format) > maxFormat {
				return "", fmt.Errorf("the format is longer than %d bytes", maxFormat)
			}
			return s.text(fmt.Sprintf(format, args...))
		},
	}
}

func slackEscaper() *strings.Replacer {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
}

// boundedBuffer refuses what is beyond maxOutput.
type boundedBuffer struct{ bytes.Buffer }

// Write fails with errOutput and takes nothing once the limit is passed.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, errOutput
	}
	return b.Buffer.Write(p)
}

// execute renders fields, within bounds, to something that is JSON.
func execute(t *template.Template, fields Fields) ([]byte, error) {
	own, err := t.Clone() // the functions count for one execution
	if err != nil {
		return nil, err
	}
	var out boundedBuffer
	if err := own.Funcs(functions(new(spent))).Execute(&out, fields); err != nil {
		for _, limit := range []error{errSteps, errOutput, errMade} {
			if errors.Is(err, limit) {
				return nil, limit
			}
		}
		return nil, err
	}
	if err := checkJSON(out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// checkJSON says where text stops to be JSON, without quoting it.
func checkJSON(text []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(text, &value)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
		return fmt.Errorf("the result is not JSON in line %d: %w; {{json .Summary}} writes a string with its quotes", line, err)
	}
	return err
}
