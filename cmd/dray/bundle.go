package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/bundle"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/report"
)

// usualSite is the ID of a bundle's site where none is given.
const usualSite = "dray"

func (a *app) bundleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Carry OCI image layouts over media, as volumes that are checked",
		Long: `Write the images of OCI image layouts as volumes of a given size, and load them elsewhere. Everything is checked
before a tag moves there.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.bundleCreateCommand(), a.bundleVerifyCommand(), a.bundleLoadCommand())
	return c
}

func (a *app) bundleCreateCommand() *cobra.Command {
	var o bundle.CreateOptions
	var size string
	c := &cobra.Command{
		Use:   "create --from PATH --to PATH",
		Short: "Write the images of layouts as a bundle",
		Long: `Write all images of an OCI image layout, or of the layouts below a folder, as a bundle: volumes, which are tar
archives, and ID-NUMBER-bundle.json, which lists them with their SHA-256. The folder --to has to be there.

  dray bundle create --from stage --to /media/stick
  dray bundle create --from stage --to burn --volume-size dvd --id plant-7

Each blob is checked as it is read, and each volume is read back. The list is written last: a folder without it has
no bundle. If dray is interrupted, call it again: it writes what is missing. A blob that is larger than what is left
of a volume is split. Other programs read a bundle of one volume as an archive of an OCI layout (skopeo's
oci-archive:, podman load, ctr image import).

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.From == "" || o.To == "" {
				return usage("bundle create takes --from, a layout or a folder with layouts, and --to, a folder")
			}
			if err := bundle.CheckID(o.ID); err != nil {
				return usage("--id: %w", err)
			}
			var err error
			if o.VolumeSize, err = volumeSize(size); err != nil {
				return usage("--volume-size: %w", err)
			}
			o.From, o.Tool, o.Now = strings.TrimPrefix(o.From, image.LayoutScheme), "dray "+buildVersion().Version, time.Now()
			done, err := bundle.Create(c.Context(), o)
			if err != nil {
				return &exitError{exitFailed, err}
			}
			return a.created(done)
		},
	}
	c.Flags().StringVar(&o.From, "from", "", "the layout, or the folder with layouts, at `PATH`")
	c.Flags().StringVar(&o.To, "to", "", "write the files into the folder `PATH`")
	c.Flags().StringVar(&size, "volume-size", "", "the most bytes of a volume: a `SIZE` such as 64m or 4g, or "+strings.Join(mediumNames(), ", ")+"; one volume by default")
	c.Flags().StringVar(&o.ID, "id", usualSite, "the `NAME` of the site that the bundle is for, which begins the names of files")
	completeValues(c, map[string][]string{"volume-size": mediumNames()})
	completeFolders(c, "from", "to")
	return c
}

// media are the capacities of media in bytes, and of a file on FAT32. One percent stays free for the file system.
func media() map[string]int64 {
	const dvd, dvdDL, bd = 4_700_372_992, 8_543_666_176, 25_025_314_816
	return map[string]int64{"dvd": dvd / 100 * 99, "dvd-dl": dvdDL / 100 * 99, "bd": bd / 100 * 99, "fat32": math.MaxUint32}
}

func mediumNames() []string { return []string{"dvd", "dvd-dl", "bd", "fat32"} }

var sizeText = regexp.MustCompile(`^([0-9]{1,12})([kmgt]?)$`)

// volumeSize reads a size in bytes; 0 for none.
func volumeSize(text string) (int64, error) {
	if size, ok := media()[text]; ok || text == "" {
		return size, nil
	}
	m := sizeText.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return 0, fmt.Errorf("%q is not a size: write a number of bytes, with k, m or g for KiB, MiB or GiB, or %s", text, strings.Join(mediumNames(), ", "))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err //nolint:wrapcheck // it has the text
	}
	shift := 10 * strings.Index("_kmgt", m[2])
	if m[2] == "" {
		shift = 0
	}
	if n > bundle.MaxSize>>shift || n<<shift < bundle.MinVolume {
		return 0, fmt.Errorf("%q is not between 64k and 4t", text)
	}
	return n << shift, nil
}

// createdBundle is the answer of `dray bundle create` in JSON.
type createdBundle struct {
	Version  int    `json:"version"`
	Command  string `json:"command"`
	Bundle   string `json:"bundle"`
	Document string `json:"document"`
	// SHA256 is that of the document, from which all else follows.
	SHA256  image.Digest `json:"sha256"`
	Tags    int          `json:"tags"`
	Volumes []string     `json:"volumes"`
	Bytes   int64        `json:"bytes"`
	// Kept are volumes that an interrupted call had written.
	Kept int `json:"kept"`
}

func (a *app) created(done bundle.Created) error {
	answer := createdBundle{
		Version: 1, Command: "bundle create", Bundle: done.Name(), Document: done.Document, SHA256: done.SHA256, Tags: len(done.Refs),
		Volumes: []string{}, Bytes: done.Bytes(), Kept: done.Kept,
	}
	for _, v := range done.Volumes {
		answer.Volumes = append(answer.Volumes, v.Name)
	}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	for _, name := range answer.Volumes {
		fmt.Fprintln(a.out, name)
	}
	kept := ""
	if done.Kept > 0 {
		kept = fmt.Sprintf(", %d of them there already", done.Kept)
	}
	fmt.Fprintf(a.out, "%s: %s in %s of %s%s; %s\n", report.Line(done.Document), plural(answer.Tags, "tag", "tags"),
		plural(len(answer.Volumes), "volume", "volumes"), report.Size(answer.Bytes), kept, done.SHA256)
	return nil
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	var quick bool
	c := &cobra.Command{
		Use:               "verify PATH…",
		ValidArgsFunction: completeFolder,
		Short:             "Read a bundle and report what is missing or damaged",
		Long: `Read the bundle in one or several folders, and compare it with its list. dray reports which files are missing or
damaged, which blobs that concerns, and which tags could not be loaded for it. It changes nothing. PATH can also be
the bundle's ID-NUMBER-bundle.json, where a folder has several bundles.

The answer has the SHA-256 of that file. All else follows from it: if it is what the near side has told by another
way, nobody has changed the bundle. The exit code is 1 if anything is missing or damaged.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("name the folder with the bundle")
			}
			v, err := bundle.Verify(c.Context(), args, quick)
			if err != nil {
				return &exitError{exitFailed, err}
			}
			if err := a.verifiedBundle(v); err != nil {
				return err
			}
			if !v.Whole() {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&quick, "quick", false, "only check that the volumes are there and have their sizes")
	return c
}

// bundleProblem is something that is missing or damaged, in JSON.
type bundleProblem struct {
	File   string       `json:"file"`
	Digest image.Digest `json:"digest"`
	Text   string       `json:"text"`
}

func bundleProblems(problems []bundle.Problem) []bundleProblem {
	all := []bundleProblem{}
	for _, p := range problems {
		all = append(all, bundleProblem(p))
	}
	return all
}

// verifiedBundle is the answer of `dray bundle verify` in JSON.
type verifiedBundle struct {
	Version   int             `json:"version"`
	Command   string          `json:"command"`
	Bundle    string          `json:"bundle"`
	SHA256    image.Digest    `json:"sha256"`
	Tags      int             `json:"tags"`
	Manifests int             `json:"manifests"`
	Blobs     int             `json:"blobs"`
	Volumes   int             `json:"volumes"`
	Bytes     int64           `json:"bytes"`
	Problems  []bundleProblem `json:"problems"`
	// Lost are tags that cannot be loaded.
	Lost []string `json:"lost"`
}

func (a *app) verifiedBundle(v bundle.Verified) error {
	answer := verifiedBundle{
		Version: 1, Command: "bundle verify", Bundle: v.Name(), SHA256: v.SHA256, Tags: len(v.Refs), Manifests: len(v.Manifests), Blobs: len(v.Blobs),
		Volumes: len(v.Volumes), Bytes: v.Bytes(), Problems: bundleProblems(v.Problems), Lost: []string{},
	}
	for _, r := range v.Lost {
		answer.Lost = append(answer.Lost, r.String())
	}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	a.printBundleProblems(v.Problems)
	state := "whole"
	if !v.Whole() {
		state = plural(len(v.Problems), "problem", "problems")
	}
	a.printNames(answer.Lost, "cannot be loaded")
	fmt.Fprintf(a.out, "%s: %s; %s, %s, %s in %s of %s; %s\n", v.Name(), state, plural(answer.Tags, "tag", "tags"),
		plural(answer.Manifests, "manifest", "manifests"), plural(answer.Blobs, "blob", "blobs"), plural(answer.Volumes, "volume", "volumes"),
		report.Size(answer.Bytes), v.SHA256)
	return nil
}

func (a *app) printBundleProblems(problems []bundle.Problem) {
	for _, p := range problems {
		fmt.Fprintf(a.out, "x %s\n", report.Line(p.String()))
	}
}

// maxListed is how many tags are listed for one reason.
const maxListed = 20

// printNames lists tags with what holds for them.
func (a *app) printNames(names []string, text string) {
	for _, name := range names[:min(len(names), maxListed)] {
		fmt.Fprintf(a.out, "- %s: %s\n", report.Line(name), text)
	}
	if more := len(names) - maxListed; more > 0 {
		fmt.Fprintf(a.out, "- and %d more: %s\n", more, text)
	}
}

func (a *app) bundleLoadCommand() *cobra.Command {
	var o bundle.LoadOptions
	c := &cobra.Command{
		Use:               "load PATH… --into PATH",
		ValidArgsFunction: completeFolder,
		Short:             "Load a bundle into layouts, as far as it is whole",
		Long: `Read the bundle in one or several folders, check it, and load its images into OCI image layouts below the folder
--into, at the paths that they had. dray reads all volumes that are there before it moves a tag, and moves the tags
of which everything is there and intact. The others stay as they were.

Volumes may come one after another, in any order, from one medium after another: call load for each. It keeps what
it has read, and needs ID-NUMBER-bundle.json only once. What is missing is listed in a file that the answer names.
If dray is interrupted, call it again.

Once a tag of a bundle has moved, an older bundle of that site is refused. The exit code is 3 if something is
missing or damaged, and 1 if nothing can be loaded.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || o.Into == "" {
				return usage("bundle load takes the folder with the bundle, and --into, the folder for the layouts")
			}
			o.Paths, o.Into = args, strings.TrimPrefix(o.Into, image.LayoutScheme)
			l, err := bundle.Load(c.Context(), o)
			if err != nil {
				return &exitError{exitFailed, err}
			}
			if err := a.loadedBundle(l); err != nil {
				return err
			}
			if !l.Whole() || len(l.Problems) > 0 {
				return &exitError{code: exitPartly}
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.Into, "into", "", "load into layouts at or below the folder `PATH`")
	c.Flags().BoolVar(&o.AllowOlder, "allow-older", false, "let tags move back to what an older bundle has")
	completeFolders(c, "into")
	return c
}

// loadedBundle is the answer of `dray bundle load` in JSON.
type loadedBundle struct {
	Version  int             `json:"version"`
	Command  string          `json:"command"`
	Bundle   string          `json:"bundle"`
	SHA256   image.Digest    `json:"sha256"`
	Totals   loadedTotals    `json:"totals"`
	Tags     []loadedTag     `json:"tags"`
	Problems []bundleProblem `json:"problems"`
	// Missing is what incomplete tags lack, which the file Request lists too.
	Missing []image.Digest `json:"missing"`
	Request string         `json:"request"`
}

type loadedTotals struct {
	Loaded     int `json:"loaded"`
	Kept       int `json:"kept"`
	Incomplete int `json:"incomplete"`
}

type loadedTag struct {
	Tag    string       `json:"tag"`
	Digest image.Digest `json:"digest"`
	Was    image.Digest `json:"was"`
	State  string       `json:"state"`
}

func (a *app) loadedBundle(l bundle.Loaded) error {
	answer := loadedBundle{
		Version: 1, Command: "bundle load", Bundle: l.Name(), SHA256: l.SHA256, Tags: []loadedTag{}, Problems: bundleProblems(l.Problems),
		Missing: append([]image.Digest{}, l.Missing...), Request: l.Request,
	}
	var incomplete []string
	for _, r := range l.Refs {
		answer.Tags = append(answer.Tags, loadedTag{r.String(), r.Digest, r.Was, r.State})
		switch r.State {
		case bundle.Moved:
			answer.Totals.Loaded++
		case bundle.Kept:
			answer.Totals.Kept++
		default:
			answer.Totals.Incomplete++
			incomplete = append(incomplete, r.String())
		}
	}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	a.printBundleProblems(l.Problems)
	slices.Sort(incomplete)
	a.printNames(incomplete, "incomplete; the tag is as it was")
	fmt.Fprintf(a.out, "%s: %s loaded, %d kept, %d incomplete; %s\n", l.Name(), plural(answer.Totals.Loaded, "tag", "tags"),
		answer.Totals.Kept, answer.Totals.Incomplete, l.SHA256)
	if l.Request != "" {
		fmt.Fprintf(a.out, "%s missing, listed in %s. Load the volumes that are missing or damaged from another copy.\n",
			plural(len(l.Missing), "manifest or blob is", "manifests and blobs are"), report.Line(l.Request))
	}
	return nil
}
