package realworld

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// programs says how each comes onto a machine; .ci/run does so.
var programs = map[string]string{
	"docker-registry": "Debian's package docker-registry",
	"registry":        "it by go install github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
	"olareg":          "olareg 0.2.2 as .ci/run does",
	"zot":             "zot 1.4.3 by DRAY_INSTALL_ZOT=1 .ci/run",
	"moto_server":     "moto[server] by pip",
	"nginx":           "Debian's package nginx",
	"haproxy":         "Debian's package haproxy",
	"squid":           "Debian's package squid",
	"htpasswd":        "Debian's package apache2-utils",
	"containerd":      "Debian's package containerd",
	"ctr":             "Debian's package containerd",
	"skopeo":          "Debian's package skopeo",
}

// find returns the path of a program. The test of one that .ci/run installs only when it is asked to is skipped where that is missing.
func find(t *testing.T, name string) string {
	t.Helper()
	fulltest.Require(t)
	if _, err := exec.LookPath(name); err != nil && name == "zot" {
		t.Skipf("%v: install %s", err, programs[name])
	}
	return fulltest.Program(t, name, programs[name])
}

// serve starts a program until the test ends. files are what it reads, by name, each a text that may name {host}, {port} and {dir}, as
// may the arguments.
func serve(t *testing.T, dir, name string, files map[string]string, args ...string) *registry.Process {
	t.Helper()
	path := find(t, name)
	p, err := registry.Serve(context.Background(), dir, func(host string) (registry.Serving, error) {
		var errs []error
		for file, text := range files {
			errs = append(errs, os.WriteFile(filepath.Join(dir, file), []byte(expand(text, host, dir)), 0o644)) //nolint:gosec // a program that gives up its rights reads it
		}
		how := registry.Serving{Path: path, Env: []string{"OTEL_TRACES_EXPORTER=none", "HOME=" + dir}, Ready: func(ctx context.Context) bool { return listens(ctx, host) }}
		for _, a := range args {
			how.Args = append(how.Args, expand(a, host, dir))
		}
		return how, errors.Join(errs...)
	})
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, filepath.Base(path)+".log"))
		t.Fatalf("%v\n%s", err, text)
	}
	t.Cleanup(p.Stop)
	return p
}

func expand(text, host, dir string) string {
	_, port, _ := net.SplitHostPort(host)
	return strings.NewReplacer("{host}", host, "{port}", port, "{dir}", dir).Replace(text)
}

func listens(ctx context.Context, host string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// folder is one that lasts as long as the test, and that programs which drop their rights can enter.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(os.TempDir()) && d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // nothing in it is secret
			t.Fatal(err)
		}
	}
	return dir
}
