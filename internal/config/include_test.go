package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestInclude has a table of configs of several files: testdata/include.txt. A name that ends with "/" is a folder's, with "|" a pipe's,
// and "a>b" is a link. The content of "-c" are the paths that the command line names; dray.yaml without it. What is wanted are the mistakes or, for none, the names of the mappings with what they inherit.
func TestInclude(t *testing.T) {
	const table = "testdata/include.txt"
	data, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	var now bytes.Buffer
	rows := strings.Split(string(data), "=== ")[1:]
	if len(rows) < 50 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		name, text, _ := strings.Cut(row, "\n")
		a := txtar.Parse([]byte(text))
		last := &a.Files[len(a.Files)-1]
		want := string(last.Data)
		t.Run(name, func(t *testing.T) {
			got := includeAll(t, a.Files[:len(a.Files)-1])
			if *update {
				last.Data = []byte(got)
			} else if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
		now.WriteString("=== " + name + "\n")
		now.Write(txtar.Format(a))
	}
	if *update {
		if err := os.WriteFile(table, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// includeAll loads a config of these files, and says what came of it.
func includeAll(t *testing.T, files []txtar.File) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	named := []string{at("dray.yaml")}
	for _, f := range files {
		err := os.MkdirAll(filepath.Dir(at(f.Name)), 0o700)
		link, to, isLink := strings.Cut(f.Name, ">")
		pipe, isPipe := strings.CutSuffix(f.Name, "|")
		switch {
		case err != nil:
		case f.Name == "-c":
			named = nil
			for _, name := range strings.Fields(string(f.Data)) {
				named = append(named, at(name))
			}
		case strings.HasSuffix(f.Name, "/"):
			err = os.MkdirAll(at(f.Name), 0o700)
		case isLink:
			err = os.Symlink(to, at(link))
		case isPipe:
			err = syscall.Mkfifo(at(pipe), 0o600)
		default:
			err = os.WriteFile(at(f.Name), f.Data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(at("conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	options := world("")
	options.ReadFile = nil
	c, err := Load(Locate(named, options))
	if err != nil {
		return strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
	}
	var b strings.Builder
	for _, m := range c.Mappings {
		fmt.Fprintf(&b, "%s of %s: retries %d", m.Name, strings.TrimPrefix(m.Pos.String(), dir+"/"), m.Retries)
		if r, ok := c.Registries["registry.example"]; ok {
			fmt.Fprintf(&b, ", registry of %s", strings.TrimPrefix(r.Pos.String(), dir+"/"))
		}
		if len(c.Receivers) > 0 {
			fmt.Fprintf(&b, ", receiver of %s", strings.TrimPrefix(c.Receivers[0].Pos.String(), dir+"/"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestIncludedTooLarge: a file that is refused for its size is not kept: 256 such files would fill the memory.
func TestIncludedTooLarge(t *testing.T) {
	r := NewReader("/dray.yaml", Options{ReadFile: func(path string) ([]byte, error) {
		if path == "/dray.yaml" {
			return []byte("version: 1\ninclude: [large.yaml]\n"), nil
		}
		return make([]byte, maxIncluded+1), nil
	}})
	a := r.attempt(&inputs{files: files{}}, nil)
	if large := a.sources[1]; len(large.errs) != 1 || !strings.Contains(large.errs[0].Error(), "larger than 1 MiB") || len(large.next.data) > 0 {
		t.Errorf("%v, and %d bytes are kept", large.errs, len(large.next.data))
	}
}
