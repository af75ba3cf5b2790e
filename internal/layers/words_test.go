package layers

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWords finds the words that ARCHITECTURE.md lists as no longer used: in code, comments, texts and docs, also as parts of identifiers.
func TestWords(t *testing.T) {
	root := filepath.Join("..", "..")
	architecture, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	retired := retiredWords(string(architecture))
	if len(retired) < 10 {
		t.Fatalf("ARCHITECTURE.md retires %q", retired)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // another test's file, gone meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() || !slices.Contains([]string{".go", ".md", ".txtar", ".yaml", ".yml", ".html", ".sh", ".json", ".tmpl"}, filepath.Ext(path)) && d.Name() != "run" {
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		if d.Name() == "ARCHITECTURE.md" {
			text = []byte(retiring.ReplaceAllString(string(text), ""))
		}
		for _, found := range findWords(text, retired) {
			t.Errorf("%s:%d: %q is a word that ARCHITECTURE.md retires", path, found.line, found.phrase)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 500 {
		t.Errorf("only %d files were read", files)
	}
}

// retiring is the paragraph of ARCHITECTURE.md with the retired words, each in backquotes.
var retiring = regexp.MustCompile(`(?s)\nNo longer used.*?\n\n`)

func retiredWords(architecture string) (list []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(retiring.FindString(architecture), -1) {
		list = append(list, m[1])
	}
	return list
}

type found struct {
	line   int
	phrase string
}

// word is a word, or a part of an identifier in camel case.
var word = regexp.MustCompile(`[A-Z]*[a-z]+|[A-Z]+`)

// findWords finds retired words in a text, also where they are split over lines. The last word of a phrase may have an ending.
func findWords(text []byte, retired []string) (list []found) {
	lower := bytes.ToLower(text)
	var spans [][]int
	for _, phrase := range retired {
		parts := strings.Fields(phrase)
		if slices.ContainsFunc(parts, func(part string) bool { return !bytes.Contains(lower, []byte(part)) }) {
			continue
		}
		if spans == nil {
			spans = word.FindAllIndex(text, -1)
		}
		at := func(i int) string { return string(lower[spans[i][0]:spans[i][1]]) }
		for i := range len(spans) - len(parts) + 1 {
			n := 0
			for n < len(parts)-1 && at(i+n) == parts[n] {
				n++
			}
			if rest, ok := strings.CutPrefix(at(i+n), parts[n]); ok && n == len(parts)-1 && slices.Contains(endings, rest) {
				list = append(list, found{1 + bytes.Count(text[:spans[i][0]], []byte("\n")), phrase})
			}
		}
	}
	return list
}

var endings = []string{"", "s", "es", "d", "ed", "ing"}

func TestFindWords(t *testing.T) {
	text := "// All was an\n// oldword, an OldWord, an oldword.\nfunc bringGadgets() { fitted(befit, anOldword) } // fitting, outfit, fits\n"
	want := []found{{1, "an oldword"}, {2, "an oldword"}, {3, "an oldword"}, {3, "gadget"}, {3, "fit"}}
	if diff := cmp.Diff(want, findWords([]byte(text), []string{"an oldword", "gadget", "fit"}), cmp.AllowUnexported(found{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"an oldword", "gadget"}, retiredWords("# A\n`a`\n\nNo longer used: `an oldword` (x),\n`gadget`.\n\n`b`\n")); diff != "" {
		t.Error(diff)
	}
}
