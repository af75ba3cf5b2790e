package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoBinary says that a Program is not installed.
var ErrNoBinary = errors.New("not in PATH")

// errExited says that a registry ended by itself, most likely since somebody else took the port.
var errExited = errors.New("the registry exited")

// Program is a registry of the distribution project, by the name that it has in PATH.
type Program string

// The programs there are. Both are started with deletes allowed, and with manifests allowed to name layers by URL, which they
// refuse by default; what else they check of a manifest is as by default: all that it refers to has to be there.
const (
	DockerRegistry Program = "docker-registry" // 2.8, as Debian packages it
	DistributionV3 Program = "registry"        // 3, made by go install github.com/distribution/distribution/v3/cmd/registry
)

// versionOf is what a program has to say of itself: "registry" may be another one, or that of 2.8.
func versionOf(p Program) string {
	if p == DistributionV3 {
		return "github.com/distribution/distribution/v3"
	}
	return "github.com/docker/distribution"
}

// Process is a running registry of the distribution project.
type Process struct {
	Host string // host:port
	URL  string // without a slash at the end
	Dir  string // holds data/ (its storage, which stays after Stop), config.yml and registry.log

	stop   context.CancelFunc
	exited chan struct{}
}

// processConfig has no cache, so that a test may change or remove files below the storage while it runs.
const processConfig = `version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: %q
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: %s
  secret: %s
validation:
  manifests:
    urls:
      allow:
        - ^https?://
`

// StartProcess starts a DockerRegistry: see Program.Start.
func StartProcess(ctx context.Context, dir string) (*Process, error) {
	return DockerRegistry.Start(ctx, dir)
}

// Start starts the program on a free port of 127.0.0.1 with its storage below dir, and returns when it answers. It runs
// until Stop, or until ctx ends. Without the program the error is ErrNoBinary.
func (p Program) Start(ctx context.Context, dir string) (*Process, error) {
	binary, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	for range 5 { // a port that was free a moment ago may be taken now
		var started *Process
		started, err = startProcess(ctx, binary, dir)
		if err == nil {
			return started, nil
		}
		if !errors.Is(err, errExited) {
			break
		}
	}
	return nil, fmt.Errorf("start %s: %w", p, err)
}

// find returns the path of the program.
func (p Program) find(ctx context.Context) (string, error) {
	binary, err := exec.LookPath(string(p))
	if err != nil {
		return "", fmt.Errorf("%s is %w", p, ErrNoBinary)
	}
	version, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", binary, err)
	}
	if !strings.Contains(string(version), versionOf(p)) {
		return "", fmt.Errorf("%s of %s is %w: %s is %q", p, versionOf(p), ErrNoBinary, binary, strings.TrimSpace(string(version)))
	}
	return binary, nil
}

func startProcess(ctx context.Context, binary, dir string) (*Process, error) {
	host, err := freeHost(ctx)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(processConfig, filepath.Join(dir, "data"), host, rand.Text())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, "registry.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }() // the process has its own handle
	ctx, stop := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, binary, "serve", config)
	// REGISTRY_* would override the file, and without an exporter of none v3 sends traces to port 4318.
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		stop()
		return nil, err
	}
	p := &Process{Host: host, URL: "http://" + host, Dir: dir, stop: stop, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = command.Wait() // killed
	}()
	if err := p.ready(ctx); err != nil {
		p.Stop()
		return nil, fmt.Errorf("%w, see %s", err, output.Name())
	}
	return p, nil
}

// Stop kills the process and waits for its end.
func (p *Process) Stop() {
	p.stop()
	<-p.exited
}

// ready waits till the registry answers.
func (p *Process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.answers(ctx) {
			select {
			case <-p.exited: // then it was somebody else who answered
				return errExited
			default:
				return nil
			}
		}
		select {
		case <-p.exited:
			return errExited
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (p *Process) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/v2/", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// freeHost returns a loopback address that nobody listens on just now.
func freeHost(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
