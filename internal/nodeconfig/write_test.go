package nodeconfig

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/plan"
)

var update = flag.Bool("update", false, "write the golden files")

func jobs(t *testing.T, mappings string) []plan.Job {
	t.Helper()
	cfg, err := config.Parse("dray.yaml", []byte("version: 1\nregistries: {'localhost:5000': {plainHTTP: true}}\nmappings:\n"+mappings), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := plan.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// several are mappings of each form.
const several = `
- {name: alpine, source: alpine, target: r.io/mirror/library/alpine, tags: ["3.*"]}
- {name: hub, source: grafana/grafana, target: s.io/grafana/grafana, tags: ["*"]}
- {name: moved, source: quay.io/acme/app, target: r.io/other, tags: ["*"]}
- {name: cluster, images: [quay.io/acme/tool:1, "ghcr.io/a/b@` + digest + `", "ghcr.io/a/c:2"], target: r.io/m}
- {name: team, source: ghcr.io/team, target: "localhost:5000/ghcr/team", repositories: ["**"], tags: ["*"]}
- {name: two, source: ghcr.io/two, targets: [r.io/m/ghcr.io/two, "localhost:5000/ghcr/two"], tags: ["*"]}
- {name: retagged, source: quay.io/acme/old, target: r.io/old, tags: ["*"], retag: "m-{{.Tag}}"}
- {name: renamed, source: "quay.io/acme/one:1", target: "r.io/one:2"}
- {name: disk, source: quay.io/acme/disk, target: "ocidir:///srv/disk", tags: ["*"]}
- {name: some, source: quay.io/acme/some, target: r.io/quay/acme/some, tags: ["*"], platforms: [linux/amd64]}
`

// TestFormats has a golden file for each format, with what it says of the same mappings, and what it does not.
func TestFormats(t *testing.T) {
	for _, format := range Formats() {
		t.Run(format, func(t *testing.T) {
			files, notes := Write(format, jobs(t, several), func(registry string) bool { return registry == "localhost:5000" })
			var b strings.Builder
			for _, f := range files {
				b.WriteString("-- " + f.Path + " --\n" + f.Content)
			}
			b.WriteString("-- notes --\n")
			for _, n := range notes {
				b.WriteString(n.Mapping + " " + n.Text + "\n")
			}
			name := filepath.Join("testdata", format+".txt")
			if *update {
				if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a document
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil || cmp.Diff(string(want), b.String()) != "" {
				t.Errorf("%v\n%s", err, cmp.Diff(string(want), b.String()))
			}
			for _, f := range files {
				readable(t, format, f)
			}
		})
	}
}

// readable decodes a file strictly into the keys that its program documents. TestNodes of cmd/dray has containerd and skopeo themselves read theirs.
func readable(t *testing.T, format string, f File) {
	t.Helper()
	var err error
	strict := yaml.NewDecoder(strings.NewReader(f.Content))
	strict.KnownFields(true)
	switch format {
	case "docker":
		decoder := json.NewDecoder(strings.NewReader(f.Content))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&struct {
			Mirrors []string `json:"registry-mirrors"`
		}{})
	case "k3s", "rke2":
		var doc struct {
			Mirrors map[string]struct {
				Endpoint []string
				Rewrite  map[string]string
			}
		}
		err = strict.Decode(&doc)
		for _, m := range doc.Mirrors {
			for pattern := range m.Rewrite {
				if _, wrong := regexp.Compile(pattern); wrong != nil || len(m.Endpoint) != 1 {
					t.Errorf("%q: %v, %q", pattern, wrong, m.Endpoint)
				}
			}
		}
	case "idms":
		// The patterns are those of the custom resource definitions of github.com/openshift/api, config/v1.
		source := regexp.MustCompile(`^((?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]+)?)(?:/[a-z0-9]+(?:(?:[._]|__|-*)[a-z0-9]+)*)*$`)
		type entry struct {
			Source  string
			Mirrors []string
		}
		for range 2 {
			var doc struct {
				APIVersion string `yaml:"apiVersion"`
				Kind       string
				Metadata   struct{ Name string }
				Spec       struct {
					Digests []entry `yaml:"imageDigestMirrors"`
					Tags    []entry `yaml:"imageTagMirrors"`
				}
			}
			if err = strict.Decode(&doc); err != nil {
				break
			}
			for _, e := range append(doc.Spec.Digests, doc.Spec.Tags...) {
				for _, name := range append(e.Mirrors, e.Source) {
					if !source.MatchString(name) || len(e.Mirrors) == 0 {
						t.Errorf("%q does not match", name)
					}
				}
			}
		}
	case "kyverno":
		var doc map[string]any
		err = strict.Decode(&doc)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", f.Path, err, f.Content)
	}
}

// TestNothingElse: no format has nodes pull something else than what they ask for.
func TestNothingElse(t *testing.T) {
	for name, tt := range map[string]struct{ mappings, format, want string }{
		"one prefix for two registries": {`
- {name: a, source: docker.io/team/app, target: r.io/m/team/app, tags: ["*"]}
- {name: b, source: quay.io/team/tool, target: r.io/m/team/tool, tags: ["*"]}`, "containerd", `a cannot be said: for docker.io, nodes would look below r.io/m, where the mapping "b" puts quay.io/team/tool
b cannot be said: for quay.io, nodes would look below r.io/m, where the mapping "a" puts docker.io/team/app`},
		"one repository for two": {`
- {name: a, source: docker.io/team/app, target: r.io/app, tags: ["1"]}
- {name: b, source: quay.io/team/app, target: r.io/app, tags: ["2"]}`, "podman", `a cannot be said: for docker.io/team/app, nodes would look below r.io/app, where the mapping "b" puts quay.io/team/app
b cannot be said: for quay.io/team/app, nodes would look below r.io/app, where the mapping "a" puts docker.io/team/app`},
		"below another's": {`
- {name: a, source: docker.io/team, target: r.io/m, repositories: ["*"], tags: ["*"]}
- {name: b, source: quay.io/x/app, target: r.io/m/app, tags: ["*"]}`, "idms", `a cannot be said: for docker.io/team, nodes would look below r.io/m, where the mapping "b" puts quay.io/x/app
b cannot be said: for quay.io/x/app, nodes would look below r.io/m/app, where the mapping "a" puts docker.io/team`},
		"what is not rewritten": {`
- {name: a, source: docker.io/team/app, target: r.io/m/app, tags: ["*"]}
- {name: b, source: quay.io/x/app, target: r.io/x/app, tags: ["*"]}`, "k3s", `a cannot be said: for docker.io, nodes would look below r.io, where the mapping "b" puts quay.io/x/app`},
		"other tags": {`
- {name: a, source: docker.io/team/app, target: r.io/m/team/app, tags: ["*"], retag: "m-{{.Tag}}"}`, "containerd",
			`a cannot be said: nodes would look for tags at r.io/m/team/app, where the mapping "a" gives them other names`},
		"another's tags below one prefix": {`
- {name: a, source: docker.io/team/app, target: r.io/team/app, tags: ["*"]}
- {name: b, source: "docker.io/team/tool:1", target: "r.io/team/tool:2"}`, "docker",
			`a cannot be said: nodes would look for tags at r.io/team/tool, where the mapping "b" gives them other names
b cannot be said: nodes would look for tags at r.io/team/tool, where the mapping "b" gives them other names`},
		"other tags, rewritten": {`
- {name: a, source: docker.io/team/app, target: r.io/m/app, tags: ["*"], retag: "m-{{.Tag}}"}`, "k3s",
			`a cannot be said: nodes would look for tags at r.io/m/app, where the mapping "a" gives them other names`},
		"other tags under the same path": {`
- {name: a, source: docker.io/team/app, target: r.io/m/app, tags: ["*"]}
- {name: b, source: docker.io/team/tool, target: r.io/team/tool, tags: ["*"], retag: "m-{{.Tag}}"}`, "k3s",
			`a cannot be said: nodes would look for tags at r.io/team/tool, where the mapping "b" gives them other names
b cannot be said: nodes would look for tags at r.io/team/tool, where the mapping "b" gives them other names`},
		"a chain": {`
- {name: a, source: docker.io/team/app, target: r.io/m/app, tags: ["*"]}
- {name: b, source: r.io/m/app, target: s.io/app, tags: ["*"]}`, "kyverno", `a cannot be said: the mapping "b" imports from where it imports to, r.io/m/app`},
	} {
		t.Run(name, func(t *testing.T) {
			files, notes := Write(tt.format, jobs(t, tt.mappings), func(string) bool { return false })
			var got []string
			for _, n := range notes {
				got = append(got, n.Mapping+" "+n.Text)
				for _, f := range files {
					if n.Mapping == "a" && strings.Contains(f.Content, `docker.io`) {
						t.Errorf("it is said all the same:\n%s", f.Content)
					}
				}
			}
			slices.Sort(got)
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
	if files, _ := Write("docker", jobs(t, several), func(string) bool { return false }); len(files) != 1 || !bytes.Contains([]byte(files[0].Content), []byte(`"https://s.io"`)) {
		t.Errorf("%v", files)
	}
}
