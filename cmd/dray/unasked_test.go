package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// TestAnswerThatNobodyAskedFor: a registry that sends more than its answer, such as an echo of the request, adds no line to the log.
func TestAnswerThatNobodyAskedFor(t *testing.T) {
	fulltest.Long(t) // it is asked five times, so that the first connection is long idle in the end
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\nECHOED")
					_, _ = conn.Read(make([]byte, 1)) // until the client closes it
				}
			}()
		}
	}()
	host := listener.Addr().String()
	config := writeConfig(t, "registries: {'"+host+"': {plainHTTP: true}}", "mappings:", mapping("source: '%s/x:1', target: '127.0.0.1:2/y'", host))
	c := exec.CommandContext(t.Context(), os.Args[0], "sync", "-c", config, "--log-level", "debug", "--log-format", "json") //nolint:gosec // it is ours
	c.Env, c.Stdout = []string{asDray + "=1", "HOME=" + t.TempDir()}, io.Discard
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(said)
	if err != nil {
		t.Error(err)
	}
	_ = c.Wait() // it fails
	if !bytes.Contains(all, []byte("503")) || bytes.Contains(all, []byte("ECHOED")) {
		t.Errorf("the log: %s", all)
	}
	for line := range strings.Lines(string(all)) {
		if !json.Valid([]byte(line)) && !strings.HasPrefix(line, "error: ") {
			t.Errorf("a line that is not of the log: %s", line)
		}
	}
}
