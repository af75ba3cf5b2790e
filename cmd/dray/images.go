package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/imagelist"
	"github.com/draysync/dray/internal/report"
)

// stdinName stands for stdin among the FILEs of a command.
const stdinName = "-"

func (a *app) imagesCommand() *cobra.Command {
	var paths []string
	c := &cobra.Command{
		Use:               "images FILE…",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "List the images that manifests, compose files and Dockerfiles name",
		Long: `Read files, and list the images that they name, each with file and line: lists of references, Kubernetes manifests
and what helm template prints, compose files, and Dockerfiles. - is stdin. dray reads the answer again as a list.

  helm template my-release my-chart | dray images -
  dray images deploy/*.yaml compose.yaml Dockerfile > images.txt
  dray images -o yaml rendered.yaml > dray.yaml              a mapping that imports them
  dray images --path 'spec.driver' --path '**.sidecarImage' cluster-policy.yaml

dray finds the images of containers, of volumes, and of other keys, flags and variables that are named for images.
What may be an image is listed on stderr with the reason, and not in the answer: such as a template that was not
rendered, a variable without a default, and a repository with a tag of its own, as charts' values have them. --path
says where else in YAML images are: keys that are joined by dots, with * for any key and ** for any number of them.
dray renders nothing, and asks no registry. The exit code is 1 if no file names an image.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("images takes at least one FILE, or - for stdin")
			}
			return a.images(args, paths)
		},
	}
	c.Flags().StringArrayVar(&paths, "path", nil, "a `PATH` of keys in YAML where there are images; may be repeated")
	alsoPrints(c, "yaml")
	return c
}

// imagesAnswer is the answer of `dray images` in JSON.
type imagesAnswer struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	// Images are in the order in which they are first named.
	Images   []listedImage  `json:"images"`
	Doubtful []doubtfulText `json:"doubtful"`
}

type listedImage struct {
	Image  string        `json:"image"`
	Places []listedPlace `json:"places"`
}

type listedPlace struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// Text is the reference as it is written there.
	Text string `json:"text"`
}

type doubtfulText struct {
	listedPlace
	Reason string `json:"reason"`
}

func (a *app) images(names, paths []string) error {
	answer, err := a.listImages(names, paths)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	switch a.output {
	case "json":
		err = a.writeJSON(answer)
	case "yaml":
		a.printMapping(answer)
		a.printDoubtful(answer)
	default:
		a.printImages(answer)
		a.printDoubtful(answer)
	}
	if err == nil && len(answer.Images) == 0 {
		err = fmt.Errorf("no image is named in %s", strings.Join(names, ", "))
		if len(answer.Doubtful) > 0 {
			err = fmt.Errorf("%w, but for what is doubtful", err)
		}
		err = &exitError{exitFailed, err}
	}
	return err
}

// listImages reads files. The error has a line for each that cannot be read.
func (a *app) listImages(names, paths []string) (imagesAnswer, error) {
	answer := imagesAnswer{Version: 1, Command: "images", Images: []listedImage{}, Doubtful: []doubtfulText{}}
	var parsed []imagelist.Path
	var errs []error
	for _, text := range paths {
		path, err := imagelist.ParsePath(text)
		parsed, errs = append(parsed, path), append(errs, err)
	}
	at := map[string]int{}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		data, err := a.readNamed(name)
		var found imagelist.Found
		if err == nil {
			if name == stdinName {
				name = "stdin"
			}
			if found, err = imagelist.Find(name, data, parsed); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
		}
		errs = append(errs, err)
		for _, i := range found.Images {
			ref := i.Ref.String()
			if _, known := at[ref]; !known {
				at[ref] = len(answer.Images)
				answer.Images = append(answer.Images, listedImage{Image: ref})
			}
			of := &answer.Images[at[ref]]
			of.Places = append(of.Places, listedPlace{i.File, i.Line, i.Col, i.Text})
		}
		for _, d := range found.Doubts {
			answer.Doubtful = append(answer.Doubtful, doubtfulText{listedPlace{d.File, d.Line, d.Col, d.Text}, d.Why})
		}
	}
	return answer, errors.Join(errs...)
}

// readNamed reads a file, or stdin, up to the limit of an image list.
func (a *app) readNamed(name string) ([]byte, error) {
	if name != stdinName {
		data, err := file.Read(name, imagelist.MaxFile)
		if errors.Is(err, file.ErrIrregular) {
			err = fmt.Errorf("%w: if it is a pipe, write - and pipe into stdin", err)
		}
		return data, err
	}
	if a.in == nil {
		return nil, errors.New("there is no stdin to read")
	}
	data, err := io.ReadAll(io.LimitReader(a.in, imagelist.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read stdin: %w", err)
	}
	return data, nil
}

// morePlaces is how many places of an image are printed.
const morePlaces = 3

func placesOf(i listedImage) string {
	var places []string
	for _, p := range i.Places {
		places = append(places, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	if more := len(places) - morePlaces; more > 1 {
		places = append(places[:morePlaces], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(places, ", ")
}

func (a *app) printImages(answer imagesAnswer) {
	for _, i := range answer.Images {
		fmt.Fprintln(a.out, report.Line(fmt.Sprintf("%s # %s", i.Image, placesOf(i))))
	}
}

// printMapping prints a config with one mapping.
func (a *app) printMapping(answer imagesAnswer) {
	if len(answer.Images) == 0 {
		return
	}
	fmt.Fprint(a.out, "version: 1\nmappings:\n  - name: images\n    target: registry.example.com/mirror # yours\n    images:\n")
	for _, i := range answer.Images {
		fmt.Fprintln(a.out, "      - "+report.Line(fmt.Sprintf("%s # %s", i.Image, placesOf(i))))
	}
}

// printDoubtful says what is not in the answer.
func (a *app) printDoubtful(answer imagesAnswer) {
	a.printDoubts(answer.Doubtful)
	if len(answer.Images) > 0 {
		fmt.Fprintf(a.err, "Found %s; %d doubtful.\n", plural(len(answer.Images), "image", "images"), len(answer.Doubtful))
	}
}

func (a *app) printDoubts(doubts []doubtfulText) {
	for _, d := range doubts {
		fmt.Fprintln(a.err, report.Line(fmt.Sprintf("%s:%d:%d: %q %s", d.File, d.Line, d.Column, d.Text, d.Reason)))
	}
}
