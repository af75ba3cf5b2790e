package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestReplicasExample runs the script with which operators try replicas out: one is killed while it runs the mapping, and the others bring the image.
func TestReplicasExample(t *testing.T) {
	fulltest.Require(t)
	timed(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	image := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 1000})
	if err := image.Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	source.Inject(registry.Fault{Hang: true, Times: 1, Match: func(r *http.Request) bool { return r.URL.Path == "/v2/app/manifests/v1" }})
	from, to := start(t, source), start(t, target)

	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "dray")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "../../examples/replicas/try.sh", from+"/app", to+"/app", "v1") //nolint:gosec // a test
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), asDray+"=1", "HOME="+bin)
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	for _, want := range []string{"3 replicas", "is killed", "2 replicas", "cut-off"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in the output", want)
		}
	}
	if got := target.Digest("app", "v1"); got != image.Digest {
		t.Errorf("the target has %q", got)
	}
}
