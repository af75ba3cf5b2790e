package image

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

const (
	// LayoutScheme is the prefix of a reference to an OCI image layout, a directory (OCI image spec, "Image Layout").
	LayoutScheme = "ocidir://"

	maxRepositoryLength = 255
	maxTagLength        = 128
)

// The grammar of names: OCI distribution spec, "Pulling manifests".
var repositoryPath = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

// Repository names one repository: a path at a registry, or an OCI image layout directory. It is comparable.
type Repository struct {
	// Registry is the canonical host with its port, if any; empty for an OCI image layout.
	Registry string
	// Path is the repository's path at the registry, or the cleaned directory of the layout.
	Path string
}

// IsLayout reports whether the repository is a directory on disk.
func (r Repository) IsLayout() bool { return r.Registry == "" && r.Path != "" }

// IsZero reports whether the repository names nothing.
func (r Repository) IsZero() bool { return r == Repository{} }

// String returns the canonical form, which [Parse] reads back.
func (r Repository) String() string {
	if r.IsLayout() {
		return LayoutScheme + r.Path
	}
	return r.Registry + "/" + r.Path
}

// Join returns the repository with a path below this one.
func (r Repository) Join(elem string) Repository {
	r.Path = path.Join(r.Path, elem)
	return r
}

// Tag returns the reference to a tag in this repository.
func (r Repository) Tag(tag string) Reference { return Reference{Repository: r, Tag: tag} }

// Digest returns the reference to a manifest by its digest.
func (r Repository) Digest(d Digest) Reference { return Reference{Repository: r, Digest: d} }

// Reference names one manifest by tag, by digest, or by both; then the digest decides and the tag is informative. It is comparable: ==
// means the same image name.
type Reference struct {
	Repository
	Tag    string
	Digest Digest
}

// String returns the canonical form, which [Parse] reads back.
func (r Reference) String() string {
	s := r.Repository.String()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// WithDigest returns the reference pinned to a digest.
func (r Reference) WithDigest(d Digest) Reference {
	r.Digest = d
	return r
}

// ValidTag reports whether s is a valid tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} (OCI distribution spec, "Pulling manifests").
func ValidTag(s string) bool {
	return s != "" && len(s) <= maxTagLength && s[0] != '.' && s[0] != '-' && strings.IndexFunc(s, notOfTags) < 0
}

func notOfTags(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

// Parse reads a repository or a reference: "alpine", "docker.io/library/alpine:3.20", "ghcr.io/acme/base@sha256:…",
// "ocidir:///srv/stage:edge". It follows Docker's rules: a first part without a dot or a port is not a host but a part of a Docker Hub
// path, and "library/" is implied there. Tag and digest stay empty if s names none.
func Parse(s string) (Reference, error) {
	ref, err := parse(s)
	if err != nil {
		return Reference{}, about(s, err)
	}
	return ref, nil
}

// about adds the reference to an error, unless it contains what must not be repeated.
func about(s string, err error) error {
	if errors.Is(err, ErrUserinfo) {
		return fmt.Errorf("reference: %w", err)
	}
	return fmt.Errorf("reference %q: %w", s, err)
}

// ParseImage is [Parse] for one image: without tag and digest the tag is "latest", by Docker's convention.
func ParseImage(s string) (Reference, error) {
	ref, err := Parse(s)
	if err == nil && ref.Tag == "" && ref.Digest == "" {
		ref.Tag = "latest"
	}
	return ref, err
}

// ParsePrefix reads the common prefix of several repositories: "ghcr.io/acme", "docker.io/library", "ocidir:///srv/stage". Unlike [Parse],
// it implies nothing at Docker Hub and allows no tag or digest.
func ParsePrefix(s string) (Repository, error) {
	name := s
	if !strings.HasPrefix(s, LayoutScheme) {
		name += "/" + prefixMark
	}
	ref, err := parse(name)
	switch {
	case err != nil && !errors.Is(err, ErrUserinfo):
	case HoldsUserinfo(s):
		err = ErrUserinfo
	case err != nil || ref.Tag != "" || ref.Digest != "": // a digest followed by the mark is not valid
		err = fmt.Errorf("is a prefix here and takes no tag or digest")
	case ref.Path == prefixMark:
		err = fmt.Errorf("names no path: write registry/path")
	}
	if err != nil {
		return Repository{}, about(s, err)
	}
	if !ref.IsLayout() {
		ref.Path = strings.TrimSuffix(ref.Path, "/"+prefixMark)
	}
	return ref.Repository, nil
}

// prefixMark stands for the repository below a prefix while the prefix is parsed. It has two parts, so that nothing is implied at Docker
// Hub.
const prefixMark = "x/x"

func parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, fmt.Errorf("is empty: write registry/repository[:tag], or %sPATH", LayoutScheme)
	}
	if rest, ok := strings.CutPrefix(s, LayoutScheme); ok {
		return parseLayout(rest)
	}
	if HoldsUserinfo(s) {
		return Reference{}, ErrUserinfo
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return Reference{}, badScheme(scheme, rest)
	}
	if page, ok := cutFold(s, hubSite+"/"); ok {
		return Reference{}, hubPage(page)
	}
	name, ref, err := cutDigest(s)
	if err != nil {
		return Reference{}, err
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		if ref.Tag = name[i+1:]; !ValidTag(ref.Tag) {
			return Reference{}, badTag(ref.Tag)
		}
		name = name[:i]
	}
	if !strings.Contains(name, "/") && isHost(name) && (name[0] == '[' || !strings.Contains(name, ":")) {
		return Reference{}, onlyHost(name, ref.Tag)
	}
	ref.Repository, err = parseRepository(name)
	return ref, err
}

func cutDigest(s string) (string, Reference, error) {
	name, dig, found := strings.Cut(s, "@")
	if !found {
		return name, Reference{}, nil
	}
	d, err := ParseDigest(dig)
	return name, Reference{Digest: d}, err
}

func badTag(tag string) error {
	return fmt.Errorf("the tag %q is not valid: a tag has 1 to 128 letters, digits, '_', '.', '-', and starts with none of '.', '-'", tag)
}

func parseRepository(name string) (Repository, error) {
	host, rest, found := strings.Cut(name, "/")
	if !found || !isHost(host) {
		host, rest = DockerHub, name
	}
	host, err := CanonicalHost(host)
	if err != nil {
		return Repository{}, err
	}
	if host == DockerHub && rest != "" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	if err := checkPath(rest); err != nil {
		return Repository{}, err
	}
	return Repository{Registry: host, Path: rest}, nil
}

// ValidPath reports whether a repository at a registry may have this path.
func ValidPath(p string) bool { return checkPath(p) == nil }

func checkPath(p string) error {
	switch {
	case p == "":
		return fmt.Errorf("names no repository: write registry/repository[:tag]")
	case len(p) > maxRepositoryLength:
		return fmt.Errorf("the repository's path has %d characters, %d are allowed", len(p), maxRepositoryLength)
	case repositoryPath.MatchString(p):
		return nil
	case repositoryPath.MatchString(strings.ToLower(p)):
		return fmt.Errorf("the repository's path %q must be in lower case", p)
	}
	return fmt.Errorf("the repository's path %q is not valid: lower-case letters and digits, joined by '.', '_', '-', parts by '/'", p)
}

func parseLayout(rest string) (Reference, error) {
	dir, ref, err := rest, Reference{}, error(nil)
	if i := strings.LastIndexByte(rest, '@'); i > strings.LastIndexByte(rest, '/') {
		if dir, ref, err = cutDigest(rest); err != nil {
			return Reference{}, err
		}
	}
	if i := strings.LastIndexByte(dir, ':'); i > strings.LastIndexByte(dir, '/') {
		if ref.Tag = dir[i+1:]; !ValidTag(ref.Tag) {
			return Reference{}, badTag(ref.Tag)
		}
		dir = dir[:i]
	}
	if dir == "" {
		return Reference{}, fmt.Errorf("names no directory: write %sPATH[:tag]", LayoutScheme)
	}
	dir = path.Clean(dir)
	if strings.ContainsAny(dir, "\x00\n") || strings.ContainsAny(path.Base(dir), ":@") {
		return Reference{}, fmt.Errorf("the directory %q cannot be told from a tag or a digest: its name may not hold ':' or '@'", dir)
	}
	ref.Repository = Repository{Path: dir}
	return ref, nil
}
