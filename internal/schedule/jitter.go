package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Offset returns a job's delay after its schedule: whole seconds, from 0 to less than jitter. It depends only on key and jitter, and is the
// same on every machine and with every version. Whole seconds survive any store.
func Offset(key string, jitter time.Duration) time.Duration {
	if jitter <= time.Second {
		return 0
	}
	seconds := uint64((jitter + time.Second - 1) / time.Second)
	sum := sha256.Sum256([]byte(key))
	return time.Duration(binary.BigEndian.Uint64(sum[:])%seconds) * time.Second
}

// CheckJitter returns an error if the jitter is negative, or longer than the time between two runs of the schedule, which would make the
// schedule meaningless. It ignores clock changes, which can bring two runs closer together.
func CheckJitter(s Schedule, jitter time.Duration) error {
	switch {
	case jitter < 0:
		return fmt.Errorf("jitter %s is negative", jitter)
	case s.IsZero():
		return nil
	}
	if shortest := s.shortest(jitter); jitter > shortest {
		return fmt.Errorf("jitter %s is longer than the %s between two runs of %s: write %s or less", brief(jitter), brief(shortest), quote(s.spec), brief(shortest))
	}
	return nil
}

// shortest returns the shortest time between two occurrences, or any value of at least enough.
func (s Schedule) shortest(enough time.Duration) time.Duration {
	if s.every != 0 {
		return s.every
	}
	first, last, inside := s.wall.day24()
	overnight := 24*60 - last + first
	shortest := time.Duration(min(inside, overnight)) * time.Minute
	if shortest >= enough || inside <= overnight {
		return shortest
	}
	overnight += 24 * 60 * (s.wall.days() - 1)
	return time.Duration(min(inside, overnight)) * time.Minute
}

// day24 returns the first and the last match of a day, in minutes since midnight, and the shortest time between two matches.
func (w *wall) day24() (first, last, inside int) {
	first, last, inside = -1, -1, 1<<30
	for hours := w.hour; hours != 0; hours &= hours - 1 {
		for minutes := w.minute; minutes != 0; minutes &= minutes - 1 {
			at := 60*bits.TrailingZeros64(hours) + bits.TrailingZeros64(minutes)
			if first < 0 {
				first = at
			} else {
				inside = min(inside, at-last)
			}
			last = at
		}
	}
	return first, last, inside
}

// days returns the smallest number of days from one match to the next. The calendar repeats every 400 years, but 28 years that include the
// leap year 2000 have all the shortest distances.
func (w *wall) days() int {
	shortest, last := 1<<20, -1
	for day := range 29 * 366 {
		date := time.Date(1999, 1, 1+day, 0, 0, 0, 0, time.UTC)
		if w.month>>date.Month()&1 == 0 || !w.on(date.Day(), date.Weekday()) {
			continue
		}
		if last >= 0 {
			shortest = min(shortest, day-last)
		}
		if shortest == 1 {
			break
		}
		last = day
	}
	return shortest
}

// brief formats a duration without trailing zero units.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
