// Package bundle writes and reads bundles, which carry the images of OCI layouts over media to where there is no network.
//
// A bundle is a set of files: volumes, which are tar archives of a bounded size, and a document that describes them byte for byte, ID-SEQ-bundle.json.
// The document is written last, so that a set without it is no bundle. A volume has nothing but blobs/ALGORITHM/HEX entries, those of a blob that
// was split with the ending .part-0001 and so on; the first volume begins with oci-layout and index.json, so that a bundle of one volume is an
// OCI layout in a tar archive, which other programs read.
//
// Since the document determines every byte of a volume but the content of blobs, a volume is not parsed: it is compared with what it has to
// be. No name, size or count in a volume is relied on.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/lazyregexp"
)

const (
	version = 1
	// maxDocument is the most bytes that the document of a bundle may have.
	maxDocument = 64 << 20
	// MaxSize is the most bytes that a blob or a volume may have. Sums of as many as a document can have do not overflow.
	MaxSize = 1 << 42
	// MaxVolumes is the most volumes that a bundle may have.
	MaxVolumes = 999
	// MinVolume is the least size of a volume that can be asked for, in bytes.
	MinVolume = 64 << 10
	// maxRepository is the most characters of the path of a layout below the folder that is bundled.
	maxRepository = 255

	documentEnding = "-bundle.json"
)

// Bundle is the document of a bundle.
type Bundle struct {
	// Sum is the SHA-256 of the document with zeros in its place, as digits. It is the first field, and finds damages; it does not say who wrote
	// the document.
	Sum     string `json:"sha256"`
	Version int    `json:"version"`
	// ID names the site that the bundle is for. It is part of the names of files.
	ID string `json:"id"`
	// Seq counts the bundles of a site from 1.
	Seq     int       `json:"seq"`
	Created time.Time `json:"created"`
	Tool    string    `json:"tool"`
	// Base is what the far side has already; nil for a bundle that needs nothing.
	Base *Base `json:"base,omitempty"`
	// Refs are sorted by repository and tag.
	Refs []Ref `json:"refs"`
	// Manifests and Blobs are all that the refs need, each once, in the order in which they are first needed. Blobs that no volume has are in the base.
	Manifests []Content `json:"manifests"`
	Blobs     []Content `json:"blobs"`
	Volumes   []Volume  `json:"volumes"`
	// Removed are refs of the base that are no longer there.
	Removed []Ref `json:"removed"`
	// State is [Bundle.HeldState] of the manifests and blobs.
	State image.Digest `json:"state"`
}

// Base is an earlier bundle of the site, of which the far side has the content.
type Base struct {
	Seq   int          `json:"seq"`
	State image.Digest `json:"state"`
}

// Ref is a tag of a layout.
type Ref struct {
	// Repository is the path of the layout below the folder that was bundled, with slashes; empty for that folder itself.
	Repository string       `json:"repository"`
	Tag        string       `json:"tag"`
	Digest     image.Digest `json:"digest"`
	MediaType  string       `json:"media_type"`
	Size       int64        `json:"size"`
	// Was is the digest of the tag in the base; empty for none.
	Was image.Digest `json:"was,omitempty"`
}

// String is the name of a ref.
func (r Ref) String() string {
	if r.Repository == "" {
		return r.Tag
	}
	return r.Repository + ":" + r.Tag
}

func (r Ref) descriptor() image.Descriptor {
	return image.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size}
}

// Content is a manifest or a blob.
type Content struct {
	Digest image.Digest `json:"digest"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// Volume is a tar archive.
type Volume struct {
	Name string `json:"name"`
	// Size is in bytes.
	Size   int64        `json:"size"`
	Digest image.Digest `json:"digest"`
	// Parts are the entries of the archive, in its order.
	Parts []Part `json:"parts"`
}

// Part is content, or a part of it, in a volume.
type Part struct {
	Digest image.Digest `json:"digest"`
	// Offset is where in the content the part begins, and Size how long it is, in bytes.
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`

	// number is that of the part among those of its content, from 1; 0 where there is only one.
	number int
}

// prefix begins the names of a bundle's files.
func prefix(id string, seq int) string { return fmt.Sprintf("%s-%04d", id, seq) }

// Name is that of the bundle: its ID and its sequence number.
func (b *Bundle) Name() string { return prefix(b.ID, b.Seq) }

func (b *Bundle) documentName() string { return b.Name() + documentEnding }

func (b *Bundle) volumeName(i int) string { return fmt.Sprintf("%s-vol-%03d.tar", b.Name(), i+1) }

// contents are the manifests, then the blobs.
func (b *Bundle) contents() []Content { return slices.Concat(b.Manifests, b.Blobs) }

// inVolumes are the digests of what the volumes have.
func (b *Bundle) inVolumes() map[image.Digest]bool {
	all := map[image.Digest]bool{}
	for _, v := range b.Volumes {
		for _, p := range v.Parts {
			all[p.Digest] = true
		}
	}
	return all
}

// sizes are those of the contents, in bytes.
func (b *Bundle) sizes() map[image.Digest]int64 {
	all := map[image.Digest]int64{}
	for _, c := range b.contents() {
		all[c.Digest] = c.Size
	}
	return all
}

// Bytes is the size of all volumes.
func (b *Bundle) Bytes() (n int64) {
	for _, v := range b.Volumes {
		n += v.Size
	}
	return n
}

// HeldState is the SHA-256 over the digests of all content, sorted, each with a newline: what a site holds that has the refs.
func (b *Bundle) HeldState() image.Digest {
	var lines []string
	for _, c := range b.contents() {
		lines = append(lines, string(c.Digest)+"\n")
	}
	slices.Sort(lines)
	sum := sha256.New()
	for _, line := range lines {
		_, _ = sum.Write([]byte(line)) // a hash never fails
	}
	return image.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
}

var (
	// idName matches what may begin a file's name on every medium, and be told to somebody by phone.
	idName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)
	// folderName matches the parts of a layout's path. A colon is in those that begin with the host and the port of a registry.
	folderName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._:-]*$`)
)

// CheckID says what is wrong with the ID of a site.
func CheckID(id string) error {
	if !idName().MatchString(id) {
		return fmt.Errorf("%q cannot begin the names of files: write at most 40 letters, digits, '.', '_' and '-', a letter or a digit first", id)
	}
	return nil
}

// checkRepository says what is wrong with the path of a layout: it must stay in the folder that it is below, and in no layout.
func checkRepository(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > maxRepository || !filepath.IsLocal(path) {
		return fmt.Errorf("%q cannot be the path of a layout", path)
	}
	for name := range strings.SplitSeq(path, "/") {
		if !folderName().MatchString(name) || name == "blobs" {
			return fmt.Errorf("%q cannot be a part of the path of a layout", name)
		}
	}
	return nil
}

// A document begins with its own sum.
const (
	sumBefore = `{"sha256":"`
	sumLength = 2 * sha256.Size
)

// encode returns the document, if it can be read.
func (b *Bundle) encode() ([]byte, error) {
	b.Sum = strings.Repeat("0", sumLength)
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", b.Name(), err)
	}
	b.Sum = sumOf(raw)
	copy(raw[len(sumBefore):], b.Sum)
	if _, err := Parse(raw); err != nil {
		return nil, fmt.Errorf("bundle %s could not be read: %w", b.Name(), err)
	}
	return raw, nil
}

// fits says whether the document of a bundle whose volumes are planned can be read. Its length does not depend on what the volumes have.
func (b *Bundle) fits() error {
	planned := *b
	planned.Sum, planned.Volumes = strings.Repeat("0", sumLength), slices.Clone(b.Volumes)
	for i := range planned.Volumes {
		v := &planned.Volumes[i]
		size, err := b.volumeSize(i)
		if err != nil {
			return err
		}
		v.Size, v.Digest = size, image.Digest("sha256:"+planned.Sum)
	}
	raw, err := json.Marshal(&planned)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", b.Name(), err)
	}
	if len(raw) > maxDocument {
		return fmt.Errorf("the list of bundle %s takes %d bytes, and %d are the most: make one of fewer layouts, or of fewer tags", b.Name(), len(raw), maxDocument)
	}
	return nil
}

// sumOf returns the sum of a document, whatever sum it has.
func sumOf(raw []byte) string {
	sum := sha256.New()
	for _, part := range [][]byte{raw[:len(sumBefore)], bytes.Repeat([]byte("0"), sumLength), raw[len(sumBefore)+sumLength:]} {
		_, _ = sum.Write(part) // a hash never fails
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Parse reads the document of a bundle, and checks that it describes volumes completely: what it names, how its parts make up the content, and
// that sizes add up.
func Parse(raw []byte) (*Bundle, error) {
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("it is larger than %d bytes", maxDocument)
	}
	if len(raw) < len(sumBefore)+sumLength || string(raw[:len(sumBefore)]) != sumBefore {
		return nil, errors.New("it does not begin with its SHA-256")
	}
	if sumOf(raw) != string(raw[len(sumBefore):][:sumLength]) {
		return nil, errors.New("it does not match its SHA-256")
	}
	var about struct{ Version int }
	if err := json.Unmarshal(raw, &about); err != nil {
		return nil, err
	}
	if about.Version != version {
		return nil, fmt.Errorf("it has version %d of the format, and this program reads version %d", about.Version, version)
	}
	b := &Bundle{}
	if err := json.Unmarshal(raw, b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Bundle) check() error {
	if err := CheckID(b.ID); err != nil {
		return err
	}
	if b.Seq < 1 || b.Seq > 1<<30 {
		return fmt.Errorf("it has the sequence number %d", b.Seq)
	}
	if b.Base != nil && (b.Base.Seq < 1 || b.Base.Seq >= b.Seq || b.Base.State.Validate() != nil) {
		return fmt.Errorf("it needs the bundle %d", b.Base.Seq)
	}
	sizes := map[image.Digest]int64{}
	for i, c := range b.contents() {
		switch _, twice := sizes[c.Digest]; {
		case c.Digest.Validate() != nil:
			return fmt.Errorf("%q is not a digest", c.Digest)
		case twice:
			return fmt.Errorf("%s is listed twice", c.Digest)
		case c.Size < 0 || c.Size > MaxSize || i < len(b.Manifests) && c.Size > layout.MaxManifest:
			return fmt.Errorf("%s has %d bytes", c.Digest, c.Size)
		}
		sizes[c.Digest] = c.Size
	}
	if err := b.checkRefs(sizes); err != nil {
		return err
	}
	if err := b.checkVolumes(sizes); err != nil {
		return err
	}
	if b.State != b.HeldState() {
		return errors.New("its state is not that of its digests")
	}
	return nil
}

func (b *Bundle) checkRefs(sizes map[image.Digest]int64) error {
	for _, r := range b.Removed {
		if err := checkRepository(r.Repository); err != nil || !image.ValidTag(r.Tag) || r.Digest.Validate() != nil {
			return fmt.Errorf("%q with the digest %q cannot be a tag that was removed", r, r.Digest)
		}
	}
	for i, r := range b.Refs {
		if err := checkRepository(r.Repository); err != nil {
			return err
		}
		if !image.ValidTag(r.Tag) {
			return fmt.Errorf("%q is not a tag", r.Tag)
		}
		if r.Was != "" && r.Was.Validate() != nil {
			return fmt.Errorf("%s was %q, which is not a digest", r, r.Was)
		}
		if size, ok := sizes[r.Digest]; !ok || size != r.Size || size > layout.MaxManifest {
			return fmt.Errorf("%s has the digest %s with %d bytes, which is not listed so", r, r.Digest, r.Size)
		}
		if i > 0 && compareRefs(b.Refs[i-1], r) >= 0 {
			return fmt.Errorf("%s is listed twice, or not in order", r)
		}
	}
	return nil
}

// checkVolumes numbers the parts as well.
func (b *Bundle) checkVolumes(sizes map[image.Digest]int64) error {
	if len(b.Volumes) == 0 || len(b.Volumes) > MaxVolumes {
		return fmt.Errorf("it has %d volumes", len(b.Volumes))
	}
	if err := b.number(sizes); err != nil {
		return err
	}
	for i, v := range b.Volumes {
		if v.Name != b.volumeName(i) {
			return fmt.Errorf("volume %d has the name %q", i+1, v.Name)
		}
		if v.Digest.Validate() != nil || v.Digest.Algorithm() != "sha256" {
			return fmt.Errorf("%s: %q is not a SHA-256", v.Name, v.Digest)
		}
		size, err := b.volumeSize(i)
		if err != nil {
			return err
		}
		if v.Size != size {
			return fmt.Errorf("%s has %d bytes, and its parts make %d", v.Name, v.Size, size)
		}
	}
	return nil
}

// number gives parts their numbers, and checks that they make up content in order, each once.
func (b *Bundle) number(sizes map[image.Digest]int64) error {
	end, parts := map[image.Digest]int64{}, map[image.Digest]int{}
	for i := range b.Volumes {
		for k := range b.Volumes[i].Parts {
			p := &b.Volumes[i].Parts[k]
			size, listed := sizes[p.Digest]
			switch {
			case !listed:
				return fmt.Errorf("%s has %q, which is not listed", b.volumeName(i), p.Digest)
			case p.Offset != end[p.Digest] || p.Size < 0 || p.Size > size-p.Offset || p.Size == 0 && size != 0 || p.Size == 0 && parts[p.Digest] != 0:
				return fmt.Errorf("%s has %d bytes of %s from %d, which does not follow what is before", b.volumeName(i), p.Size, p.Digest, p.Offset)
			}
			end[p.Digest] += p.Size
			parts[p.Digest]++
			if p.number = 0; p.Size < size {
				p.number = parts[p.Digest]
			}
		}
	}
	for i, c := range b.contents() {
		if parts[c.Digest] == 0 && b.Base != nil && i >= len(b.Manifests) {
			continue
		}
		if parts[c.Digest] == 0 || end[c.Digest] != c.Size {
			return fmt.Errorf("%s is not in the volumes, or not all of it", c.Digest)
		}
	}
	return nil
}

func compareRefs(a, b Ref) int {
	if c := strings.Compare(a.Repository, b.Repository); c != 0 {
		return c
	}
	return strings.Compare(a.Tag, b.Tag)
}
