package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// desk is a folder with a config that a test changes under a running daemon, in one of the ways in which configs are changed.
type desk struct {
	t      *testing.T
	dir    string
	config string // as dray is told
	socket string
	target string
}

// text is the config with a job of each name, all of which have nothing to do.
func (d desk) text(names ...string) string {
	lines := []string{"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "mappings:"}
	for _, name := range names {
		lines = append(lines, mapping("name: '%s', source: 'ocidir://%s/from-%s', target: 'ocidir://%s/to-%s', tags: [v1], schedule: '@every 1h'", name, d.target, name, d.target, name))
	}
	return strings.Join(lines, "\n") + "\n"
}

func (d desk) do(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d desk) write(path, text string) {
	d.t.Helper()
	d.do(os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // as people do
	d.do(os.WriteFile(path, []byte(text), 0o644))
}

// reloads are the ways in which a config with the job "one" becomes one with the jobs "one" and "two", each from the file that dray was
// started with.
func reloads() map[string]struct{ prepare, change func(d desk) } {
	plain := func(d desk) { d.write(d.config, d.text("one")) }
	return map[string]struct{ prepare, change func(d desk) }{
		"written in place": {plain, func(d desk) { d.write(d.config, d.text("one", "two")) }},
		"truncated, then written": {plain, func(d desk) {
			f, err := os.OpenFile(d.config, os.O_WRONLY|os.O_TRUNC, 0)
			d.do(err)
			for part := range slices.Chunk([]byte(d.text("one", "two")), 40) {
				_, err := f.Write(part)
				d.do(err)
				time.Sleep(5 * time.Millisecond)
			}
			d.do(f.Close())
		}},
		"renamed over": {plain, func(d desk) {
			d.write(d.config+".new", d.text("one", "two"))
			d.do(os.Rename(d.config+".new", d.config))
		}},
		"vim's backup dance": {plain, func(d desk) {
			d.do(os.Rename(d.config, d.config+"~"))
			d.write(d.config, d.text("one", "two"))
			d.do(os.Remove(d.config + "~"))
		}},
		"symlink turned": {
			func(d desk) {
				d.write(filepath.Join(d.dir, "a.yaml"), d.text("one"))
				d.do(os.Symlink("a.yaml", d.config))
			},
			func(d desk) {
				d.write(filepath.Join(d.dir, "b.yaml"), d.text("one", "two"))
				d.do(os.Symlink("b.yaml", d.config+".new"))
				d.do(os.Rename(d.config+".new", d.config))
			},
		},
		"ConfigMap": { // as the kubelet writes one
			func(d desk) {
				d.write(filepath.Join(d.dir, "..1", "dray.yaml"), d.text("one"))
				d.do(os.Symlink("..1", filepath.Join(d.dir, "..data")))
				d.do(os.Symlink(filepath.Join("..data", "dray.yaml"), d.config))
			},
			func(d desk) {
				d.write(filepath.Join(d.dir, "..2", "dray.yaml"), d.text("one", "two"))
				d.do(os.Symlink("..2", filepath.Join(d.dir, "..data_tmp")))
				d.do(os.Rename(filepath.Join(d.dir, "..data_tmp"), filepath.Join(d.dir, "..data")))
				d.do(os.RemoveAll(filepath.Join(d.dir, "..1")))
			},
		},
		"folder replaced": {plain, func(d desk) {
			d.write(filepath.Join(d.dir+".new", "dray.yaml"), d.text("one", "two"))
			d.do(os.Rename(d.dir, d.dir+".old"))
			d.do(os.Rename(d.dir+".new", d.dir))
		}},
		"removed and back": {plain, func(d desk) {
			d.do(os.Remove(d.config))
			time.Sleep(700 * time.Millisecond)
			d.write(d.config, d.text("one", "two"))
		}},
		"secret rotated": {
			func(d desk) {
				d.write(filepath.Join(d.dir, "secret"), "one")
				text := strings.Replace(d.text("one"), "'one'", "'${file:secret}'", 1)
				d.write(d.config, text+mapping("name: two-not, source: 'ocidir://%s/x', target: 'ocidir://%s/y', tags: [v1]", d.target, d.target)+"\n")
			},
			func(d desk) { d.write(filepath.Join(d.dir, "secret"), "other") },
		},
	}
}

// TestReloads changes the config of a running daemon in every way there is: the change is picked up, within two seconds where the machine
// is not overloaded, and the job that was there keeps its time.
func TestReloads(t *testing.T) {
	t.Parallel()
	for name, way := range reloads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			way.prepare(d)
			r := launch(t, d.config, d.socket)
			r.until(t, "the first run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
			before := r.status(t).Jobs[0]
			way.change(d)
			changed := time.Now()
			if name == "secret rotated" {
				r.has(t, "other", "two-not")
			} else {
				r.has(t, "one", "two")
				if after := r.status(t).Jobs[0]; !after.Due.Equal(before.Due) || !after.Last.Ended.Equal(before.Last.Ended) {
					t.Errorf("the job beside it: due %s after %s, ran %s after %s", after.Due, before.Due, after.Last.Ended, before.Last.Ended)
				}
			}
			t.Logf("after %s", time.Since(changed).Round(time.Millisecond))
			r.stop(t)
			if n := len(r.log.entries(t, "config rejected, the last good one runs on")); n > 0 && name != "removed and back" && name != "truncated, then written" {
				t.Errorf("%d rejections\n%s", n, r.log)
			}
		})
	}
}

func newDesk(t *testing.T) desk {
	t.Helper()
	base := shortDir(t)
	dir := filepath.Join(base, "etc")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as people do
		t.Fatal(err)
	}
	return desk{t: t, dir: dir, config: filepath.Join(dir, "dray.yaml"), socket: filepath.Join(base, "s"), target: base}
}

// TestRejections gives a running daemon configs that are none: each is refused as a whole and said once, and the jobs go on as they are
// until there is a good one.
func TestRejections(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(d desk){
		"invalid":      func(d desk) { d.write(d.config, d.text("one")+"mapings: []\n") },
		"half-written": func(d desk) { d.write(d.config, d.text("one", "two")[:200]) },
		"empty":        func(d desk) { d.write(d.config, "") },
		"unreadable":   func(d desk) { d.do(os.Remove(d.config)); d.do(os.Mkdir(d.config, 0o755)) }, //nolint:gosec // a test
		"removed":      func(d desk) { d.do(os.Remove(d.config)) },
		"a loop": func(d desk) {
			d.do(os.Remove(d.config))
			d.do(os.Symlink("dray.yaml", d.config))
		},
		"secret missing": func(d desk) { d.write(d.config, strings.Replace(d.text("one"), "'one'", "'${file:none}'", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.write(d.config, d.text("one"))
			r := launch(t, d.config, d.socket)
			r.until(t, "the first run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
			before := r.status(t).Jobs[0]
			spoil(d)
			r.until(t, "it is rejected", func() bool { return len(r.status(t).Config.Rejected) > 0 })
			if after := r.status(t).Jobs[0]; after.Job != "one" || !after.Due.Equal(before.Due) {
				t.Errorf("the job is %+v after %+v", after, before)
			}
			for range 2 { // whoever asks for it is told again, the log is not
				if err := r.client.Reload(t.Context()); err == nil {
					t.Error("it can be reloaded")
				}
			}
			d.do(os.RemoveAll(d.config))
			d.write(d.config+".new", d.text("one", "two"))
			d.do(os.Rename(d.config+".new", d.config))
			r.has(t, "one", "two")
			if s := r.status(t); len(s.Config.Rejected) > 0 {
				t.Errorf("it is still rejected: %q", s.Config.Rejected)
			}
			r.stop(t)
			said := 0
			for _, e := range r.log.entries(t, "config rejected, the last good one runs on") {
				if text := fmt.Sprint(e["err"]); strings.HasPrefix(text, d.config) || strings.Contains(text, "dray.yaml") {
					said++
				}
			}
			if said < 1 || said > 2 { // what comes between two good ones may be rejected for a moment, too
				t.Errorf("%d rejections\n%s", said, r.log)
			}
		})
	}
}

// TestSilentReload: a file that is written with the same content says and does nothing.
func TestSilentReload(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write(d.config, d.text("one"))
	r := launch(t, d.config, d.socket)
	for range 5 {
		d.write(d.config, d.text("one"))
		d.write(d.config+".new", d.text("one"))
		d.do(os.Rename(d.config+".new", d.config))
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(600 * time.Millisecond)
	if s := r.status(t); s.Config.Generation != 1 {
		t.Errorf("generation %d", s.Config.Generation)
	}
	d.write(d.config, d.text("one", "two"))
	r.has(t, "one", "two")
	if s := r.status(t); s.Config.Generation != 2 {
		t.Errorf("generation %d", s.Config.Generation)
	}
	r.stop(t)
	if n := len(r.log.entries(t, "config reloaded")); n != 1 {
		t.Errorf("%d reloads are logged\n%s", n, r.log)
	}
}

// TestLoginWhileRunning: what docker login writes is read anew, like the config.
func TestLoginWhileRunning(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write(d.config, d.text("one"))
	login := filepath.Join(d.target, "docker")
	d.do(os.Mkdir(login, 0o700))
	r := launch(t, d.config, d.socket, "DOCKER_CONFIG="+login)
	d.write(filepath.Join(login, "config.json"), `{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}`)
	r.until(t, "it is read anew", func() bool { return r.status(t).Config.Generation == 2 })
	d.write(filepath.Join(login, "config.json"), "{")
	r.until(t, "it is rejected", func() bool { return len(r.status(t).Config.Rejected) > 0 })
	if text := strings.Join(r.status(t).Config.Rejected, ""); !strings.Contains(text, login) || strings.Contains(text, "YW5u") {
		t.Error(text)
	}
	r.stop(t)
}
