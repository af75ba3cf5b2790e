package main

import (
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/draysync/dray/internal/config"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/web"
)

// TestStatusPages: what the pages show of a config and of registries, and that no secret is among it.
func TestStatusPages(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	source, target := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
	from, to := start(t, source), start(t, target)
	if err := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{LayerSize: 5000}).Push(source, "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(d.target, "place")
	d.write(place, to+"/hidden-place")
	text := func(mappings ...string) string {
		head := []string{
			"version: 1", "stateDir: " + filepath.Join(d.target, "state"), fmt.Sprintf("server: {listen: 'unix:%s', token: a-token-of-the-server}", d.socket), "mappings:",
		}
		return strings.Join(append(head, mappings...), "\n") + "\n"
	}
	app := mapping("name: app, source: '%s/acme/app', target: '${file:%s}', tags: ['v*'], schedule: '@every 1h', windows: [{from: '22:00', to: '06:00'}]", from, place)
	d.write(d.config, text(app, mapping("name: old, source: '%s/acme/app', target: '%s/old', tags: ['v*']", from, to), mapping("name: other, source: '%s/acme/app', target: '%s/other', tags: ['v*']", from, to)))
	r := launch(t, d.config, d.socket)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	shows := func(path string, want ...string) {
		t.Helper()
		response, err := client.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }() // only read
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		page := html.UnescapeString(string(body))
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s does not show %q:\n%s", path, w, page)
			}
		}
		if strings.Contains(page, "a-token-of-the-server") {
			t.Errorf("%s shows the token", path)
		}
		if path == "/config" && strings.Contains(page, place) {
			t.Errorf("%s shows where a file lies to somebody who is not signed in", path)
		}
	}
	asked := web.NewClient("unix:"+d.socket, "a-token-of-the-server")
	t.Cleanup(asked.Close)
	r.until(t, "the first run is saved", func() bool {
		runs, err := asked.History(t.Context(), "old", 1)
		return err == nil && len(runs) > 0
	})
	token := filepath.Join(d.target, "token")
	d.write(token, "a-token-of-the-server")
	if a := dray(t, "trigger", "old", "--wait", "--timeout", "5m", "--server", "unix:"+d.socket, "--token-file", token); a.code != exitDone {
		t.Fatalf("%+v", a)
	}
	shows("/jobs/app", d.config+":5:", "'${file:"+place+"}'", "22:00-06:00")
	shows("/jobs/old", "1 imported", to+"/old:v1", "nothing → sha256:", "absent", `level=INFO msg="job done" reason="1 `)
	shows("/jobs/old?show=tags", to+"/old:v1</th>", "<code title=\"sha256:", "1 tag")
	shows("/", from+"/acme/app", "→ "+to+"/old", `<option value="`+to+`">`)
	shows("/registries", from, to, "<td><div>nobody</div></td>")
	shows("/config", "There was none since the start.")

	d.write(d.config, text(app, mapping("name: new, source: '%s/acme/app', target: '%s/new', tags: ['v*']", from, to), mapping("name: other, source: '%s/acme/app', target: '%s/other', tags: ['v1']", from, to)))
	if err := asked.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows("/config", `<dt>New jobs</dt><dd><a href="/jobs/new">new</a> </dd>`, `<dt>Changed jobs</dt><dd><a href="/jobs/other">other</a> </dd>`, "<dt>Jobs that have gone</dt><dd>old </dd>")
}

// TestAccountsOfJobs: a job is shown with the accounts of all its sources.
func TestAccountsOfJobs(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("dray.yaml", []byte(`version: 1
mappings:
- {name: one, source: 'docker.io/corp/app:1', target: target.example/app}
- {name: prefix, source: ghcr.io/acme, repositories: [tool, 'lint-*'], tags: ['*'], target: target.example/acme}
- {name: images, images: ['docker.io/corp/a:1', 'docker.io/corp/b:1', 'quay.io/c:1', 'docker.io/d:1'], target: target.example/mirror}
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := plan.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	account := func(repo image.Repository) string {
		for _, part := range []string{"docker.io/corp", "ghcr.io/acme/tool"} {
			if strings.HasPrefix(repo.String(), part) {
				return part
			}
		}
		return repo.Registry
	}
	for i, want := range []string{"[docker.io/corp]", "[ghcr.io ghcr.io/acme/tool]", "[docker.io docker.io/corp quay.io]"} {
		if got := fmt.Sprint(accountsOf(jobs[i], account)); got != want {
			t.Errorf("%s: %s, want %s", jobs[i].Name, got, want)
		}
	}
}

// TestExcerptsOnce: however many pages of jobs are asked for, and anybody may, the config is parsed once.
func TestExcerptsOnce(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("dray.yaml", []byte("version: 1\nmappings:\n- {name: app, source: 'source.example/app:1', target: target.example/app}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := plan.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[current]
	now.Store(currentOf(cfg, jobs, nil, nil))
	for range 2 {
		if job, _ := (details{current: &now}).Job(&record.JobStatus{Job: "app"}); !strings.Contains(job.YAML, "name: app") {
			t.Errorf("it is %q", job.YAML)
		}
		clear(cfg.Texts) // what is parsed again is empty
	}
}
