package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestNodes has skopeo, which reads what podman and CRI-O read, and containerd pull images of a registry that is not there: they find them at the
// targets, by the files that dray mirrors writes.
func TestNodes(t *testing.T) {
	fulltest.Require(t)
	skopeo, containerd := fulltest.Program(t, "skopeo", "skopeo"), fulltest.Program(t, "containerd", "containerd")
	target := registry.New(registry.Options{})
	to := start(t, target)
	for i, name := range []string{"m/team/app", "apart/tool"} {
		if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(target, name, "1"); err != nil {
			t.Fatal(err)
		}
	}
	const gone = "localhost:1"
	config := writeConfig(t, "registries: {'"+to+"': {plainHTTP: true}, '"+gone+"': {plainHTTP: true}}", "mappings:",
		mapping("name: app, source: '%s/team/app', target: '%s/m/team/app', tags: ['1']", gone, to),
		mapping("name: tool, source: '%s/tool', target: '%s/apart/tool', tags: ['1'], retag: '{{.Tag}}-x'", gone, to))
	write := func(format string) string {
		t.Helper()
		out := t.TempDir()
		if a := dray(t, "mirrors", "-c", config, "--format", format, "--out", out); a.code != exitDone {
			t.Fatalf("exit code %d\n%s", a.code, a.err)
		}
		return out
	}

	conf := filepath.Join(write("podman"), "etc", "containers", "registries.conf.d", "50-dray.conf")
	inspect := func(name string) (string, error) {
		c := exec.CommandContext(t.Context(), skopeo, "--registries-conf", conf, "inspect", "--no-tags", "--format", "{{.Digest}}", "docker://"+gone+"/"+name)
		out, err := c.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if got, err := inspect("team/app:1"); err != nil || got != target.Digest("m/team/app", "1") {
		t.Errorf("skopeo: %s, %v", got, err)
	}
	if got, err := inspect("tool@" + target.Digest("apart/tool", "1")); err != nil {
		t.Errorf("skopeo, by digest: %s, %v", got, err)
	}
	if got, err := inspect("other:1"); err == nil {
		t.Errorf("skopeo found what no mapping has: %s", got)
	}

	hosts := filepath.Join(write("containerd"), "etc", "containerd", "certs.d")
	socket := containerdIn(t, containerd)
	fetch := func(name string) (string, error) {
		c := exec.CommandContext(t.Context(), fulltest.Program(t, "ctr", "containerd"), "--address", socket, "content", "fetch", "--hosts-dir", hosts, gone+"/"+name)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if got, err := fetch("team/app:1"); err != nil || !strings.Contains(got, target.Digest("m/team/app", "1")) {
		t.Errorf("containerd: %s, %v", got, err)
	}
	if got, err := fetch("other:1"); err == nil {
		t.Errorf("containerd found what no mapping has: %s", got)
	}
}

// containerdIn starts a containerd in a folder of its own, until the test ends, and returns its socket.
func containerdIn(t *testing.T, program string) (socket string) {
	t.Helper()
	dir := shortDir(t)
	socket = filepath.Join(dir, "c.sock")
	settings := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n", dir+"/root", dir+"/state", socket)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(program, "--config", settings)
	var log strings.Builder
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	until(t, "containerd answers", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return socket
}
