package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/convert"
	"github.com/draysync/dray/internal/report"
)

// maxConverted is the size limit of a file, in bytes.
const maxConverted = 16 << 20

// converted is the answer of `dray convert` in JSON.
type converted struct {
	Version int             `json:"version"`
	Command string          `json:"command"`
	From    string          `json:"from"`
	Config  string          `json:"config"`
	Notes   []convertedNote `json:"notes"`
}

// convertedNote names a setting without an equivalent, or a remaining task.
type convertedNote struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Key  string `json:"key"`
	Text string `json:"text"`
}

func (a *app) convertCommand() *cobra.Command {
	var from string
	var options convert.Options
	c := &cobra.Command{
		Use:               "convert FILE [FILE]",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "Convert another tool's config, or a script that calls az acr import",
		Long: `Read a config of regsync, dregsy, image-syncer, skopeo sync or ocync, or a script or pipeline that calls
az acr import, and write a dray config to stdout. dray recognises the tool by the content. A setting without an
equivalent becomes a comment in its place, and a line on stderr.

  dray convert regsync.yml > dray.yaml
  dray convert import.sh > dray.yaml
  dray convert auth.yaml images.yaml                         image-syncer's two files
  dray convert --target registry.example.com/mirror sync.yml skopeo's target is on its command line

dray does not copy plain-text passwords: the config names an environment variable for each.

` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage("convert takes one FILE, or image-syncer's two (got %d)", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			options.From = convert.Tool(from)
			return a.convert(args, options)
		},
	}
	names := make([]string, 0, len(convert.Tools()))
	for _, tool := range convert.Tools() {
		names = append(names, string(tool))
	}
	c.Flags().StringVar(&from, "from", "", "the tool that the config is for: `TOOL` is one of "+strings.Join(names, ", "))
	completeValues(c, map[string][]string{"from": names})
	c.Flags().StringVar(&options.Target, "target", "", "for skopeo: the destination on its command line, `HOST/PATH`")
	c.Flags().BoolVar(&options.Scoped, "scoped", false, "for skopeo: its command line has --scoped")
	return c
}

func (a *app) convert(names []string, options convert.Options) error {
	var files []convert.File
	for _, name := range names {
		data, err := readConverted(name)
		if err != nil {
			return usage("%v", err)
		}
		files = append(files, convert.File{Name: name, Data: data})
	}
	result, err := convert.Convert(files, options)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if a.output == "json" {
		err = a.printConvertedJSON(result)
	} else if _, err = a.out.Write(result.YAML); err == nil {
		a.printNotes(result)
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}

func readConverted(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxConverted+1))
	if err == nil && len(data) > maxConverted {
		err = errors.New("is larger than 16 MiB, the limit for a config")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func (a *app) printNotes(result *convert.Result) {
	for _, note := range result.Notes {
		fmt.Fprintln(a.err, report.Line(note.String()))
	}
	fmt.Fprintf(a.err, "Read as %s; %s, each also a comment in the output.\n", result.Tool.Kind(), plural(len(result.Notes), "note", "notes"))
}

func (a *app) printConvertedJSON(result *convert.Result) error {
	answer := converted{Version: 1, Command: "convert", From: string(result.Tool), Config: string(result.YAML), Notes: []convertedNote{}}
	for _, n := range result.Notes {
		answer.Notes = append(answer.Notes, convertedNote{n.File, n.Line, n.Key, n.Text})
	}
	return a.writeJSON(answer)
}
