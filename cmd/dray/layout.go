package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/report"
)

// surveyed is the answer of `dray layout verify` and `dray layout gc` in JSON.
type surveyed struct {
	Version   int    `json:"version"`
	Command   string `json:"command"`
	Path      string `json:"path"`
	Tags      int    `json:"tags"`
	Manifests int    `json:"manifests"`
	Blobs     int    `json:"blobs"`
	Bytes     int64  `json:"bytes"`
	// Unreachable are files that no tag needs; gc has removed them, unless DryRun.
	Unreachable      int               `json:"unreachable"`
	UnreachableBytes int64             `json:"unreachable_bytes"`
	DryRun           bool              `json:"dry_run"`
	Problems         []surveyedProblem `json:"problems"`
}

type surveyedProblem struct {
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
	Text   string `json:"text"`
}

// layoutGrace is how old a file has to be that is removed: a writer may be about to need a younger one.
const layoutGrace = time.Hour

func (a *app) layoutCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "layout",
		Short: "Look after OCI image layouts, the folders that ocidir:// names",
		Long:  "Check an OCI image layout, or free it of what no tag needs.\n\n" + exitHelp,
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	verify := &cobra.Command{
		Use:   "verify PATH",
		Short: "Read every blob of a layout, and say what is missing or broken",
		Long: `Read everything that the tags of an OCI image layout need, and compare it with its digests. What is missing or
broken is named, with a tag that needs it; nothing is changed.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := layoutPath(args)
			if err != nil {
				return err
			}
			s, err := layout.Verify(path)
			return a.surveyed("layout verify", path, s, false, err)
		},
	}
	var dry bool
	grace := layoutGrace
	gc := &cobra.Command{
		Use:   "gc PATH",
		Short: "Remove from a layout what no tag needs",
		Long: `Remove the blobs and manifests of an OCI image layout that no tag needs, such as those of tags that have moved, and
what writes that were cut off have left. Files that are younger than --grace stay, because a sync that waits may be about
to need them. While another process writes to the layout, and while something in it is missing, it removes nothing.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := layoutPath(args)
			if err != nil {
				return err
			}
			if grace < 0 {
				return usage("--grace is %s: write a duration such as 1h, or 0s", grace)
			}
			s, err := layout.New().Collect(path, grace, dry)
			return a.surveyed("layout gc", path, s, dry, err)
		},
	}
	gc.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	gc.Flags().DurationVar(&grace, "grace", layoutGrace, "keep files that are younger; 0s where nothing writes to the layout")
	c.AddCommand(verify, gc)
	return c
}

func layoutPath(args []string) (string, error) {
	if len(args) != 1 || strings.TrimPrefix(args[0], "ocidir://") == "" {
		return "", usage("name one layout, the PATH of its folder")
	}
	return strings.TrimPrefix(args[0], "ocidir://"), nil
}

// surveyed writes the answer. A layout that is not whole fails the command.
func (a *app) surveyed(command, path string, s layout.Survey, dry bool, err error) error {
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if a.output == "json" {
		err = a.surveyJSON(command, path, s, dry)
	} else {
		a.surveyText(command, path, s, dry)
	}
	if err == nil && len(s.Problems) > 0 {
		return &exitError{code: exitFailed}
	}
	return err
}

func (a *app) surveyJSON(command, path string, s layout.Survey, dry bool) error {
	answer := surveyed{
		Version: 1, Command: command, Path: path, Tags: s.Tags, Manifests: s.Manifests, Blobs: s.Blobs, Bytes: s.Bytes,
		Unreachable: s.Unreachable, UnreachableBytes: s.UnreachableBytes, DryRun: dry, Problems: []surveyedProblem{},
	}
	for _, p := range s.Problems {
		answer.Problems = append(answer.Problems, surveyedProblem{string(p.Digest), p.Tag, p.Text})
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}

func (a *app) surveyText(command, path string, s layout.Survey, dry bool) {
	for _, p := range s.Problems {
		text := string(p.Digest) + ": " + p.Text
		if p.Tag != "" {
			text += ", which the tag " + p.Tag + " needs"
		}
		fmt.Fprintf(a.out, "x %s\n", report.Line(text))
	}
	files := fmt.Sprintf("%s of %s", plural(s.Unreachable, "file", "files"), report.Size(s.UnreachableBytes))
	rest := files + " that no tag needs"
	switch {
	case command == "layout gc" && len(s.Problems) > 0:
		rest = "nothing was removed: bring what is missing first, by a sync into it"
	case command == "layout gc" && dry:
		rest = files + " would be removed"
	case command == "layout gc":
		rest = files + " removed"
	}
	state := "whole"
	if len(s.Problems) > 0 {
		state = plural(len(s.Problems), "problem", "problems")
	}
	fmt.Fprintf(a.out, "%s: %s; %s, %s, %s, %s; %s\n", report.Line(path), state, plural(s.Tags, "tag", "tags"),
		plural(s.Manifests, "manifest", "manifests"), plural(s.Blobs, "blob", "blobs"), report.Size(s.Bytes), rest)
}
