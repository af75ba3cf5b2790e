package ratelimit

import (
	"math"
	"time"
)

// Rule is what is known in advance about a registry's limits.
type Rule struct {
	// Metered is set if GETs of manifests count.
	Metered bool
	// Keep is how many pulls of a window are left to others; KeepPercent is the same as a part of the limit. The larger applies.
	Keep, KeepPercent int
	// Limit and Window are the limit if the registry's answers name none; zero for none.
	Limit  int
	Window time.Duration
	// PerSecond limits requests of any kind per second, of all processes together that share the limit; zero for no limit. Sharers is how many these
	// are; zero for one.
	PerSecond, Sharers int
}

// budget is what is known about the pulls of one account or address at one registry. It is pure: callers pass the time.
type budget struct {
	// Limit and Remaining are from the last reading, at Read; Known is set once there was one.
	Limit, Remaining int
	Window           time.Duration
	Read             time.Time
	Known            bool
	// Spent are our own pulls within the last window.
	Spent spent
	// Until is set while a refusal holds.
	Until time.Time
	// Others is the average number of others' pulls per window since OthersSince; OthersAt is when it was last updated.
	Others                float64
	OthersSince, OthersAt time.Time
	// Levels are what had been spent at the times of answers within the last window.
	Levels levels
	// Readings counts the readings of all processes that share the budget; Allotments are the pulls that they have set aside, by process,
	// without those of this one.
	Readings   int
	Allotments map[string]allotment

	// underWay are pulls that were sent and not answered yet.
	underWay int
	// reservations are those that reserve pulls, in order of arrival.
	reservations []*reservation
	// settled is closed when the next pull ends or is returned; nil while no one waits for that.
	settled chan struct{}
	// heard is the time of the last answer that was read.
	heard time.Time
	// met is set once the registry has named whom it counts: the pulls are those of that source.
	met bool
	// news counts readings and refusals.
	news int
}

const (
	// lookAgain is how often to check a budget that others have spent; shortest is the shortest deferral.
	lookAgain = 10 * time.Minute
	shortest  = time.Minute
	// longestGuess is the longest time for which a budget is left alone if the registry names none.
	longestGuess = time.Hour
)

// keep returns how many pulls are left to others.
func (r Rule) keep(limit int) int { return max(r.Keep, limit*r.KeepPercent/100) }

// forget drops pulls that have left the window.
func (b *budget) forget(now time.Time) {
	// A time slightly in the future was settled while the caller waited for its turn; one far in the future comes from a wrong clock.
	window, latest := b.window(), now.Add(shortest)
	b.Spent = b.Spent.within(now.Add(-window), latest)
	if b.Known && (now.Sub(b.Read) >= window || b.Read.After(latest)) {
		b.Known = false
	}
}

func (b *budget) window() time.Duration {
	if b.Window > 0 {
		return b.Window
	}
	return 6 * time.Hour
}

// available returns how many pulls may be made now; false if nothing is known, and the registry must say.
func (b *budget) available(rule Rule) (int, bool) {
	if b.Known {
		return b.Remaining - b.underWay - b.reserved() - b.allotted() - rule.keep(b.Limit), true
	}
	if rule.Limit > 0 {
		return rule.Limit - b.Spent.total() - b.underWay - b.reserved() - b.allotted() - rule.keep(rule.Limit), true
	}
	return 0, false
}

// take reserves a pull, or says when to try again.
func (b *budget) take(rule Rule, now time.Time) (retry time.Time, ok bool) {
	if rule.Limit > 0 && b.Window == 0 {
		b.Window = rule.Window
	}
	b.forget(now)
	if now.Before(b.Until) {
		return b.Until, false
	}
	if left, known := b.available(rule); known && left <= 0 {
		return b.again(rule, now), false
	}
	b.underWay++
	return time.Time{}, true
}

// undecided reports whether pulls under way may already be counted in what is left, or others may return some that they have set aside, for
// which only the patient wait: so there may be more than it seems.
func (b *budget) undecided(rule Rule, patient bool, now time.Time) bool {
	return (b.underWay > 0 || patient && b.allotted() > 0) && !now.Before(b.Until) && (!b.Known || b.Remaining > rule.keep(b.Limit))
}

// wait returns a channel that is closed when a pull under way ends.
func (b *budget) wait() <-chan struct{} {
	if b.settled == nil {
		b.settled = make(chan struct{})
	}
	return b.settled
}

// again returns when to try next: when a quarter of the limit has left the window, as far as it was spent here; if others have spent it,
// soon enough to notice when there is more.
func (b *budget) again(rule Rule, now time.Time) time.Time {
	limit := b.Limit
	if !b.Known {
		limit = rule.Limit
	}
	at := now.Add(lookAgain)
	if own := b.Spent.total(); own > 0 && own >= (limit-b.Remaining)/2 {
		at = b.Spent.burst(min(own-1, max(0, limit/4-1))).Add(b.window())
	}
	if latest := b.Read.Add(b.window()); b.Known && latest.After(now) && at.After(latest) {
		at = latest
	}
	if earliest := now.Add(min(shortest, b.window())); at.Before(earliest) {
		return earliest
	}
	return at
}

// wake continues those that wait for a pull to end.
func (b *budget) wake() {
	if b.settled != nil {
		close(b.settled)
		b.settled = nil
	}
}

// settle ends a pull; counted is set if the registry has counted it.
func (b *budget) settle(counted bool, now time.Time) {
	b.underWay--
	b.wake()
	if counted {
		b.Spent = b.Spent.add(spent{countAt(now, 1)})
		if !b.Known { // there is no answer that says it
			b.note(now)
		}
	}
}

// lose counts a pull of which it is unknown whether the registry has counted it, until the next reading.
func (b *budget) lose() {
	if b.Known {
		b.Remaining = max(0, b.Remaining-1)
	}
}

// learn reads what an answer says, given the time of its request. Answers may overtake one another: the answer to a request that was sent
// before the last answer came counts only if it says less.
func (b *budget) learn(r Reading, sent, now time.Time) {
	if b.Known && !sent.After(b.heard) && r.Remaining >= b.Remaining {
		return
	}
	b.Known, b.Remaining, b.Read, b.heard = true, r.Remaining, now, now
	b.news++
	if r.Limit >= 0 {
		b.Limit = r.Limit
	}
	if r.Window > 0 {
		b.Window = r.Window
	}
	if r.Remaining > 0 {
		b.Until = time.Time{}
	}
	b.watchOthers(now)
	b.note(now)
}

// othersNow returns how many pulls of the window others have made, as far as the window itself does not tell.
func (b *budget) othersNow() int { return max(0, b.Limit-b.Remaining-b.Spent.total()-b.underWay) }

// watchOthers updates the average of others' pulls, four times per window.
func (b *budget) watchOthers(now time.Time) {
	if now.Sub(b.OthersAt) < b.window()/4 {
		return
	}
	b.forget(now)
	if seen := float64(b.othersNow()); b.OthersSince.IsZero() || now.Sub(b.OthersAt) > 4*b.window() {
		b.Others, b.OthersSince = seen, now
	} else {
		b.Others = 0.75*b.Others + 0.25*seen
	}
	b.OthersAt = now
}

// steady returns how many pulls of each window are left to others, who have made them for at least one window.
func (b *budget) steady(now time.Time) int {
	if b.OthersSince.IsZero() || now.Sub(b.OthersSince) < b.window() {
		return 0
	}
	return int(math.Round(b.Others))
}

// refuse records that the registry allows no more before a time; zero if it named none.
func (b *budget) refuse(rule Rule, asked, now time.Time) time.Time {
	at := b.again(rule, now)
	if !b.Known {
		at = now.Add(min(at.Sub(now), longestGuess))
	}
	if asked.After(now) && asked.Before(now.Add(b.window()+time.Hour)) {
		at = asked
	}
	b.Until = at
	b.news++
	return at
}
