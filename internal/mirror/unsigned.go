package mirror

import (
	"slices"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// maxUnsigned limits the tags that [Unsigned] remembers. Beyond that it begins anew: the next scheduled runs find the rest.
const maxUnsigned = 10_000

// Unsigned remembers which tags were refused since their images are not signed, so that the event of a signature leads to them. The zero value is
// ready for use; nil remembers nothing.
type Unsigned struct {
	mu sync.Mutex
	// tags are by their image as it is in the repository of its signatures: with a digest and without a tag.
	tags map[image.Reference][]image.Reference
	held int
}

// refused notes that a tag was refused. at is its image in the repository of its signatures.
func (u *Unsigned) refused(at, tag image.Reference) {
	if u == nil || tag.Tag == "" {
		return
	}
	tag = tag.Repository.Tag(tag.Tag)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tags == nil || u.held >= maxUnsigned {
		u.tags, u.held = map[image.Reference][]image.Reference{}, 0
	}
	if !slices.Contains(u.tags[at], tag) {
		u.tags[at] = append(u.tags[at], tag)
		u.held++
	}
}

// verified forgets the tags of a repository that were refused with an image, which is at in the repository of its signatures.
func (u *Unsigned) verified(repo image.Repository, at image.Reference) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.tags[at]
	if len(was) == 0 {
		return
	}
	left := slices.DeleteFunc(slices.Clone(was), func(tag image.Reference) bool { return tag.Repository == repo })
	u.held -= len(was) - len(left)
	if u.tags[at] = left; len(left) == 0 {
		delete(u.tags, at)
	}
}

// SignedBy returns the tags that wait for a signature of an image, which is given by digest, or whose image a pushed tag is named after: cosign's signatures are at sha256-<hex>.sig, attestations at
// sha256-<hex>.att, and lists of referrers at sha256-<hex> (OCI distribution spec, "Referrers Tag Schema").
func (u *Unsigned) SignedBy(pushed image.Reference) []image.Reference {
	name, _, _ := strings.Cut(pushed.Tag, ".")
	if algorithm, hex, ok := strings.Cut(name, "-"); ok {
		pushed = pushed.Repository.Digest(image.Digest(algorithm + ":" + hex))
	}
	if u == nil || pushed.Tag != "" {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.tags[pushed])
}
