package convert

import (
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// example is one input of testdata with what belongs to its command line.
type example struct {
	files   []string
	options Options
}

func examples() map[string]example {
	list := map[string]example{
		"image-syncer-split": {files: []string{"image-syncer-auth.yaml", "image-syncer-images.yaml"}},
		"skopeo-manual":      {files: []string{"skopeo-manual.yml"}, options: Options{Target: "my-registry.local.lan/repo/"}},
		"skopeo-semver":      {files: []string{"skopeo-semver.yaml"}, options: Options{Target: "docker://registry.corp.example:5000/mirror", Scoped: false}},
		"skopeo-scoped":      {files: []string{"skopeo-semver.yaml"}, options: Options{Target: "registry.corp.example", Scoped: true}},
	}
	for _, name := range []string{
		"regsync-quickstart.yml", "regsync-full.yaml", "regsync-registry.yml", "regsync-tagsets.yml", "regsync-odd.yml", "regsync-twice.yml", "image-syncer-part.yaml", "dregsy-tasks.yaml", "dregsy-matching.yaml",
		"dregsy-tags.yaml", "image-syncer-config.json", "image-syncer-images.yaml", "ocync-minimal.yaml", "ocync-fanout.yaml", "ocync-semver.yaml",
		"az-plain.sh", "az-continued.sh", "az-several.sh", "az-variables.sh", "az-loop.sh", "az-unknown-loop.sh", "az-branches.sh", "az-pipeline.yml", "az-workflow.yml", "az-registry.sh", "az-digest.sh", "az-private.sh", "az-powershell.ps1",
	} {
		list[strings.TrimSuffix(name, filepath.Ext(name))] = example{files: []string{name}}
	}
	return list
}

func read(t testing.TB, names ...string) []File {
	t.Helper()
	var files []File
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Name: name, Data: data})
	}
	return files
}

func TestExamples(t *testing.T) {
	for name, example := range examples() {
		t.Run(name, func(t *testing.T) {
			result, err := Convert(read(t, example.files...), example.options)
			if err != nil {
				t.Fatal(err)
			}
			var notes strings.Builder
			for _, note := range result.Notes {
				notes.WriteString(note.String() + "\n")
			}
			golden(t, name+".golden.yaml", string(result.YAML))
			golden(t, name+".golden.notes", notes.String())
			if tool := string(result.Tool); !strings.HasPrefix(name, tool) {
				t.Errorf("it was taken for a config of %s", tool)
			}
			forced := example.options
			forced.From = result.Tool
			if again, err := Convert(read(t, example.files...), forced); err != nil || string(again.YAML) != string(result.YAML) {
				t.Errorf("with --from the answer is another one (%v)", err)
			}
			secrets(t, string(result.YAML)+notes.String())
			for form, files := range ofWindows(read(t, example.files...)) {
				if again, err := Convert(files, example.options); err != nil || string(again.YAML) != string(result.YAML) {
					t.Errorf("as %s the answer is another one (%v)", form, err)
				}
			}
		})
	}
}

// ofWindows are files as Windows and PowerShell write them.
func ofWindows(files []File) map[string][]File {
	forms := map[string][]File{}
	for _, f := range files {
		text := strings.ReplaceAll(string(f.Data), "\n", "\r\n")
		forms["UTF-8 with a mark"] = append(forms["UTF-8 with a mark"], File{f.Name, []byte("\ufeff" + text)})
		units := []byte("\xff\xfe")
		for _, u := range utf16.Encode([]rune(text)) {
			units = binary.LittleEndian.AppendUint16(units, u)
		}
		forms["UTF-16"] = append(forms["UTF-16"], File{f.Name, units})
	}
	return forms
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// secrets fails for what stands in plain text in one of the examples.
func secrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"plain-text-password", "xxxxxxxxx", "another-secret", "this is a secret", "ghp_", "eyJ", "alsosecret"} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret %q is in the answer", secret)
		}
	}
}

func TestErrors(t *testing.T) {
	cases := []struct {
		name    string
		data    string
		options Options
		want    string
	}{
		{"empty", "", Options{}, "f.yml: is empty"},
		{"blank", "# nothing\n", Options{}, "f.yml: is empty"},
		{"no YAML", "a: [", Options{}, "f.yml: line 1: did not find expected node content"},
		{"a password that is an alias", "a: b\npassword: *hunter2\n", Options{}, "f.yml: refers to an unknown anchor; a string that begins with * needs quotes; give"},
		{"a list", "- a\n", Options{}, "f.yml:1: is a list, not a mapping"},
		{"two documents", "sync: []\n---\nsync: []\n", Options{}, "f.yml: holds more than one YAML document"},
		{"unknown", "hello: world\n", Options{}, "f.yml: does not look like a config of any of [regsync dregsy image-syncer skopeo ocync az]; name the tool with --from"},
		{"ours", "version: 1\nmappings: []\n", Options{}, "f.yml: is already a dray config; there is nothing to convert"},
		{"a tool that is none", "sync: []\n", Options{From: "nosuch"}, `f.yml: "nosuch" is not a tool that dray can convert from; write one of [regsync`},
		{"no target", "quay.io: {images: {a/b: []}}\n", Options{}, "f.yml: skopeo has the target on its command line, not in this file; add --target HOST/PATH"},
		{"nothing that dray reads", "az acr import --name my/registry --source quay.io/a:1", Options{}, "f.yml: has nothing that dray can do"},
		{"a target too many", "sync: []\n", Options{Target: "a.io/b"}, "f.yml: regsync has the target in its file; leave out --target"},
		{"nothing to copy", "sync: []\n", Options{}, "f.yml: names no images; give the file that says what to copy"},
		{"no equivalent at all", "sync:\n- {source: a.io, target: b.io, type: registry}\n", Options{}, "f.yml: has nothing that dray can do; write a config by hand (see config.example.yaml); the reasons are:\n  f.yml:2: sync[0]: no equivalent: all repositories of a registry"},
		{"credentials only", "quay.io: {username: a, password: b}\n", Options{}, "f.yml: has credentials only; give both files: dray convert auth.yaml images.yaml"},
		{"regsync: no source", "sync:\n- {target: a.io/b, type: image}\n", Options{}, "f.yml: sync[0].source: is missing; write a registry and a repository"},
		{"regsync: type", "sync:\n- {source: a.io/b, target: c.io/d, type: img}\n", Options{}, `f.yml:2: sync[0].type: "img" is not a type of regsync; write registry, repository or image`},
		{"regsync: expression", "sync:\n- source: a.io/b\n  target: c.io/d\n  type: repository\n  tags:\n    allow: ['(']\n", Options{}, "f.yml:6: sync[0].tags.allow[0]: is not a regular expression: error parsing regexp: missing closing ): `^($`; fix it there"},
		{"regsync: reference", "sync:\n- {source: a.io/B, target: c.io/d, type: image}\n", Options{}, `f.yml:2: sync[0]: reference "a.io/B:latest": the repository's path "B" must be in lower case; fix it there`},
		{"regsync: template", "sync:\n- {source: 'a.io/{{nosuch}}', target: c.io/d, type: image}\n", Options{}, `f.yml:2: sync[0].source: cannot read the template: function "nosuch" not defined; write the reference itself`},
		{"regsync: interval", "sync:\n- {source: a.io/b, target: c.io/d, type: image, interval: often}\n", Options{}, "f.yml:2: sync[0].interval: is not a duration; write a duration such as 90m"},
		{"dregsy: no registry", "tasks:\n- name: a\n  source: {}\n  target: {registry: b.io}\n  mappings: [{from: a}]\n", Options{}, "f.yml: tasks[0].source.registry: is missing; write the registry's host"},
		{"dregsy: tag", "tasks:\n- name: a\n  source: {registry: a.io}\n  target: {registry: b.io}\n  mappings:\n  - {from: a, tags: ['wrong: x']}\n", Options{}, `f.yml:6: tasks[0].mappings[0].tags[0]: "wrong: x" is not a tag; write a tag, or regex:, semver: or keep:`},
		{"image-syncer: no target", "images: {a.io/b: ''}\n", Options{}, "f.yml:1: images.a.io/b: has no target; write the target, which image-syncer builds"},
		{"image-syncer: tags", "images: {'a.io/b:1,2': 'c.io/d:1'}\n", Options{}, "f.yml:1: images.a.io/b:1,2: the target has a tag, but the source is not a single tag; remove the target's tag"},
		{"skopeo: tag", "a.io:\n  images:\n    b: ['-x']\n", Options{Target: "c.io/d"}, `f.yml:3: a.io.images.b[0]: "-x" is neither a tag nor a digest; write a tag or a digest`},
		{"skopeo: repository", "a.io: {images: {B: []}}\n", Options{Target: "c.io/d"}, `f.yml:1: a.io.images.B: "B" is not a repository; write the path of a repository`},
		{"ocync: registry", "registries: {a: {url: a.io}}\nmappings:\n- {from: x, source: b, targets: a}\n", Options{}, `f.yml:3: mappings[0].source: there is no registry "b"; write the name of an entry of registries`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Convert([]File{{"f.yml", []byte(tc.data)}}, tc.options)
			if _, ok := errors.AsType[Errors](err); !ok {
				t.Fatalf("the error is %v", err)
			}
			if !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("the error is\n%v\nand should begin\n%s", err, tc.want)
			}
		})
	}
}

func TestErrors_all(t *testing.T) {
	_, err := Convert([]File{{"f.yml", []byte("sync:\n- {source: a.io/b, target: c.io/d, type: x}\n- {source: a.io/b, target: c.io/d, type: y}\n")}}, Options{})
	if n := len(strings.Split(err.Error(), "\n")); n != 2 {
		t.Errorf("%d mistakes are told of 2: %v", n, err)
	}
}

// TestScalar has YAML read what was written, as a text and as the same.
func TestScalar(t *testing.T) {
	for _, text := range []string{
		"alpine", "docker.io/library/alpine:3.20", "", "false", "No", "y", "null", "~", "3", "1.10", "0x10", "1e3", "12:30", "@every 1h", "-x", "a: b", "a #b",
		`it's \d+`, `say "a"`, "two\nlines", "\u0007", "${env:X}", "[a]", "{a}", "*", "&a", "!a", "%a", "a,b", " a ", "ä", "\u2028",
	} {
		var list []any
		if err := yaml.Unmarshal([]byte("["+scalar(text)+"]"), &list); err != nil || len(list) != 1 || list[0] != any(text) {
			t.Errorf("%q is written %s and read %#v (%v)", text, scalar(text), list, err)
		}
	}
}

func TestOrdered(t *testing.T) {
	cases := []struct{ text, want string }{
		{">=1.4.0", ">=1.4.0-zz"},
		{">=1.31.0 <1.31.9", ">=1.31.0-zz, <1.31.9-zz"},
		{"> 1.2 || <= v2", ">=1.2.1-0 || <2.0.1-0"},
		{"~1.2", ">=1.2.0-zz, <1.3.0-zz"},
		{"^0.2.3", ">=0.2.3-zz, <0.3.0-zz"},
		{"^0.0.3", ">=0.0.3-zz, <0.0.4-zz"},
		{"1.9 !1.9.1 <2.0.0-rc1", "=1.9.0, !=1.9.1, <2.0.0-rc1"},
	}
	for _, tc := range cases {
		if got, err := ordered(tc.text); err != nil || got != tc.want {
			t.Errorf("ordered(%q) = %q, %v, want %q", tc.text, got, err, tc.want)
		}
	}
	for _, text := range []string{"", "1.x", ">=", "1.2.3.4", ">=1,<2", "||"} {
		if got, err := ordered(text); err == nil {
			t.Errorf("ordered(%q) = %q", text, got)
		}
	}
}

func TestExpression(t *testing.T) {
	cases := []struct{ re, want string }{
		{"^latest$", "latest"},
		{"^3.9$", "/3.9/"},
		{`^3\.9$`, `/3\.9/`},
		{"^v", "/v.*/"},
		{"-alpine$", "/.*-alpine/"},
		{"rc", "/.*rc.*/"},
		{"aa|b", "/.*(?:aa|b).*/"},
		{"^a|b$", "/.*(?:^a|b$).*/"},
		{"^(a|b)$", "/(a|b)/"},
		{"^ab|^ac", "/.*(?:^ab|^ac).*/"},
		{"^[(]|b", "/.*(?:^[(]|b).*/"},
		{"^a$|^b$", "/.*(?:^a$|^b$).*/"},
		{"^(?i)a$", "/(?i)a/"},
		{"^$", nothing},
		{`^a\$`, `/a\$.*/`},
	}
	for _, tc := range cases {
		if got, err := expression(tc.re); err != nil || got != tc.want {
			t.Errorf("expression(%q) = %q, %v, want %q", tc.re, got, err, tc.want)
		}
	}
}
