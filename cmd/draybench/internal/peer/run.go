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
	p, err := t.begin(ctx, w, arguments, stderr)
	if err != nil {
		return Usage{}, err
	}
	return p.Wait()
}

// Process is a tool that runs.
type Process struct {
	command *exec.Cmd
	floor   int64
	started time.Time
	watch   *peakWatch
	stderr  *tail // nil where another has it
	ended   chan struct{}
	err     error
}

// Begin starts the tool with arguments in the home of the work, until it ends, End, or the context's end.
func (t Tool) Begin(ctx context.Context, w Work, arguments ...string) (*Process, error) {
	if err := os.MkdirAll(w.TempDir(), 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	stderr := &tail{limit: 8 << 10}
	p, err := t.begin(ctx, w, arguments, stderr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	p.stderr = stderr
	return p, nil
}

func (t Tool) begin(ctx context.Context, w Work, arguments []string, stderr io.Writer) (*Process, error) {
	command := exec.CommandContext(ctx, t.Path, arguments...)
	command.Dir = w.Dir
	command.Env = w.environment(os.Getenv("PATH"))
	command.Stderr = stderr
	command.WaitDelay = 5 * time.Second // for a grandchild that holds the pipe
	p := &Process{command: command, floor: lowerPeak(), started: time.Now(), ended: make(chan struct{})}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p.watch = watchPeak(command.Process.Pid)
	go func() {
		defer close(p.ended)
		p.err = command.Wait()
	}()
	return p, nil
}

// Wait returns what the tool took, once it has ended.
func (p *Process) Wait() (Usage, error) {
	<-p.ended
	wall := time.Since(p.started)
	seen := p.watch.stop()
	state := p.command.ProcessState
	if _, exited := errors.AsType[*exec.ExitError](p.err); p.err != nil && !exited && state == nil {
		return Usage{}, p.err
	}
	usage := Usage{Wall: wall, CPU: state.UserTime() + state.SystemTime(), PeakRSS: peakRSS(state, p.floor, seen), Exit: state.ExitCode()}
	if p.stderr != nil {
		usage.Stderr = p.stderr.String()
	}
	return usage, nil
}

// Ended returns an error once the tool has ended.
func (p *Process) Ended() error {
	select {
	case <-p.ended:
		return errors.New("it has ended")
	default:
		return nil
	}
}

// End asks the tool to end, and returns what it took.
func (p *Process) End() (Usage, error) {
	_ = p.command.Process.Signal(os.Interrupt) // it may have ended
	return p.Wait()
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
