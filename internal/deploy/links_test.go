package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// link is one of Markdown to a file of this repository, with the heading that it may name.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows the links of the documents that lead to files.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	design, err := filepath.Glob(filepath.Join(root, "docs", "design", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	beside, err := filepath.Glob(filepath.Join(root, "examples", "*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, path := range slices.Concat(documents, design, top, beside) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			followed++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(to))); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if followed < 60 {
		t.Errorf("only %d links were followed", followed)
	}
}

// named is a path in code quotes: that of a file, or of a folder at the top.
var named = regexp.MustCompile("`([a-z][A-Za-z0-9_.-]*/[A-Za-z0-9_./-]+|[A-Za-z.]+\\.(?:md|yaml))`")

// TestHowToAdd finds the files that CONTRIBUTING.md names, step by step, and those of the pages on the design.
func TestHowToAdd(t *testing.T) {
	for path, least := range map[string]int{"CONTRIBUTING.md": 25, "docs/design/requests.md": 10, "docs/design/imports.md": 10, "docs/design/daemon.md": 5} {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			_, here := os.Stat(filepath.Join(root, m[1]))
			_, inside := os.Stat(filepath.Join(root, "internal", m[1])) // the pages on the design leave internal out
			if here != nil && inside != nil {
				t.Errorf("%s names %s, which is not there", path, m[1])
			}
			found++
		}
		if found < least {
			t.Errorf("%s names %d files", path, found)
		}
	}
}

// TestSizesAreMeasured finds each figure with a unit of docs/operations.md, section Sizes, among the measurements.
func TestSizesAreMeasured(t *testing.T) {
	operations, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	measured, err := os.ReadFile(filepath.Join(root, "docs", "measured.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, sizes, _ := strings.Cut(string(operations), "\n## Sizes\n")
	figures := regexp.MustCompile(`\d[\d.,]* (?:min \d+ s|s|MiB|MB|kB|GB|%)`).FindAllString(sizes, -1)
	limits := []string{"64 MiB", "512 MB"} // what dray refuses, and what is advised
	for _, figure := range figures {
		if !slices.Contains(limits, figure) && !regexp.MustCompile(`\b`+regexp.QuoteMeta(strings.TrimRight(figure, "%"))).Match(measured) {
			t.Errorf("docs/measured.md lacks %s", figure)
		}
	}
	if len(figures) < 20 {
		t.Errorf("only %d figures: %q", len(figures), figures)
	}
}
