package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Usage is what a run took. Where a tool needs several processes, times are their sums and memory is the most that one
// of them had.
type Usage struct {
	Wall, CPU time.Duration // CPU is user and system time
	PeakRSS   int64         // bytes
	Exit      int           // of the first process that failed; -1 when it was killed
	Stderr    string        // its last 8 KiB
}

// Run does the work with the tool, and waits for it. A tool that fails is Usage.Exit; an error says that it could not be
// started. A context that ends kills the tool, which is no error here.
func (t Tool) Run(ctx context.Context, w Work) (Usage, error) {
	var err error
	if w.Dir, err = filepath.Abs(w.Dir); err != nil { // tools start in Dir
		return Usage{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	commands, err := t.commands(w)
	if err != nil {
		return Usage{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	if err := os.MkdirAll(w.TempDir(), 0o700); err != nil {
		return Usage{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	stderr := &tail{limit: 8 << 10}
	var sum Usage
	for _, arguments := range commands {
		if ctx.Err() != nil {
			break
		}
		one, err := t.process(ctx, w, arguments, stderr)
		if err != nil && ctx.Err() == nil {
			return sum, fmt.Errorf("%s: %w", t.Name, err)
		}
		sum.add(one)
	}
	if ctx.Err() != nil && sum.Exit == 0 {
		sum.Exit = -1
	}
	sum.Stderr = stderr.String()
	return sum, nil
}

func (u *Usage) add(one Usage) {
	u.Wall += one.Wall
	u.CPU += one.CPU
	u.PeakRSS = max(u.PeakRSS, one.PeakRSS)
	if u.Exit == 0 {
		u.Exit = one.Exit
	}
}

// process runs one command line to its end.
func (t Tool) process(ctx context.Context, w Work, arguments []string, stderr io.Writer) (Usage, error) {
	command := exec.CommandContext(ctx, t.Path, arguments...)
	command.Dir = w.Dir
	command.Env = w.environment(os.Getenv("PATH"))
	command.Stderr = stderr
	command.WaitDelay = 5 * time.Second // for a grandchild that holds the pipe
	floor := lowerPeak()
	start := time.Now()
	if err := command.Start(); err != nil {
		return Usage{}, err
	}
	watch := watchPeak(command.Process.Pid)
	err := command.Wait()
	wall := time.Since(start)
	seen := watch.stop()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited && command.ProcessState == nil {
		return Usage{}, err
	}
	state := command.ProcessState
	return Usage{
		Wall: wall, CPU: state.UserTime() + state.SystemTime(), PeakRSS: peakRSS(state, floor, seen), Exit: state.ExitCode(),
	}, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.data) }
