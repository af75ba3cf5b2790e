package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// errList says that a tag at the source is a list of what refers to a manifest.
var errList = errors.New("a list of referrers")

// byPattern tells whether a pattern has chosen a tag that a list of referrers could have: the list would have two writers, the job and the
// registry that keeps it. Who names such a tag wants it, whatever it is.
func byPattern(job plan.Job, tag string) bool {
	return image.IsReferrersTag(tag) && !job.Image() && !job.Tags.Names(tag)
}

// isList tells whether what a tag stands for is a list of referrers. It costs no request but where an index is tagged by another digest
// than its own, and then one for all times.
func (m *Mirror) isList(ctx context.Context, ref image.Reference, d image.Descriptor) (bool, error) {
	if !image.MayListReferrers(ref.Tag, d) {
		return false, nil
	}
	fetched, err := m.Manifests.Manifest(ctx, ref.Repository.Digest(d.Digest))
	if err != nil {
		return false, fmt.Errorf("look whether it is a list of referrers: %w", err)
	}
	return image.ListsReferrers(fetched.Raw), nil
}

// ListThere refuses an image under the tag by which its target's registry lists what refers to it.
func ListThere(d image.Digest) error {
	return &RefusedError{Reason: diff.TwoWriters, Detail: fmt.Sprintf(
		"the target has no referrers API, and keeps the list of what refers to %s under this tag: exclude the tag, or set referrers: false", d)}
}
