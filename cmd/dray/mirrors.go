package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/nodeconfig"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/report"
)

func (a *app) mirrorsCommand() *cobra.Command {
	var format, out string
	c := &cobra.Command{
		Use:               "mirrors --format FORMAT [FILE…]",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "Write the files that make nodes pull from the mappings' targets",
		Long: `Write, from the config's mappings, the files that make nodes pull from the targets. What is deployed stays as it is.

  containerd   /etc/containerd/certs.d/REGISTRY/hosts.toml
  podman       /etc/containers/registries.conf.d/50-dray.conf, also for CRI-O, buildah and skopeo
  docker       the registry-mirrors of /etc/docker/daemon.json, for docker.io only
  k3s, rke2    /etc/rancher/FORMAT/registries.yaml
  idms         OpenShift's ImageDigestMirrorSet and ImageTagMirrorSet
  kyverno      a policy that puts the targets' names into pods

  dray mirrors --format containerd --out node            files below the folder node
  dray mirrors --format podman rendered/*.yaml           also says which images of these files no mapping imports

What a format cannot say of a mapping is left out, and listed on stderr with the reason: containerd, for example,
adds the source's path to a prefix, so that a target has to end with it. With FILEs, dray lists their images that no
mapping imports into a registry; they are read as by dray images. The exit code is 1 if nothing can be written.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(nodeconfig.Formats(), format) {
				return usage("--format %q: write one of %s", format, strings.Join(nodeconfig.Formats(), ", "))
			}
			return a.mirrors(format, out, args)
		},
	}
	c.Flags().StringVar(&format, "format", "", "what to write: `FORMAT` is one of "+strings.Join(nodeconfig.Formats(), ", "))
	c.Flags().StringVar(&out, "out", "", "write the files below this `FOLDER`, instead of to stdout")
	completeValues(c, map[string][]string{"format": nodeconfig.Formats()})
	return c
}

// mirrorsAnswer is the answer of `dray mirrors` in JSON.
type mirrorsAnswer struct {
	Version int          `json:"version"`
	Command string       `json:"command"`
	Format  string       `json:"format"`
	Files   []mirrorFile `json:"files"`
	// Notes are what the format cannot say.
	Notes []mirrorNote `json:"notes"`
	// Uncovered are images of the files that no mapping imports into a registry.
	Uncovered []listedImage  `json:"uncovered"`
	Doubtful  []doubtfulText `json:"doubtful"`
}

type mirrorFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

type mirrorNote struct {
	Mapping string `json:"mapping"`
	Text    string `json:"text"`
}

func (a *app) mirrors(format, out string, names []string) error {
	cfg, jobs, err := a.load()
	if err != nil {
		return err
	}
	answer := mirrorsAnswer{
		Version: 1, Command: "mirrors", Format: format, Files: []mirrorFile{}, Notes: []mirrorNote{}, Uncovered: []listedImage{}, Doubtful: []doubtfulText{},
	}
	files, notes := nodeconfig.Write(format, jobs, func(registry string) bool { return cfg.Registries[registry].PlainHTTP })
	for _, f := range files {
		answer.Files = append(answer.Files, mirrorFile{f.Path, f.Content})
	}
	for _, n := range notes {
		answer.Notes = append(answer.Notes, mirrorNote{n.Mapping, n.Text})
	}
	if len(names) > 0 {
		listed, err := a.listImages(names, nil)
		if err != nil {
			return &exitError{exitUsage, err}
		}
		answer.Doubtful = listed.Doubtful
		answer.Uncovered = append(answer.Uncovered, uncovered(cfg, jobs, listed.Images)...)
	}
	if out != "" {
		if err := writeBelow(out, files); err != nil {
			return &exitError{exitFailed, err}
		}
	}
	return a.printMirrors(answer, out, len(names) > 0)
}

// uncovered returns the images that no job imports into a registry.
func uncovered(cfg *config.Config, jobs []plan.Job, images []listedImage) (all []listedImage) {
	jobs = slices.DeleteFunc(slices.Clone(jobs), func(j plan.Job) bool {
		return !slices.ContainsFunc(j.Targets, func(t image.Reference) bool { return !t.IsLayout() })
	})
	sources := plan.SourcesOf(jobs)
	for _, i := range images {
		ref, err := image.Parse(i.Image)
		if err != nil || len(sources.Covering(cfg.Canonical(ref))) == 0 {
			all = append(all, i)
		}
	}
	return all
}

// writeBelow writes files below a folder, each as a whole.
func writeBelow(folder string, files []nodeconfig.File) error {
	for _, f := range files {
		name := filepath.Join(folder, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // what nodes read is no secret
			return err //nolint:wrapcheck // it names the folder
		}
		if err := file.Replace(name, []byte(f.Content), 0o644); err != nil {
			return err //nolint:wrapcheck // it names the file
		}
	}
	return nil
}

func (a *app) printMirrors(answer mirrorsAnswer, out string, compared bool) error {
	if a.output == "json" {
		if err := a.writeJSON(answer); err != nil {
			return err
		}
	} else {
		a.printFiles(answer, out)
		for _, n := range answer.Notes {
			fmt.Fprintln(a.err, report.Line(n.Mapping+" "+n.Text))
		}
		for _, i := range answer.Uncovered {
			fmt.Fprintln(a.err, report.Line(fmt.Sprintf("%s in %s is imported by no mapping", i.Image, placesOf(i))))
		}
		a.printDoubts(answer.Doubtful)
		if compared {
			fmt.Fprintf(a.err, "%s of the files imported by no mapping; %d doubtful.\n", plural(len(answer.Uncovered), "image", "images"), len(answer.Doubtful))
		}
	}
	if len(answer.Files) == 0 {
		return &exitError{exitFailed, fmt.Errorf("no mapping can be said in the format %s", answer.Format)}
	}
	return nil
}

func (a *app) printFiles(answer mirrorsAnswer, out string) {
	for i, f := range answer.Files {
		switch {
		case out != "":
			fmt.Fprintln(a.out, report.Line(filepath.Join(out, filepath.FromSlash(f.Path))))
		case answer.Format == "docker": // JSON has no comments
			fmt.Fprint(a.out, f.Content)
		default:
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			fmt.Fprintf(a.out, "# %s\n%s", f.Path, f.Content)
		}
	}
}
