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

// errExited says that a program ended by itself, most likely since somebody else took the port.
var errExited = errors.New("the program exited")

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

// Process is a running registry, or what stands before one.
type Process struct {
	Host string // host:port
	URL  string // plain HTTP, without a slash at the end
	Dir  string // holds the program's log, and of a Program data/ (its storage, which stays after Stop) and config.yml

	stop   context.CancelFunc
	exited chan struct{}
}

// Serving says how a program is started that listens where Serve tells it to.
type Serving struct {
	Path string // of the binary
	Args []string
	Env  []string // besides PATH
	// Ready tells whether the program serves; nil asks whether it answers /v2/ with 200.
	Ready func(context.Context) bool
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
	started, err := Serve(ctx, dir, func(host string) (Serving, error) {
		config := filepath.Join(dir, "config.yml")
		text := fmt.Sprintf(processConfig, filepath.Join(dir, "data"), host, rand.Text())
		// Without an exporter of none v3 sends traces to port 4318.
		return Serving{Path: binary, Args: []string{"serve", config}, Env: []string{"OTEL_TRACES_EXPORTER=none"}},
			os.WriteFile(config, []byte(text), 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p, err)
	}
	return started, nil
}

// Serve starts a program on a free port of 127.0.0.1, with its log in dir, and returns when it is ready. It runs until Stop, or until
// ctx ends. at says how to start it at a host, and writes what it reads.
func Serve(ctx context.Context, dir string, at func(host string) (Serving, error)) (p *Process, err error) {
	for range 5 { // a port that was free a moment ago may be taken now
		p, err = serveOnce(ctx, dir, at)
		if !errors.Is(err, errExited) {
			break
		}
	}
	return p, err
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

func serveOnce(ctx context.Context, dir string, at func(host string) (Serving, error)) (*Process, error) {
	host, err := freeHost(ctx)
	if err != nil {
		return nil, err
	}
	how, err := at(host)
	if err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, filepath.Base(how.Path)+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }() // the process has its own handle
	ctx, stop := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, how.Path, how.Args...)
	// Nothing else of the environment: REGISTRY_* would override a config.
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, how.Env...)
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
	if how.Ready == nil {
		how.Ready = p.answers
	}
	if err := p.ready(ctx, how.Ready); err != nil {
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

// ready waits till the program serves.
func (p *Process) ready(ctx context.Context, serves func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if serves(ctx) {
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
