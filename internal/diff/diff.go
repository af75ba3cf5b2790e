// Package diff decides what to do with each tag: it takes what was observed on both sides and returns actions, with a
// reason each. It is pure: no I/O, no clock, sorted output.
package diff

import (
	"cmp"
	"slices"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// Op is the kind of an action.
type Op string

// The operations: leave the target as it is, bring the source's manifest there, or decline and say why.
const (
	Keep   Op = "keep"
	Import Op = "import"
	Refuse Op = "refuse"
)

// Reason says in one fixed word why an action is what it is. Reasons are part of the JSON and of metric labels.
type Reason string

// The reasons.
const (
	// Unchanged: the target holds what the source offers.
	Unchanged Reason = "unchanged"
	// Immutable: the target has the tag, which the mapping says never moves, so that nothing more was asked.
	Immutable Reason = "immutable"
	// Absent: the target has no such tag.
	Absent Reason = "absent"
	// Hidden: the target's registry does not say whether it has such a tag, which only an import can tell.
	Hidden Reason = "hidden"
	// Moved: the tag points elsewhere at the source than at the target.
	Moved Reason = "moved"
	// TwoWriters: two jobs would write the same target tag.
	TwoWriters Reason = "two-writers"
	// PlatformMissing: the source does not offer a platform that the mapping asks for.
	PlatformMissing Reason = "platform-missing"
	// Unsupported: the source's manifest is of a kind that no target could keep, such as Docker's schema 1.
	Unsupported Reason = "unsupported"
	// Unobserved: a side could not be asked, so nothing is known and nothing is done.
	Unobserved Reason = "unobserved"
	// SourceAbsent: the source has no such tag or repository.
	SourceAbsent Reason = "absent-at-source"
	// NothingChosen: the mapping's filter chooses less of the source's tags or repositories than there has to be.
	NothingChosen Reason = "nothing-chosen"
	// Unresolved: only the target's registry can ask the source, so what is new shows after the import.
	Unresolved Reason = "unresolved"
	// Locked: the target's registry keeps the tag from being moved.
	Locked Reason = "locked"
	// EngineUnfit: the engine that the mapping names cannot make this import.
	EngineUnfit Reason = "engine-unfit"
)

// Observation is what both sides said of one tag.
type Observation struct {
	// Source names the tag or digest that was asked for, pinned by the digest that the source offers now.
	Source image.Reference
	// Target names the tag to write.
	Target image.Reference
	// Want is the digest that the target has to hold: the source's, or the one of its index with fewer platforms.
	Want image.Digest
	// Held is the digest that the target tag holds; empty only where the target said that there is no such tag.
	Held image.Digest
	// There says that the target has the tag. Nothing else was asked, since the tag is immutable: Want and Held are empty.
	There bool
	// Hidden says that the target does not tell whether there is such a tag.
	Hidden bool
	// Unseen says that the target cannot be looked at: what it holds is remembered, or Hidden, and an import leaves a tag that must not be moved.
	Unseen bool
	// Unresolved says that only the target's registry can tell what the source offers: there is no Want.
	Unresolved bool
	// Declined is the reason for which the source's offer cannot be taken, empty where it can; Detail explains it.
	Declined Reason
	Detail   string
}

// Action is the decision for one target tag.
type Action struct {
	Op     Op
	Reason Reason
	// Detail explains a refusal to a person; empty otherwise.
	Detail string
	// Source is pinned by digest, so that what was planned is what arrives.
	Source image.Reference
	Target image.Reference
	// Digest is what the target holds after the action, empty where that shows only then; Was is what it held before, empty where it
	// had no such tag.
	Digest image.Digest
	Was    image.Digest
	// Unverified says that what the target holds was not looked at.
	Unverified bool
}

// Actions returns one action for each observation, sorted by target, then by source. It is total: every observation
// yields an action, and applying the imports yields observations of which only keeps remain.
func Actions(job plan.Job, seen []Observation) []Action {
	actions := make([]Action, 0, len(seen))
	for _, o := range seen {
		a := Action{Source: o.Source, Target: o.Target, Digest: o.Want, Was: o.Held, Unverified: o.Unseen}
		a.Op, a.Reason, a.Detail = Decide(job.RefusesMove(o.Target.Tag), o)
		if a.Op == Keep {
			a.Digest = o.Held
		}
		actions = append(actions, a)
	}
	slices.SortStableFunc(actions, Compare)
	return actions
}

// Decide says what to do with one tag. It is asked for a plan, and by an engine that has looked at the target again before it writes a
// tag: whether a tag may be moved is decided here and nowhere else.
func Decide(refuseMoved bool, o Observation) (Op, Reason, string) {
	switch {
	case o.Declined != "":
		return Refuse, o.Declined, o.Detail
	case o.There:
		return Keep, Immutable, ""
	case o.Unresolved && refuseMoved && o.Held != "":
		return Keep, Unresolved, "" // whether it moved only an import could tell, which might move the tag
	case o.Unresolved:
		return Import, Unresolved, ""
	case o.Want == "":
		return Refuse, Unobserved, "the source named no digest"
	case o.Hidden && refuseMoved && !o.Unseen:
		return Refuse, Hidden, "the target's registry does not say whether it has this tag, and the mapping does not let it move (moved: refuse, or immutable), " +
			"so that it is not written: create the repository there, let the account read it, or bring the image once with dray import"
	case o.Hidden:
		return Import, Hidden, ""
	case o.Held == o.Want:
		return Keep, Unchanged, ""
	case o.Held == "":
		return Import, Absent, ""
	case refuseMoved:
		return Refuse, Moved, "the target's tag holds another image than the source's, and the mapping does not let it move (moved: refuse, or immutable)"
	}
	return Import, Moved, ""
}

// Compare orders actions by target, then by source.
func Compare(a, b Action) int {
	return cmp.Or(compareReferences(a.Target, b.Target), compareReferences(a.Source, b.Source))
}

func compareReferences(a, b image.Reference) int {
	return cmp.Or(
		cmp.Compare(a.Registry, b.Registry),
		cmp.Compare(a.Path, b.Path),
		image.CompareTags(a.Tag, b.Tag),
		cmp.Compare(a.Digest, b.Digest),
	)
}

// Claim is the wish of a job to write a target tag.
type Claim struct {
	Job    string
	Target image.Reference
}

// TagOrDigest is what a target is written as: its tag, or its digest where it has none.
func TagOrDigest(target image.Reference) image.Reference {
	if target.Tag != "" {
		target.Digest = ""
	}
	return target
}

// Contested returns, for each target tag that more than one job claims, the names of those jobs, sorted and each once.
// Targets with a tag are compared without their digest.
func Contested(claims []Claim) map[image.Reference][]string {
	jobs := make(map[image.Reference][]string, len(claims))
	for _, c := range claims {
		key := TagOrDigest(c.Target)
		if !slices.Contains(jobs[key], c.Job) {
			jobs[key] = append(jobs[key], c.Job)
		}
	}
	for key, names := range jobs {
		if len(names) < 2 {
			delete(jobs, key)
			continue
		}
		slices.Sort(names)
	}
	return jobs
}
