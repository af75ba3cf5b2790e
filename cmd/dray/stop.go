package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/draysync/dray/internal/report"
)

const (
	// stopTime is how long a command has to end by itself after a signal, in addition to its grace, and after a second one. dray promises two seconds, even on a
	// busy machine.
	stopTime = time.Second
	// lastWords limits the time to write the last message, since its reader may hang as well. On a busy machine this process may stand still meanwhile.
	lastWords = 300 * time.Millisecond
)

// supervise executes a command and returns its exit code. A signal ends the command's context, a second one abandons its work. If the
// command still does not end, supervise reports what was under way, and returns so that the process can exit.
func supervise(signals <-chan os.Signal, log io.Writer, command func(context.Context, *work) int) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	w, ended := newWork(), make(chan int, 1)
	go func() { ended <- command(ctx, w) }()
	var why *signalError
	var last <-chan time.Time
	for heard := 0; ; {
		select {
		case code := <-ended:
			return code
		case sig := <-signals:
			heard++
			switch heard {
			case 1:
				why = &signalError{sig}
				last = time.After(w.grace() + stopTime)
				cancel(why)
				continue
			case 2:
				last = time.After(stopTime)
				w.abandon()
				continue
			}
		case <-last:
		}
		say(log, "dray: "+why.Error()+" before all had ended; still under way: "+w.String())
		return why.code()
	}
}

// say writes a line to a writer that may block.
func say(log io.Writer, line string) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintln(log, report.Line(line))
	}()
	select {
	case <-said:
	case <-time.After(lastWords):
	}
}

// signalError is the reason why a command was interrupted.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string {
	if e.signal == os.Interrupt {
		return "interrupted"
	}
	return e.signal.String()
}

// Unwrap returns context.Canceled for code that checks only for that: net/http passes on the cause of an ended context.
func (e *signalError) Unwrap() error { return context.Canceled }

// code returns the exit code of an interrupted command.
func (e *signalError) code() int {
	if e.signal == os.Interrupt {
		return exitInterrupted
	}
	return exitFailed
}
