// Package diff decides what to do with each tag: from what was observed on both sides it returns actions, each with a reason. It is pure:
// no I/O, no clock, sorted output.
package diff

import (
	"cmp"
	"slices"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// Op is the kind of an action.
type Op string

// The operations: keep the target as it is, import the source's manifest, or refuse and say why.
const (
	Keep   Op = "keep"
	Import Op = "import"
	Refuse Op = "refuse"
)

// Reason is a fixed word for why an action is what it is. Reasons are part of the JSON and of metric labels.
type Reason string

// The reasons.
const (
	// Unchanged: the target holds what the source offers.
	Unchanged Reason = "unchanged"
	// Immutable: the target has the tag, which the mapping says never moves, so nothing else was asked.
	Immutable Reason = "immutable"
	// Absent: the target has no such tag.
	Absent Reason = "absent"
	// Hidden: the target's registry does not say whether it has the tag; only an import can tell.
	Hidden Reason = "hidden"
	// Moved: source and target hold different digests under the tag.
	Moved Reason = "moved"
	// TwoWriters: two jobs would write the same target tag.
	TwoWriters Reason = "two-writers"
	// PlatformMissing: the source does not offer a platform that the mapping asks for.
	PlatformMissing Reason = "platform-missing"
	// Unsupported: no target could store the source's manifest, such as Docker's schema 1.
	Unsupported Reason = "unsupported"
	// Unobserved: a side could not be asked, so nothing is known and nothing is done.
	Unobserved Reason = "unobserved"
	// SourceAbsent: the source has no such tag or repository.
	SourceAbsent Reason = "absent-at-source"
	// NothingChosen: the mapping's filter selects fewer of the source's tags or repositories than required.
	NothingChosen Reason = "nothing-chosen"
	// Unresolved: only the target's registry can ask the source, so changes show only after the import.
	Unresolved Reason = "unresolved"
	// Locked: the target's registry does not let the tag move.
	Locked Reason = "locked"
	// NotPlanned: the import is not one of the plan that was approved, or not any more.
	NotPlanned Reason = "not-planned"
	// Unsigned: the source's image is not signed as the policy wants.
	Unsigned Reason = "unsigned"
	// EngineUnfit: the engine that the mapping names cannot make this import.
	EngineUnfit Reason = "engine-unfit"
)

// Observation is what both sides reported about one tag.
type Observation struct {
	// Source is the requested tag or digest, pinned to the digest that the source offers now.
	Source image.Reference
	// Target is the tag to write.
	Target image.Reference
	// Want is the digest that the target should hold: the source's, or that of its index reduced to some platforms.
	Want image.Digest
	// Held is the digest that the target tag holds; empty only if the target said that the tag does not exist.
	Held image.Digest
	// There says that the target has the tag. Nothing else was asked, since the tag is immutable: Want and Held are empty.
	There bool
	// Hidden says that the target does not tell whether the tag exists.
	Hidden bool
	// Unseen says that the target cannot be read: Held is remembered, or the tag is Hidden, and an import leaves a tag that must not move.
	Unseen bool
	// Unresolved says that only the target's registry can tell what the source offers: Want is unknown.
	Unresolved bool
	// Short says which of the wanted platforms the source lacks, and what it offers; Want is made of the others. Empty if it lacks none.
	Short string
	// Declined is the reason why the source's offer cannot be imported, empty if it can; Detail explains it.
	Declined Reason
	Detail   string
}

// Action is the decision for one target tag.
type Action struct {
	Op     Op
	Reason Reason
	// Detail explains a refusal to the user; empty otherwise.
	Detail string
	// Source is pinned by digest, so that what was planned is what arrives.
	Source image.Reference
	Target image.Reference
	// Digest is what the target holds after the action, empty if only the import shows it; Was is what it held before, empty if the tag did
	// not exist.
	Digest image.Digest
	Was    image.Digest
	// Unverified says that the target was not read.
	Unverified bool
}

// Actions returns the action for each observation, sorted by target, then by source. After the imports, every observation yields a Keep. What is
// Short yields a refusal as well, which makes the lack known, and its other action only where that replaces no image of the target.
func Actions(job plan.Job, seen []Observation) []Action {
	actions := make([]Action, 0, len(seen))
	for _, o := range seen {
		a := Action{Source: o.Source, Target: o.Target, Digest: o.Want, Was: o.Held, Unverified: o.Unseen}
		a.Op, a.Reason, a.Detail = Decide(job.RefusesMove(o.Target.Tag), o)
		if a.Op == Keep {
			a.Digest = o.Held
		}
		if o.Short == "" || a.Op == Keep || a.Op == Refuse || a.Reason == Absent {
			actions = append(actions, a)
		}
		if o.Short != "" && a.Op != Refuse {
			a.Op, a.Reason, a.Detail = Refuse, PlatformMissing, o.Short
			actions = append(actions, a)
		}
	}
	slices.SortStableFunc(actions, Compare)
	return actions
}

// Decide decides on one tag, for a plan, and for an engine that has asked the target again before it writes. It alone decides whether a tag
// may move.
func Decide(refuseMoved bool, o Observation) (Op, Reason, string) {
	switch {
	case o.Declined != "":
		return Refuse, o.Declined, o.Detail
	case o.There:
		return Keep, Immutable, ""
	case o.Unresolved && refuseMoved && o.Held != "":
		return Keep, Unresolved, "" // only an import could tell whether it moved, and might move the tag
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

// Claim says that a job would write a target tag.
type Claim struct {
	Job    string
	Target image.Reference
}

// TagOrDigest returns the target's tag without its digest, or its digest if it has no tag.
func TagOrDigest(target image.Reference) image.Reference {
	if target.Tag != "" {
		target.Digest = ""
	}
	return target
}

// Contested returns, for each target tag that several jobs claim, the names of those jobs, sorted and unique. Targets with a tag are
// compared without their digest.
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
