package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// errList says that a tag at the source is a referrers list.
var errList = errors.New("a list of referrers")

// byPattern reports whether a pattern has selected a tag that a referrers list could have. Such a list would have two writers, the job and
// the registry that maintains it. A tag that the config names is wanted, whatever it is.
func byPattern(job plan.Job, tag string) bool {
	return image.IsReferrersTag(tag) && !job.Image() && !job.Tags.Names(tag)
}

// isList reports whether a tag holds a referrers list. That costs no request, except one for good if an index is tagged with another digest
// than its own.
func (m *Mirror) isList(ctx context.Context, ref image.Reference, d image.Descriptor) (bool, error) {
	if !image.MayListReferrers(ref.Tag, d) {
		return false, nil
	}
	fetched, err := m.Manifests.Manifest(ctx, ref.WithDigest(d.Digest))
	if err != nil {
		return false, fmt.Errorf("look whether it is a list of referrers: %w", err)
	}
	return image.ListsReferrers(fetched.Raw), nil
}

// ListThere refuses an image under the tag that its target's registry uses for its referrers list.
func ListThere(d image.Digest) error {
	return &RefusedError{Reason: diff.TwoWriters, Detail: fmt.Sprintf(
		"the target has no referrers API, and keeps the list of what refers to %s under this tag: exclude the tag, or set referrers: false", d)}
}
