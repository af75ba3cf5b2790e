package imagelist

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// tooLong is minutes more than any file takes, also with the race detector on a busy machine: what grows with the square of a file takes hours.
const tooLong = 5 * time.Minute

// TestBounds: no file takes long, or much.
func TestBounds(t *testing.T) {
	laughs := "kind: Pod\nmetadata: {}\na0: &a0 {image: quay.io/acme/a:1}\n"
	for i := range 60 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	merges := "kind: Pod\nmetadata: {}\na0: &a0 {image: quay.io/acme/a:1}\n"
	for i := range 60 {
		merges += fmt.Sprintf("a%d: &a%d {<<: [%s]}\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	for name, tt := range map[string]struct {
		file, data, says string
		images           int
	}{
		"aliases of aliases":     {"a.yaml", laughs, "", 1},
		"merges of merges":       {"a.yaml", merges, "its aliases stand for more", 0},
		"deep":                   {"a.yaml", "kind: Pod\nmetadata: {}\na: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested more than", 0},
		"deeper":                 {"a.yaml", strings.Repeat("[", 200_000), "", 0},
		"in itself":              {"a.yaml", "kind: Pod\nmetadata: {}\na: &a\n- *a\n- image: quay.io/acme/a:1\n", "", 1},
		"large":                  {"a.yaml", strings.Repeat("a", MaxFile+1), "is larger than 16 MiB", 0},
		"UTF-16":                 {"a.yaml", "\xff\xfea\x00", "UTF-16", 0},
		"binary":                 {"a.yaml", "a\x00", "is not UTF-8 text", 0},
		"Latin-1":                {"images.txt", "alpine # f\xfcr", "is not UTF-8 text", 0},
		"byte order mark":        {"images.txt", "\ufeffalpine", "", 1},
		"many":                   {"images.txt", strings.Repeat("alpine\n", MaxFound+1), "more than 20000", 0},
		"one long line":          {"b.yaml", "a: {\n" + strings.Repeat("image: a:1 ", 100_000), "", 0},
		"Dockerfile without end": {"Dockerfile", "FROM " + strings.Repeat("\\\n", 1_000_000), "", 0},
		"variables":              {"compose.yaml", "services: {a: {image: \"" + strings.Repeat("${a:-", 1000) + strings.Repeat("}", 1000) + "\"}}", "", 0},
		"empty":                  {"a.yaml", "", "", 0},
		"only a comment":         {"a.yaml", "# nothing\n---\n---\n", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			found, err := Find(tt.file, []byte(tt.data), nil)
			if got := fmt.Sprint(err); tt.says != "" && !strings.Contains(got, tt.says) || tt.says == "" && err != nil {
				t.Errorf("the error is %v, want %q", err, tt.says)
			}
			if len(found.Images) != tt.images {
				t.Errorf("%d images: %v", len(found.Images), found)
			}
			if took := time.Since(began); took > tooLong {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestFind is about single rules.
func TestFind(t *testing.T) {
	pod := "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: "
	for name, tt := range map[string]struct{ file, data, paths, want string }{
		"pinned":          {"a.yaml", pod + "nginx:1.27@sha256:" + strings.Repeat("a", 64), "", "6:12 docker.io/library/nginx:1.27@sha256:" + strings.Repeat("a", 64)},
		"without a tag":   {"a.yaml", pod + "nginx", "", "6:12 docker.io/library/nginx:latest"},
		"after a mark":    {"a.yaml", "--- {kind: Pod, metadata: {}, spec: {containers: [{image: a:1}]}}", "", "1:59 docker.io/library/a:1"},
		"number":          {"a.yaml", pod + "5", "", "6:12 docker.io/library/5:latest"},
		"null":            {"a.yaml", pod + "~", "", ""},
		"sniffed":         {"-", pod + "nginx:1", "", "6:12 docker.io/library/nginx:1"},
		"sniffed list":    {"-", "quay.io/acme/a:1\n  b:2\n", "", "1:1 quay.io/acme/a:1\n2:3 docker.io/library/b:2"},
		"sniffed FROM":    {"-", "# x\n\nfrom a:1 as b\n", "", "3:1 docker.io/library/a:1"},
		"list in YAML":    {"images.yaml", "- a:1\n- quay.io/b/c\n", "", "1:3 docker.io/library/a:1\n2:3 quay.io/b/c:latest"},
		"cluster":         {"a.yaml", "kind: A\nmetadata: {}\nspec: {size: 1, values: {image: a:1}, x: quay.io/a/b:1}", "", "3:33 docker.io/library/a:1\n3:42 ? quay.io/a/b:1"},
		"path":            {"a.yaml", "kind: A\nmetadata: {}\nspec: {version: b, values: [{img: a}], x: 1}", "spec.values.img", "3:35 docker.io/library/a:latest"},
		"path to a pair":  {"values.yaml", "a: {image: {registry: quay.io, repository: b/c, tag: 7}}\nd: {image: {repository: e}}", "*.image", "1:44 quay.io/b/c:7\n2:12 ? d: {image: {repository: e}}"},
		"deep path":       {"values.yaml", "a: {b: {c: {image: d:1}}}\nimage: e:1", "**.image", "1:20 docker.io/library/d:1\n2:8 docker.io/library/e:1"},
		"quoted key":      {"a.yaml", "kind: A\nmetadata: {annotations: {a.b/c: d:1}}", `metadata.annotations."a.b/c"`, "2:33 docker.io/library/d:1"},
		"path to a flag":  {"a.yaml", "kind: A\nmetadata: {}\nspec: {args: [--x=a:80]}", "spec.args", "3:15 docker.io/library/a:80"},
		"path, no image":  {"a.yaml", "kind: A\nmetadata: {}\nspec: {a: A B}", "spec.a", "3:11 ? A B"},
		"user info":       {"a.yaml", pod + "user:pass@quay.io/a", "", "6:12 ? user:pass@quay.io/a"},
		"folder":          {"a.yaml", pod + "ocidir:///srv/a", "", "6:12 ? ocidir:///srv/a"},
		"built":           {"compose.yaml", "services: {a: {build: ., image: b}}", "", "1:33 ? b"},
		"empty default":   {"compose.yaml", "services: {a: {image: \"${A-}\"}}", "", "1:23 ? ${A-}"},
		"stage of itself": {"Dockerfile", "FROM a AS a\nFROM A AS b\n", "", "1:1 docker.io/library/a:latest"},
		"stdin's name":    {"-", "a: b\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var paths []Path
			if tt.paths != "" {
				p, err := ParsePath(tt.paths)
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, p)
			}
			found, err := Find(tt.file, []byte(tt.data), paths)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range found.Images {
				got = append(got, fmt.Sprintf("%d:%d %s", i.Line, i.Col, i.Ref))
			}
			for _, d := range found.Doubts {
				got = append(got, fmt.Sprintf("%d:%d ? %s", d.Line, d.Col, d.Text))
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	for _, s := range []string{"a", "a.*.b", "**.image", `a."b.c".d`, "a[*].b", "a[].b", `"x"`} {
		if p, err := ParsePath(s); err != nil || p.String() != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", ".", "a.", ".a", "a..b", `a."b`, `"a"b`, "a.**", "[", "**.**.**.**.a", strings.Repeat("a.", 40) + "a"} {
		if _, err := ParsePath(s); err == nil {
			t.Errorf("%q is taken as a path", s)
		}
	}
}

// FuzzFind: nothing panics, and each position is in the file.
func FuzzFind(f *testing.F) {
	for _, s := range []string{"FROM a\n", "- a\n", "kind: Pod\nmetadata: {}\nspec: {containers: [{image: a}]}", "services: {a: {image: \"${a:-b}\"}}", "a: |\n  {\"image\":\"b:1\"}\n", "image: {{ .a }}\n"} {
		f.Add("x", s)
		f.Add("a.yaml", s)
		f.Add("Dockerfile", s)
	}
	path, err := ParsePath("**.a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		found, err := Find(name, []byte(text), []Path{path})
		if err != nil {
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, i := range found.Images {
			if i.Line < 1 || i.Line > lines || i.Col < 1 || i.Ref.Registry == "" || i.Ref.Tag == "" && i.Ref.Digest == "" {
				t.Errorf("%v in %q", i, text)
			}
		}
		for _, d := range found.Doubts {
			if d.Line < 1 || d.Line > lines || d.Col < 1 || d.Why == "" {
				t.Errorf("%v in %q", d, text)
			}
		}
	})
}
