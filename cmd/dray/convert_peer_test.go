package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/registry"
)

// peerSource is a registry with versions, pre-releases, variants and moving tags in three repositories.
func peerSource(t *testing.T) *registry.Registry {
	t.Helper()
	source := registry.New(registry.Options{})
	if _, err := source.Fill(registry.Corpus{Prefix: "acme/", Repositories: 3, Tags: 6}); err != nil {
		t.Fatal(err)
	}
	for _, repository := range source.Repositories() {
		for tag, of := range map[string]string{
			"latest": "1.5.0", "stable": "1.4.0", "1": "1.5.0", "1.5": "1.5.0", "v2.0.0": "1.3.0", "2.1.0-rc1": "1.2.0",
			"1.5.0-alpine": "1.1.0", "1.3.0-slim": "1.1.0", "2.0.0-beta": "1.0.0", "main-0a1b2c3": "1.0.0", "3x9": "1.0.0", "3.9": "1.1.0",
		} {
			if err := source.PutTag(repository, tag, source.TaggedDigest(repository, of)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return source
}

// tagged lists what a registry has.
func tagged(r *registry.Registry) map[string]string {
	all := map[string]string{}
	for _, repository := range r.Repositories() {
		for _, tag := range r.Tags(repository) {
			all[repository+":"+tag] = r.TaggedDigest(repository, tag)
		}
	}
	return all
}

// peer is another tool with a config, in which SOURCE and TARGET stand for the registries.
type peer struct {
	program string
	args    func(config, target string) []string
	convert func(target string) []string
	config  string
}

// TestConvertedCopiesTheSame has the other tool run with its config, and dray with what convert makes of that, and compares
// what arrived.
func TestConvertedCopiesTheSame(t *testing.T) {
	peers := map[string]peer{
		"regsync": {
			program: "regsync",
			args:    func(config, _ string) []string { return []string{"once", "-c", config} },
			convert: func(string) []string { return nil },
			config: `
version: 1
creds:
  - {registry: SOURCE, tls: disabled}
  - {registry: TARGET, tls: disabled}
defaults: {interval: 1h, skipDockerConfig: true}
sync:
  - {source: SOURCE/acme/app-00, target: TARGET/all, type: repository}
  - {source: "SOURCE/acme/app-00:1.2.0", target: TARGET/one, type: image}
  - {source: "SOURCE/acme/app-00:stable", target: "TARGET/one:2", type: image}
  - {source: SOURCE/acme/app-01, target: TARGET/filtered, type: repository, tags: {allow: ["latest", "3.9", "1\\..*"], deny: [".*-alpine", "1\\.[0-2]\\.0"]}}
  - {source: SOURCE/acme/app-01, target: TARGET/alternatives, type: repository, tags: {allow: ["lat|alpine"]}}
  - {source: SOURCE/acme/app-02, target: TARGET/versions, type: repository, tags: {semverRange: [">=1.3.0 <2.0.0", ">=2.0.0"], deny: ["1\\.4.*"]}}
  - source: SOURCE/acme/app-02
    target: TARGET/sets
    type: repository
    tagSets:
      - {semverRange: [">1.3.0 <=1.3.9", "=1.0"]}
      - {allow: [latest, "main-.*"]}
      - {semverRange: ["~1.2", "^2.1.0-0", ">=3.9"]}
      - {semverRange: [">=1.4.0 <2.0.5"], deny: ["1"]}
`,
		},
		"skopeo": {
			program: "skopeo",
			args: func(config, target string) []string {
				return []string{"--insecure-policy", "sync", "--all", "--src", "yaml", "--dest", "docker", "--dest-tls-verify=false", config, target + "/copy"}
			},
			convert: func(target string) []string { return []string{"--target", target + "/copy"} },
			config: `
SOURCE:
  tls-verify: false
  images:
    acme/app-00: []
    acme/app-01: [latest, "3.9"]
  images-by-tag-regex:
    acme/app-01: ^1\.[34]\.0$
    acme/app-02: alpine|^st
`,
		},
	}
	for name, p := range peers {
		t.Run(name, func(t *testing.T) {
			program, err := exec.LookPath(p.program)
			if err != nil {
				t.Skipf("%s is not in PATH", p.program)
			}
			source := start(t, peerSource(t))
			theirs, ours := registry.New(registry.Options{}), registry.New(registry.Options{})
			theirHost := start(t, theirs)
			p.run(t, program, source, theirHost)
			p.dray(t, "plan", source, theirHost, "--exit-code")
			p.dray(t, "sync", source, start(t, ours))
			want := tagged(theirs)
			if len(want) == 0 {
				t.Fatalf("%s copied nothing", p.program)
			}
			if diff := cmp.Diff(want, tagged(ours)); diff != "" {
				t.Errorf("-%s +dray:\n%s", p.program, diff)
			}
		})
	}
}

// written puts the config with its registries into a file.
func (p peer) written(t *testing.T, source, target string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(strings.NewReplacer("SOURCE", source, "TARGET", target).Replace(p.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p peer) run(t *testing.T, program, source, target string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, p.args(p.written(t, source, target), target)...)
	command.Env = append(os.Environ(), "HOME="+t.TempDir(), "DOCKER_CONFIG="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir())
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", p.program, err, out)
	}
}

// dray has a command of dray succeed with the converted config.
func (p peer) dray(t *testing.T, command, source, target string, flags ...string) {
	t.Helper()
	converted := dray(t, append([]string{"convert", p.written(t, source, target)}, p.convert(target)...)...)
	if converted.code != exitDone {
		t.Fatal(converted.err)
	}
	path := filepath.Join(t.TempDir(), "dray.yaml")
	if err := os.WriteFile(path, []byte(converted.out), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := dray(t, append([]string{command, "-c", path}, flags...)...); a.code != exitDone {
		t.Fatalf("%s: exit code %d\n%s%s\n%s", command, a.code, a.out, a.err, converted.out)
	}
}
