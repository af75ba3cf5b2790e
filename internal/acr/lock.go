package acr

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// lockedError says that an import was not requested because it would overwrite tags that are locked or may be: Azure overwrites them in
// spite of the lock. It has an error for each.
type lockedError struct{ tags map[image.Reference]error }

func (*lockedError) Error() string { return "tags are locked" }

// unlocked settles the locked tags, and returns the others.
func (l *lockedError) unlocked(members []mirror.Alike, settle func(outcome, ...mirror.Alike)) []mirror.Alike {
	return slices.DeleteFunc(slices.Clone(members), func(m mirror.Alike) bool {
		err, locked := l.tags[m.Target]
		if locked {
			settle(outcome{err: err}, m)
		}
		return locked
	})
}

// locks checks the locks of tags before they are overwritten.
func (t *acrImport) locks(ctx context.Context, members []mirror.Alike) error {
	errs := make([]error, len(members))
	var group sync.WaitGroup
	for i, m := range members {
		if m.Target.Tag != "" {
			group.Go(func() { errs[i] = t.locked(ctx, m.Target) })
		}
	}
	group.Wait()
	found := map[image.Reference]error{}
	for i, m := range members {
		if errs[i] != nil {
			found[m.Target] = errs[i]
		}
	}
	if len(found) > 0 {
		return &lockedError{found}
	}
	return nil
}

// locked refuses to move a locked tag.
func (t *acrImport) locked(ctx context.Context, tag image.Reference) error {
	locked, err := t.options.Locks.Locked(ctx, tag)
	switch {
	case err != nil:
		return mirror.At(mirror.Target, tag, fmt.Errorf("check whether the tag is locked: %w", err))
	case locked:
		return &mirror.RefusedError{
			Reason: diff.Locked,
			Detail: "the tag is locked at the registry (changeableAttributes.writeEnabled is false): unlock it with az acr repository update --write-enabled true, or exclude it",
		}
	}
	return nil
}
