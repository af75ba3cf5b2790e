package config

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
)

// filed is a world of files.
func filed(files map[string]string) Options {
	return Options{
		Getenv: func(string) (string, bool) { return "", false },
		ReadFile: func(name string) ([]byte, error) {
			text, ok := files[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		List: func(pattern string) (all []string, err error) {
			if files["/etc/gone"] != "" {
				return nil, &fs.PathError{Op: "open", Path: path.Dir(pattern), Err: fs.ErrNotExist}
			}
			for name := range files {
				if ok, _ := path.Match(pattern, name); ok {
					all = append(all, name)
				}
			}
			slices.Sort(all)
			return all, nil
		},
	}
}

const pod = "kind: Pod\nmetadata: {}\nspec: {containers: [{image: nginx:1.27}, {image: '%s'}]}\n"

// TestImages: what a mapping with images imports, and its mistakes with their places.
func TestImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	other := "sha256:" + strings.Repeat("cd", 32)
	for name, tt := range map[string]struct {
		mapping string
		files   map[string]string
		want    string // SOURCE → TARGET, or the mistakes
	}{
		"a list":         {"images: [nginx, 'quay.io/a/b:1']", nil, "docker.io/library/nginx:latest → r.io/m/docker.io/library/nginx:latest\nquay.io/a/b:1 → r.io/m/quay.io/a/b:1"},
		"a port":         {"images: ['reg.io:5000/a:1']", nil, "reg.io:5000/a:1 → r.io/m/reg.io/a:1"},
		"a digest":       {"images: ['a@" + digest + "']", nil, "docker.io/library/a@" + digest + " → r.io/m/docker.io/library/a:digest-abababababababababababababababab"},
		"untagged":       {"images: ['a@" + digest + "'], untagged: true", nil, "docker.io/library/a@" + digest + " → r.io/m/docker.io/library/a@" + digest},
		"tag and digest": {"images: ['a:1@" + digest + "']", nil, "docker.io/library/a:1@" + digest + " → r.io/m/docker.io/library/a:1"},
		"renamed":        {"images: ['quay.io/a/b:V1'], rename: 'x/{{ .Name }}-{{.Tag}}'", nil, "quay.io/a/b:V1 → r.io/m/x/b-v1:V1"},
		"retagged":       {"images: ['quay.io/a/b:1'], retag: 'm-{{.Tag}}'", nil, "quay.io/a/b:1 → r.io/m/quay.io/a/b:m-1"},
		"a manifest":     {"imagesFrom: [pod.yaml]", map[string]string{"pod.yaml": fmt.Sprintf(pod, "b:2")}, "docker.io/library/nginx:1.27 → r.io/m/docker.io/library/nginx:1.27\ndocker.io/library/b:2 → r.io/m/docker.io/library/b:2"},
		"both, each once": {"images: ['nginx:1.27'], imagesFrom: ['*.yaml', b.yaml]", map[string]string{"a.yaml": fmt.Sprintf(pod, "b:2"), "b.yaml": fmt.Sprintf(pod, "b:2"), "c.yaml": "kind: Service\nmetadata: {}\n"},
			"docker.io/library/nginx:1.27 → r.io/m/docker.io/library/nginx:1.27\ndocker.io/library/b:2 → r.io/m/docker.io/library/b:2"},
		"a path":                {"imagesFrom: {files: [a.yaml], paths: [spec.i]}", map[string]string{"a.yaml": "kind: A\nmetadata: {}\nspec: {i: a}\n"}, "docker.io/library/a:latest → r.io/m/docker.io/library/a:latest"},
		"no file":               {"imagesFrom: [a.yaml]", nil, `/etc/main:4:26: mappings[0].imagesFrom[0]: "/etc/a.yaml" cannot be read: file does not exist`},
		"no match":              {"imagesFrom: ['*.txt']", nil, `/etc/main:4:26: mappings[0].imagesFrom[0]: "*.txt" matches no file`},
		"no folder":             {"imagesFrom: ['*.txt']", map[string]string{"gone": "x"}, `/etc/main:4:26: mappings[0].imagesFrom[0]: the folder of "*.txt" cannot be read: file does not exist`},
		"no image":              {"imagesFrom: [a.yaml]", map[string]string{"a.yaml": "a: b\n"}, `/etc/main:4:25: mappings[0].imagesFrom: no image is named here; see what dray images finds in the files`},
		"not a text":            {"imagesFrom: [a.yaml]", map[string]string{"a.yaml": "\xff\xfea\x00"}, `/etc/main:4:26: mappings[0].imagesFrom[0]: "/etc/a.yaml" is UTF-16 text, as PowerShell's > writes it: save it as UTF-8`},
		"a pattern in a folder": {"imagesFrom: ['*/a.yaml']", nil, `/etc/main:4:26: mappings[0].imagesFrom[0]: "*/a.yaml" has a pattern in a folder's name: only the last part can be one`},
		"a bad path":            {"imagesFrom: {files: [a.yaml], paths: [a..b]}", map[string]string{"a.yaml": "a: b\n"}, `/etc/main:4:51: mappings[0].imagesFrom.paths[0]: path "a..b": write at most 32 keys, joined by dots, such as spec.values.*.image`},
		"a bad reference":       {"images: ['a:b:c']", nil, `/etc/main:4:22: mappings[0].images[0]: reference "a:b:c": the repository's path "library/a:b" is not valid: lower-case letters and digits, joined by '.', '_', '-', parts by '/'`},
		"a folder":              {"images: ['ocidir:///a:1']", nil, `/etc/main:4:22: mappings[0].images[0]: reference "ocidir:///a:1": is a folder: give it a mapping with a source`},
		"two of one tag": {"images: ['a:1@" + digest + "', 'a:1@" + other + "']", nil,
			`/etc/main:4:101: mappings[0].images[1]: docker.io/library/a:1@` + other + ` and docker.io/library/a:1@` + digest + ` in line 4 would both be r.io/m/docker.io/library/a:1; name one of them, or pin both to one digest`},
		"two in two files": {"rename: '{{.Name}}', images: ['quay.io/a/nginx:1.27'], imagesFrom: [a.yaml]", map[string]string{"a.yaml": fmt.Sprintf(pod, "quay.io/b/nginx:1.27")},
			"/etc/a.yaml:3:29: mappings[0].imagesFrom[0]: docker.io/library/nginx:1.27 and quay.io/a/nginx:1.27 in line 4 of /etc/main would both be r.io/m/nginx:1.27; have rename tell them apart, such as {{.Registry}}/{{.Repository}}\n" +
				"/etc/a.yaml:3:50: mappings[0].imagesFrom[0]: quay.io/b/nginx:1.27 and quay.io/a/nginx:1.27 in line 4 of /etc/main would both be r.io/m/nginx:1.27; have rename tell them apart, such as {{.Registry}}/{{.Repository}}"},
		"into itself":     {"images: ['r.io/m/a:1'], rename: '{{.Name}}'", nil, `/etc/main:4:22: mappings[0].images[0]: r.io/m/a:1 would be imported into its own repository; give the mapping another target`},
		"unknown field":   {"images: [a], rename: '{{.Foo}}'", nil, `/etc/main:4:34: mappings[0].rename: "{{.Foo}}" has the unknown field "{{.Foo}}"`},
		"no path":         {"images: [a], rename: 'A/{{.Name}}'", nil, `/etc/main:4:34: mappings[0].rename: "A/{{.Name}}" makes "A/a" of docker.io/library/a:latest, which is no path of a repository`},
		"with tags":       {"images: [a], tags: [b]", nil, `/etc/main:4:32: mappings[0].tags: does not apply to images, which name their tags; remove it`},
		"with a source":   {"images: [a], source: b", nil, "/etc/main:4:13: mappings[0].images: cannot be combined with source; remove one of them"},
		"a target's tag":  {"images: [a], targets: ['r.io/m:1']", nil, "/etc/main:4:36: mappings[0].targets[0]: \"r.io/m:1\" must not have a tag or a digest, because each image keeps its own; write registry/path"},
		"target template": {"images: [a], targets: ['r.io/{{.Repository}}']", nil, "/etc/main:4:36: mappings[0].targets[0]: is a prefix here, and no template; write what comes below it as rename"},
		"resolve: server": {"images: [a], engine: acr, resolve: server, targets: [m.azurecr.io/x]", nil, "/etc/main:4:48: mappings[0].resolve: server does not apply to images, which dray resolves; remove it, or write a source"},
		"invalid tag":     {"images: ['a:" + strings.Repeat("x", 128) + "'], retag: 'm-{{.Tag}}'", nil, "/etc/main:4:22: mappings[0].images[0]: docker.io/library/a:" + strings.Repeat("x", 128) + " would be r.io/m/docker.io/library/a:m-" + strings.Repeat("x", 128) + ", which is no valid name; change target, rename or retag"},
		"layouts":         {"images: ['a:1'], targets: ['ocidir:///srv/stage']", nil, "docker.io/library/a:1 → ocidir:///srv/stage/docker.io/library/a:1"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for name, text := range tt.files {
				files["/etc/"+name] = text
			}
			target := ", target: r.io/m"
			if strings.Contains(tt.mapping, "targets:") {
				target = ""
			}
			files["/etc/main"] = "version: 1\ndefaults: {tags: [x]}\nmappings:\n- {name: a, " + tt.mapping + target + "}\n"
			cfg, err := Load("/etc/main", filed(files))
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			} else {
				for _, i := range cfg.Mappings[0].Images {
					for _, target := range i.Targets {
						got = append(got, i.Source.String()+" → "+target.String())
					}
				}
				if err := sound(cfg.Mappings[0]); err != nil {
					t.Error(err)
				}
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// TestImagesFollowed: the files of imagesFrom are watched, and one that cannot be read leaves its config file's mappings as they were.
func TestImagesFollowed(t *testing.T) {
	files := map[string]string{
		"/etc/main":        "version: 1\ninclude: [conf/*.yaml]\nmappings:\n- {name: m, source: 'a:1', target: r.io/a}\n",
		"/etc/conf/a.yaml": "version: 1\nmappings:\n- {name: i, imagesFrom: ['r/*.yaml', list], target: r.io/m}\n", "/etc/conf/r/pod.yaml": fmt.Sprintf(pod, "b:1"), "/etc/conf/list": "c:1\n",
	}
	r := NewReader("/etc/main", filed(files))
	step := func(want, wantRejected string) {
		t.Helper()
		cfg, rejected, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range cfg.Mappings[1].Images {
			got = append(got, i.Source.Path+":"+i.Source.Tag)
		}
		said := ""
		if rejected != nil {
			said = rejected.Error()
		}
		if strings.Join(got, " ") != want || said != wantRejected {
			t.Errorf("%q, %s; want %q, %s", got, said, want, wantRejected)
		}
		for _, name := range []string{"/etc/conf/list", "/etc/conf/r/pod.yaml"} {
			if !slices.Contains(cfg.Files, name) {
				t.Errorf("%s is not watched", name)
			}
		}
		if !slices.Contains(cfg.Globs, "/etc/conf/r/*.yaml") {
			t.Errorf("the pattern is not watched: %q", cfg.Globs)
		}
		r.Accept()
	}
	step("library/nginx:1.27 library/b:1 library/c:1", "")
	files["/etc/conf/r/pod.yaml"] = fmt.Sprintf(pod, "b:2")
	step("library/nginx:1.27 library/b:2 library/c:1", "")
	delete(files, "/etc/conf/list")
	step("library/nginx:1.27 library/b:2 library/c:1", `/etc/conf/a.yaml:3:38: mappings[0].imagesFrom[1]: "/etc/conf/list" cannot be read: file does not exist`)
	files["/etc/conf/list"], files["/etc/conf/r/pod.yaml"] = "d:1\n", "\x00"
	step("library/nginx:1.27 library/b:2 library/c:1", `/etc/conf/a.yaml:3:26: mappings[0].imagesFrom[0]: "/etc/conf/r/pod.yaml" is not UTF-8 text`)
	files["/etc/conf/r/pod.yaml"] = fmt.Sprintf(pod, "b:3")
	step("library/nginx:1.27 library/b:3 library/d:1", "")
}

// TestImagesMissingAtFirst: also what could not be read at the first reading is watched.
func TestImagesMissingAtFirst(t *testing.T) {
	cfg, err := Load("/etc/main", filed(map[string]string{"/etc/main": "version: 1\nmappings:\n- {name: i, imagesFrom: ['r/*.yaml', list], target: r.io/m}\n"}))
	if err == nil || !slices.Contains(cfg.Files, "/etc/list") || !slices.Equal(cfg.Globs, []string{"/etc/r/*.yaml"}) {
		t.Errorf("%q, %q, %v", cfg.Files, cfg.Globs, err)
	}
	r := NewReader("/etc/main", filed(map[string]string{
		"/etc/main": "version: 1\ninclude: [a]\nmappings:\n- {name: m, source: 'a:1', target: r.io/a}\n", "/etc/a": "version: 1\nmappings:\n- {name: i, imagesFrom: ['r/*.yaml', list], target: r.io/m}\n",
	}))
	cfg, rejected, err := r.Read()
	if err != nil || rejected == nil || !slices.Contains(cfg.Files, "/etc/list") || !slices.Equal(cfg.Globs, []string{"/etc/r/*.yaml"}) {
		t.Errorf("%q, %q, %v, %v", cfg.Files, cfg.Globs, rejected, err)
	}
}
