package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/web"
)

// reloaded is the answer of `dray reload` in JSON.
type reloaded struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	// Errors has a line for each mistake; it is empty if the config runs.
	Errors []string `json:"errors"`
}

func (a *app) reloadCommand() *cobra.Command {
	var at daemonAddress
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its config again now",
		Long: `Have the daemon read its config file and the files that it names again, now. The daemon follows them by itself:
reload is for file systems that report no changes, and for scripts that need to know whether the config is accepted.
If it is not, the daemon goes on with the one before.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withClient(at, func(client *web.Client) error {
				return a.reloaded(client.Reload(c.Context()))
			})
		},
	}
	addServer(c, &at)
	return c
}

// reloaded says how a reload ended.
func (a *app) reloaded(err error) error {
	rejected, isRejected := errors.AsType[*web.RejectedError](err)
	switch {
	case err != nil && !isRejected:
		return err
	case a.output == "json":
		answer := reloaded{Version: 1, Command: "reload", Errors: []string{}}
		if isRejected {
			answer.Errors = rejected.Lines
			err = &exitError{code: exitUsage}
		}
		return errors.Join(a.writeJSON(answer), err)
	case isRejected:
		return &exitError{exitUsage, rejected}
	}
	_, err = fmt.Fprintln(a.out, "The daemon has read its config again and runs it.")
	return err
}
