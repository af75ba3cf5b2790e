// Command dray imports container images into one's own registry, as declared in a YAML file.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// net/http writes there what a server sends without being asked: between the lines of the log, and with the secrets that it echoes.
	log.SetOutput(io.Discard)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(supervise(signals, os.Stderr, func(ctx context.Context, w *work) int {
		return run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.LookupEnv, work: w})
	}))
}
