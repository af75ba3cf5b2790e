package config

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/imagelist"
)

// usualRename is where an image is below a target by default.
const usualRename = "{{.Registry}}/{{.Repository}}"

// namedImage is a reference of images, or of a file.
type namedImage struct {
	ref image.Reference
	at  origin
}

// images reads the images of a mapping that names each, and where they go.
func (b *builder) images(s *mappingSection, m *Mapping) {
	for _, at := range []origin{s.Tags.origin, s.Repositories.origin} {
		if at.set {
			b.fail(at, errors.New("does not apply to images, which name their tags"), "remove it")
		}
	}
	if all := b.all.Resolve; all.value == "server" {
		b.fail(all.origin, errors.New("server does not apply to images, which dray resolves"), "remove it, or write a source")
	}
	before := len(b.errs)
	b.prefixes(s, m)
	named := append(b.listed(s.Images), b.named(s, m)...)
	if len(named) == 0 && len(b.errs) == before {
		at := s.ImagesFrom.Files.origin
		if !at.set {
			at = s.Images.origin
		}
		if !at.set {
			return // which has been reported
		}
		b.fail(at, errors.New("no image is named here"), "see what dray images finds in the files")
		return
	}
	b.routed(named, s, m)
}

// prefixes reads the targets, below which the images go.
func (b *builder) prefixes(s *mappingSection, m *Mapping) {
	all := s.Targets.items
	if s.Target.set {
		all = append([]text{s.Target}, all...)
	}
	for _, t := range all {
		if !t.set {
			continue
		}
		if strings.Contains(t.value, "{{") {
			b.fail(t.origin, errors.New("is a prefix here, and no template"), "write what comes below it as rename")
			continue
		}
		ref, err := b.reference(t.value, true)
		if one, not := image.Parse(t.value); not == nil && single(one) {
			b.fail(t.origin, fmt.Errorf("%s must not have a tag or a digest, because each image keeps its own", quote(t.raw)), "write registry/path")
			continue
		}
		if err != nil {
			b.invalid(t, err, "a prefix such as registry/path")
			continue
		}
		m.Targets = append(m.Targets, ref)
	}
}

// listed reads the references of images.
func (b *builder) listed(l list[text]) (all []namedImage) {
	for _, t := range l.items {
		if !t.set {
			continue
		}
		ref, err := b.reference(t.value, false)
		if err == nil && ref.IsLayout() {
			err = fmt.Errorf("reference %s: is a folder: give it a mapping with a source", quote(t.value))
		}
		if err != nil {
			b.invalid(t, err, "a reference such as registry/repository:tag")
			continue
		}
		if !single(ref) {
			ref.Tag = "latest"
		}
		all = append(all, namedImage{ref, t.origin})
	}
	return all
}

// named reads the references of files.
func (b *builder) named(s *mappingSection, m *Mapping) (all []namedImage) {
	paths := b.imagePaths(s.ImagesFrom.Paths)
	seen := map[string]bool{}
	for _, t := range s.ImagesFrom.Files.items {
		if !t.set {
			continue
		}
		for _, name := range b.matched(t) {
			if seen[name] {
				continue
			}
			seen[name] = true
			found, err := b.foundIn(name, paths)
			if err != nil {
				b.fail(t.origin, fmt.Errorf("%s %w", quote(name), err), "")
			}
			for _, i := range found.Images {
				i.Ref.Registry = bare(i.Ref.Registry, b.isPlain)
				all = append(all, namedImage{i.Ref, origin{pos: Position{i.File, i.Line, i.Col}, key: t.key, set: true}})
			}
			m.Doubts = append(m.Doubts, found.Doubts...)
		}
	}
	return all
}

func (b *builder) imagePaths(l list[text]) (paths []imagelist.Path) {
	for _, t := range l.items {
		if !t.set {
			continue
		}
		p, err := imagelist.ParsePath(t.value)
		if err != nil {
			b.invalid(t, err, "keys joined by dots")
			continue
		}
		paths = append(paths, p)
	}
	return paths
}

func (b *builder) foundIn(name string, paths []imagelist.Path) (imagelist.Found, error) {
	data, err := b.world.ReadFile(b.inputs.add(name))
	if err != nil {
		return imagelist.Found{}, unreadable(err)
	}
	return imagelist.Find(name, data, paths) //nolint:wrapcheck // the caller names the file
}

// matched returns the files that an entry of imagesFrom stands for.
func (b *builder) matched(t text) []string {
	if err := checkInclusion(t.value); err != nil {
		b.invalid(t, err, "the path of a file, or a pattern")
		return nil
	}
	name := b.path(t)
	if !isPattern(name) {
		return []string{name}
	}
	pattern := absolute(name)
	b.inputs.globs = append(b.inputs.globs, pattern)
	paths, err := b.world.List(pattern)
	switch {
	case errors.Is(err, file.ErrTooMany):
		b.fail(t.origin, fmt.Errorf("%s cannot be followed: %w", quote(t.raw), err), "")
	case err != nil:
		b.fail(t.origin, fmt.Errorf("the folder of %s %w", quote(t.raw), unreadable(err)), "")
	case len(paths) == 0:
		b.fail(t.origin, fmt.Errorf("%s matches no file", quote(t.raw)), "")
	}
	for i := range paths { // so that messages name them as the config does
		paths[i] = path.Join(path.Dir(name), path.Base(paths[i]))
	}
	return paths
}

// digestTag is how many hex digits of a digest make the tag of an image that has none.
const digestTag = 32

// tagOf returns the tag at the targets before retag: that of the reference, or one made of its digest. It begins with no algorithm, since
// such tags have a meaning for signatures and referrers.
func tagOf(ref image.Reference) string {
	if ref.Tag != "" {
		return ref.Tag
	}
	_, hex, _ := strings.Cut(string(ref.Digest), ":")
	return "digest-" + hex[:min(digestTag, len(hex))]
}

// routed decides where each image goes. It refuses two that would be one tag of a target.
func (b *builder) routed(named []namedImage, s *mappingSection, m *Mapping) {
	template := usualRename
	if s.Rename.set {
		template = s.Rename.value
	}
	first := map[image.Reference]namedImage{} // by target
	known := map[image.Reference]bool{}
	for _, n := range named {
		if known[n.ref] {
			continue
		}
		known[n.ref] = true
		below, err := renamed(template, n.ref)
		if err != nil {
			b.invalid(s.Rename, err, "a template such as "+usualRename)
			return
		}
		one := Image{Source: n.ref}
		for _, prefix := range m.Targets {
			target := prefix.Repository.Join(below).Tag(m.Retag.Prefix + tagOf(n.ref) + m.Retag.Suffix)
			switch other, taken := first[target]; {
			case target.Repository == n.ref.Repository:
				b.fail(n.at, fmt.Errorf("%s would be imported into its own repository", n.ref), "give the mapping another target")
				continue
			case !target.IsLayout() && !image.ValidPath(target.Path) || !image.ValidTag(target.Tag):
				b.fail(n.at, fmt.Errorf("%s would be %s, which is no valid name", n.ref, target), "change target, rename or retag")
				continue
			case n.ref.Tag == "" && b.all.Untagged.value && !target.IsLayout():
				target = target.Repository.Digest(n.ref.Digest)
			case taken:
				b.fail(n.at, fmt.Errorf("%s and %s in %s would both be %s", n.ref, other.ref, other.at.pos.From(n.at.pos.File), target), hintTwo(n.ref, other.ref))
				continue
			default:
				first[target] = n
			}
			one.Targets = append(one.Targets, target)
		}
		m.Images = append(m.Images, one)
	}
}

func hintTwo(a, b image.Reference) string {
	if a.Repository == b.Repository {
		return "name one of them, or pin both to one digest"
	}
	return "have rename tell them apart, such as " + usualRename
}

// renamed returns the path of an image below a target.
func renamed(template string, ref image.Reference) (string, error) {
	host, _, _ := strings.Cut(ref.Registry, ":")
	value, err := filled(template, map[string]string{"Registry": host, "Repository": ref.Path, "Name": path.Base(ref.Path), "Tag": strings.ToLower(tagOf(ref))})
	if err == nil && !image.ValidPath(value) {
		err = fmt.Errorf("%s makes %s of %s, which is no path of a repository", quote(template), quote(value), ref)
	}
	return value, err
}
