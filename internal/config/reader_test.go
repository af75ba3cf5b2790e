package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// shelf has the files of a config in memory, below the folder "/etc", and a reader of them.
type shelf struct {
	files map[string]string
	// gone has folders that cannot be listed.
	gone   map[string]bool
	reader *Reader
}

func newShelf(check func(*Config) error) *shelf {
	s := &shelf{files: map[string]string{}, gone: map[string]bool{}}
	s.reader = NewReader("/etc/main", s.options(check))
	return s
}

// options read the shelf.
func (s *shelf) options(check func(*Config) error) Options {
	return Options{
		ReadFile: func(name string) ([]byte, error) {
			text, ok := s.files[strings.TrimPrefix(name, "/etc/")]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		List: func(pattern string) ([]string, error) {
			if s.gone[path.Dir(pattern)] {
				return nil, &fs.PathError{Op: "open", Path: path.Dir(pattern), Err: fs.ErrNotExist}
			}
			var all []string
			for name := range s.files {
				if ok, err := path.Match(pattern, "/etc/"+name); err != nil {
					return nil, err
				} else if ok {
					all = append(all, "/etc/"+name)
				}
			}
			slices.Sort(all)
			return all, nil
		},
		Check: check,
	}
}

// entries is the text of a file with these mappings, each "name" or "name=repository".
func entries(names ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\nmappings:\n")
	for _, name := range names {
		name, target, ok := strings.Cut(name, "=")
		if !ok {
			target = name
		}
		fmt.Fprintf(&b, "  - {name: %s, source: 'docker.io/acme/%s', target: 'registry.example/%s', tags: [latest]}\n", name, target, target)
	}
	return b.String()
}

// says reads the config, takes it over, and returns the mappings, a "!" if nothing was taken over, and the mistakes.
func (s *shelf) says(accept bool) string {
	c, rejected, err := s.reader.Read()
	var b strings.Builder
	for _, m := range c.Mappings {
		fmt.Fprintf(&b, "%s=%s ", m.Name, strings.TrimPrefix(m.Targets[0].Path, "mirror/"))
	}
	if err != nil {
		return b.String() + "! " + strings.ReplaceAll(err.Error(), "\n", " | ")
	}
	if accept {
		s.reader.Accept()
	}
	if rejected != nil {
		b.WriteString("- " + strings.ReplaceAll(rejected.Error(), "\n", " | "))
	}
	return strings.TrimSuffix(b.String(), " ")
}

const glued = "version: 1\ninclude: [d/*]\n"

// oneWriter is a check such as that of package plan: no two mappings have one target.
func oneWriter(c *Config) error {
	first := map[string]Mapping{}
	var errs Errors
	for _, m := range c.Mappings {
		target := m.Targets[0].Path
		if other, ok := first[target]; ok {
			errs = append(errs, &Error{Pos: m.Pos, Err: fmt.Errorf("writes what %s of %s does", other.Name, other.Pos.From(m.Pos.File))})
		}
		first[target] = m
	}
	if errs != nil {
		return errs
	}
	return nil
}

// TestReader changes files of a config, each step after the one before is in force. A change to "" removes the file.
func TestReader(t *testing.T) {
	const bad = "version: 1\nmappings: [\n"
	const badSays = ":3:1: is not valid YAML, here or just before: did not find expected node content; check the indentation, and put a text that starts with *, &, !, [, { or a quote into quotes as a whole"
	type step struct {
		files map[string]string
		says  string
	}
	for name, steps := range map[string][]step{
		"a bad file stays as it was, and is corrected": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/a": bad}, "a=a b=b - /etc/d/a" + badSays},
			{map[string]string{"d/b": entries("b", "c")}, "a=a b=b c=c - /etc/d/a" + badSays},
			{map[string]string{"d/a": entries("a=x")}, "a=x b=b c=c"},
		},
		"nothing is taken over where nothing new is good": {
			{map[string]string{"main": glued, "d/a": entries("a")}, "a=a"},
			{map[string]string{"d/a": bad, "main": bad}, "! /etc/main" + badSays + " | /etc/d/a" + badSays},
		},
		"the main file is bad, another good": {
			{map[string]string{"main": glued + "jobs: 3\n", "d/a": entries("a")}, "a=a"},
			{map[string]string{"d/a": entries("a", "b"), "main": bad}, "a=a b=b - /etc/main" + badSays},
		},
		"a new file is bad": {
			{map[string]string{"main": glued, "d/a": entries("a")}, "a=a"},
			{map[string]string{"d/b": bad}, "a=a - /etc/d/b" + badSays},
			{map[string]string{"d/b": entries("b")}, "a=a b=b"},
		},
		"the first reading": {
			{map[string]string{"main": glued, "d/a": bad, "d/b": entries("b")}, "b=b - /etc/d/a" + badSays},
			{map[string]string{"d/a": entries("a")}, "a=a b=b"},
		},
		"the first reading of a bad main file": {
			{map[string]string{"main": bad, "d/a": entries("a")}, "! /etc/main" + badSays},
		},
		"the first reading with bad files only": {
			{map[string]string{"main": glued, "d/a": bad}, "! /etc/d/a" + badSays + " | /etc/main:2:11: include: no file has a mapping"},
		},
		"a file comes and goes": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/b": ""}, "a=a"},
			{map[string]string{"d/b": entries("c")}, "a=a c=c"},
			{map[string]string{"d/a": "", "d/b": bad}, "c=c - /etc/d/b" + badSays},
			{map[string]string{"d/b": ""}, "! /etc/main:2:11: include: no file has a mapping"},
		},
		"a file by name goes": {
			{map[string]string{"main": "version: 1\ninclude: [one, two]\n", "one": entries("a"), "two": entries("b")}, "a=a b=b"},
			{map[string]string{"two": ""}, "a=a b=b - /etc/main:2:16: include[1]: \"two\" cannot be read: file does not exist"},
		},
		"the folder goes": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/a": entries("x"), "folder gone": "yes"}, "x=x b=b - /etc/main:2:11: include[0]: the folder of \"d/*\" cannot be read: file does not exist"},
		},
		"an earlier file takes the name of a later one": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/a": entries("a", "b=y")}, "a=a b=b - /etc/d/a:4:12: mappings[1].name: the mapping's name \"b\" is taken by the mapping in line 3 of /etc/d/b; give this one a name of its own"},
		},
		"the main file takes a name": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"main": glued + strings.TrimPrefix(entries("b=y"), "version: 1\n"), "d/a": entries("a=z")}, "a=z b=b - /etc/main:4:12: mappings[0].name: the mapping's name \"b\" is taken by the mapping in line 3 of /etc/d/b; give this one a name of its own"},
		},
		"a name moves from one file to another": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b", "c")}, "a=a b=b c=c"},
			{map[string]string{"d/a": entries("a", "c=z"), "d/b": entries("b")}, "a=a c=z b=b"},
		},
		"a name moves to a file that is bad": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b", "c")}, "a=a b=b c=c"},
			{map[string]string{"d/a": entries("a", "c=z") + "x", "d/b": entries("b")}, "a=a b=b - /etc/d/a:5:1: is not valid YAML, here or just before: could not find expected ':'"},
		},
		"a name moves from a file that is bad": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b", "c")}, "a=a b=b c=c"},
			{map[string]string{"d/a": entries("a", "c=z"), "d/b": bad}, "a=a b=b c=c - /etc/d/a:4:12: mappings[1].name: the mapping's name \"c\" is taken by the mapping in line 4 of /etc/d/b; give this one a name of its own | /etc/d/b" + badSays},
		},
		"an earlier file wants the name of a later one, which changes": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/a": entries("a", "b=y"), "d/b": entries("b", "c")}, "a=a b=b c=c - /etc/d/a:4:12: mappings[1].name: the mapping's name \"b\" is taken by the mapping in line 3 of /etc/d/b; give this one a name of its own"},
			{map[string]string{"d/b": entries("b=x", "d")}, "a=a b=x d=d - /etc/d/a:4:12: mappings[1].name: the mapping's name \"b\" is taken by the mapping in line 3 of /etc/d/b; give this one a name of its own"},
			{map[string]string{"d/b": entries("d")}, "a=a b=y d=d"},
		},
		"two new files with one name": {
			{map[string]string{"main": glued, "d/a": entries("a")}, "a=a"},
			{map[string]string{"d/b": entries("n"), "d/c": entries("n=y")}, "a=a n=n - /etc/d/c:3:12: mappings[0].name: the mapping's name \"n\" is taken by the mapping in line 3 of /etc/d/b; give this one a name of its own"},
		},
		"a second writer in an earlier file": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/a": entries("a", "x=b")}, "a=a b=b - /etc/d/a:4:5: writes what b of line 3 of /etc/d/b does"},
		},
		"a registry stays with its file": {
			{map[string]string{"main": glued, "d/a": "version: 1\nregistries: {registry.example: {azure: {}}}\n", "d/b": entries("b")}, "b=b"},
			{map[string]string{"d/a": bad, "d/b": strings.Replace(entries("b"), "tags", "engine: acr, tags", 1)}, "b=b - /etc/d/a" + badSays},
		},
		"a huge file": {
			{map[string]string{"main": glued, "d/a": entries("a"), "d/b": entries("b")}, "a=a b=b"},
			{map[string]string{"d/b": entries("c") + strings.Repeat("#", maxIncluded)}, "a=a b=b - /etc/d/b:1:1: the file is larger than 1 MiB; split it"},
		},
		"an include becomes one of included files": {
			{map[string]string{"main": glued, "d/a": entries("a")}, "a=a"},
			{map[string]string{"d/b": "version: 1\ninclude: [a]\n"}, "a=a - /etc/d/b:2:1: include: cannot be in an included file; move it to /etc/main"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(oneWriter)
			for i, step := range steps {
				for name, text := range step.files {
					switch {
					case name == "folder gone":
						s.gone["/etc/d"] = true
					case text == "":
						delete(s.files, name)
					default:
						s.files[name] = text
					}
				}
				if got := s.says(true); got != step.says {
					t.Errorf("step %d: got\n%s\nwant\n%s", i, got, step.says)
				}
			}
		})
	}
}

// TestReaderOfFolder changes files of a folder that is the config, of which dray.yaml is the main file while it is there.
func TestReaderOfFolder(t *testing.T) {
	s := newShelf(oneWriter)
	o := s.options(oneWriter)
	o.With, o.MainOptional = []string{"/etc/d/*.y*ml"}, true
	s.reader = NewReader("/etc/d/dray.yaml", o)
	for i, step := range []struct{ name, text, says string }{
		{"d/b.yaml", entries("b"), "b=b"},
		{"d/a.yml", entries("a"), "a=a b=b"},
		{"d/a.yml", "version: 1\nmappings: {}\n", "a=a b=b - /etc/d/a.yml:2:11: mappings: must be a list of mappings (got a mapping); begin each entry with \"- \""},
		{"d/a.yml", entries("a=c"), "a=c b=b"},
		{"d/dray.yaml", "version: 1\njobs: 2\n", "a=c b=b"},
		{"d/dray.yaml", "version: 1\njobs: x\n", "a=c b=b - /etc/d/dray.yaml:2:7: jobs: must be a whole number (got the text \"x\")"},
		{"d/b.yaml", entries("b=d"), "a=c b=d - /etc/d/dray.yaml:2:7: jobs: must be a whole number (got the text \"x\")"},
		{"d/dray.yaml", entries("m"), "m=m a=c b=d"},
		{"d/dray.yaml", "", "m=m a=c b=d - /etc/d/dray.yaml: is gone, with the settings for all mappings; bring it back, or restart dray to go without it"},
		{"d/b.yaml", "", "m=m a=c - /etc/d/dray.yaml: is gone, with the settings for all mappings; bring it back, or restart dray to go without it"},
		{"d/dray.yaml", "version: 1\n", "a=c"},
		{"d/a.yml", "", "! /etc/d/dray.yaml: no file has a mapping"},
	} {
		s.files[step.name] = step.text
		if step.text == "" {
			delete(s.files, step.name)
		}
		if got := s.says(true); got != step.says {
			t.Errorf("step %d, %s: got\n%s\nwant\n%s", i, step.name, got, step.says)
		}
	}
}

// TestReaderOfFolderOfOne: the main file counts as gone also where it was alone, and a start without it is none.
func TestReaderOfFolderOfOne(t *testing.T) {
	s := newShelf(oneWriter)
	o := s.options(oneWriter)
	o.With, o.MainOptional = []string{"/etc/d/*.y*ml"}, true
	s.reader = NewReader("/etc/d/dray.yaml", o)
	s.files["d/dray.yaml"] = entries("m")
	if got := s.says(true); got != "m=m" {
		t.Error(got)
	}
	delete(s.files, "d/dray.yaml")
	s.files["d/b.yaml"] = entries("b")
	if got := s.says(true); !strings.HasPrefix(got, "! /etc/d/dray.yaml: is gone") {
		t.Error(got)
	}
}

// TestReaderAccepts has only what runs count as good, and watches what a bad file names.
func TestReaderAccepts(t *testing.T) {
	s := newShelf(nil)
	s.files = map[string]string{"main": glued, "d/a": entries("a")}
	s.says(true)
	s.files["d/a"] = entries("b")
	if got := s.says(false); got != "b=b" {
		t.Error(got)
	}
	s.files["d/a"] = "version: 1\nregistries: {x.io: {username: u, password: '${file:secret}'}}\n"
	s.files["d/c"] = entries("c")
	if got := s.says(false); !strings.HasPrefix(got, "a=a c=c - /etc/d/a:2:") {
		t.Error(got)
	}
	c, _, err := s.reader.Read()
	if want := []string{"/etc/d/a", "/etc/d/c", "/etc/d/secret", "/etc/main"}; err != nil || !slices.Equal(c.Files, want) || !slices.Equal(c.Globs, []string{"/etc/d/*"}) {
		t.Errorf("%q and %q, %v", c.Files, c.Globs, err)
	}
}

// TestReaderBounds has 257 files: none that was there is lost, and the number of mistakes is bounded.
func TestReaderBounds(t *testing.T) {
	fulltest.Long(t)
	s := newShelf(nil)
	s.files["main"] = "version: 1\ninclude: [d/*, e/*]\n"
	for i := range 256 {
		s.files[fmt.Sprintf("e/%03d", i)] = entries(fmt.Sprintf("n%03d", i))
	}
	if _, rejected, err := s.reader.Read(); rejected != nil || err != nil {
		t.Fatal(rejected, err)
	}
	s.reader.Accept()
	s.files["d/new"] = entries("new")
	c, rejected, err := s.reader.Read()
	if err != nil || len(c.Mappings) != 256 || c.Mappings[255].Name != "n255" || rejected.Error() != "/etc/main:2:11: include[0]: 257 files are included; at most 256 can be" {
		t.Errorf("%d mappings, %v, %v", len(c.Mappings), rejected, err)
	}
	delete(s.files, "d/new")
	for name := range maps.Clone(s.files) {
		if name != "main" && name != "e/000" {
			s.files[name] = "x: 1\ny: 1\n"
		}
	}
	_, rejected, _ = s.reader.Read()
	if all, _ := errors.AsType[Errors](rejected); len(all) != maxErrors+1 {
		t.Errorf("%d mistakes", len(all))
	}
}
