package mirror

import (
	"slices"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// maxUnsigned limits the tags that [Unsigned] remembers. Beyond that it begins anew: the next scheduled runs find the rest.
const maxUnsigned = 10_000

// Unsigned remembers which tags wait for a signature of their images, so that its event leads to them. The zero value is ready for use; nil
// remembers nothing.
type Unsigned struct {
	mu sync.Mutex
	// images are as they are in the repository of their signatures: with a digest and without a tag.
	images map[image.Reference]*unsignedImage
	held   int
	// events counts those that led to tags.
	events int
}

// unsignedImage has the tags that wait for a signature of an image, and how many events there were when the last one led to them.
type unsignedImage struct {
	tags   []unsignedTag
	events int
}

// unsignedTag is a tag that a job has not verified.
type unsignedTag struct {
	job string
	tag image.Reference
}

func tagOf(job string, tag image.Reference) unsignedTag {
	return unsignedTag{job, tag.Repository.Tag(tag.Tag)}
}

// waits notes a tag of a job before its signatures are looked for, as one may come meanwhile. at is its image in the repository of its signatures. It
// returns a number that grows with the events of the image: what was looked at with a lower one may be outdated.
func (u *Unsigned) waits(at image.Reference, job string, tag image.Reference) (events int) {
	if u == nil || tag.Tag == "" {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.images == nil || u.held >= maxUnsigned {
		u.images, u.held = map[image.Reference]*unsignedImage{}, 0
		u.events++ // of what is forgotten an event leads to nothing
	}
	of := u.images[at]
	if of == nil {
		of = &unsignedImage{events: u.events}
		u.images[at] = of
	}
	if waits := tagOf(job, tag); !slices.Contains(of.tags, waits) {
		of.tags = append(of.tags, waits)
		u.held++
	}
	return of.events
}

// forget forgets a tag of a job. Other tags of the image still wait, also those of other jobs: the event of the signature may be yet to come.
func (u *Unsigned) forget(at image.Reference, job string, tag image.Reference) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	of, gone := u.images[at], tagOf(job, tag)
	if of == nil {
		return
	}
	before := len(of.tags)
	of.tags = slices.DeleteFunc(of.tags, func(waits unsignedTag) bool { return waits == gone })
	u.held -= before - len(of.tags)
	if len(of.tags) == 0 {
		delete(u.images, at)
	}
}

// SignedBy is told of an event, and returns the tags that wait for a signature of an image, which is given by digest, or whose image a pushed tag is named after: cosign's signatures are at sha256-<hex>.sig, attestations at
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
	of := u.images[pushed]
	if of == nil {
		return nil
	}
	u.events++
	of.events = u.events
	var tags []image.Reference
	for _, waits := range of.tags {
		if !slices.Contains(tags, waits.tag) {
			tags = append(tags, waits.tag)
		}
	}
	return tags
}
