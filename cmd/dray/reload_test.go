package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
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

// including is the same with files of the folder conf.d, which may be empty.
func (d desk) including(names ...string) string {
	d.do(os.MkdirAll(filepath.Join(d.dir, "conf.d"), 0o755)) //nolint:gosec // as people do
	return "include: [conf.d/*.yaml]\n" + d.text(names...)
}

// part is an included file with a job of each name.
func (d desk) part(names ...string) string {
	_, mappings, _ := strings.Cut(d.text(names...), "mappings:")
	return "version: 1\nmappings:" + mappings
}

// replace has a file become another at once, so that nobody reads a part of it.
func (d desk) replace(path, text string) {
	d.t.Helper()
	d.write(path+".new", text)
	d.do(os.Rename(path+".new", path))
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

// reads waits, each time that it is called, until somebody has opened and read the config since.
func (d desk) reads() (wait func()) {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	d.do(err)
	events := os.NewFile(uintptr(fd), "inotify")
	d.t.Cleanup(func() { _ = events.Close() })
	_, err = syscall.InotifyAddWatch(fd, d.dir, syscall.IN_CLOSE_NOWRITE)
	d.do(err)
	d.do(events.SetReadDeadline(time.Now().Add(soon)))
	return func() {
		buffer := make([]byte, 4096)
		for {
			n, err := events.Read(buffer)
			d.do(err)
			if bytes.Contains(buffer[:n], []byte(filepath.Base(d.config)+"\x00")) {
				return
			}
		}
	}
}

// rejects waits until a daemon refuses its config.
func (r *running) rejects(t *testing.T) {
	t.Helper()
	r.until(t, "the config is rejected", func() bool { return len(r.status(t).Config.Rejected) > 0 })
}

// reload is a way in which a config becomes another.
type reload struct {
	prepare func(d desk)
	change  func(d desk, r *running)
}

// aFolder is a reload of a daemon whose config is a folder.
const aFolder = "a file comes to a folder that is the config"

// reloads are the ways in which a config with the job "one" becomes one with the jobs "one" and "two", each from the file that dray was
// started with.
func reloads() map[string]reload {
	plain := func(d desk) { d.write(d.config, d.text("one")) }
	return map[string]reload{
		"written in place": {plain, func(d desk, _ *running) { d.write(d.config, d.text("one", "two")) }},
		"truncated, then written": {plain, func(d desk, r *running) {
			f, err := os.OpenFile(d.config, os.O_WRONLY|os.O_TRUNC, 0)
			d.do(err)
			text := d.text("one", "two")
			_, err = f.WriteString(text[:200])
			d.do(err)
			r.rejects(d.t)
			_, err = f.WriteString(text[200:])
			d.do(err)
			d.do(f.Close())
		}},
		"renamed over": {plain, func(d desk, _ *running) {
			d.replace(d.config, d.text("one", "two"))
		}},
		"vim's backup dance": {plain, func(d desk, _ *running) {
			d.do(os.Rename(d.config, d.config+"~"))
			d.write(d.config, d.text("one", "two"))
			d.do(os.Remove(d.config + "~"))
		}},
		"symlink turned": {
			func(d desk) {
				d.write(filepath.Join(d.dir, "a.yaml"), d.text("one"))
				d.do(os.Symlink("a.yaml", d.config))
			},
			func(d desk, _ *running) {
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
			func(d desk, _ *running) {
				d.write(filepath.Join(d.dir, "..2", "dray.yaml"), d.text("one", "two"))
				d.do(os.Symlink("..2", filepath.Join(d.dir, "..data_tmp")))
				d.do(os.Rename(filepath.Join(d.dir, "..data_tmp"), filepath.Join(d.dir, "..data")))
				d.do(os.RemoveAll(filepath.Join(d.dir, "..1")))
			},
		},
		"folder replaced": {plain, func(d desk, _ *running) {
			d.write(filepath.Join(d.dir+".new", "dray.yaml"), d.text("one", "two"))
			d.do(os.Rename(d.dir, d.dir+".old"))
			d.do(os.Rename(d.dir+".new", d.dir))
		}},
		"removed and back": {plain, func(d desk, r *running) {
			d.do(os.Remove(d.config))
			r.rejects(d.t)
			d.write(d.config, d.text("one", "two"))
		}},
		"a file comes": {
			func(d desk) { d.write(d.config, d.including("one")) },
			func(d desk, _ *running) { d.write(filepath.Join(d.dir, "conf.d", "two.yaml"), d.part("two")) },
		},
		aFolder: {
			func(d desk) { d.write(d.config, d.text("one")) },
			func(d desk, _ *running) { d.write(filepath.Join(d.dir, "two.yaml"), d.part("two")) },
		},
		"an included file written": {
			func(d desk) {
				d.write(d.config, d.including("one"))
				d.write(filepath.Join(d.dir, "conf.d", "a.yaml"), d.part("three"))
			},
			func(d desk, _ *running) { d.write(filepath.Join(d.dir, "conf.d", "a.yaml"), d.part("two")) },
		},
		"a ConfigMap of included files": {
			func(d desk) {
				d.write(d.config, d.including("one"))
				d.write(filepath.Join(d.dir, "conf.d", "..1", "a.yaml"), d.part("three"))
				d.do(os.Symlink("..1", filepath.Join(d.dir, "conf.d", "..data")))
				d.do(os.Symlink(filepath.Join("..data", "a.yaml"), filepath.Join(d.dir, "conf.d", "a.yaml")))
			},
			func(d desk, _ *running) {
				d.write(filepath.Join(d.dir, "conf.d", "..2", "a.yaml"), d.part("two"))
				d.do(os.Symlink("..2", filepath.Join(d.dir, "conf.d", "..data_tmp")))
				d.do(os.Rename(filepath.Join(d.dir, "conf.d", "..data_tmp"), filepath.Join(d.dir, "conf.d", "..data")))
				d.do(os.RemoveAll(filepath.Join(d.dir, "conf.d", "..1")))
			},
		},
		"an included file goes": {
			func(d desk) {
				d.write(d.config, d.including("one", "two"))
				d.write(filepath.Join(d.dir, "conf.d", "a.yaml"), d.part("three"))
			},
			func(d desk, _ *running) { d.do(os.Remove(filepath.Join(d.dir, "conf.d", "a.yaml"))) },
		},
		"a file of images comes": {
			func(d desk) {
				d.write(d.config, d.including("one"))
				d.do(os.Mkdir(filepath.Join(d.dir, "rendered"), 0o755)) //nolint:gosec // as people do
				d.write(filepath.Join(d.dir, "conf.d", "a.yaml"), "version: 1\nmappings:\n"+mapping("name: two, imagesFrom: ['../rendered/*.yaml'], target: 'ocidir://%s/m', schedule: '@every 1h', retries: 0", d.target)+"\n")
			},
			func(d desk, _ *running) {
				d.write(filepath.Join(d.dir, "rendered", "pod.yaml"), "kind: Pod\nmetadata: {}\nspec: {containers: [{image: '"+start(d.t, registry.New(registry.Options{}))+"/x:1'}]}\n")
			},
		},
		"secret rotated": {
			func(d desk) {
				d.write(filepath.Join(d.dir, "secret"), "one")
				text := strings.Replace(d.text("one"), "'one'", "'${file:secret}'", 1)
				d.write(d.config, text+mapping("name: two-not, source: 'ocidir://%s/x', target: 'ocidir://%s/y', tags: [v1]", d.target, d.target)+"\n")
			},
			func(d desk, _ *running) { d.write(filepath.Join(d.dir, "secret"), "other") },
		},
	}
}

// atRest is less than the time for which files have to be quiet before they are read: what takes longer may be read in the middle.
const atRest = 200 * time.Millisecond

// TestReloads changes the config of a running daemon in every way there is: the change is picked up, within two seconds where the machine
// is not overloaded, and the job that was there keeps its time.
func TestReloads(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	for name, way := range reloads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			way.prepare(d)
			config := d.config
			if name == aFolder {
				config = d.dir
			}
			r := launch(t, config, d.socket)
			r.until(t, "the first run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
			before := r.status(t).Jobs[0]
			began := time.Now()
			way.change(d, r)
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
			slow := changed.Sub(began) > atRest || name == "removed and back" || name == "truncated, then written"
			if n := len(r.log.entries(t, "config rejected, the last good one runs on")); n > 0 && !slow {
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
		"invalid":      func(d desk) { d.replace(d.config, d.text("one")+"mapings: []\n") },
		"half-written": func(d desk) { d.replace(d.config, d.text("one", "two")[:200]) },
		"empty":        func(d desk) { d.replace(d.config, "") },
		"unreadable":   func(d desk) { d.do(os.Remove(d.config)); d.do(os.Mkdir(d.config, 0o755)) }, //nolint:gosec // a test
		"removed":      func(d desk) { d.do(os.Remove(d.config)) },
		"a loop": func(d desk) {
			d.do(os.Symlink("dray.yaml", d.config+".new"))
			d.do(os.Rename(d.config+".new", d.config))
		},
		"secret missing": func(d desk) { d.replace(d.config, strings.Replace(d.text("one"), "'one'", "'${file:none}'", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.write(d.config, d.text("one"))
			r := launch(t, d.config, d.socket)
			r.until(t, "the first run has ended", func() bool { return r.status(t).Jobs[0].Last != nil })
			before := r.status(t).Jobs[0]
			spoil(d)
			r.rejects(t)
			if after := r.status(t).Jobs[0]; after.Job != "one" || !after.Due.Equal(before.Due) {
				t.Errorf("the job is %+v after %+v", after, before)
			}
			for range 2 { // whoever asks for it is told again, the log is not
				if err := r.client.Reload(t.Context()); err == nil {
					t.Error("it can be reloaded")
				}
			}
			most := 1
			if name == "unreadable" {
				most = 3 // that it is not there, before and after, may be seen
				d.do(os.Remove(d.config))
			}
			d.replace(d.config, d.text("one", "two"))
			r.has(t, "one", "two")
			r.until(t, "it is not rejected any more", func() bool { return len(r.status(t).Config.Rejected) == 0 }) // which is noted once the jobs are there
			r.stop(t)
			said := 0
			for _, e := range r.log.entries(t, "config rejected, the last good one runs on") {
				if text := fmt.Sprint(e["err"]); strings.HasPrefix(text, d.config) || strings.Contains(text, "dray.yaml") {
					said++
				}
			}
			if said < 1 || said > most {
				t.Errorf("%d rejections\n%s", said, r.log)
			}
		})
	}
}

// TestSilentReload: a file that is written with the same content says and does nothing.
func TestSilentReload(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	d := newDesk(t)
	d.write(d.config, d.text("one"))
	r := launch(t, d.config, d.socket)
	read := d.reads()
	for range 5 { // by renames: what is written in place may be read while it is empty
		d.replace(d.config, d.text("one"))
		read()
	}
	if s := r.status(t); s.Config.Generation != 1 {
		t.Errorf("generation %d", s.Config.Generation)
	}
	d.write(d.config, d.text("one", "two"))
	r.has(t, "one", "two")
	if s := r.status(t); s.Config.Generation != 2 {
		t.Errorf("generation %d", s.Config.Generation)
	}
	reloaded := func() int { return len(r.log.entries(t, "config reloaded")) }
	r.until(t, "it is said", func() bool { return reloaded() > 0 })
	r.stop(t)
	if n := reloaded(); n != 1 {
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
	d.replace(filepath.Join(login, "config.json"), `{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}`)
	r.until(t, "it is read anew", func() bool { return r.status(t).Config.Generation == 2 })
	d.replace(filepath.Join(login, "config.json"), "{")
	r.until(t, "it is rejected", func() bool { return len(r.status(t).Config.Rejected) > 0 })
	if text := strings.Join(r.status(t).Config.Rejected, ""); !strings.Contains(text, login) || strings.Contains(text, "YW5u") {
		t.Error(text)
	}
	r.stop(t)
}
