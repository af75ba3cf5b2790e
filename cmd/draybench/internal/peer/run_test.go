package peer

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// tools are dray as it is in this checkout and, where everything is tested, those on PATH.
func tools(t *testing.T, tls bool) []Tool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dray")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/draysync/dray/cmd/dray").CombinedOutput(); err != nil {
		t.Fatalf("build dray: %v\n%s", err, out)
	}
	names := []string{dray}
	if fulltest.Enabled() {
		names = nil // all
	}
	tools, err := Find(t.Context(), names, path, tls)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		found := false
		for _, tool := range tools {
			found = found || tool.Name == name
		}
		if !found && names == nil {
			t.Logf("%s is not on PATH and not tested", name)
		}
	}
	return tools
}

func start(t *testing.T, tls bool) (*registry.Registry, *registry.Server) {
	t.Helper()
	r := registry.New(registry.Options{})
	start := r.Start
	if tls {
		start = r.StartTLS
	}
	server, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return r, server
}

// TestRun has every tool copy to the same names: another folder, another name, no folder at all.
func TestRun(t *testing.T) {
	fulltest.Long(t)
	for name, tls := range map[string]bool{"plain HTTP": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { testRun(t, tls) })
	}
}

func testRun(t *testing.T, tls bool) {
	source, from := start(t, tls)
	corpus := registry.Corpus{Repositories: 3, Tags: 3, SharedLayers: 1}
	digests, err := source.Fill(corpus)
	if err != nil {
		t.Fatal(err)
	}
	all := tools(t, tls)
	t.Chdir(t.TempDir())
	for _, tool := range all {
		t.Run(tool.Name, func(t *testing.T) {
			if tool.Version == "" {
				t.Error("no version")
			}
			target, to := start(t, tls)
			names := map[string]string{"library/app-00": "mirror/deep/app-00", "library/app-01": "mirror/other", "library/app-02": "app-02"}
			w := Work{Source: from.Host, Target: to.Host, Dir: tool.Name}
			if err := os.Mkdir(w.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if tls {
				w.CA = filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(w.CA, slices.Concat(from.CA, to.CA), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, repository := range []string{"library/app-00", "library/app-01", "library/app-02"} {
				w.Copies = append(w.Copies, Copy{repository, names[repository], []string{"1.0.0", "1.2.0"}})
			}
			usage, err := tool.Run(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			if usage.Exit != 0 {
				t.Fatalf("exit %d: %s", usage.Exit, usage.Stderr)
			}
			if usage.Wall <= 0 || usage.CPU <= 0 || usage.PeakRSS < 1<<20 || usage.PeakRSS > 1<<30 {
				t.Errorf("implausible: %+v", usage)
			}
			for repository, name := range names {
				for _, tag := range []string{"1.0.0", "1.2.0"} {
					if got, want := target.Digest(name, tag), digests[repository+":"+tag]; got != want {
						t.Errorf("%s:%s is %q, want %s", name, tag, got, want)
						continue
					}
					if err := target.Whole(name, tag); err != nil {
						t.Errorf("%s:%s: %v", name, tag, err)
					}
				}
				if target.Digest(name, "1.1.0") != "" {
					t.Errorf("%s:1.1.0 was not asked for", name)
				}
			}
			if len(target.Repositories()) != len(names) {
				t.Errorf("more than was asked for: %v", target.Repositories())
			}
		})
	}
}

// fifo makes a pipe by which a program and a test wait for each other.
func fifo(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunFails(t *testing.T) {
	w := Work{
		Source: "127.0.0.1:1", Target: "127.0.0.1:2", Dir: t.TempDir(),
		Copies: []Copy{{"a", "a", []string{"1", "2"}}},
	}
	bin := t.TempDir()
	t.Run("exit and error text", func(t *testing.T) {
		long := strings.Repeat("x", 5000)
		tool := Tool{Name: "crane", Path: program(t, bin, "crane", "echo "+long+" >&2; echo $4 >&2; case $4 in *:2) exit 4;; *) exit 3;; esac")}
		usage, err := tool.Run(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if usage.Exit != 3 || !strings.HasSuffix(usage.Stderr, "127.0.0.1:2/a:2\n") || len(usage.Stderr) != 8<<10 {
			t.Errorf("exit %d, %d bytes: %s", usage.Exit, len(usage.Stderr), usage.Stderr)
		}
	})
	t.Run("killed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begun := fifo(t, bin)
		go func() {
			_, _ = os.ReadFile(begun)
			cancel()
		}()
		usage, err := Tool{Name: "crane", Path: program(t, bin, "slow", ": >"+begun+"; exec sleep 600")}.Run(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		if usage.Exit != -1 || usage.Wall > 5*time.Minute {
			t.Errorf("%+v", usage)
		}
	})
	t.Run("not a program", func(t *testing.T) {
		if _, err := (Tool{Name: "crane", Path: filepath.Join(bin, "none")}).Run(t.Context(), w); err == nil {
			t.Error("no error")
		}
	})
}

// TestPeak: what this program has in memory must not count as the tool's.
func TestPeak(t *testing.T) {
	if highWater("self") == 0 {
		t.Skip("there is no /proc here")
	}
	ballast := make([]byte, 200<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	bin := t.TempDir()
	begun := fifo(t, bin)
	p, err := Tool{Name: "crane", Path: program(t, bin, "small", "read line <"+begun)}.Begin(t.Context(), Work{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.OpenFile(begun, os.O_RDWR, 0) // does not wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	if _, err := line.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}
	usage, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(ballast)
	if usage.PeakRSS <= 0 || usage.PeakRSS > 50<<20 {
		t.Errorf("%d bytes for a shell, beside %d of this program", usage.PeakRSS, len(ballast))
	}
}
