package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSupervise: a command that heeds a signal ends as it likes, and one that hangs is not waited for beyond its time, nor is whoever should
// read why.
func TestSupervise(t *testing.T) {
	const hung = "; still under way: a request to example.com (2 times), dray sync\n"
	type signal struct {
		after time.Duration
		os.Signal
	}
	for name, tt := range map[string]struct {
		grace    time.Duration
		signals  []signal
		heeds    int // which signal it heeds; 0 for none
		deaf     bool
		finished bool // it needs no signal
		code     int
		took     time.Duration
		says     string
	}{
		"no signal":                   {finished: true, code: 7},
		"heeds it":                    {grace: time.Minute, signals: []signal{{time.Second, os.Interrupt}}, heeds: 1, code: 7, took: time.Second},
		"interrupted":                 {signals: []signal{{time.Second, os.Interrupt}}, code: 130, took: time.Second + stopTime, says: "dray: interrupted before all had ended" + hung},
		"terminated":                  {signals: []signal{{time.Second, syscall.SIGTERM}}, code: 1, took: time.Second + stopTime, says: "dray: terminated before all had ended" + hung},
		"has its grace":               {grace: time.Minute, signals: []signal{{0, syscall.SIGTERM}}, code: 1, took: time.Minute + stopTime, says: "dray: terminated before all had ended" + hung},
		"heeds the second":            {grace: time.Minute, signals: []signal{{0, syscall.SIGTERM}, {time.Second, os.Interrupt}}, heeds: 2, code: 7, took: time.Second},
		"hangs at the second":         {grace: time.Minute, signals: []signal{{0, os.Interrupt}, {time.Second, syscall.SIGTERM}}, code: 130, took: time.Second + stopTime, says: "dray: interrupted before all had ended" + hung},
		"hangs at the third":          {grace: time.Minute, signals: []signal{{0, syscall.SIGTERM}, {time.Second, os.Interrupt}, {0, os.Interrupt}}, code: 1, took: time.Second, says: "dray: terminated before all had ended" + hung},
		"and nobody reads its stderr": {signals: []signal{{0, os.Interrupt}}, deaf: true, code: 130, took: stopTime + lastWords},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				var log io.Writer = &said
				reader, writer := io.Pipe()
				if tt.deaf {
					log = writer
				}
				over := make(chan struct{})
				defer func() { close(over); reader.Close() }()
				signals, works := make(chan os.Signal), make(chan struct{})
				go func() {
					<-works
					for _, s := range tt.signals {
						time.Sleep(s.after)
						signals <- s.Signal
					}
				}()
				began := time.Now()
				code := supervise(signals, log, func(ctx context.Context, w *work) int {
					w.allow(tt.grace)
					for _, what := range []string{"dray sync", "a request to example.com", "gone", "a request to example.com"} {
						w.begin(what)
					}
					w.end("gone")
					close(works)
					switch {
					case tt.finished:
						return 7
					case tt.heeds == 1:
						<-ctx.Done()
					case tt.heeds == 2:
						<-w.abandoned
					default:
						<-over
					}
					return 7
				})
				if took := time.Since(began); code != tt.code || took != tt.took || said.String() != tt.says {
					t.Errorf("exit code %d after %s, saying %q; want %d after %s, %q", code, took, said.String(), tt.code, tt.took, tt.says)
				}
			})
		})
	}
}

// TestWorkNamesSome: what is under way is named within bounds.
func TestWorkNamesSome(t *testing.T) {
	w := newWork()
	if got := w.String(); got != "nothing that has a name" {
		t.Error(got)
	}
	w.end("nothing")
	for i := range maxNamed + 3 {
		w.begin(fmt.Sprintf("import %02d", i))
	}
	if got := w.String(); !strings.HasPrefix(got, "import 00, import 01, ") || !strings.HasSuffix(got, "import 11, 3 more") {
		t.Error(got)
	}
}

// TestCutOff: what a signal has cut off says so in a word, and its exit code tells Ctrl-C from everything else.
func TestCutOff(t *testing.T) {
	config := writeConfig(t, "mappings:", mapping("source: '127.0.0.1:1/x:1', target: '127.0.0.1:2/y'"))
	for _, command := range []string{"sync", "plan", "check --online", "status --server 127.0.0.1:1", "import 127.0.0.1:1/x:1 127.0.0.1:2/y"} {
		for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			t.Run(fmt.Sprint(command, " ", sig), func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				why := &signalError{sig}
				cancel(why)
				var out, log bytes.Buffer
				args := append(strings.Fields(command), "-c", config)
				code := run(ctx, args, streams{out: &out, err: &log, getenv: func(string) (string, bool) { return "", false }})
				if code != why.code() || code != exitFailed && code != exitInterrupted {
					t.Errorf("exit code %d, %s%s", code, &out, &log)
				}
			})
		}
	}
}

// TestSignalIsCancellation: whoever tells a cancellation from a failure takes a signal for one, also where net/http hands on the cause.
func TestSignalIsCancellation(t *testing.T) {
	if err := fmt.Errorf("ask: %w", &signalError{syscall.SIGTERM}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v is none", err)
	}
}
