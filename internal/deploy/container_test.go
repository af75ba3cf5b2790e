package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

const root = "../.."

// buildah runs it on storage of the test's own.
type buildah struct{ dir string }

func (b buildah) run(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.Command("buildah", append([]string{"--root", b.dir + "/root", "--runroot", b.dir + "/run", "--storage-driver", "vfs"}, args...)...)
	c.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
	var out, log bytes.Buffer
	c.Stdout, c.Stderr = &out, &log
	if err := c.Run(); err != nil {
		t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, log.String())
	}
	return strings.TrimSpace(out.String())
}

// base makes an image that the Dockerfile can build on without a network: this machine's Go, and its certificates.
func (b buildah) base(t *testing.T) string {
	t.Helper()
	c := b.run(t, "from", "scratch")
	at := b.run(t, "mount", c)
	goRoot := command(t, "go", "env", "GOROOT")
	for _, step := range [][]string{
		{"mkdir", "-p", at + "/usr/local", at + "/etc/ssl/certs", at + "/tmp", at + "/root"},
		{"cp", "-a", goRoot, at + "/usr/local/go"},
		{"cp", "/etc/ssl/certs/ca-certificates.crt", at + "/etc/ssl/certs/"},
	} {
		command(t, step[0], step[1:]...)
	}
	b.run(t, "config", "--env", "PATH=/usr/local/go/bin", "--env", "GOCACHE=/gocache", "--env", "GOMODCACHE=/gomod", "--env", "GOPROXY=off", "--env", "HOME=/root", c)
	b.run(t, "umount", c)
	b.run(t, "commit", "-q", "--rm", c, "localhost/base")
	return "localhost/base"
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// inside runs the image's program as the image says: as its user, on a root file system that is read-only but for the volume, and as
// the first process of its namespace.
func inside(mount, state string, args ...string) *exec.Cmd {
	script := `set -e
mount --bind "$1" /mnt; mount -o remount,ro,bind /mnt
mount --bind "$2" /mnt/var/lib/dray
shift 2
exec env -i DRAY_CONFIG=/var/lib/dray/dray.yaml STATE_DIRECTORY=/var/lib/dray TMPDIR=/var/lib/dray $(command -v chroot) --userspec=65532:65532 /mnt "$@"`
	return exec.Command("unshare", append([]string{"-m", "-p", "-f", "--kill-child", "sh", "-c", script, "sh", mount, state}, args...)...)
}

// TestImage builds the image from the Dockerfile and runs it: small, without rights, on a read-only root; the demo and the daemon work in
// it, its health check answers, and SIGTERM ends it at once.
func TestImage(t *testing.T) {
	fulltest.Program(t, "buildah", "Debian's package buildah")
	asRoot(t)
	b := buildah{dir: t.TempDir()}
	t.Cleanup(func() {
		_ = exec.Command("buildah", "--root", b.dir+"/root", "--runroot", b.dir+"/run", "--storage-driver", "vfs", "rm", "-a").Run()
	})
	base := b.base(t)
	b.run(t, "bud", "-q", "--format", "docker", "--build-arg", "GO_IMAGE="+base, "--build-arg", "TARGETARCH="+command(t, "go", "env", "GOARCH"),
		"--build-arg", "VERSION=v9.8.7-test",
		"--volume", command(t, "go", "env", "GOMODCACHE")+":/gomod:ro", "--volume", command(t, "go", "env", "GOCACHE")+":/gocache", "-t", "dray", root)
	checkConfig(t, b.run(t, "inspect", "--type", "image", "dray"))
	mount := b.run(t, "mount", b.run(t, "from", "dray"))
	size := int64(0)
	_ = filepath.Walk(mount, func(_ string, info os.FileInfo, err error) error { // what cannot be read has no size
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	t.Logf("the image has %.1f MB", float64(size)/1e6)
	if size > 46e6 { // 44 MB with what verifies keyless signatures; docs/design/decisions.md
		t.Errorf("%d bytes are too many", size)
	}
	state := filepath.Join(b.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "dray.yaml"), []byte("version: 1\nmappings:\n  - {source: 'ocidir:///nothing:1', target: 'ocidir:///var/lib/dray/out'}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := inside(mount, state, "/dray", "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "dray v9.8.7-test\n") {
		t.Errorf("version: %v\n%s", err, out)
	}
	if out, err := inside(mount, state, "/dray", "demo").CombinedOutput(); err != nil {
		t.Errorf("demo: %v\n%s", err, out)
	}
	runs(t, mount, state)
}

// checkConfig reads what the image says of how it is run.
func checkConfig(t *testing.T, inspected string) {
	t.Helper()
	var doc struct {
		Docker struct {
			Config struct {
				User        string
				Entrypoint  []string
				Cmd         []string
				StopSignal  string
				Volumes     map[string]any
				Healthcheck struct{ Test []string }
				Labels      map[string]string
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(inspected), &doc); err != nil {
		t.Fatal(err)
	}
	c := doc.Docker.Config
	if c.User != "65532:65532" || fmt.Sprint(c.Entrypoint, c.Cmd) != "[/dray] [run]" || c.StopSignal != "SIGTERM" || len(c.Volumes) != 1 ||
		fmt.Sprint(c.Healthcheck.Test) != "[CMD /dray status]" || c.Labels["org.opencontainers.image.title"] != "dray" {
		t.Errorf("%+v", c)
	}
}

// runs starts the daemon, asks for its health as the image does, and ends it.
func runs(t *testing.T, mount, state string) {
	t.Helper()
	var log bytes.Buffer
	daemon := inside(mount, state, "/dray", "run")
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	healthy := false
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Minute); !healthy && time.Now().Before(end); <-tick.C {
		out, err := inside(mount, state, "/dray", "status").CombinedOutput()
		healthy = err == nil && strings.Contains(string(out), "failed") // its one job has run, so it is idle
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", daemon.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children))) // sh and chroot have become dray
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "Name:\tdray", fmt.Sprintf("NSpid:\t%d\t1\n", pid)} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process has no %q", want)
		}
	}
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = daemon.Wait()
	took := time.Since(began)
	t.Logf("SIGTERM ended it in %s", took.Round(time.Millisecond))
	if !healthy || err != nil || took > 10*time.Second {
		t.Errorf("healthy: %t; it ended with %v after %s\n%s", healthy, err, took, log.String())
	}
}
