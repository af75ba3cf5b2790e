package postgrestest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// child is the environment variable that makes the test binary one that starts a server, says where it is, and waits.
const child = "DRAY_POSTGRESTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		var err error
		if server, err = start(); err != nil {
			panic(err)
		}
		fmt.Println(dir)
		select {}
	}
	defer Stop()
	m.Run()
}

// TestKilled kills tests: nothing is left of their server.
func TestKilled(t *testing.T) {
	Database(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.TrimSpace(line)
	conn, err := net.Dial("unix", filepath.Join(theirs, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_ = conn.SetReadDeadline(time.Now().Add(stopPatience))
	if _, err := io.Copy(io.Discard, conn); err != nil && os.IsTimeout(err) {
		t.Fatal("the server goes on", err)
	}
}
