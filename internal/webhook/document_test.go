package webhook

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestDocument holds the tables and templates of docs/notifications.md to the code.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "notifications.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	section := func(heading string) string {
		_, after, ok := strings.Cut(text, "\n## "+heading+"\n")
		if !ok {
			t.Fatalf("there is no section %q", heading)
		}
		after, _, _ = strings.Cut(after, "\n## ")
		return after
	}
	rows := func(heading string, row *regexp.Regexp) (found []string) {
		for _, m := range row.FindAllStringSubmatch(section(heading), -1) {
			found = append(found, strings.Join(m[1:], " "))
		}
		return found
	}
	first := regexp.MustCompile("(?m)^\\| `([\\w-]+)` \\|")

	var kinds []string
	for _, k := range append(Kinds(), Missed) {
		kinds = append(kinds, string(k))
	}
	if d := cmp.Diff(kinds, rows("Events", first)); d != "" {
		t.Errorf("events, -code +document:\n%s", d)
	}

	var fields []string
	for f := range reflect.TypeFor[Data]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name+" "+f.Name)
	}
	if d := cmp.Diff(fields, rows("The body", regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `\\.(\\w+)` \\|"))); d != "" {
		t.Errorf("fields, -code +document:\n%s", d)
	}
	for f := range reflect.TypeFor[Fields]().Fields() {
		if !f.Anonymous && !strings.Contains(section("The body"), "`."+f.Name+"`") {
			t.Errorf("the document lacks the field .%s", f.Name)
		}
	}
	for f := range reflect.TypeFor[Counts]().Fields() {
		if !strings.Contains(section("The body"), "`"+f.Tag.Get("json")+"`") {
			t.Errorf("the document lacks the count %s", f.Name)
		}
	}

	var own []string
	for name := range functions(new(spent)) {
		switch name {
		case step, "print", "println", "printf", "html", "js", "urlquery": // Go's
		default:
			own = append(own, name)
		}
	}
	if d := cmp.Diff(own, rows("Templates", first), cmpopts.SortSlices(strings.Compare)); d != "" {
		t.Errorf("functions, -code +document:\n%s", d)
	}

	shown := regexp.MustCompile("(?s)```gotemplate\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(shown) < 3 {
		t.Errorf("%d templates are shown", len(shown))
	}
	for _, m := range shown {
		if errs := Check([]Hook{{URL: "https://hooks.example", On: Kinds(), Template: m[1]}}); errs != nil {
			t.Errorf("%s: %v", m[1], errs)
		}
	}
}
