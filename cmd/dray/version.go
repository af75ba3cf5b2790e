package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build tells what was built of what.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	// Platform is os/arch.
	Platform string `json:"platform"`
	// Regclient is the version of the library that speaks to registries.
	Regclient string `json:"regclient"`
}

// buildVersion reads what the Go toolchain has stamped into the binary.
func buildVersion() build {
	b := build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(info.Main.Version, b.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				b.Commit += "+changes"
			}
		}
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/regclient/regclient" {
			b.Regclient = m.Version
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version of dray, the commit that it was built from, and the versions of Go and of regclient.\n\n" + exitHelp,
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			b := buildVersion()
			var err error
			if a.output == "json" {
				err = json.NewEncoder(a.out).Encode(b)
			} else {
				_, err = fmt.Fprintf(a.out, "dray %s\ncommit %s\n%s %s\nregclient %s\n", b.Version, cmp.Or(b.Commit, "unknown"), b.Go, b.Platform, b.Regclient)
			}
			if err != nil {
				return &exitError{exitFailed, err}
			}
			return nil
		},
	}
}
