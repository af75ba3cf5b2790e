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
	"time"
)

// ErrNoBinary says that docker-registry is not installed.
var ErrNoBinary = errors.New("docker-registry is not in PATH")

// errExited says that docker-registry ended by itself, most likely since somebody else took the port.
var errExited = errors.New("docker-registry exited")

// Process is a running docker-registry: the distribution project's, as Debian packages it.
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

// StartProcess starts docker-registry on a free port of 127.0.0.1 with its storage below dir, and returns when it
// answers. It runs until Stop, or until ctx ends. Without the program the error is ErrNoBinary.
func StartProcess(ctx context.Context, dir string) (*Process, error) {
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, ErrNoBinary
	}
	for range 5 { // a port that was free a moment ago may be taken now
		var p *Process
		p, err = startProcess(ctx, binary, dir)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, errExited) {
			break
		}
	}
	return nil, fmt.Errorf("start docker-registry: %w", err)
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
	command.Env = []string{"PATH=" + os.Getenv("PATH")} // REGISTRY_* would override the file
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
