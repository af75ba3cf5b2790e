package layout

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

const holdEnv = "DRAY_TEST_HOLD"

// TestHolder is no test: run by another with a layout in the environment, it writes to that and keeps it until its input ends.
func TestHolder(t *testing.T) {
	dir := os.Getenv(holdEnv)
	if dir == "" {
		t.Skip("for other tests")
	}
	repo := image.Repository{Path: dir}
	body, w := io.Pipe()
	done := make(chan error)
	go func() {
		done <- New().PutBlob(t.Context(), repo, image.Descriptor{Digest: image.DigestOf([]byte("held"), ""), Size: 4}, func() (io.ReadCloser, error) {
			fmt.Println("holding")
			return body, nil
		})
	}()
	_, err := io.Copy(io.Discard, os.Stdin)
	must(t, err)
	_, err = w.Write([]byte("held"))
	must(t, errors.Join(err, w.Close(), <-done))
}

// holder starts a process that is in the middle of a write, and returns what ends that.
func holder(t *testing.T, dir string) (pid int, end func()) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestHolder$")
	c.Env = append(os.Environ(), holdEnv+"="+dir)
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill() })
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "holding"; {
	}
	return c.Process.Pid, func() {
		must(t, in.Close())
		_, _ = io.Copy(io.Discard, out)
		must(t, c.Wait())
	}
}

// Only one process writes to a layout: another is told by whom it is kept out, reads meanwhile, and may write afterwards.
func TestOneWriter(t *testing.T) {
	fulltest.Long(t)
	repo := image.Repository{Path: filepath.Join(t.TempDir(), "layout")}
	pid, end := holder(t, repo.Path)
	m := manifestOf(`{}`)
	err := New().PutManifest(t.Context(), repo.Tag("x"), m)
	taken, ok := errors.AsType[*TakenError](err)
	if !ok || !strings.Contains(err.Error(), fmt.Sprintf("process %d", pid)) || taken.Dir != repo.Path {
		t.Fatalf("%v, want that process %d has it", err, pid)
	}
	for try := 1; ; try++ {
		began := time.Now()
		err := New().PutManifest(t.Context(), repo.Tag("x"), m)
		took := time.Since(began)
		if err != nil && took > patience/2 && try < 5 { // the machine may have stood still
			continue
		}
		if err == nil || took > patience/2 {
			t.Errorf("%v after %s, want a refusal at once", err, took)
		}
		break
	}
	if _, err := New().Collect(t.Context(), repo.Path, 0, false); err == nil {
		t.Error("gc ran beside the writer")
	}
	if tags, err := New().Tags(repo); err != nil || len(tags) > 0 {
		t.Errorf("%v, %v", tags, err)
	}
	end()
	must(t, New().PutManifest(t.Context(), repo.Tag("x"), m))
	has, err := New().HasBlob(t.Context(), repo, image.Descriptor{Digest: image.DigestOf([]byte("held"), ""), Size: 4})
	if err != nil || !has {
		t.Errorf("%t, %v", has, err)
	}
}

// A process gives a layout back once it has been quiet, and a second one that comes meanwhile waits for that.
func TestQuietGivesBack(t *testing.T) {
	repo := image.Repository{Path: filepath.Join(t.TempDir(), "layout")}
	must(t, New().PutManifest(t.Context(), repo.Tag("x"), manifestOf(`{}`)))
	_, end := holder(t, repo.Path) // returns when it has the layout
	end()
	must(t, New().PutManifest(t.Context(), repo.Tag("y"), manifestOf(`{}`)))
}

// A layout that was removed and made anew, as when disks are changed, is another one.
func TestNewDiskUnderOneName(t *testing.T) {
	repo := image.Repository{Path: filepath.Join(t.TempDir(), "layout")}
	for range 2 {
		must(t, New().PutManifest(t.Context(), repo.Tag("x"), manifestOf(`{}`)))
		must(t, os.RemoveAll(repo.Path))
	}
}
