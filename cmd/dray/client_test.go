package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/web"
)

// TestCommandsOfTheDaemon: what status, history, trigger and reload say, and with which exit code, of a daemon with a job that works and one that does
// not.
func TestCommandsOfTheDaemon(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	d := newDesk(t)
	source, target := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
	from, to := start(t, source), start(t, target)
	image := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{LayerSize: 5000})
	if err := image.Push(source, "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	text := strings.Join([]string{
		"version: 1", "stateDir: " + filepath.Join(d.target, "state"), fmt.Sprintf("server: {listen: 'unix:%s', token: a-token-of-the-server}", d.socket),
		"mappings:", mapping("name: app, source: '%s/acme/app', target: '%s/app', tags: ['v*']", from, to),
		mapping("name: gone, source: '%s/acme/gone', target: '%s/gone', tags: ['v*']", from, to),
	}, "\n")
	d.write(d.config, text)
	r := launch(t, d.config, d.socket)
	r.until(t, "the first runs have ended", func() bool {
		return !slices.ContainsFunc(r.status(t).Jobs, func(j record.JobStatus) bool { return j.Last == nil })
	})
	token := filepath.Join(d.target, "token")
	d.write(token, "\ufeffa-token-of-the-server\r\n")
	if a := dray(t, "reload", "--server", "unix:"+d.socket); a.code != exitFailed || !strings.Contains(a.err, "401") {
		t.Errorf("without the token: %+v", a)
	}
	say := func(code int, args ...string) answer {
		t.Helper()
		a := dray(t, append(args, "--server", "unix:"+d.socket, "--token-file", token)...)
		if a.code != code {
			t.Errorf("dray %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), a.code, code, a.out, a.err)
		}
		return a
	}
	has := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in\n%s", w, text)
			}
		}
	}

	a := say(exitDone, "trigger", "app", "--wait", "--timeout", "5m")
	has(a.out, "app", "manual", "ok", "1 unchanged")
	moved := emulator.SingleArch(2, "linux/amd64", emulator.ImageOptions{LayerSize: 5000})
	if err := moved.Push(source, "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	a = say(exitDone, "trigger", "app", "--wait", "--timeout", "5m", "-o", "json")
	var ran triggered
	if err := json.Unmarshal([]byte(a.out), &ran); err != nil || ran.Job != "app" || ran.Run == nil || ran.Run.Counts.Import != 1 {
		t.Errorf("%v: %s", err, a.out)
	}
	if target.Digest("app", "v1") != source.Digest("acme/app", "v1") {
		t.Error("trigger --wait has not waited")
	}
	again := emulator.SingleArch(3, "linux/amd64", emulator.ImageOptions{LayerSize: 5000})
	for _, tag := range []string{"v1", "v2"} {
		if err := again.Push(source, "acme/app", tag); err != nil {
			t.Fatal(err)
		}
	}
	a = say(exitDone, "trigger", "app", "v2", "--wait", "--timeout", "5m")
	has(a.out, "app", "event", "ok", "1 imported, 0 unchanged")
	if target.Digest("app", "v2") == "" || target.Digest("app", "v1") == source.Digest("acme/app", "v1") {
		t.Error("trigger app v2 has looked at other tags")
	}
	has(say(exitFailed, "trigger", "app", "v1", "x1").err, `422: nothing was asked for: the mapping "app" does not choose `+from+"/acme/app:x1")
	has(say(exitUsage, "trigger", "apq", "v1").err, `there is no job "apq"; did you mean "app"?`)
	has(say(exitPartly, "trigger", "gone", "--wait", "--timeout", "5m").out, "gone", "manual", "failed", "error: job gone")
	has(say(exitDone, "trigger", "app").out, "app runs now")
	r.until(t, "that run has ended", func() bool {
		j := find(r.status(t), "app")
		return j.State != record.JobWaiting && j.State != record.JobRunning
	})
	has(say(exitUsage, "trigger", "ap").err, `there is no job "ap"; did you mean "app"?`)

	has(say(exitDone, "history", "app").out, "ENDED", "manual", "1 imported, 0 unchanged, 0 refused, 0 failed")
	has(say(exitDone, "history", "--verbose").out, "app:v1", "error: ", "/acme/gone")
	var history web.History
	a = say(exitDone, "history", "--limit", "1", "-o", "json")
	if err := json.Unmarshal([]byte(a.out), &history); err != nil || len(history.Runs) != 1 || history.Version != 1 {
		t.Errorf("%v: %s", err, a.out)
	}
	has(say(exitUsage, "history", "apx").err, `did you mean "app"?`)
	has(say(exitUsage, "history", "--limit", "0").err, "--limit must be between 1 and 1000 (got 0)")

	a = say(exitDone, "status", "app")
	has(a.out, "app", "ENDED", "1 job,")
	if strings.Contains(a.out, "gone") {
		t.Errorf("the other job is shown:\n%s", a.out)
	}
	has(say(exitUsage, "status", "agpp").err, `did you mean "app"?`)

	has(say(exitDone, "pause", "app", "--reason", "the registry moves").out, "app is paused")
	has(say(exitDone, "status").out, "paused", "the socket", ": the registry moves", "1 paused")
	has(say(exitFailed, "trigger", "app", "v2").err, `"app" is paused: resume it`)
	has(say(exitDone, "trigger", "app", "--wait", "--timeout", "5m").out, "manual", "ok")
	has(say(exitDone, "pause").out, "All jobs are paused")
	has(say(exitDone, "status").out, "All jobs are paused", "2 paused")
	has(say(exitDone, "resume", "app").out, "app is still paused, since all jobs are")
	has(say(exitDone, "pause", "app").out, "app is paused")
	var held pausedAnswer
	a = say(exitDone, "resume", "-o", "json")
	if err := json.Unmarshal([]byte(a.out), &held); err != nil || held.Command != "resume" || held.Version != 1 || held.Paused.Paused != nil || len(held.Jobs) != 1 || held.Jobs[0] != "app" {
		t.Errorf("%v: %s", err, a.out)
	}
	has(say(exitDone, "resume").out, "All jobs are resumed, but those that are paused by themselves: app.")
	has(say(exitDone, "resume", "app").out, "app is resumed.")
	has(say(exitDone, "resume").out, "All jobs are resumed.")
	has(say(exitUsage, "pause", "apq").err, `did you mean "app"?`)
	has(say(exitUsage, "pause", "app", "gone").err, "pause takes at most one JOB (got 2)")
	has(say(exitUsage, "pause", "--reason", strings.Repeat("x", 1001)).err, "--reason has 1001 bytes; it may have 1000")

	source.Inject(emulator.Fault{Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/acme/app/") }, Hang: true, Times: 1})
	has(say(exitFailed, "trigger", "app", "--wait", "--timeout", "1500ms").err, "dray: the run has not ended within 1.5s; it goes on")
	has(say(exitUsage, "trigger", "app", "--wait", "--timeout", "0s").err, "--timeout must be longer than 0s")

	has(say(exitDone, "reload").out, "has read its config again")
	d.write(d.config, strings.Replace(text, "tags: ['v*']", "tagz: ['v*']", 1))
	has(say(exitUsage, "reload").err, "mistakes, and the files that have them run on as they were", `did you mean "tags"?`)
	var rejected reloaded
	a = say(exitUsage, "reload", "-o", "json")
	if err := json.Unmarshal([]byte(a.out), &rejected); err != nil || len(rejected.Errors) != 2 {
		t.Errorf("%v: %s", err, a.out)
	}
}

// TestCommandsWithoutDaemon: each command that needs a daemon says that there is none, and what to do.
func TestCommandsWithoutDaemon(t *testing.T) {
	t.Parallel()
	socket := "unix:" + filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"status"}, {"status", "x"}, {"history"}, {"trigger", "x"}, {"pause"}, {"resume", "x"}, {"reload"}} {
		a := dray(t, append(args, "--server", socket, "-o", "json")...)
		var answer failed
		if err := json.Unmarshal([]byte(a.out), &answer); err != nil || answer.Command != args[0] || !strings.Contains(answer.Error, "start it with dray run") {
			t.Errorf("%s: %v\n%s", args, err, a.out)
		}
		if a.code != exitFailed || !strings.Contains(a.err, "no daemon answers at "+socket) {
			t.Errorf("%s: exit code %d\n%s", args, a.code, a.err)
		}
	}
}

// TestTokenStaysHere: a token is not sent over a network, and a file that cannot be read is named.
func TestTokenStaysHere(t *testing.T) {
	for args, want := range map[string]string{
		"--token-file /none": "--token-file needs --server", "--server dray.example.com:8484 --token-file /none": "would cross the network in plain text",
		"--server 10.0.0.1:8484 --token-file /none": "would cross the network", "--server localhost:1 --token-file /none": "open /none",
		"--server [::1]:1 --token-file /none": "open /none", "--server 127.0.0.1:1 --token-file /": "is a directory",
	} {
		if a := dray(t, append([]string{"reload"}, strings.Fields(args)...)...); a.code != exitUsage || !strings.Contains(a.err, want) {
			t.Errorf("%s: %+v", args, a)
		}
	}
}

// TestErrorsAsJSON: with -o json a failed command's error is a document, and there is only one.
func TestErrorsAsJSON(t *testing.T) {
	config := writeConfig(t, "mappings:", mapping("name: app, source: '127.0.0.1:1/x:1', target: '127.0.0.1:2/y', platfroms: [a]"))
	for _, args := range []string{"sync", "plan", "check", "sync nosuch", "import alpine", "sync --output json --log-level x"} {
		a := dray(t, append(strings.Fields(args), "-c", config, "-o", "json")...)
		decoder := json.NewDecoder(strings.NewReader(a.out))
		var answer map[string]any
		if err := decoder.Decode(&answer); err != nil || decoder.More() {
			t.Errorf("%s: %v: %s", args, err, a.out)
		}
		if a.code != exitUsage || fmt.Sprint(answer["version"]) != "1" || answer["command"] != strings.Fields(args)[0] || a.err == "" {
			t.Errorf("%s: exit code %d\n%s%s", args, a.code, a.out, a.err)
		}
	}
}
