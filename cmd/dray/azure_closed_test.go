package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

// closings are the ways in which the target's data plane is closed to dray.
func closings() map[string]func(a *article) {
	return map[string]func(a *article){
		"403": func(a *article) { a.target.Change(func(o *azure.RegistryOptions) { o.NoPublicAccess = true }) },
		"no right to pull": func(a *article) {
			a.app.Ungrant(a.target.ID())
			a.app.Grant(a.target.ID(), azure.ImportOnly)
		},
	}
}

// began returns how many imports Azure began since the last call.
func (a *article) began() func() int {
	before := len(a.cloud.Account().Imports)
	return func() int {
		n := len(a.cloud.Account().Imports) - before
		before += n
		return n
	}
}

// looked fails if dray did more at the target's data plane than look for tags, without success.
func (a *article) looked(t *testing.T) {
	t.Helper()
	for _, r := range a.target.Requests() {
		if r.Method != "HEAD" && !strings.HasPrefix(r.Path, "/oauth2/") && r.Path != "/v2/" {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}

// TestAzureClosedImport imports single images into a registry whose data plane is closed: what was imported is known the second time.
func TestAzureClosedImport(t *testing.T) {
	t.Parallel()
	for name, shut := range closings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArticle(t)
			shut(a)
			began, state := a.began(), "XDG_STATE_HOME="+t.TempDir()
			for _, source := range []string{"mysource.azurecr.io/app@" + a.digest} {
				target := fmt.Sprintf("myregistry.azurecr.io/one%d:v1", len(source))
				for run, want := range []string{"1 imported, 0 unchanged, 0 refused, 0 failed, 1 unverified", "0 imported, 1 unchanged, 0 refused, 0 failed, 1 unverified"} {
					c := exec.Command(os.Args[0], "import", source, target)
					c.Env = append(slices.Clone(a.env), asDray+"=1", state)
					out, err := c.CombinedOutput()
					if err != nil || !strings.Contains(string(out), want) {
						t.Errorf("run %d of %s: %v\n%s", run+1, source, err, out)
					}
					if n := began(); n != 1-run {
						t.Errorf("run %d of %s began %d imports", run+1, source, n)
					}
				}
				repository, _, _ := strings.Cut(strings.TrimPrefix(target, "myregistry.azurecr.io/"), ":")
				if a.target.Content.Digest(repository, "v1") == "" {
					t.Errorf("%s is not there", target)
				}
			}
			a.looked(t)
		})
	}
}

// runs returns how many runs the history has.
func (r *running) runs(t *testing.T) (n int) {
	t.Helper()
	list, err := r.client.History(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range list {
		n += 1 + run.Repeats
	}
	return n
}

// ranAgain has jobs of a daemon run, and returns all once they have.
func (r *running) ranAgain(t *testing.T, jobs ...string) []record.JobStatus {
	t.Helper()
	before := r.runs(t)
	for _, job := range jobs {
		if _, err := r.client.Sync(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	r.within(t, started, "all have run", func() bool { return r.runs(t) == before+len(jobs) })
	return r.status(t).Jobs
}

// TestAzureClosedDaemon runs a daemon, over several runs and a restart, whose target's data plane is closed. Status, history and page say so.
func TestAzureClosedDaemon(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	for name, shut := range closings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArticle(t)
			shut(a)
			dir := shortDir(t)
			socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "dray.yaml")
			text := strings.Join([]string{
				"version: 1", "stateDir: " + filepath.Join(dir, "state"), serverLine(socket), "registries: {myregistry.azurecr.io: {azure: {}}}", "mappings:",
				mapping("name: plain, source: docker.io/library/hello-world:latest, target: myregistry.azurecr.io/plain, schedule: '@yearly'"),
				mapping("name: refuse, source: mysource.azurecr.io/pair, tags: [a, b], target: myregistry.azurecr.io/staging/app, moved: refuse, schedule: '@yearly'"),
				mapping("name: server, source: mysource.azurecr.io/app:latest, target: myregistry.azurecr.io/server, engine: acr, resolve: server, schedule: '@yearly'"),
				mapping("name: untagged, source: '%s', target: myregistry.azurecr.io/untagged, untagged: true, schedule: '@yearly'", "mysource.azurecr.io/app@"+a.digest),
			}, "\n")
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			jobs, env := []string{"plain", "refuse", "server", "untagged"}, append([]string{asDray + "=1"}, a.env...)
			began := a.began()
			r := launch(t, config, socket, env...)
			want := func(what string, posts int, counts map[string]record.Counts, got []record.JobStatus) {
				t.Helper()
				for _, j := range got {
					c := j.Last.Counts
					c.Pulls = 0
					if c != counts[j.Job] || j.Last.Outcome != record.RunOK {
						t.Errorf("%s: %s: %s, %+v, want %+v: %s", what, j.Job, j.Last.Outcome, c, counts[j.Job], j.Last.Error)
					}
				}
				if n := began(); n != posts {
					t.Errorf("%s: Azure began %d imports, not %d", what, n, posts)
				}
			}
			new1, new2 := record.Counts{Import: 1, Unverified: 1}, record.Counts{Import: 2, Unverified: 2}
			old1, old2 := record.Counts{Keep: 1, Unverified: 1}, record.Counts{Keep: 2, Unverified: 2}
			r.within(t, started, "all have run", func() bool { return r.runs(t) == len(jobs) })
			want("the first run", 4, map[string]record.Counts{"plain": new1, "refuse": new2, "server": new1, "untagged": new1}, r.status(t).Jobs)
			kept := map[string]record.Counts{"plain": old1, "refuse": old2, "server": new1, "untagged": old1}
			want("the second run", 1, kept, r.ranAgain(t, jobs...))
			r.stop(t)
			r = launch(t, config, socket, env...)
			want("before the next run", 0, kept, r.status(t).Jobs)
			want("after the restart", 1, kept, r.ranAgain(t, jobs...))
			moved := registry.MultiArch(77, registry.ImageOptions{Layers: 1, LayerSize: 100})
			for _, tag := range []string{"a", "latest"} {
				if err := moved.Push(a.source.Content, map[string]string{"a": "pair", "latest": "app"}[tag], tag); err != nil {
					t.Fatal(err)
				}
			}
			want("a tag moved", 1, map[string]record.Counts{"plain": old1, "refuse": {Keep: 1, Refuse: 1, Unverified: 2}, "server": new1, "untagged": old1}, r.ranAgain(t, jobs...))
			if got := a.target.Content.Digest("server", "latest"); got != moved.Digest {
				t.Errorf("what only Azure resolves holds %s", got)
			}
			a.looked(t)
			closedSaid(t, r, config, env)
			reconfigure := func(from, to string, repositories int) {
				t.Helper()
				if err := os.WriteFile(config, []byte(strings.Replace(text, from, to, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
				r.within(t, started, "the list of closed registries follows the config", func() bool {
					n := 0
					for _, c := range r.status(t).Closed {
						n += c.Repositories
					}
					return n == repositories
				})
			}
			mappings := text[strings.Index(text, "mappings:"):]
			reconfigure(mappings, "mappings:\n"+strings.Split(mappings, "\n")[1], 1)
			reconfigure(mappings, "mappings:\n"+mapping("name: other, source: 'ocidir:///nosuch:v1', target: 'ocidir:///nosuch/other:v1', schedule: '@yearly'"), 0)
		})
	}
}

// closedSaid looks at what a person sees of a daemon whose target is closed.
func closedSaid(t *testing.T, r *running, config string, env []string) {
	t.Helper()
	said := func(args ...string) string {
		c := exec.Command(os.Args[0], args...) //nolint:gosec // it is ours
		c.Env = append([]string{"HOME=" + t.TempDir()}, env...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return string(out)
	}
	text := said("status", "-c", config)
	for _, want := range []string{"myregistry.azurecr.io: the data plane is closed to dray in 4 repositories", "ago, 1 unverified"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q:\n%s", want, text)
		}
	}
	for _, want := range []string{"imported, unverified", "the target's data plane is closed to dray"} {
		r.until(t, fmt.Sprintf("the log says %q", want), func() bool { return strings.Contains(r.log.String(), want) })
	}
	var status record.Snapshot
	if err := json.Unmarshal([]byte(said("status", "-c", config, "-o", "json")), &status); err != nil || len(status.Closed) != 1 ||
		status.Closed[0].Registry != "myregistry.azurecr.io" || status.Closed[0].Repositories != 4 || status.Closed[0].Reason == "" {
		t.Errorf("%v, %+v", err, status.Closed)
	}
	runs, err := r.client.History(t.Context(), "plain", 100)
	if err != nil || len(runs) == 0 {
		t.Fatal(err)
	}
	first := runs[len(runs)-1]
	if len(first.Actions) != 1 || !first.Actions[0].Unverified || first.Counts.Unverified != 1 {
		t.Errorf("the history says %+v", first)
	}
}
