// Package layers checks that packages import lower layers only, as the table in ARCHITECTURE.md has them. It is used by its
// own test alone.
package layers

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Table maps a package's folder (internal/image, cmd/dray) to its layer.
type Table map[string]Layer

// Layer is a package's place. Support is for tests and the demo: it may import everything below the commands, and only
// commands, other support and tests may import it.
type Layer struct {
	Number  int
	Support bool
}

var cell = regexp.MustCompile("`([a-z0-9/_-]+)`")

// ReadTable reads the table under the heading "## Layers" of ARCHITECTURE.md.
func ReadTable(r io.Reader) (Table, error) {
	table := Table{}
	inside := false
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "## ") {
			inside = line == "## Layers"
		}
		columns := strings.Split(line, "|")
		if !inside || len(columns) < 4 || strings.HasPrefix(strings.TrimSpace(columns[1]), "-") || strings.TrimSpace(columns[1]) == "L" {
			continue
		}
		var layer Layer
		switch text := strings.TrimSpace(columns[1]); text {
		case "t":
			layer.Support = true
		default:
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("layer %q of the line %q is neither a number nor t", text, line)
			}
			layer.Number = n
		}
		for _, name := range cell.FindAllStringSubmatch(columns[2], -1) {
			table[folder(name[1])] = layer
		}
	}
	if len(table) == 0 {
		return nil, fmt.Errorf("there is no table under the heading \"## Layers\"")
	}
	return table, lines.Err()
}

// folder makes the folder of a name in the table: names are below internal unless they say otherwise.
func folder(name string) string {
	if strings.HasPrefix(name, "cmd/") || name == "schema" {
		return name
	}
	return path.Join("internal", name)
}

// Import is that one package imports another; both are folders of the module.
type Import struct {
	From, To string
	// Test is set where only a test file does so.
	Test bool
}

// Check returns what is wrong, one line each, sorted: packages that are not in the table, entries without a folder, and
// imports of a layer that is not lower.
func (t Table) Check(folders []string, imports []Import) []string {
	var wrong []string
	for _, f := range folders {
		if _, _, ok := t.find(f); !ok {
			wrong = append(wrong, f+" is not in the table")
		}
	}
	for name := range t {
		if !slices.Contains(folders, name) {
			wrong = append(wrong, name+" is in the table, but there is no such folder")
		}
	}
	for _, i := range imports {
		if reason := t.refuse(i); reason != "" {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", i.From, i.To, reason))
		}
	}
	slices.Sort(wrong)
	return slices.Compact(wrong)
}

// find returns the entry of a folder, or of what it lies below.
func (t Table) find(f string) (name string, layer Layer, known bool) {
	for ; f != "." && f != "/"; f = path.Dir(f) {
		if layer, ok := t[f]; ok {
			return f, layer, true
		}
	}
	return "", Layer{}, false
}

func (t Table) refuse(i Import) string {
	owner, from, known := t.find(i.From)
	other, to, knownOther := t.find(i.To)
	switch {
	case i.Test, !known, !knownOther, owner == other:
		return "" // tests and packages of one entry import what they need; what is not in the table is reported once
	case to.Support && !from.Support && !strings.HasPrefix(i.From, "cmd/"):
		return "it is for tests and the demo"
	case from.Support, to.Support, to.Number < from.Number:
		return ""
	}
	return fmt.Sprintf("layer %d may not import layer %d", from.Number, to.Number)
}
