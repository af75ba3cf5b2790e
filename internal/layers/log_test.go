package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLog holds docs/log.md to the code: the fields of the log, and the messages that warn, each with its level.
func TestLog(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "log.md"))
	if err != nil {
		t.Fatal(err)
	}
	text, warnings, _ := strings.Cut(string(data), "\n## Warnings and errors\n")
	_, text, _ = strings.Cut(text, "\n## Fields\n")
	var fields []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*`) \\| ").FindAllStringSubmatch(text, -1) {
		fields = append(fields, strings.Split(strings.Trim(m[1], "`"), "`, `")...)
	}
	messages := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(.*)` \\|(?: (WARN|ERROR) \\|)? ").FindAllStringSubmatch(warnings, -1) {
		messages[m[1]] = m[2]
	}

	keys, said := logged(t)
	slices.Sort(fields)
	if d := cmp.Diff(keys, fields); d != "" {
		t.Errorf("fields, -code +document:\n%s", d)
	}
	for message, levels := range said {
		level, ok := messages[message]
		switch {
		case !ok && (levels["WARN"] || levels["ERROR"]):
			t.Errorf("the document lacks the message %q", message)
		case ok && level != "" && !levels[level] && !levels["level"]:
			t.Errorf("the message %q is not of the level %s", message, level)
		case ok && level == "" && !levels["WARN"] && !levels["level"]:
			t.Errorf("the message %q is no warning", message)
		}
	}
	for message := range messages {
		if said[message] == nil {
			t.Errorf("nothing logs %q", message)
		}
	}
}

// logged returns the keys of the log's fields, sorted, and the levels of each message; "level" is one that is known when it runs only.
func logged(t *testing.T) (keys []string, messages map[string]map[string]bool) {
	t.Helper()
	messages = map[string]map[string]bool{}
	for _, folder := range []string{"../../internal", "../../cmd/dray"} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/emulator/") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				called, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if of, ok := called.X.(*ast.Ident); ok && of.Name == "slog" && len(call.Args) == 2 {
					if key, ok := literal(call.Args[0]); ok {
						keys = append(keys, key)
					}
				}
				args := call.Args
				switch {
				case called.Sel.Name == "LogAttrs" && len(args) > 2:
					args = args[1:]
				case called.Sel.Name != "say" || len(args) < 2:
					return true
				}
				if message, ok := literal(args[1]); ok {
					if messages[message] == nil {
						messages[message] = map[string]bool{}
					}
					messages[message][levelOf(args[0])] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), messages
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// levelOf returns a level as the log has it.
func levelOf(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if name, ok := strings.CutPrefix(s.Sel.Name, "Level"); ok {
			return strings.ToUpper(name)
		}
	}
	return "level"
}
