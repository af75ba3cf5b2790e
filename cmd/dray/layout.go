package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/image"
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
	// Unreachable are files that no tag needs; gc has removed them, unless DryRun is set.
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

// layoutGrace is the minimum age of a file to remove: a writer may be about to use a younger one.
const layoutGrace = time.Hour

func (a *app) layoutCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "layout",
		Short: "Verify, clean and repair OCI image layouts (ocidir://)",
		Long:  "Check an OCI image layout, remove what no tag needs, or remove what is broken.\n\n" + exitHelp,
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	verify := &cobra.Command{
		Use:               "verify PATH",
		ValidArgsFunction: completeFolder,
		Short:             "Read every blob and report what is missing or broken",
		Long: `Read everything that the tags of an OCI image layout need, and check it against its digests. dray reports what is
missing or broken, each with a tag that needs it, and changes nothing.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := layoutPath(args)
			if err != nil {
				return err
			}
			s, err := layout.Verify(c.Context(), path)
			return a.surveyed("layout verify", path, s, false, err)
		},
	}
	var dry bool
	grace := layoutGrace
	gc := &cobra.Command{
		Use:               "gc PATH",
		ValidArgsFunction: completeFolder,
		Short:             "Remove what no tag needs",
		Long: `Remove the blobs and manifests of an OCI image layout that no tag needs, such as those of tags that have moved, and
the remains of interrupted writes. Files younger than --grace stay, because a waiting sync may need them. dray
removes nothing while another process writes to the layout, or if something in it is missing.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := layoutPath(args)
			if err != nil {
				return err
			}
			if grace < 0 {
				return usage("--grace is %s: write a duration such as 1h, or 0s", grace)
			}
			s, err := layout.New().Collect(c.Context(), path, grace, dry)
			return a.surveyed("layout gc", path, s, dry, err)
		},
	}
	gc.Flags().BoolVar(&dry, "dry-run", false, "only list what would be removed")
	gc.Flags().DurationVar(&grace, "grace", layoutGrace, "keep files younger than this; use 0s only if nothing writes to the layout")
	c.AddCommand(verify, gc, a.layoutRepairCommand())
	return c
}

func (a *app) layoutRepairCommand() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:               "repair PATH",
		ValidArgsFunction: completeFolder,
		Short:             "Remove broken content, so that the next sync imports it again",
		Long: `Read every blob of an OCI image layout, and remove those that do not match their digests, with the tags that need
one of these or a missing one. The next sync into the layout imports exactly these again. An unreadable index.json
is renamed to index.json.damaged; that loses no blob.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := layoutPath(args)
			if err != nil {
				return err
			}
			r, err := layout.New().Repair(c.Context(), path, dry)
			if err != nil {
				return noLayout(path, err)
			}
			if a.output == "json" {
				return a.writeJSON(newRepaired(path, r, dry))
			}
			a.repairedText(path, r, dry)
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "only list what would be removed")
	return c
}

// repaired is the answer of `dray layout repair` in JSON.
type repaired struct {
	Version  int            `json:"version"`
	Command  string         `json:"command"`
	Path     string         `json:"path"`
	DryRun   bool           `json:"dry_run"`
	Files    []image.Digest `json:"files"`
	Tags     []string       `json:"tags"`
	Untagged int            `json:"untagged"`
	// IndexReplaced says that index.json could not be read and was moved aside.
	IndexReplaced bool `json:"index_replaced"`
}

func newRepaired(path string, r layout.Repaired, dry bool) repaired {
	return repaired{
		Version: 1, Command: "layout repair", Path: path, DryRun: dry, Files: append([]image.Digest{}, r.Files...), Tags: append([]string{}, r.Tags...),
		Untagged: r.Untagged, IndexReplaced: r.Index,
	}
}

func (a *app) repairedText(path string, r layout.Repaired, dry bool) {
	for _, d := range r.Files {
		fmt.Fprintf(a.out, "- %s: its content does not match the digest\n", report.Line(string(d)))
	}
	for _, tag := range r.Tags {
		fmt.Fprintf(a.out, "- %s: it needs a file that is broken or missing\n", report.Line(tag))
	}
	if r.Index {
		fmt.Fprintln(a.out, "- index.json: it is missing or cannot be read (its remains are kept as index.json.damaged); this removes all tags")
	}
	state := "nothing to repair"
	if !r.Nothing() {
		verb := "removed; the next sync into it imports them again"
		if dry {
			verb = "would be removed"
		}
		state = fmt.Sprintf("%s and %s %s", plural(len(r.Files), "file", "files"), plural(len(r.Tags)+r.Untagged, "entry of index.json", "entries of index.json"), verb)
	}
	fmt.Fprintf(a.out, "%s: %s\n", report.Line(path), state)
}

func layoutPath(args []string) (string, error) {
	if len(args) != 1 || strings.TrimPrefix(args[0], "ocidir://") == "" {
		return "", usage("name one layout, the PATH of its folder")
	}
	return strings.TrimPrefix(args[0], "ocidir://"), nil
}

// noLayout says of a folder that is no layout, and has some below it, what these are.
func noLayout(path string, err error) error {
	if errors.Is(err, image.ErrAbsent) {
		if below, _ := layout.New().Below(image.Repository{Path: path}); len(below) > 0 {
			err = fmt.Errorf("%w; name one of the layouts below it, such as %s", err, below[0])
		}
	}
	return &exitError{exitFailed, err}
}

// surveyed writes the answer. A layout that is not whole fails the command.
func (a *app) surveyed(command, path string, s layout.Survey, dry bool, err error) error {
	if err != nil {
		return noLayout(path, err)
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
	return a.writeJSON(answer)
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
		rest = "nothing was removed: repair it first"
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
	if len(s.Problems) > 0 {
		fmt.Fprintf(a.out, "Where dray writes it, run dray layout repair %s and sync into it again; elsewhere, bring it again.\n", report.Line(path))
	}
}
