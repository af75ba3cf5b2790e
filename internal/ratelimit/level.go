package ratelimit

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/draysync/dray/internal/record"
)

// levels are what had been spent of a budget at the times of answers, the oldest first: the last answer in each part of a window.
type levels []level

// level is what had been spent of the window before a time, in seconds since 1970: by dray, and by others.
type level struct{ at, own, others int64 }

const (
	// levelParts is of how many parts of a window there is a level; maxLevels adds the part that has just begun.
	levelParts = 48
	maxLevels  = levelParts + 1
)

// join returns what either has, without changing them, since what is being saved may share them: the later level of each part of a window, and no
// more than one window of them.
func (l levels) join(other levels, window time.Duration) levels {
	all := slices.Concat(l, other)
	slices.SortStableFunc(all, func(a, b level) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.own+a.others, b.own+b.others))
	})
	length := max(1, int64(window/time.Second))
	part := max(1, length/levelParts)
	joined := all[:0]
	for _, one := range all {
		if n := len(joined); n > 0 && joined[n-1].at/part == one.at/part {
			joined[n-1] = one
		} else {
			joined = append(joined, one)
		}
	}
	for len(joined) > 0 && joined[0].at <= joined[len(joined)-1].at-length {
		joined = joined[1:]
	}
	return joined[max(0, len(joined)-maxLevels):]
}

// note keeps what is spent now, as the answer that was just read says.
func (b *budget) note(now time.Time) {
	l := level{at: now.Unix(), own: int64(b.Spent.total())}
	if b.Known && b.Limit > 0 {
		l.others = int64(b.othersNow())
		l.own = max(0, int64(b.Limit-b.Remaining)-l.others)
	}
	b.Levels = b.Levels.join(levels{l}, b.window())
}

// attribute counts what other processes have told of their pulls as dray's in the last level, which could not tell them from those of others.
func (b *budget) attribute() {
	n := len(b.Levels)
	if n == 0 {
		return
	}
	l := b.Levels[n-1]
	more := min(int64(b.Spent.total())-l.own, l.others)
	if more <= 0 {
		return
	}
	l.own, l.others = l.own+more, l.others-more
	b.Levels = append(slices.Clone(b.Levels[:n-1]), l)
}

// others returns how many of some pulls others have spent: dray's own that have left the window since the last answer are among them, and not theirs.
func (l levels) others(pulls int) int {
	if len(l) == 0 {
		return pulls
	}
	return min(pulls, int(l[len(l)-1].others))
}

// within returns the levels since a time.
func (l levels) within(begin time.Time) (list []record.BudgetLevel) {
	for _, one := range l {
		if at := time.Unix(one.at, 0); at.After(begin) {
			list = append(list, record.BudgetLevel{At: at.UTC(), Spent: int(one.own), Others: int(one.others)})
		}
	}
	return list
}

// MarshalJSON writes a level as [at,own,others].
func (l level) MarshalJSON() ([]byte, error) { return json.Marshal([]int64{l.at, l.own, l.others}) }

// UnmarshalJSON reads a level.
func (l *level) UnmarshalJSON(raw []byte) error {
	var numbers [3]int64
	if err := json.Unmarshal(raw, &numbers); err != nil {
		return err
	}
	*l = level{numbers[0], min(max(0, numbers[1]), maxNumber), min(max(0, numbers[2]), maxNumber)}
	return nil
}
