package ratelimit

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// spent are pulls, counted by minute, the oldest first. It grows with the length of the window, not with the number of pulls.
type spent []count

// count is how many pulls were made in a minute since 1970, and how many seconds after its beginning the last of them, rounded up.
type count struct{ minute, pulls, last int64 }

// maxSpent limits the minutes that are remembered.
const maxSpent = 20_000

func countAt(at time.Time, pulls int) count {
	seconds := at.Unix()
	c := count{minute: seconds / 60, pulls: int64(pulls), last: seconds % 60}
	if at.Nanosecond() > 0 {
		c.last++
	}
	return c
}

// at returns when the last of the pulls was made.
func (c count) at() time.Time { return time.Unix(c.minute*60+c.last, 0) }

func (s spent) total() (pulls int) {
	for _, c := range s {
		pulls += int(c.pulls)
	}
	return pulls
}

// within returns those after a time and until another. It changes nothing: what is being saved may share the minutes.
func (s spent) within(after, until time.Time) spent {
	for len(s) > 0 && !s[0].at().After(after) {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1].at().After(until) {
		s = s[:len(s)-1]
	}
	return s
}

// add returns the sum with other.
func (s spent) add(other spent) spent {
	return s.merge(other, func(a, b int64) int64 { return min(a+b, maxNumber) })
}

// join returns what either has of each minute, the larger count if both have: they are of the same pulls.
func (s spent) join(other spent) spent {
	return s.merge(other, func(a, b int64) int64 { return max(a, b) })
}

func (s spent) merge(other spent, both func(a, b int64) int64) spent {
	all := slices.Concat(s, other)
	slices.SortStableFunc(all, func(a, b count) int { return cmp.Compare(a.minute, b.minute) })
	merged := all[:0]
	for _, c := range all {
		if n := len(merged); n > 0 && merged[n-1].minute == c.minute {
			m := &merged[n-1]
			m.pulls, m.last = both(m.pulls, c.pulls), max(m.last, c.last)
			continue
		}
		merged = append(merged, c)
	}
	return merged[max(0, len(merged)-maxSpent):]
}

// burst returns when the pull with an index was made, or the last of those made within a minute of it: they become available together.
func (s spent) burst(index int) time.Time {
	i := 0
	for ; i+1 < len(s) && index >= int(s[i].pulls); i++ {
		index -= int(s[i].pulls)
	}
	if i+1 < len(s) && s[i+1].at().Sub(s[i].at()) <= shortest {
		i++
	}
	return s[i].at()
}

// MarshalJSON writes a minute as [minute,pulls,last].
func (c count) MarshalJSON() ([]byte, error) { return json.Marshal([]int64{c.minute, c.pulls, c.last}) }

// UnmarshalJSON reads a minute, or the time of one pull, as earlier versions have saved it.
func (c *count) UnmarshalJSON(raw []byte) error {
	var at time.Time
	if json.Unmarshal(raw, &at) == nil {
		*c = countAt(at, 1)
		return nil
	}
	var numbers [3]int64
	if err := json.Unmarshal(raw, &numbers); err != nil {
		return err
	}
	*c = count{minute: numbers[0], pulls: min(max(1, numbers[1]), maxNumber), last: min(max(0, numbers[2]), 60)}
	return nil
}

// UnmarshalJSON reads what was saved, in any order.
func (s *spent) UnmarshalJSON(raw []byte) error {
	var list []count
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*s = spent(nil).add(list)
	return nil
}
