package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/report"
)

// asDray makes the test binary the program itself, for tests that need a process of their own.
const asDray = "DRAY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asDray) != "" {
		main()
		return
	}
	if !fulltest.Enabled() {
		// These tests wait more than they compute, but not with the race detector and the rounds of CI.
		_ = flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0)))
	}
	testscript.Main(tests{m}, map[string]func(){"dray": main})
}

// tests stop PostgreSQL in the end.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer postgrestest.Stop()
	return t.M.Run()
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: false, Setup: func(e *testscript.Env) error {
		e.Setenv("HOME", e.WorkDir)
		return nil
	}})
}

// answer is what a command said.
type answer struct {
	code     int
	out, err string
}

// dray runs a command line in this process, without the credentials of whoever runs the test.
func dray(t *testing.T, args ...string) answer {
	t.Helper()
	var out, log bytes.Buffer
	env := map[string]string{"HOME": t.TempDir()}
	code := run(t.Context(), args, streams{out: &out, err: &log, getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	return answer{code, out.String(), log.String()}
}

// drayJSON runs a command line with -o json and reads the document.
func drayJSON(t *testing.T, args ...string) (report.Document, answer) {
	t.Helper()
	a := dray(t, append(args, "-o", "json")...)
	var doc report.Document
	if err := json.Unmarshal([]byte(a.out), &doc); err != nil {
		t.Fatalf("%v: %s\n%s", err, a.out, a.err)
	}
	return doc, a
}

// writeConfig writes a config file and returns its name.
func writeConfig(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dray.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nstateDir: state\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeProgram writes a program that is to be run. No process is started meanwhile: until it executes its own program it would have this one
// open for writing, and the system runs no such file.
func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Error(err)
	}
}

func mapping(format string, args ...any) string { return fmt.Sprintf("  - {"+format+"}", args...) }

func TestMain_signalEndsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	config := writeConfig(t, "mappings:", mapping("source: '127.0.0.1:1/x:1', target: '127.0.0.1:2/y'"))
	var out, log bytes.Buffer
	code := run(ctx, []string{"sync", "-c", config}, streams{out: &out, err: &log, getenv: func(string) (string, bool) { return "", false }})
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}
