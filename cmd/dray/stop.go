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
	// stopTime is how long a command has to end by itself after a signal, beside its grace. The promise is two seconds, on a
	// machine that is busy, too.
	stopTime = time.Second
	// atOnce is how long it has after a second signal.
	atOnce = 300 * time.Millisecond
	// lastWords is how long the last message may take: whoever should read it may hang as well.
	lastWords = 100 * time.Millisecond
)

// supervise executes a command and returns its exit code. A signal ends the context of the command, a second one abandons its work. One that
// does not end by itself then, for whatever reason, is not waited for any longer: supervise says what was under way, and returns, for
// the process to exit.
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
				last = time.After(atOnce)
				w.abandon()
				continue
			}
		case <-last:
		}
		say(log, "dray: "+why.Error()+" before all had ended; still under way: "+w.String())
		return why.code()
	}
}

// say writes a line to whoever may not read it.
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

// signalError is why a command was cut off.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string {
	if e.signal == os.Interrupt {
		return "interrupted"
	}
	return e.signal.String()
}

// Unwrap makes it known as what it is to those who only know contexts: net/http hands on the cause of one that has ended.
func (e *signalError) Unwrap() error { return context.Canceled }

// code is the exit code of what was cut off.
func (e *signalError) code() int {
	if e.signal == os.Interrupt {
		return exitInterrupted
	}
	return exitFailed
}
