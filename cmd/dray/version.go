package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"
)

// version and commit are set by -ldflags -X if the Go toolchain cannot know them, as in a container.
var version, commit string

// build describes how the binary was built.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	// Platform is os/arch.
	Platform string `json:"platform"`
	// Libraries are the versions of the main libraries, by the last part of their paths that is not a version.
	Libraries map[string]string `json:"libraries"`
}

// libraries are those for the network and for the store.
func libraries() map[string]string {
	return map[string]string{
		"github.com/regclient/regclient": "regclient", "github.com/Azure/azure-sdk-for-go/sdk/azcore": "azcore",
		"github.com/Azure/azure-sdk-for-go/sdk/azidentity": "azidentity", "modernc.org/sqlite": "sqlite",
		"github.com/fsnotify/fsnotify": "fsnotify", "github.com/robfig/cron/v3": "cron",
	}
}

// buildVersion reads the build information in the binary.
func buildVersion() build {
	b := build{Version: cmp.Or(version, "unknown"), Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Libraries: map[string]string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(version, info.Main.Version, "unknown")
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = cmp.Or(commit, s.Value)
		case "vcs.modified":
			if s.Value == "true" && commit == "" {
				b.Commit += "+changes"
			}
		}
	}
	names := libraries()
	for _, m := range info.Deps {
		if name, ok := names[m.Path]; ok {
			b.Libraries[name] = m.Version
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version of dray, the commit that it was built from, and the versions of Go and of the main libraries.\n\n" + exitHelp,
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return a.printVersion() },
	}
}

func (a *app) printVersion() error {
	b := buildVersion()
	var err error
	if a.output == "json" {
		a.answered = true
		err = json.NewEncoder(a.out).Encode(b)
	} else {
		_, err = fmt.Fprintf(a.out, "dray %s\ncommit %s\n%s %s\n", b.Version, cmp.Or(b.Commit, "unknown"), b.Go, b.Platform)
		for _, name := range slices.Sorted(maps.Keys(b.Libraries)) {
			_, printed := fmt.Fprintf(a.out, "%s %s\n", name, b.Libraries[name])
			err = errors.Join(err, printed)
		}
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}
