package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/bundle"
	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/signature"
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
	c.AddCommand(a.bundleCreateCommand(), a.bundleVerifyCommand(), a.bundleLoadCommand(), a.bundleReceiptCommand(), a.bundleAckCommand(), a.bundleDiffCommand())
	return c
}

func (a *app) bundleCreateCommand() *cobra.Command {
	var o bundle.CreateOptions
	var size, request, key string
	c := &cobra.Command{
		Use:   "create --from PATH --to PATH",
		Short: "Write the images of layouts as a bundle",
		Long: `Write all images of an OCI image layout, or of the layouts below a folder, as a bundle: volumes, which are tar
archives, and ID-NUMBER-bundle.json, which lists them with their SHA-256. The folder --to has to be there.

  dray bundle create --from stage --to /media/stick
  dray bundle create --from stage --to burn --volume-size dvd --id plant-7

Each blob is checked as it is read, and each volume is read back. The list is written last: a folder without it has
no bundle. If dray is interrupted, call it again: it writes what is missing. A blob that is larger than what is left
of a volume is split. Other programs read a bundle of one volume as an archive of an OCI layout (oci-archive: of
skopeo and podman, ctr image import).

What has no tag is left out, and listed.

The bundle leaves out the blobs of the last bundle that the site has acknowledged (see dray bundle ack), and has
everything as long as there is none. --since names the number of another bundle that the site surely has, and --full
leaves out nothing. --for makes a bundle with what a load has found to be missing.

--sign signs the list with a private key of minisign or SSH, and writes the signature beside it, as minisign -S and
ssh-keygen -Y sign -n dray-bundle do. A key with a password is refused: these programs ask for it.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkCreate(o, request); err != nil {
				return err
			}
			var err error
			if o.VolumeSize, err = volumeSize(size); err != nil {
				return usage("--volume-size: %w", err)
			}
			if request != "" {
				if o.For, err = bundle.ReadRequest(request); err != nil {
					return &exitError{exitUsage, err}
				}
			}
			if o.Signer, err = readFileSigner(key); err != nil {
				return err
			}
			o.From, o.Tool, o.Now = strings.TrimPrefix(o.From, image.LayoutScheme), "dray "+buildVersion().Version, time.Now()
			done, err := bundle.Create(c.Context(), o)
			if err != nil {
				return notCreated(err)
			}
			return a.created(done)
		},
	}
	c.Flags().StringVar(&o.From, "from", "", "the layout, or the folder with layouts, at `PATH`")
	c.Flags().StringVar(&o.To, "to", "", "write the files into the folder `PATH`")
	c.Flags().StringVar(&size, "volume-size", "", "the most bytes of a volume: a `SIZE` such as 64m or 4g, or "+strings.Join(mediumNames(), ", ")+"; one volume by default")
	c.Flags().StringVar(&o.ID, "id", usualSite, "the `NAME` of the site that the bundle is for, which begins the names of files")
	c.Flags().BoolVar(&o.Full, "full", false, "leave out nothing, whatever the site has acknowledged")
	c.Flags().IntVar(&o.Since, "since", 0, "leave out what the bundle with this `NUMBER` has")
	c.Flags().StringVar(&request, "for", "", "leave out all but what this `FILE` of dray bundle load asks for")
	signFlag(c, &key)
	completeValues(c, map[string][]string{"volume-size": mediumNames()})
	completeFolders(c, "from", "to")
	completeFiles(c, "for")
	return c
}

// checkCreate says what is wrong with the flags of `dray bundle create`.
func checkCreate(o bundle.CreateOptions, request string) error {
	if o.From == "" || o.To == "" {
		return usage("bundle create takes --from, a layout or a folder with layouts, and --to, a folder")
	}
	if err := bundle.CheckID(o.ID); err != nil {
		return usage("--id: %w", err)
	}
	if o.Since < 0 || o.Full && (o.Since != 0 || request != "") || o.Since != 0 && request != "" {
		return usage("--full, --since and --for exclude each other, and --since is the number of a bundle")
	}
	return nil
}

// notCreated says what helps where a medium takes no file of the size of a volume, or has no room.
func notCreated(err error) error {
	switch {
	case errors.Is(err, syscall.EFBIG):
		err = fmt.Errorf("%w: have smaller volumes, as with --volume-size fat32", err)
	case errors.Is(err, syscall.ENOSPC):
		err = fmt.Errorf("%w: make room and call it again; or write to a folder with more room, with --volume-size, and copy the volumes to several media", err)
	}
	return &exitError{exitFailed, err}
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
	Kept    int           `json:"kept"`
	Base    string        `json:"base"`
	Changes bundleChanges `json:"changes"`
	// LeftOut is what the layouts have without a tag, as PATH@DIGEST.
	LeftOut []string `json:"left_out"`
}

// bundleChanges are the differences between two bundles, or between a bundle and its base, in JSON.
type bundleChanges struct {
	Added   []changedTag `json:"added"`
	Moved   []changedTag `json:"moved"`
	Removed []changedTag `json:"removed"`
	Bytes   int64        `json:"bytes"`
}

type changedTag struct {
	Tag    string       `json:"tag"`
	Digest image.Digest `json:"digest"`
	Was    image.Digest `json:"was"`
}

func newBundleChanges(c bundle.Changes) bundleChanges {
	tags := func(refs []bundle.Ref) []changedTag {
		all := []changedTag{}
		for _, r := range refs {
			all = append(all, changedTag{r.String(), r.Digest, c.Was(r)})
		}
		return all
	}
	changes := bundleChanges{tags(c.Added), tags(c.Moved), tags(c.Removed), c.Bytes}
	for i := range changes.Removed {
		changes.Removed[i].Digest, changes.Removed[i].Was = "", changes.Removed[i].Digest
	}
	return changes
}

// printChanges lists tags that were added, moved and removed.
func (a *app) printChanges(c bundleChanges) {
	for _, t := range c.Added {
		fmt.Fprintf(a.out, "+ %s  %s\n", report.Line(t.Tag), image.ShortDigest(t.Digest))
	}
	for _, t := range c.Moved {
		fmt.Fprintf(a.out, "~ %s  %s → %s\n", report.Line(t.Tag), image.ShortDigest(t.Was), image.ShortDigest(t.Digest))
	}
	for _, t := range c.Removed {
		fmt.Fprintf(a.out, "- %s  %s\n", report.Line(t.Tag), image.ShortDigest(t.Was))
	}
}

// baseOf is the name of the bundle that another one needs; empty for none.
func baseOf(b *bundle.Bundle) string {
	if b.Base == nil {
		return ""
	}
	return fmt.Sprintf("%s-%04d", b.ID, b.Base.Seq)
}

func (a *app) created(done bundle.Created) error {
	answer := createdBundle{
		Version: 1, Command: "bundle create", Bundle: done.Name(), Document: done.Document, SHA256: done.SHA256, Tags: len(done.Refs),
		Volumes: []string{}, Bytes: done.Bytes(), Kept: done.Kept, Base: baseOf(done.Bundle), Changes: newBundleChanges(done.Changes()),
		LeftOut: append([]string{}, done.LeftOut...),
	}
	for _, v := range done.Volumes {
		answer.Volumes = append(answer.Volumes, v.Name)
	}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	a.printChanges(answer.Changes)
	a.printNames(answer.LeftOut, "left out, as it has no tag")
	for _, name := range answer.Volumes {
		fmt.Fprintln(a.out, name)
	}
	rest := ""
	if done.Kept > 0 {
		rest = fmt.Sprintf(", %d of them there already", done.Kept)
	}
	if answer.Base != "" {
		rest += "; it needs what " + answer.Base + " has"
	}
	fmt.Fprintf(a.out, "%s: %s in %s of %s%s; %s\n", report.Line(done.Document), plural(answer.Tags, "tag", "tags"),
		plural(len(answer.Volumes), "volume", "volumes"), report.Size(answer.Bytes), rest, done.SHA256)
	return nil
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	var quick bool
	var keys []string
	c := &cobra.Command{
		Use:               "verify PATH…",
		ValidArgsFunction: completeFolder,
		Short:             "Read a bundle and report what is missing or damaged",
		Long: `Read the bundle in one or several folders, and compare it with its list. dray reports which files are missing or
damaged, which blobs that concerns, and which tags could not be loaded for it. It changes nothing. PATH can also be
the bundle's ID-NUMBER-bundle.json, where a folder has several bundles.

With --key dray first checks who has signed that file: by minisign (.minisig beside it), ssh-keygen -Y sign with the
namespace dray-bundle (.sig), or cosign sign-blob (.sig, or .sigstore.json). A KEY is a file with public keys of
minisign, of SSH (as in authorized_keys), or as PEM.

The answer has the SHA-256 of that file. All else follows from it: if it is what the near side has told by another
way, nobody has changed the bundle. The exit code is 1 if anything is missing or damaged, and 3 if the bundle is
whole, but leaves out blobs that the far side must have from an earlier one.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("name the folder with the bundle")
			}
			parsed, err := readFileKeys(keys)
			if err != nil {
				return err
			}
			v, err := bundle.Verify(c.Context(), args, quick, parsed...)
			if err != nil {
				return &exitError{exitFailed, err}
			}
			if err := a.verifiedBundle(v); err != nil {
				return err
			}
			if !v.Whole() {
				return &exitError{code: exitFailed}
			}
			if v.Base != nil {
				return &exitError{code: exitPartly}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&quick, "quick", false, "only check that the volumes are there and have their sizes")
	keysFlag(c, &keys)
	return c
}

// keysFlag adds --key.
func keysFlag(c *cobra.Command, keys *[]string) {
	c.Flags().StringArrayVar(keys, "key", nil, "a `FILE` with public keys, of which one must have signed; may be repeated")
	completeFiles(c, "key")
}

// readFileKeys reads the files of --key.
func readFileKeys(paths []string) (keys []signature.FileKey, err error) {
	for _, path := range paths {
		text, err := file.Read(path, signature.MaxFileSignature)
		if err != nil {
			return nil, &exitError{exitUsage, err}
		}
		parsed, err := signature.ParseFileKeys(path, text)
		if err != nil {
			return nil, usage("--key: %s %w", path, err)
		}
		keys = append(keys, parsed...)
	}
	return keys, nil
}

// signFlag adds --sign.
func signFlag(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "sign", "", "sign with the private key in this `FILE`")
	completeFiles(c, "sign")
}

// readFileSigner reads the file of --sign; nil for none.
func readFileSigner(path string) (*signature.FileSigner, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	}
	text, err := file.Read(path, signature.MaxFileSignature)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	signer, err := signature.ParseFileSigner(text)
	if err != nil {
		return nil, usage("--sign: %s %w", path, err)
	}
	return signer, nil
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
	Version int          `json:"version"`
	Command string       `json:"command"`
	Bundle  string       `json:"bundle"`
	SHA256  image.Digest `json:"sha256"`
	// SignedBy is the file of the key that has signed; empty without --key.
	SignedBy  string          `json:"signed_by"`
	Tags      int             `json:"tags"`
	Manifests int             `json:"manifests"`
	Blobs     int             `json:"blobs"`
	Volumes   int             `json:"volumes"`
	Bytes     int64           `json:"bytes"`
	Base      string          `json:"base"`
	Problems  []bundleProblem `json:"problems"`
	// Lost are tags that cannot be loaded.
	Lost []string `json:"lost"`
}

func (a *app) verifiedBundle(v bundle.Verified) error {
	answer := verifiedBundle{
		Version: 1, Command: "bundle verify", Bundle: v.Name(), SHA256: v.SHA256, SignedBy: v.Signer, Tags: len(v.Refs), Manifests: len(v.Manifests), Blobs: len(v.Blobs),
		Volumes: len(v.Volumes), Bytes: v.Bytes(), Base: baseOf(v.Bundle), Problems: bundleProblems(v.Problems), Lost: []string{},
	}
	for _, r := range v.Lost {
		answer.Lost = append(answer.Lost, r.String())
	}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	a.printBundleProblems(v.Problems)
	state := "whole"
	if answer.Base != "" {
		state += " if the far side has " + answer.Base
	}
	if !v.Whole() {
		state = plural(len(v.Problems), "problem", "problems")
	}
	a.printNames(answer.Lost, "cannot be loaded")
	fmt.Fprintf(a.out, "%s: %s; %s, %s, %s in %s of %s; %s\n", v.Name(), state, plural(answer.Tags, "tag", "tags"),
		plural(answer.Manifests, "manifest", "manifests"), plural(answer.Blobs, "blob", "blobs"), plural(answer.Volumes, "volume", "volumes"),
		report.Size(answer.Bytes), v.SHA256)
	a.printSigner(v.Signer)
	return nil
}

func (a *app) printSigner(name string) {
	if name != "" {
		fmt.Fprintf(a.out, "signed by a key of %s\n", report.Line(name))
	}
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
	var keys []string
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

With --key nothing is unpacked that is not signed by one of the keys; see dray bundle verify.

With --prune, tags that the near side has removed since the bundle that this one needs are removed too, where they
still are what that bundle had, and once all else is loaded. dray layout gc removes what no tag needs then.

Once a tag of a bundle has moved, an older bundle of that site is refused. The exit code is 3 if something is
missing or damaged, and 1 if nothing can be loaded.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || o.Into == "" {
				return usage("bundle load takes the folder with the bundle, and --into, the folder for the layouts")
			}
			var err error
			if o.Keys, err = readFileKeys(keys); err != nil {
				return err
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
	c.Flags().BoolVar(&o.Prune, "prune", false, "remove tags that the near side has removed")
	keysFlag(c, &keys)
	completeFolders(c, "into")
	return c
}

// loadedBundle is the answer of `dray bundle load` in JSON.
type loadedBundle struct {
	Version int          `json:"version"`
	Command string       `json:"command"`
	Bundle  string       `json:"bundle"`
	SHA256  image.Digest `json:"sha256"`
	// SignedBy is the file of the key that has signed; empty without --key.
	SignedBy string       `json:"signed_by"`
	Totals   loadedTotals `json:"totals"`
	Tags     []loadedTag  `json:"tags"`
	// Removed are tags that the near side no longer has. They stay, but for Pruned.
	Removed  []string        `json:"removed"`
	Pruned   []string        `json:"pruned"`
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
		Version: 1, Command: "bundle load", Bundle: l.Name(), SHA256: l.SHA256, SignedBy: l.Signer, Tags: []loadedTag{}, Removed: []string{}, Pruned: []string{}, Problems: bundleProblems(l.Problems),
		Missing: append([]image.Digest{}, l.Missing...), Request: l.Request,
	}
	var stay []string
	for _, r := range l.Removed {
		answer.Removed = append(answer.Removed, r.String())
		if !slices.Contains(l.Pruned, r) {
			stay = append(stay, r.String())
		}
	}
	for _, r := range l.Pruned {
		answer.Pruned = append(answer.Pruned, r.String())
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
	a.printLoaded(l)
	a.printBundleProblems(l.Problems)
	slices.Sort(incomplete)
	a.printNames(incomplete, "incomplete; the tag is as it was")
	a.printNames(answer.Pruned, "removed, as at the near side")
	a.printNames(stay, "removed at the near side; the tag stays here")
	fmt.Fprintf(a.out, "%s: %s loaded, %d kept, %d incomplete; %s\n", l.Name(), plural(answer.Totals.Loaded, "tag", "tags"),
		answer.Totals.Kept, answer.Totals.Incomplete, l.SHA256)
	a.printSigner(l.Signer)
	if l.Request != "" {
		fmt.Fprintf(a.out, "%s missing, listed in %s. Load the volumes from another copy, or have a bundle made with --for and that file.\n",
			plural(len(l.Missing), "manifest or blob is", "manifests and blobs are"), report.Line(l.Request))
	}
	return nil
}

// printLoaded lists tags that were added and moved.
func (a *app) printLoaded(l bundle.Loaded) {
	var c bundleChanges
	for _, r := range l.Refs {
		switch t := (changedTag{r.String(), r.Digest, r.Was}); {
		case r.State != bundle.Moved:
		case r.Was == "":
			c.Added = append(c.Added, t)
		default:
			c.Moved = append(c.Moved, t)
		}
	}
	a.printChanges(c)
}

func (a *app) bundleReceiptCommand() *cobra.Command {
	var id, out, key string
	c := &cobra.Command{
		Use:               "receipt PATH",
		ValidArgsFunction: completeFolder,
		Short:             "Say what has arrived, for the near side",
		Long: `Look at what the layouts at or below the folder PATH have of the last bundle that was loaded there completely, and
print a receipt for dray bundle ack at the near side: 20 characters, which fit on paper. --out writes a file with
all digests, which also says so if some are gone; 20 characters cannot.

dray reads each blob: what was loaded may have been removed since, and the next bundle leaves out what the receipt
says. --sign signs the file of --out; see dray bundle create. The exit code is 3 if something is missing.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("name the folder that bundles are loaded into")
			}
			if err := bundle.CheckID(id); err != nil {
				return usage("--id: %w", err)
			}
			if key != "" && out == "" {
				return usage("--sign signs the file of --out: 20 characters are not signed")
			}
			signer, err := readFileSigner(key)
			if err != nil {
				return err
			}
			r, err := bundle.MakeReceipt(c.Context(), strings.TrimPrefix(args[0], image.LayoutScheme), id)
			if err == nil && out != "" {
				err = writeReceipt(out, r, signer)
			}
			if err != nil {
				return &exitError{exitFailed, err}
			}
			if err := a.printReceipt(r, out); err != nil {
				return err
			}
			if len(r.Missing) > 0 {
				return &exitError{code: exitPartly}
			}
			return nil
		},
	}
	c.Flags().StringVar(&id, "id", usualSite, "the `NAME` of the site")
	c.Flags().StringVar(&out, "out", "", "write a receipt with all digests to this `FILE`")
	signFlag(c, &key)
	return c
}

func writeReceipt(path string, r bundle.Receipt, signer *signature.FileSigner) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err //nolint:wrapcheck // it does not happen
	}
	if signer != nil {
		ending, text, err := signer.Sign(append(raw, '\n'), "receipt "+r.ID)
		if err == nil {
			err = file.Replace(path+ending, text, 0o644)
		}
		if err != nil {
			return err //nolint:wrapcheck // it says what failed
		}
	}
	return file.Replace(path, append(raw, '\n'), 0o644) //nolint:wrapcheck // it names the file
}

// receiptAnswer is the answer of `dray bundle receipt` in JSON.
type receiptAnswer struct {
	Version int          `json:"version"`
	Command string       `json:"command"`
	Bundle  string       `json:"bundle"`
	State   image.Digest `json:"state"`
	// Code is empty if something is missing.
	Code    string         `json:"code"`
	Held    int            `json:"held"`
	Missing []image.Digest `json:"missing"`
}

func (a *app) printReceipt(r bundle.Receipt, out string) error {
	answer := receiptAnswer{
		Version: 1, Command: "bundle receipt", Bundle: fmt.Sprintf("%s-%04d", r.ID, r.Seq), State: r.State, Code: r.Code(), Held: len(r.Held), Missing: r.Missing,
	}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	if answer.Code != "" {
		fmt.Fprintf(a.out, "%s: %s\n", answer.Bundle, answer.Code)
		return nil
	}
	fmt.Fprintf(a.out, "%s: %d of %s are missing\n", answer.Bundle, len(r.Missing), plural(len(r.Missing)+len(r.Held), "manifest or blob", "manifests and blobs"))
	if out == "" {
		fmt.Fprintln(a.out, "Write a receipt with --out: the near side can send what is missing.")
	}
	return nil
}

func (a *app) bundleAckCommand() *cobra.Command {
	var from, id string
	var older bool
	var keys []string
	c := &cobra.Command{
		Use:               "ack RECEIPT --from PATH",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "Record a receipt, so that the next bundle leaves out what has arrived",
		Long: `Record what dray bundle receipt has printed at the far side, 20 characters or the path of its file. The next bundle
of that site leaves out what has arrived. --from is the folder that bundles are made from. A receipt is refused if
it is of no bundle that was made there, or of an older one than the last receipt. With --key it must be a file that
is signed by one of the keys; see dray bundle verify.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || from == "" {
				return usage("bundle ack takes one receipt, and --from, the folder that bundles are made from")
			}
			if err := bundle.CheckID(id); err != nil {
				return usage("--id: %w", err)
			}
			text, err := receiptText(args[0], keys)
			if err != nil {
				return err
			}
			done, err := bundle.Acknowledge(strings.TrimPrefix(from, image.LayoutScheme), id, text, older)
			if err != nil {
				return &exitError{exitFailed, err}
			}
			return a.acknowledged(done)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the folder `PATH` that bundles are made from")
	c.Flags().StringVar(&id, "id", usualSite, "the `NAME` of the site")
	c.Flags().BoolVar(&older, "allow-older", false, "accept the receipt of an older bundle than the last one")
	keysFlag(c, &keys)
	completeFolders(c, "from")
	return c
}

// receiptText is a receipt: 20 characters, or what a file has.
func receiptText(receipt string, keys []string) (string, error) {
	parsed, err := readFileKeys(keys)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(receipt); err != nil {
		if len(parsed) > 0 {
			return "", usage("with --key the receipt must be a file: 20 characters are not signed")
		}
		return receipt, nil
	}
	text, err := bundle.ReadReceipt(receipt, parsed)
	if err != nil {
		return "", &exitError{exitFailed, err}
	}
	return text, nil
}

// ackAnswer is the answer of `dray bundle ack` in JSON.
type ackAnswer struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	Bundle  string `json:"bundle"`
	Held    int    `json:"held"`
	Missing int    `json:"missing"`
	// Known says that this receipt was recorded before.
	Known bool `json:"known"`
}

func (a *app) acknowledged(done bundle.Acknowledged) error {
	answer := ackAnswer{1, "bundle ack", fmt.Sprintf("%s-%04d", done.ID, done.Seq), done.Held, done.Missing, done.Known}
	if a.output == "json" {
		return a.writeJSON(answer)
	}
	fmt.Fprintf(a.out, "%s has arrived: %s, %d missing\n", answer.Bundle, plural(done.Held, "manifest or blob", "manifests and blobs"), done.Missing)
	return nil
}

func (a *app) bundleDiffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "diff OLD NEW",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "List the tags that differ between two bundles",
		Long: `List the tags that a bundle adds, moves and no longer has, compared with an older one, and how many bytes it has
that the other one lacks. OLD and NEW are folders with one bundle each, or ID-NUMBER-bundle.json files; volumes are
not needed.

` + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("bundle diff takes two bundles")
			}
			var both [2]*bundle.Bundle
			for i, path := range args {
				var err error
				if both[i], err = bundle.ReadDocument(path); err != nil {
					return &exitError{exitFailed, err}
				}
			}
			return a.bundleDiff(both[0], both[1])
		},
	}
	alsoPrints(c, "markdown")
	return c
}

// bundleDiffAnswer is the answer of `dray bundle diff` in JSON.
type bundleDiffAnswer struct {
	Version int           `json:"version"`
	Command string        `json:"command"`
	Old     string        `json:"old"`
	New     string        `json:"new"`
	Changes bundleChanges `json:"changes"`
}

func (a *app) bundleDiff(older, newer *bundle.Bundle) error {
	answer := bundleDiffAnswer{1, "bundle diff", older.Name(), newer.Name(), newBundleChanges(bundle.Compare(older, newer))}
	switch c := answer.Changes; a.output {
	case "json":
		return a.writeJSON(answer)
	case "markdown":
		fmt.Fprintf(a.out, "| tag | %s | %s |\n|---|---|---|\n", answer.Old, answer.New)
		for _, t := range slices.Concat(c.Added, c.Moved, c.Removed) {
			fmt.Fprintf(a.out, "| `%s` | %s | %s |\n", report.Line(t.Tag), image.ShortDigest(t.Was), image.ShortDigest(t.Digest))
		}
	default:
		a.printChanges(c)
		fmt.Fprintf(a.out, "%s → %s: %d added, %d moved, %d removed, %s\n", answer.Old, answer.New, len(c.Added), len(c.Moved), len(c.Removed), report.Size(c.Bytes))
	}
	return nil
}
