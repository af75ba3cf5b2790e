package server

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

// v3Config has no cache and no log, as the configuration of Debian's has none.
const v3Config = `version: 0.1
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
`

// errExited says that the registry ended by itself, most likely since somebody else took the port.
var errExited = errors.New("the registry exited")

func startV3(ctx context.Context, dir string) (Server, error) {
	var server Server
	var err error
	for range 5 { // a port that was free a moment ago may be taken now
		if server, err = tryV3(ctx, dir); !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		return Server{}, fmt.Errorf("start %s: %w", V3.program(), err)
	}
	return server, nil
}

func tryV3(ctx context.Context, dir string) (Server, error) {
	host, err := freeHost(ctx)
	if err != nil {
		return Server{}, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(v3Config, filepath.Join(dir, "data"), host, rand.Text())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return Server{}, err
	}
	output, err := os.Create(filepath.Join(dir, "registry.log"))
	if err != nil {
		return Server{}, err
	}
	defer func() { _ = output.Close() }() // the process has its own handle
	ctx, kill := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, V3.program(), "serve", config)
	// Without the program's settings of the machine, REGISTRY_*, and without its traces.
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		kill()
		return Server{}, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = command.Wait() // killed
	}()
	server := Server{URL: "http://" + host, Stop: func() { kill(); <-exited }}
	if err := ready(ctx, server.URL, exited); err != nil {
		server.Stop()
		return Server{}, fmt.Errorf("%w, see %s", err, output.Name())
	}
	return server, nil
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

// ready waits till the registry answers.
func ready(ctx context.Context, url string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, url) {
			select {
			case <-exited: // then it was somebody else who answered
				return errExited
			default:
				return nil
			}
		}
		select {
		case <-exited:
			return errExited
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v2/", nil)
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
