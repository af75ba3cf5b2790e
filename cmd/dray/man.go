//go:build man

package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// buildCommands returns the commands that only the build of packages needs: the released program does without their libraries.
func (a *app) buildCommands() []*cobra.Command { return []*cobra.Command{a.manCommand()} }

// manCommand writes the manual pages.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages",
		Long:   "Write the manual pages of all commands and of the config file into a folder, from the top of the repository.\n\n" + exitHelp,
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("man takes one DIR, the folder to write into")
			}
			if err := writeManual(c.Root(), args[0]); err != nil {
				return &exitError{exitFailed, err}
			}
			return nil
		},
	}
}

// writeManual writes dray.1 and its like, one a command, and dray.yaml.5. Their date is that of SOURCE_DATE_EPOCH where it is set.
func writeManual(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	verbatim(root)
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "dray", Manual: "User Commands"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return err
	}
	main := filepath.Join(dir, "dray.1")
	first, err := os.ReadFile(main) //nolint:gosec // it was just written
	if err != nil {
		return err
	}
	const last = `\fBdray-version(1)\fP`
	if err := os.WriteFile(main, []byte(strings.Replace(string(first), last, last+`, \fBdray.yaml(5)\fP`, 1)), 0o644); err != nil { //nolint:gosec // as below
		return err
	}
	reference, err := os.ReadFile(filepath.Join("docs", "configuration.md"))
	if err != nil {
		return err
	}
	title, text, _ := strings.Cut(string(reference), "\n")
	page := md2man.Render([]byte("% \"DRAY.YAML\" \"5\" \"\" \"dray\" \"File Formats\"\n# NAME\n\ndray.yaml - the config file of dray\n\n" + title + "\n" + text))
	return os.WriteFile(filepath.Join(dir, "dray.yaml.5"), page, 0o644) //nolint:gosec // a manual is for everybody
}

// verbatim has the examples in long texts, which are indented by two, stay as they are.
func verbatim(c *cobra.Command) {
	c.Long = strings.ReplaceAll(c.Long, "\n  ", "\n    ")
	for _, sub := range c.Commands() {
		verbatim(sub)
	}
}
