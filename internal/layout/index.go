package layout

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// index is an image index in a layout: index.json, or a referrers list. Unknown fields are preserved.
type index struct {
	fields  map[string]json.RawMessage
	entries []entry
}

// entry is a descriptor of an index, with its original bytes.
type entry struct {
	MediaType    string            `json:"mediaType"`
	Digest       image.Digest      `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`

	raw json.RawMessage
}

// name returns the name of an entry: a tag or, as containerd, skopeo, hauler and others write it, the full name of an image.
func (e entry) name() string {
	return cmp.Or(e.Annotations[containerdName], e.Annotations[refName])
}

// tag returns the tag of an entry, which may end a full name; empty for none, as for a name that ends with a digest.
func (e entry) tag() string {
	name := e.name()
	if strings.Contains(name, "@") {
		return ""
	}
	path := strings.LastIndexByte(name, '/')
	if i := strings.LastIndexByte(name, ':'); i > path {
		return name[i+1:]
	}
	if path >= 0 {
		return ""
	}
	return name
}

func (e entry) descriptor() image.Descriptor {
	return image.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}
}

// errDamaged reports an invalid index.json.
var errDamaged = errors.New("is damaged and was left as it is")

// WayOut ends the errors of a damaged layout: it says what to do.
const WayOut = "if dray writes this layout, run dray layout repair and sync again; else copy the layout again"

func newIndex() *index {
	return &index{fields: map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"),
		"mediaType":     json.RawMessage(`"` + image.MediaTypeOCIIndex + `"`),
	}}
}

// readIndex reads the index.json of a layout. If the directory is not a layout, the error wraps image.ErrAbsent.
func readIndex(dir string) (*index, error) {
	raw, err := indexBytes(dir)
	if err != nil {
		return nil, err
	}
	return indexOf(dir, raw)
}

func indexBytes(dir string) ([]byte, error) {
	raw, err := file.Read(filepath.Join(dir, indexFile), maxIndex)
	return raw, noLayout(dir, err)
}

// noLayout returns an error of reading the index.json of a directory: one without it is not a layout.
func noLayout(dir string, err error) error {
	if err = absentIfMissing(err); errors.Is(err, image.ErrAbsent) {
		return fmt.Errorf("%s is not an OCI layout: %w", dir, err)
	}
	return err
}

// indexOf parses the index.json of a layout.
func indexOf(dir string, raw []byte) (*index, error) {
	ix, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s %w (%w); %s", filepath.Join(dir, indexFile), errDamaged, err, WayOut)
	}
	return ix, nil
}

func parseIndex(raw []byte) (*index, error) {
	ix := &index{}
	if err := json.Unmarshal(raw, &ix.fields); err != nil {
		return nil, err
	}
	if ix.fields == nil {
		return nil, errors.New("null instead of an object")
	}
	var list []json.RawMessage
	if m, ok := ix.fields["manifests"]; ok {
		if err := json.Unmarshal(m, &list); err != nil {
			return nil, err
		}
	}
	for _, item := range list {
		e := entry{raw: item}
		if err := json.Unmarshal(item, &e); err != nil {
			return nil, err
		}
		ix.entries = append(ix.entries, e)
	}
	return ix, nil
}

// find returns the entry of a tag or of a digest. An entry named by the tag alone goes before those with full names.
func (ix *index) find(r image.Reference) (found entry, ok bool) {
	for _, e := range ix.entries {
		switch {
		case r.Digest != "" && e.Digest == r.Digest, r.Digest == "" && e.name() == r.Tag:
			return e, true
		case r.Digest == "" && e.tag() == r.Tag && !ok:
			found, ok = e, true
		}
	}
	return found, ok
}

// nameless returns the digests of the entries without a name.
func (ix *index) nameless() (digests []string) {
	for _, e := range ix.entries {
		if e.name() == "" && e.Digest != "" {
			digests = append(digests, string(e.Digest))
		}
	}
	return digests
}

// insteadOf says what images there are instead of a tag, if none has a name.
func (ix *index) insteadOf() string {
	all := ix.nameless()
	if len(all) == 0 || len(all) < len(ix.entries) {
		return ""
	}
	return fmt.Sprintf(", and none of the images in %s has a name (the annotation %s): name one by its digest, such as @%s", indexFile, refName, all[0])
}

// ambiguousError says that a layout has several images with one tag. It is an [image.ErrHidden]: the layout does not say which one is meant.
type ambiguousError struct {
	tag   string
	names []string
}

func (e ambiguousError) Error() string {
	return fmt.Sprintf("tag %s is that of several images (%s); name one by its digest", e.tag, strings.Join(e.names, ", "))
}

func (ambiguousError) Is(target error) bool { return target == image.ErrHidden }

// ambiguous returns an error if a tag ends the full names of several images and no entry is named by it alone.
func (ix *index) ambiguous(tag string) error {
	names := map[string]image.Digest{}
	for _, e := range ix.entries {
		if e.name() == tag {
			return nil
		}
		if e.tag() == tag {
			names[e.name()] = e.Digest
		}
	}
	list := slices.Sorted(maps.Keys(names))
	for _, name := range list {
		if names[name] != names[list[0]] {
			return ambiguousError{tag, list}
		}
	}
	return nil
}

// set makes tags name manifests, each at the tag's position. Entries with full names belong to others.
func (ix *index) set(tags ...Tagged) {
	next := map[string]entry{}
	for _, t := range tags {
		next[t.Tag] = entry{MediaType: t.MediaType, Digest: t.Digest, Size: t.Size, Annotations: map[string]string{refName: t.Tag}}
	}
	all, placed := make([]entry, 0, len(ix.entries)+len(next)), map[string]bool{}
	place := func(tag string, e entry) {
		if !placed[tag] {
			all = append(all, e)
		}
		placed[tag] = true
	}
	for _, old := range ix.entries {
		if e, ok := next[old.name()]; ok {
			place(old.name(), e)
		} else {
			all = append(all, old)
		}
	}
	for _, t := range tags {
		place(t.Tag, next[t.Tag])
	}
	ix.entries = all
}

func (ix *index) bytes() ([]byte, error) {
	list := make([]json.RawMessage, 0, len(ix.entries))
	for _, e := range ix.entries {
		if e.raw == nil {
			raw, err := json.Marshal(e)
			if err != nil {
				return nil, err
			}
			e.raw = raw
		}
		list = append(list, e.raw)
	}
	manifests, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	ix.fields["manifests"] = manifests
	return json.Marshal(ix.fields)
}

// write writes the index.json of a layout, and returns its bytes.
func (ix *index) write(dir string) ([]byte, error) {
	raw, err := ix.bytes()
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", dir, err)
	}
	return raw, writeFile(dir, filepath.Join(dir, indexFile), raw)
}

// subjectOf returns the digest of a manifest's subject; empty for none.
func subjectOf(raw []byte) image.Digest {
	var m struct {
		Subject struct {
			Digest image.Digest `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(raw, &m) != nil || m.Subject.Digest.Validate() != nil {
		return ""
	}
	return m.Subject.Digest
}

// errNoList reports that the tag of a referrers list has something else.
var errNoList = errors.New("an image has the tag of the list of what refers to it: exclude that tag, or set referrers: false")

// referrersOf returns the list under the fallback tag of a subject; an empty one if there is none. The error wraps errNoList if an image is
// tagged with its own digest.
func referrersOf(dir string, ix *index, subject image.Digest) (*index, error) {
	e, found := ix.find(image.Reference{Tag: image.ReferrersTag(subject)})
	if !found {
		return newIndex(), nil
	}
	raw, err := readBounded(blobPath(dir, e.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return newIndex(), nil
	}
	if err != nil {
		return nil, err
	}
	if !image.ListsReferrers(raw) {
		return nil, errNoList
	}
	return parseIndex(raw)
}

// addReferrer adds a manifest to its subject's list and makes the fallback tag in ix name the new list.
func addReferrer(dir string, ix *index, subject image.Digest, m image.Manifest) error {
	list, err := referrersOf(dir, ix, subject)
	if err != nil {
		return fmt.Errorf("list of referrers of %s: %w", subject, err)
	}
	if _, found := list.find(image.Reference{Digest: m.Digest}); found {
		return nil
	}
	e, _, err := describe(m)
	if err != nil {
		return err
	}
	list.entries = append(list.entries, e)
	raw, err := list.bytes()
	if err != nil {
		return err
	}
	d := image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: image.DigestOf(raw, ""), Size: int64(len(raw))}
	if err := writeFile(dir, blobPath(dir, d.Digest), raw); err != nil {
		return err
	}
	ix.set(Tagged{image.ReferrersTag(subject), d})
	return nil
}

// describe returns a manifest as a list of referrers has it (OCI distribution spec, "Listing Referrers"), and its subject; empty for none.
func describe(m image.Manifest) (e entry, subject image.Digest, err error) {
	var about struct {
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
		Config       struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
	}
	if err = json.Unmarshal(m.Raw, &about); err != nil {
		err = fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	return entry{
		MediaType: m.MediaType, Digest: m.Digest, Size: m.Size, ArtifactType: cmp.Or(about.ArtifactType, about.Config.MediaType), Annotations: about.Annotations,
	}, subjectOf(m.Raw), err
}
