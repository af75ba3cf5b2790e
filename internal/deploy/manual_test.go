package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// TestManual has a page for each command that is shown, and one for the config file, which the first names. A program that is built without
// the tag has neither the command nor the libraries behind it.
func TestManual(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "man")
	in(t, top, "go", "run", "-tags", "man", "./cmd/dray", "man", dir)
	page := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return string(raw)
	}
	for _, command := range []string{"run", "sync", "plan", "check", "import", "convert", "layout", "bundle", "status", "demo", "schema", "version", "completion"} {
		if text := page("dray-" + command + ".1"); !strings.Contains(text, "Exit codes") {
			t.Errorf("%s does not tell the exit codes", command)
		}
	}
	if !strings.Contains(page("dray.1"), "dray.yaml(5)") || !strings.Contains(page("dray.yaml.5"), "mappings[].tags.semver") {
		t.Error("the config file is not described")
	}
	linked := strings.Fields(in(t, top, "go", "list", "-deps", "./cmd/dray"))
	for _, library := range []string{"github.com/spf13/cobra/doc", "github.com/cpuguy83/go-md2man/v2/md2man"} {
		if slices.Contains(linked, library) {
			t.Errorf("the program has %s in it", library)
		}
	}
}
