package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

var updatePeers = flag.Bool("update-peers", false, "rewrite what other tools copied in testdata/peers, for those that are in PATH")

// peer is a config of another tool, in which SOURCE and TARGET stand for registries, with what that tool has copied by it.
type peer struct {
	path    string
	tool    string
	archive *txtar.Archive
}

// recorded is the section of a peer's file with what the tool has copied: a line for each tag, with its digest.
const recorded = "copied"

// peers reads testdata/peers.
func peers(t *testing.T) map[string]peer {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "peers", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]peer{}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		all[name] = peer{path: path, tool: name[:strings.LastIndexByte(name, '-')], archive: archive}
	}
	return all
}

// section returns a part of the file; false where there is none.
func (p peer) section(name string) (string, bool) {
	i := slices.IndexFunc(p.archive.Files, func(f txtar.File) bool { return f.Name == name })
	if i < 0 {
		return "", false
	}
	return string(p.archive.Files[i].Data), true
}

// written puts the configs with their registries into files, and returns their paths.
func (p peer) written(t *testing.T, source, target string) []string {
	t.Helper()
	names := strings.NewReplacer("SOURCE", source, "TARGET", target)
	dir := t.TempDir()
	var paths []string
	for _, f := range p.archive.Files {
		if filepath.Ext(f.Name) != ".yml" {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, []byte(names.Replace(string(f.Data))), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// args is the command line with which the tool copies by these configs, once.
func (p peer) args(configs []string, target string) []string {
	switch p.tool {
	case "regsync":
		return []string{"once", "-c", configs[0]}
	case "skopeo":
		return []string{"--insecure-policy", "sync", "--all", "--src", "yaml", "--dest", "docker", "--dest-tls-verify=false", configs[0], target + "/copy"}
	case "dregsy":
		return []string{"-config=" + configs[0]}
	case "image-syncer":
		if len(configs) == 1 {
			return []string{"--config", configs[0]}
		}
		return []string{"--auth", configs[0], "--images", configs[1]}
	}
	return []string{"sync", "-c", configs[0]} // ocync
}

// run has the tool copy. ocync only speaks TLS.
func (p peer) run(t *testing.T, program string, source, target *registry.Registry) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program) //nolint:gosec // this test's own
	command.Dir = t.TempDir()
	command.Env = append(os.Environ(), "HOME="+t.TempDir(), "DOCKER_CONFIG="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir())
	var from, to string
	if p.tool == "ocync" {
		trusted := ""
		from, to, trusted = secured(t, source, target)
		command.Env = append(command.Env, "SSL_CERT_FILE="+trusted)
	} else {
		from, to = start(t, source), start(t, target)
	}
	command.Args = append(command.Args, p.args(p.written(t, from, to), to)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", p.tool, err, out)
	}
}

// again has the tool copy anew, where everything is tested and the tool is in PATH: that has to be what is recorded, and leaves nothing to do for dray.
func (p peer) again(t *testing.T, source *registry.Registry) {
	t.Helper()
	program, err := exec.LookPath(p.tool)
	installed := p.tool == "regsync" || p.tool == "skopeo" // by .ci/run; the others cannot be had there
	switch {
	case err != nil && installed && fulltest.Enabled():
		t.Fatal(err)
	case err != nil || !fulltest.Enabled() && !*updatePeers:
		t.Logf("what %s has copied is only read", p.tool)
		return
	}
	theirs := registry.New(registry.Options{})
	p.run(t, program, source, theirs)
	got := tagged(theirs)
	if *updatePeers {
		p.record(t, got)
	}
	if want, _ := p.section(recorded); want != got {
		t.Errorf("%s has copied something else than is recorded:\n%s", p.tool, cmp.Diff(want, got))
	}
	if a := dray(t, "plan", "-c", p.converted(t, start(t, source), start(t, theirs)), "--exit-code"); a.code != exitDone {
		t.Errorf("after %s there is something left to do:\n%s", p.tool, a.out)
	}
}

// record writes what the tool has copied into its file.
func (p peer) record(t *testing.T, copied string) {
	t.Helper()
	p.archive.Files = slices.DeleteFunc(p.archive.Files, func(f txtar.File) bool { return f.Name == recorded })
	p.archive.Files = append(p.archive.Files, txtar.File{Name: recorded, Data: []byte(copied)})
	if err := os.WriteFile(p.path, txtar.Format(p.archive), 0o644); err != nil { //nolint:gosec // as the other files there
		t.Fatal(err)
	}
}

// secured has two registries listen with TLS, and returns their hosts and the file of their authorities' certificates.
func secured(t *testing.T, source, target *registry.Registry) (from, to, trusted string) {
	t.Helper()
	trusted = filepath.Join(t.TempDir(), "ca.pem")
	var hosts []string
	var certificates []byte
	for _, r := range []*registry.Registry{source, target} {
		server, err := r.StartTLS()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		hosts, certificates = append(hosts, server.Host), append(certificates, server.CA...)
	}
	if err := os.WriteFile(trusted, certificates, 0o600); err != nil {
		t.Fatal(err)
	}
	return hosts[0], hosts[1], trusted
}

// converted writes dray's config for these registries.
func (p peer) converted(t *testing.T, source, target string) string {
	t.Helper()
	args := append([]string{"convert"}, p.written(t, source, target)...)
	if p.tool == "skopeo" {
		args = append(args, "--target", target+"/copy")
	}
	a := done(t, args...)
	path := filepath.Join(t.TempDir(), "dray.yaml")
	if err := os.WriteFile(path, []byte(a.out), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

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

// tagged lists what a registry has, as it is recorded.
func tagged(r *registry.Registry) string {
	var lines []string
	for _, repository := range r.Repositories() {
		for _, tag := range r.Tags(repository) {
			lines = append(lines, fmt.Sprintf("%s:%s %s\n", repository, tag, r.TaggedDigest(repository, tag)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestConvertedCopiesTheSame has dray sync with what convert makes of configs of other tools, and compares what arrives with what
// those tools have copied. Where a tool is in PATH it copies again, which has to be what was recorded; a plan finds nothing to do then.
func TestConvertedCopiesTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("syncs two dozen configs")
	}
	t.Parallel()
	all := peers(t)
	if len(all) < 15 {
		t.Errorf("only %d configs", len(all))
	}
	for name, p := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := peerSource(t)
			p.again(t, source)
			want, ok := p.section(recorded)
			if !ok || want == "" {
				t.Fatalf("nothing is recorded of %s", p.tool)
			}
			ours := registry.New(registry.Options{})
			config := p.converted(t, start(t, source), start(t, ours))
			done(t, "check", "-c", config)
			done(t, "sync", "-c", config)
			if diff := cmp.Diff(want, tagged(ours)); diff != "" {
				t.Errorf("-%s +dray:\n%s", p.tool, diff)
			}
		})
	}
}
