package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/web"
)

// usualAddress is the default of server.listen.
const usualAddress = "127.0.0.1:8484"

// watchEvery is how often status --watch looks.
const watchEvery = 2 * time.Second

// asked is what the flags of status say.
type asked struct {
	server string
	watch  bool
}

func (a *app) statusCommand() *cobra.Command {
	var f asked
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the daemon does, waits for and did last",
		Long: `Show what the daemon does: each mapping with its last result, the age of its last success, its next run or what
it waits for, and the running imports. dray finds the daemon by the config's server.listen, or by --server.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return a.status(c.Context(), f) },
	}
	c.Flags().StringVar(&f.server, "server", "", "the daemon's `ADDRESS`, host:port or unix:PATH, instead of the config's server.listen")
	c.Flags().BoolVar(&f.watch, "watch", false, "refresh every 2 seconds until interrupted")
	return c
}

func (a *app) status(ctx context.Context, f asked) error {
	client, err := a.client(f.server)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		status, err := client.Status(ctx)
		if err != nil {
			return &exitError{exitFailed, err}
		}
		if err := a.showStatus(status, f.watch); err != nil {
			return &exitError{exitFailed, err}
		}
		if !f.watch {
			return nil
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return &exitError{exitFailed, ctx.Err()}
		}
	}
}

// client asks the daemon of the config. A config that is bad now may well have a daemon that runs the one before it: then it is
// looked for at the usual address.
func (a *app) client(server string) (*web.Client, error) {
	if server != "" {
		return web.NewClient(server, ""), nil
	}
	cfg, _, err := a.load(nil)
	switch {
	case err != nil && cfg.Server.Listen != "": // there is nothing else to be known of it
	case err != nil:
		fmt.Fprintf(a.err, "dray: %s has mistakes (see dray check); asking at %s, or name the daemon with --server\n", a.config, usualAddress)
		return web.NewClient(usualAddress, ""), nil
	case cfg.Server.Listen == "":
		return nil, usage("the daemon answers nowhere: server.listen in %s is empty", a.config)
	}
	return web.NewClient(cfg.Server.Listen, cfg.Server.Token.Reveal()), nil
}

// showStatus writes the answer; a next one replaces it on a terminal.
func (a *app) showStatus(status record.Snapshot, again bool) error {
	var b bytes.Buffer
	_, onTerminal := terminal(a.out)
	if again && onTerminal {
		b.WriteString("\x1b[H\x1b[2J") // home, and clear (ECMA-48)
	}
	if a.output == "json" {
		encoder := json.NewEncoder(&b)
		if !again {
			encoder.SetIndent("", "  ")
		}
		if err := encoder.Encode(status); err != nil {
			return err
		}
	} else if err := report.Status(&b, status, a.style()); err != nil {
		return err
	}
	_, err := io.Copy(a.out, &b)
	return err
}
