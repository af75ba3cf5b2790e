package plan

import (
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// Retag says what a tag of the source is called at the targets; the zero value is as at the source.
type Retag struct{ Prefix, Suffix string }

// Of returns the target's tag for one of the source.
func (r Retag) Of(tag string) string { return r.Prefix + tag + r.Suffix }

// Undo returns the source's tag for one of a target; ok is false if there can be none.
func (r Retag) Undo(tag string) (source string, ok bool) {
	if len(tag) <= len(r.Prefix)+len(r.Suffix) {
		return "", false
	}
	source, begins := strings.CutPrefix(tag, r.Prefix)
	source, ends := strings.CutSuffix(source, r.Suffix)
	return source, begins && ends
}

// NeverMoves reports whether a target's tag is immutable. The patterns are about the source's tags; for one image
// also about the tag that its target names.
func (j Job) NeverMoves(target string) bool {
	tag, ok := j.Retag.Undo(target)
	return ok && j.Immutable.CanChoose(tag) || (j.Image() || j.Images != nil) && j.Immutable.CanChoose(target)
}

// MayTag reports whether the job may write a tag of this name.
func (j Job) MayTag(target string) bool {
	if j.Images != nil {
		return slices.ContainsFunc(j.Images, func(i Image) bool {
			return slices.ContainsFunc(i.Targets, func(t image.Reference) bool { return t.Tag == target })
		})
	}
	tag, ok := j.Retag.Undo(target)
	return ok && j.Tags.CanChoose(tag)
}
