package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/web"
)

// usualAddress is the default of server.listen.
const usualAddress = "127.0.0.1:8484"

// maxTokenFile is the largest file of a token that is read, in bytes.
const maxTokenFile = 64 << 10

// daemonAddress says where the daemon answers, instead of the config.
type daemonAddress struct {
	server, tokenFile string
}

// addServer adds the flags that say where the daemon answers.
func addServer(c *cobra.Command, at *daemonAddress) {
	c.Flags().StringVar(&at.server, "server", "", "the daemon's `ADDRESS`, host:port or unix:PATH, instead of the config's server.listen")
	c.Flags().StringVar(&at.tokenFile, "token-file", "", "a `FILE` with the daemon's server.token, for --server")
}

// atMostOneJob refuses more than one argument.
func atMostOneJob(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage("%s takes at most one JOB (got %d)", command, len(args))
		}
		return nil
	}
}

// withClient calls f with a client of the daemon. An error of the daemon, or that there is none, is exit code 1, if f says nothing else.
func (a *app) withClient(at daemonAddress, f func(*web.Client) error) error {
	client, err := a.client(at)
	if err != nil {
		return err
	}
	defer client.Close()
	err = f(client)
	if _, ok := errors.AsType[*exitError](err); err == nil || ok {
		return err
	}
	if unknown, ok := errors.AsType[*web.UnknownJobError](err); ok {
		return &exitError{exitUsage, unknown}
	}
	return &exitError{exitFailed, err}
}

// client asks the daemon of the config. A config that is bad now may well have a daemon that runs the one before it: then it is
// looked for at the usual address.
func (a *app) client(at daemonAddress) (*web.Client, error) {
	switch {
	case at.server == "" && at.tokenFile != "":
		return nil, usage("--token-file needs --server; without it the config has both")
	case at.tokenFile != "" && !web.Local(at.server):
		return nil, usage("--token-file: the token would cross the network in plain text to %s; use a tunnel, such as ssh -L or kubectl port-forward, and its address on this machine", at.server)
	case at.tokenFile != "":
		token, err := file.ReadText(at.tokenFile, maxTokenFile)
		if err != nil {
			return nil, usage("--token-file: %v", err)
		}
		return web.NewClient(at.server, strings.TrimSpace(string(token))), nil
	case at.server != "":
		return web.NewClient(at.server, ""), nil
	}
	cfg, _, err := a.load()
	what := "has mistakes (see dray check)"
	if _, none := os.Stat(a.configs[0]); errors.Is(none, fs.ErrNotExist) {
		what = "is not there"
	}
	switch {
	case err != nil && cfg.Server.Listen != "": // there is nothing else to be known of it
	case err != nil:
		fmt.Fprintf(a.err, "dray: %s %s; asking at %s, or name the daemon with --server\n", a.configName(), what, usualAddress)
		return web.NewClient(usualAddress, ""), nil
	case cfg.Server.Listen == "":
		return nil, usage("the daemon answers nowhere: server.listen in %s is empty", a.configName())
	}
	return web.NewClient(cfg.Server.Listen, cfg.Server.Token.Reveal()), nil
}

// statusOf returns a status with one job only, and nothing that is about all.
func statusOf(status record.Snapshot, job string) (record.Snapshot, error) {
	i := slices.IndexFunc(status.Jobs, func(j record.JobStatus) bool { return j.Job == job })
	if i < 0 {
		names := make([]string, 0, len(status.Jobs))
		for i := range status.Jobs {
			names = append(names, status.Jobs[i].Job)
		}
		return record.Snapshot{}, web.UnknownJob(job, names)
	}
	status.Jobs = status.Jobs[i : i+1]
	status.Budgets, status.Closed, status.Receivers, status.Replicas = nil, nil, nil, nil
	return status, nil
}

// pause waits, and returns an error if ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
