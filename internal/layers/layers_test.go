package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/draysync/dray/"

func TestLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	f, err := os.Open(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := ReadTable(f)
	if err != nil {
		t.Fatal(err)
	}
	folders, imports := survey(t, root)
	for _, line := range table.Check(folders, imports) {
		t.Error(line)
	}
}

// survey lists the module's packages and what they import of one another.
func survey(t *testing.T, root string) (folders []string, imports []Import) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return filepath.SkipDir
		}
		if _, err := os.Stat(filepath.Join(path, "go.mod")); d.IsDir() && err == nil && path != root {
			return filepath.SkipDir // a module of its own
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		relative, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		from := filepath.ToSlash(relative)
		if !slices.Contains(folders, from) {
			folders = append(folders, from)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if to, ok := strings.CutPrefix(name, module); ok && err == nil {
				imports = append(imports, Import{From: from, To: to, Test: strings.HasSuffix(path, "_test.go")})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders, imports
}

func TestCheck(t *testing.T) {
	table, err := ReadTable(strings.NewReader("## Other\n| 9 | `x` |\n## Layers\n\n| L | package | what |\n|---|---|---|\n" +
		"| 0 | `image` | |\n| 1 | `layout`, `config` | |\n| 6 | `cmd/dray` | |\n| t | `emulator/registry` | |\n| 2 | `gone` | |\n## Next\n| 3 | `y` | |\n"))
	if err != nil {
		t.Fatal(err)
	}
	folders := []string{"internal/image", "internal/layout", "internal/config", "internal/config/gen", "cmd/dray", "internal/emulator/registry", "internal/new"}
	imports := []Import{
		{From: "internal/layout", To: "internal/image"},
		{From: "internal/image", To: "internal/layout"},
		{From: "internal/image", To: "internal/layout", Test: true},
		{From: "internal/layout", To: "internal/config"},
		{From: "internal/config/gen", To: "internal/config"},
		{From: "internal/config/gen", To: "internal/layout"},
		{From: "internal/layout", To: "internal/emulator/registry"},
		{From: "cmd/dray", To: "internal/emulator/registry"},
		{From: "internal/emulator/registry", To: "internal/layout"},
	}
	want := []string{
		"internal/config/gen imports internal/layout: layer 1 may not import layer 1",
		"internal/gone is in the table, but there is no such folder",
		"internal/image imports internal/layout: layer 0 may not import layer 1",
		"internal/layout imports internal/config: layer 1 may not import layer 1",
		"internal/layout imports internal/emulator/registry: it is for tests and the demo",
		"internal/new is not in the table",
	}
	if diff := cmp.Diff(want, table.Check(folders, imports)); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "## Layers\n| x | `image` | |\n"} {
		if _, err := ReadTable(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read as a table", bad)
		}
	}
}
