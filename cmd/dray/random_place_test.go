package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// randomPlace is a target repository, with what has been taken from it behind dray's back.
type randomPlace struct {
	holder
	target string // as the config names it
	host   *randomHost
	path   string // the repository at host; the directory of a layout
	// lax: it takes manifests whose parts are missing. Nothing is taken from such a one, as only a refusal tells dray of it.
	lax bool
	// seen are the digests of all manifests that were ever there.
	seen map[string]bool
	// excused are the holes that dray cannot see; see excuse.
	excused map[hole]bool
}

// hole is a part that a manifest lacks.
type hole struct{ manifest, part string }

// holder looks at a target, and harms it, without dray.
type holder interface {
	tags() []string
	digest(tag string) string       // "" for none
	manifest(digest string) []byte  // nil for none
	hasBlob(digest string) bool     // whatever its size
	whole(digest string) error      // nil where all below is there and has its digest
	remove(digest string)           // a blob, or a manifest with its tags
	untag(tag string)               // and leave the manifest
	retag(tag, digest string) error // to a manifest that is there
}

// document is what a manifest refers to.
type document struct {
	SchemaVersion int
	MediaType     string
	Config        *entry
	Layers        []entry
	Manifests     []entry
	Subject       *entry
}

type entry struct {
	MediaType, Digest string
	URLs              []string
	Platform          struct{ OS, Architecture string }
	Annotations       map[string]string
}

func parseDocument(raw []byte) (d document) {
	_ = json.Unmarshal(raw, &d) // a layer has no parts
	return d
}

// blobs are the config and the layers that a target has to hold.
func (d document) blobs() []string {
	var list []string
	if d.Config != nil {
		list = append(list, d.Config.Digest)
	}
	for _, l := range d.Layers {
		if len(l.URLs) == 0 {
			list = append(list, l.Digest)
		}
	}
	return list
}

func (d document) children() []string {
	var list []string
	for _, m := range d.Manifests {
		list = append(list, m.Digest)
	}
	return list
}

func newPlace(h holder, target string) *randomPlace {
	return &randomPlace{holder: h, target: target, seen: map[string]bool{}, excused: map[hole]bool{}}
}

func newRegistryPlace(h *randomHost, path string, lax bool) *randomPlace {
	p := newPlace(inRegistry{h.Registry, path}, h.host+"/"+path)
	p.host, p.path, p.lax = h, path, lax
	return p
}

func newLayoutPlace(dir string) *randomPlace {
	p := newPlace(inLayout(dir), "ocidir://"+dir)
	p.path = dir
	return p
}

// snapshot is what the tags hold.
func (p *randomPlace) snapshot() map[string]string {
	held := map[string]string{}
	for _, tag := range p.tags() {
		if d := p.digest(tag); d != "" {
			held[tag] = d
		}
	}
	return held
}

// standing are the manifests that are there, sorted.
func (p *randomPlace) standing() []string {
	if p.host == nil {
		return slices.DeleteFunc(inLayout(p.path).files(), func(d string) bool { return parseDocument(p.manifest(d)).SchemaVersion == 0 })
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.seen)), func(d string) bool { return p.manifest(d) == nil })
}

// blobs are those that are there below the manifests, sorted, and those among them that several manifests share, most shared first.
func (p *randomPlace) blobs() (all, shared []string) {
	users := map[string]int{}
	for _, m := range p.standing() {
		for _, b := range parseDocument(p.manifest(m)).blobs() {
			users[b]++
		}
	}
	all = slices.DeleteFunc(slices.Sorted(maps.Keys(users)), func(b string) bool { return !p.hasBlob(b) })
	shared = slices.DeleteFunc(slices.Clone(all), func(b string) bool { return users[b] < 2 })
	slices.SortStableFunc(shared, func(a, b string) int { return users[b] - users[a] })
	return all, shared
}

// take removes a blob or a manifest, with an excuse.
func (p *randomPlace) take(digest string) {
	p.remove(digest)
	p.excuse(digest)
}

// excuse notes a part that was taken from manifests which stand. This is the rule of what dray has to fix:
//
// dray compares tags by digest, and it takes a manifest that a registry has for whole, because a registry refuses one whose
// parts are missing. So it cannot see that a part was taken from below a manifest which stands there: under a tag that keeps its
// digest, or as a child that a new index shares with an old one. Such a hole is excused as long as that manifest stands and is
// not pushed again. Every manifest that dray pushes has to have all its parts, whatever was taken before, and whatever the memory
// of earlier runs says of them.
func (p *randomPlace) excuse(part string) {
	for _, m := range p.standing() {
		d := parseDocument(p.manifest(m))
		if slices.Contains(d.blobs(), part) || slices.Contains(d.children(), part) {
			p.excused[hole{m, part}] = true
		}
	}
}

// learn takes note of the manifests that were pushed: they are no longer excused.
func (p *randomPlace) learn(pushed []string) {
	for _, d := range pushed {
		p.seen[d] = true
	}
	standing := p.standing()
	maps.DeleteFunc(p.excused, func(h hole, _ bool) bool {
		return slices.Contains(pushed, h.manifest) || !slices.Contains(standing, h.manifest)
	})
}

// broken returns what is wrong below a manifest, but for what is excused.
func (p *randomPlace) broken(digest string) error {
	excused, err := p.holes(digest)
	if err != nil {
		return fmt.Errorf("%s: %w", p.target, err)
	}
	if excused > 0 {
		return nil
	}
	return p.whole(digest)
}

// holes walks the graph below a manifest, counts the excused holes, and returns the first other one as an error.
func (p *randomPlace) holes(digest string) (excused int, err error) {
	raw := p.manifest(digest)
	if raw == nil {
		return 0, fmt.Errorf("manifest %s is missing", digest)
	}
	d := parseDocument(raw)
	for _, b := range d.blobs() {
		switch {
		case p.hasBlob(b):
		case p.excused[hole{digest, b}]:
			excused++
		default:
			return excused, fmt.Errorf("blob %s of %s is missing", b, digest)
		}
	}
	for _, c := range d.children() {
		if p.manifest(c) == nil && p.excused[hole{digest, c}] {
			excused++
			continue
		}
		more, err := p.holes(c)
		excused += more
		if err != nil {
			return excused, fmt.Errorf("below %s: %w", digest, err)
		}
	}
	return excused, nil
}

// collect removes what no tag leads to, as a registry's garbage collection does. Referrers stay with their subject.
func (p *randomPlace) collect() (removed int) {
	alive := map[string]bool{}
	for _, d := range p.snapshot() {
		p.reach(d, alive)
	}
	standing := p.standing()
	for grown := true; grown; {
		before := len(alive)
		for _, m := range standing {
			if s := parseDocument(p.manifest(m)).Subject; s != nil && alive[s.Digest] {
				p.reach(m, alive)
			}
		}
		grown = len(alive) > before
	}
	blobs, _ := p.blobs()
	for _, digest := range slices.Concat(blobs, standing) {
		if !alive[digest] {
			p.remove(digest)
			removed++
		}
	}
	p.learn(nil)
	return removed
}

// reach adds a manifest and all below it.
func (p *randomPlace) reach(digest string, alive map[string]bool) {
	d := parseDocument(p.manifest(digest))
	alive[digest] = true
	for _, b := range d.blobs() {
		alive[b] = true
	}
	for _, c := range d.children() {
		p.reach(c, alive)
	}
}

// lists tells whether the target names the artifact among what refers to a manifest.
func (p *randomPlace) lists(subject, artifact string) bool {
	raw := p.manifest(artifact)
	if raw == nil {
		return false
	}
	if p.host != nil && p.host.api {
		s := parseDocument(raw).Subject
		return s != nil && s.Digest == subject
	}
	list := p.digest(strings.Replace(subject, ":", "-", 1))
	return slices.Contains(parseDocument(p.manifest(list)).children(), artifact)
}

// inRegistry is a repository of an emulated registry.
type inRegistry struct {
	*registry.Registry
	repository string
}

func (r inRegistry) tags() []string { return r.Tags(r.repository) }

func (r inRegistry) digest(tag string) string { return r.Digest(r.repository, tag) }

func (r inRegistry) manifest(digest string) []byte {
	if digest == "" {
		return nil
	}
	_, body, _ := r.Manifest(r.repository, digest)
	return body
}

func (r inRegistry) hasBlob(digest string) bool { return r.HasBlob(r.repository, digest) }

func (r inRegistry) whole(digest string) error { return r.Whole(r.repository, digest) }

func (r inRegistry) remove(digest string) {
	r.DeleteBlob(r.repository, digest)
	r.DeleteManifest(r.repository, digest)
}

func (r inRegistry) untag(tag string) { r.DeleteTag(r.repository, tag) }

func (r inRegistry) retag(tag, digest string) error { return r.PutTag(r.repository, tag, digest) }

// pushed are the digests of the manifests that the log says were written, and the references by which they were.
func (p *randomPlace) pushed() (digests, references []string) {
	if p.host == nil {
		return nil, nil
	}
	for _, r := range p.host.Requests() {
		if r.Method != http.MethodPut || r.Kind != registry.KindManifest || r.Repository != p.path {
			continue
		}
		references = append(references, r.Reference)
		if d := p.digest(r.Reference); d != "" && r.Status == http.StatusCreated {
			digests = append(digests, d)
		}
	}
	return digests, references
}

// inLayout is the directory of an OCI image layout, read as another program would.
type inLayout string

func (l inLayout) index() (fields map[string]json.RawMessage, entries []json.RawMessage) {
	raw, err := os.ReadFile(filepath.Join(string(l), "index.json"))
	if err != nil {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, nil
	}
	_ = json.Unmarshal(fields["manifests"], &entries)
	return fields, entries
}

func tagOf(raw json.RawMessage) (tag, digest string) {
	var e entry
	_ = json.Unmarshal(raw, &e)
	return e.Annotations["org.opencontainers.image.ref.name"], e.Digest
}

func (l inLayout) tags() []string {
	var list []string
	_, entries := l.index()
	for _, e := range entries {
		tag, _ := tagOf(e)
		list = append(list, tag)
	}
	return list
}

func (l inLayout) digest(reference string) string {
	_, entries := l.index()
	for _, e := range entries {
		if tag, digest := tagOf(e); tag == reference && l.hasBlob(digest) {
			return digest
		}
	}
	return ""
}

func (l inLayout) manifest(digest string) []byte {
	raw, err := os.ReadFile(l.file(digest))
	if err != nil {
		return nil
	}
	return raw
}

func (l inLayout) file(digest string) string {
	return filepath.Join(string(l), "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func (l inLayout) files() []string {
	found, _ := filepath.Glob(l.file("*"))
	for i, f := range found {
		found[i] = "sha256:" + filepath.Base(f)
	}
	return found
}

func (l inLayout) hasBlob(digest string) bool {
	_, err := os.Stat(l.file(digest))
	return err == nil
}

func (l inLayout) whole(digest string) error {
	below := map[string]bool{}
	newLayoutPlace(string(l)).reach(digest, below)
	for d := range below {
		if got := registry.Sum(l.manifest(d)); got != d {
			return fmt.Errorf("%s: the file of %s has digest %s", l, d, got)
		}
	}
	return nil
}

func (l inLayout) remove(digest string) {
	_ = os.Remove(l.file(digest))
	l.rewrite(func(e json.RawMessage) (json.RawMessage, bool) {
		_, named := tagOf(e)
		return e, named != digest
	})
}

func (l inLayout) untag(tag string) {
	l.rewrite(func(e json.RawMessage) (json.RawMessage, bool) {
		name, _ := tagOf(e)
		return e, name != tag
	})
}

func (l inLayout) retag(tag, digest string) error {
	raw := l.manifest(digest)
	moved := fmt.Appendf(nil, `{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}`,
		parseDocument(raw).MediaType, digest, len(raw), tag)
	l.rewrite(func(e json.RawMessage) (json.RawMessage, bool) {
		if name, _ := tagOf(e); name == tag {
			return moved, true
		}
		return e, true
	})
	return nil
}

func (l inLayout) rewrite(each func(json.RawMessage) (json.RawMessage, bool)) {
	fields, entries := l.index()
	if fields == nil {
		return
	}
	kept := []json.RawMessage{}
	for _, e := range entries {
		if e, keep := each(e); keep {
			kept = append(kept, e)
		}
	}
	fields["manifests"], _ = json.Marshal(kept)
	raw, _ := json.Marshal(fields)
	_ = os.WriteFile(filepath.Join(string(l), "index.json"), raw, 0o600)
}
