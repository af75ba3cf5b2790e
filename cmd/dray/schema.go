package main

import (
	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the config file",
		Long: `Print the JSON Schema (draft-07) of the config file, for editors. To have yours use it, save it and start
the config file with:

  # yaml-language-server: $schema=./dray.schema.json

` + exitHelp,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if _, err := a.out.Write(config.Schema()); err != nil {
				return &exitError{exitFailed, err}
			}
			return nil
		},
	}
}
