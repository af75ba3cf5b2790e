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

// findWords finds retired words in a text, also as parts of identifiers in camel case and split over lines. The last word of a phrase may have
// an ending.
func findWords(text []byte, retired []string) (list []found) {
	lower := slices.Clone(text)
	for i, c := range lower {
		if isUpper(c) {
			lower[i] = c + 'a' - 'A'
		}
	}
	for _, phrase := range retired {
		parts := strings.Fields(phrase)
		last := []byte(parts[len(parts)-1])
		for from := 0; ; {
			i := bytes.Index(lower[from:], last)
			if i < 0 {
				break
			}
			from += i + len(last)
			at, ok := from-len(last), ends(text, from) && begins(text, from-len(last))
			for k := len(parts) - 2; k >= 0 && ok; k-- {
				for at > 0 && !isLetter(text[at-1]) {
					at--
				}
				at -= len(parts[k])
				ok = at >= 0 && string(lower[at:at+len(parts[k])]) == parts[k] && begins(text, at)
			}
			if ok {
				list = append(list, found{1 + bytes.Count(text[:at], []byte("\n")), phrase})
			}
		}
	}
	return list
}

func isUpper(c byte) bool  { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isUpper(c) || isLower(c) }

// begins reports whether a word begins at i, perhaps within an identifier.
func begins(text []byte, i int) bool {
	return i == 0 || !isLetter(text[i-1]) || isLower(text[i-1]) && isUpper(text[i])
}

// ends reports whether a word ends at i, or with an ending from there.
func ends(text []byte, i int) bool {
	rest := i
	for rest < len(text) && isLower(text[rest]) {
		rest++
	}
	if rest == i && i < len(text) && isUpper(text[i]) && isUpper(text[i-1]) {
		return false
	}
	return slices.Contains(endings, string(text[i:rest]))
}

var endings = []string{"", "s", "es", "d", "ed", "ing"}

func TestFindWords(t *testing.T) {
	text := "// All was an\n// oldword, an unoldword, an Oldword.\nfunc bringGadgets() { fitted(befit, anOldword) } // fitting, outfit, fits\n"
	want := []found{{1, "an oldword"}, {2, "an oldword"}, {3, "an oldword"}, {3, "gadget"}, {3, "fit"}}
	if diff := cmp.Diff(want, findWords([]byte(text), []string{"an oldword", "gadget", "fit"}), cmp.AllowUnexported(found{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"an oldword", "gadget"}, retiredWords("# A\n`a`\n\nNo longer used: `an oldword` (x),\n`gadget`.\n\n`b`\n")); diff != "" {
		t.Error(diff)
	}
}
