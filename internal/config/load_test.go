package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
)

const small = "version: 1\nmappings:\n- {source: alpine, target: x.io/alpine, tags: ['*']}\n"

// soon is more than a second only for the race detector on a busy machine; without both it takes milliseconds.
const soon = 5 * time.Second

// refused loads a file and returns its messages with the path taken out.
func refused(t *testing.T, path string) string {
	t.Helper()
	var err error
	if took := worked(func() { _, err = Load(path, Options{}) }); took > soon {
		t.Errorf("it took %v", took)
	}
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) == 0 {
		t.Fatalf("the error is %T: %v", err, err)
	}
	return strings.ReplaceAll(errs.Error(), path, "dray.yaml")
}

func TestLoadWholeFile(t *testing.T) {
	bomb := "version: 1\na: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), c-1)
	}
	merges := "version: 1\na: &a {k1: 1, k2: 2}\n"
	for c := 'b'; c < 'z'; c++ {
		merges += fmt.Sprintf("%c: &%c {<<: [*%c, *%c]}\n", c, c, c-1, c-1)
	}
	lists := "version: 1\nmappings:\n- &m {source: a, target: x.io/a, tags: [" + strings.Repeat("a,", 1000) + "]}\n" + strings.Repeat("- *m\n", 1000)
	cases := map[string]struct{ content, want string }{
		"empty":         {"", `dray.yaml:1:1: the file is empty; write at least version and mappings`},
		"blank":         {" \n\n", `dray.yaml:1:1: the file is empty; write at least version and mappings`},
		"comments":      {"# version: 1\n# mappings: []\n", `dray.yaml:1:1: the file is empty; write at least version and mappings`},
		"only a mark":   {"---\n", `dray.yaml:1:1: the file is empty; write at least version and mappings`},
		"NUL":           {"version: 1\nmap\x00pings: []\n", `dray.yaml:2:4: the character U+0000 cannot be in a config file; is it a text file?`},
		"binary":        {"\x7fELF\x02\x01\x01\x00", `dray.yaml:1:1: the character U+007F cannot be in a config file; is it a text file?`},
		"latin-1":       {"version: 1\n# gr\xfc\xdfe\n", `dray.yaml:2:5: the byte 0xfc is not UTF-8 text; save the file as UTF-8`},
		"UTF-16":        {"\xff\xfev\x00e\x00", `dray.yaml:1:1: the byte 0xff is not UTF-8 text; save the file as UTF-8`},
		"BOM":           {"\ufeff@: 1\n", `dray.yaml:1:1: is not valid YAML, here or just before: found character that cannot start any token; put a text that starts with @, ` + "`" + ` or % into quotes`},
		"NUL after BOM": {"\ufeffa\x00", `dray.yaml:1:2: the character U+0000 cannot be in a config file; is it a text file?`},
		"BOM within":    {"version: 1 \ufeff\n", `dray.yaml:1:12: the character U+FEFF cannot be in a config file; is it a text file?`},
		"large":         {small + strings.Repeat("#", MaxFile), `dray.yaml:1:1: the file is larger than 16 MiB; is it a config file?`},
		"many values":   {small + strings.Repeat("a,", maxMarks), `dray.yaml:1:1: the file has more than 1000000 lines and values; is it a config file?`},
		"two documents": {small + "---\n" + small, `dray.yaml:4:1: a second YAML document starts here; put everything into one, without a line "---" in between`},
		"alias bomb":    {bomb, `dray.yaml:11:8: the aliases in this file stand for more than 100000 values; write out what is meant`},
		"merge bomb":    {merges, `dray.yaml:26:13: the aliases in this file stand for more than 100000 values; write out what is meant`},
		"long lists":    {lists, `dray.yaml:4:3: the aliases in this file stand for more than 100000 values; write out what is meant`},
		"own alias":     {"version: 1\nmappings: &a [*a]\n", `dray.yaml:2:15: the alias *a contains itself`},
		"own merge":     {"version: 1\nlog: &a {<<: *a}\n", `dray.yaml:2:14: the alias *a contains itself`},
		"no anchor":     {"version: 1\nmappings: [*base]\n", `dray.yaml:2:12: the alias *base has no anchor; an anchor &base must stand before it, and a text that starts with * needs quotes`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dray.yaml")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, refused(t, path)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestSyntax holds the place and the hint; the words in between are the YAML parser's.
func TestSyntax(t *testing.T) {
	cases := map[string]struct{ content, place, hint string }{
		"tab":           {"version: 1\nlog:\n\tlevel: info\n", "dray.yaml:3:2: ", "indent with spaces"},
		"expansion":     {"version: 1\nregistries:\n  ghcr.io: {username: ${env:A}, password: b}\n", "dray.yaml:3:3: ", "needs quotes"},
		"colon":         {"version: 1\nmappings:\n  - source: a: b\n", "dray.yaml:3:3: ", `a text with ": "`},
		"at":            {"version: 1\nmappings:\n  - source: @x\n", "dray.yaml:3:3: ", "starts with @"},
		"quote":         {"version: 1\nlog: {level: \"info}\n", "dray.yaml:", "a quote"},
		"brace":         {"version: 1\nlog: {level: info\n", "dray.yaml:", "closed"},
		"indentation":   {"version: 1\nlog:\n  level: info\n format: text\n", "dray.yaml:", "indentation"},
		"glob unquoted": {"version: 1\nmappings:\n- tags: [*]\n", "dray.yaml:", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("dray.yaml", []byte(c.content), Options{})
			if err == nil || !strings.HasPrefix(err.Error(), c.place) || !strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), "not valid YAML") {
				t.Errorf("got %v, want %s… %s", err, c.place, c.hint)
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "none.yaml")
	if got := refused(t, missing); got != "dray.yaml: cannot be read: no such file or directory; write it, such as with dray init, or name another one with --config" {
		t.Errorf("missing: %s", got)
	}
	if _, err := Load(missing, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a missing file is not fs.ErrNotExist")
	}
	if got := refused(t, dir); got != "dray.yaml: cannot be read: is a directory" {
		t.Errorf("directory: %s", got)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, pipe); got != "dray.yaml: cannot be read: not a regular file" {
		t.Errorf("pipe: %s", got)
	}
	named := filepath.Join(dir, "named.yaml")
	if err := os.WriteFile(named, []byte("version: 1\nregistries: {a.io: {username: u, password: '${file:pipe}'}}\nmappings: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, named); !strings.Contains(got, `dray.yaml:2:44: registries.a.io.password: the file "pipe" cannot be read: not a regular file`) {
		t.Errorf("a pipe that is named: %s", got)
	}
	sparse := filepath.Join(dir, "sparse.yaml")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 100<<20); err != nil {
		t.Fatal(err)
	}
	if data, err := readBounded(sparse); err != nil || len(data) != MaxFile+1 {
		t.Errorf("of 100 MB %d bytes are read (%v)", len(data), err)
	}
	if got := refused(t, sparse); got != "dray.yaml:1:1: the file is larger than 16 MiB; is it a config file?" {
		t.Errorf("100 MB: %s", got)
	}
}

// TestHostileIsQuick fills a large file with what parsers dislike: what grows with its square would take minutes.
func TestHostileIsQuick(t *testing.T) {
	fulltest.Long(t)
	const size = 1 << 18
	for _, piece := range []string{
		"[", "{", "- ", "? ", "a: ", "&a ", "!a ", "*a ", "\"", "'", "|", "#\n", "\n", "\r", "a\n", "- a\n", "[a],", "{a: ", "%a\n", ": ", ", ", "? a\n", "&a a: *a\n", "- &a\n", "\t", "\u0085", "k: v\n", "<<: ", "a: ${env:", "- {}\n", "{},", "- source: a\n", "- source: a\n  target: x.io/a\n  tags: [a]\n",
	} {
		for _, head := range []string{"", "version: 1\nmappings: ", "version: 1\nmappings:\n", "version: 1\nmappings: ["} {
			t.Run(fmt.Sprintf("%q after %q", piece, head), func(t *testing.T) {
				data := head + strings.Repeat(piece, (size-len(head))/len(piece))
				var err error
				took := worked(func() { _, err = Parse("dray.yaml", []byte(data), nothing("")) })
				if err == nil {
					t.Error("it loads")
				} else if len(err.Error()) > 1<<17 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
				if took > soon {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

func TestManyErrorsAreCut(t *testing.T) {
	fulltest.Long(t)
	for _, line := range []string{"versiom%d: x\n", "- {source: a, target: x.io/a, tags: [a], name: n%d, timeout: %[1]d}\n", "- {name: n%d}\n", "- %d\n"} {
		t.Run(line, func(t *testing.T) {
			var b strings.Builder
			b.WriteString(small)
			for i := range 5_000 {
				fmt.Fprintf(&b, line, i)
			}
			_, err := Parse("dray.yaml", []byte(b.String()), Options{})
			errs, _ := errors.AsType[Errors](err)
			if len(errs) != maxErrors+1 || errs[maxErrors].Err.Error() != "there may be more mistakes than these 200" {
				t.Errorf("%d errors, the last of them %v", len(errs), errs[len(errs)-1])
			}
		})
	}
}

// TestVersionComes first, as the other mistakes may be none in a file of another version.
func TestVersionComesFirst(t *testing.T) {
	_, err := Parse("dray.yaml", []byte("job: 3\nmappings: []\nversion: 2\n"), Options{})
	errs, _ := errors.AsType[Errors](err)
	if len(errs) != 3 || errs[0].Key != "version" || errs[1].Key != "job" || errs[2].Key != "mappings" {
		t.Errorf("got %v", err)
	}
}
