package ratelimit

import "time"

// allotment is a number of pulls that a process has set aside before it sends them, so that others that share the store leave them to it.
// It lasts until a time; what is left of it then counts as spent, since it is unknown what became of it.
type allotment struct {
	Until time.Time
	Left  int
}

const (
	// lease is how long an allotment lasts; usable is how long its owner takes pulls from it, by its own clock; renewAfter is when it
	// extends one that is needed.
	lease      = 30 * time.Second
	usable     = 24 * time.Second
	renewAfter = 10 * time.Second
	// settleEvery is how long an allotment may be larger than what is needed, and how often to look for what others give back.
	settleEvery = time.Second
	// maxAhead is how many pulls a process that makes them sets aside beyond those that it needs, so that not each waits for the store.
	maxAhead = 16
	// maxAllotments limits the processes that share a budget.
	maxAllotments = 1000
)

// expire counts the allotments that are over as spent, and returns how many they are. It removes that of the owner.
func (b *budget) expire(owner string, now time.Time) (lost int) {
	for token, a := range b.Allotments {
		over := !now.Before(a.Until) || a.Until.After(now.Add(2*lease)) // or of a wrong clock
		if token != owner && over && a.Left > 0 {
			lost = min(lost+a.Left, maxNumber)
		}
		if token == owner || over || a.Left <= 0 || len(b.Allotments) > maxAllotments {
			delete(b.Allotments, token)
		}
	}
	switch {
	case lost == 0:
	case b.Known:
		b.Remaining = max(0, b.Remaining-lost)
	default:
		b.Spent = b.Spent.add(spent{countAt(now, lost)})
	}
	return lost
}

// allotted returns how many pulls others have set aside.
func (b *budget) allotted() (pulls int) {
	for _, a := range b.Allotments {
		pulls = min(pulls+a.Left, maxNumber)
	}
	return pulls
}

// share is the part of an account in a budget that several processes spend.
type share struct {
	// granted are the pulls that are set aside in the store, as of asked; used are those of them that were answered since.
	granted, used int
	asked         time.Time
	// waiting are the requests that wait for pulls; took is when a pull was last taken.
	waiting int
	took    time.Time
	// seen is how many readings the saved state had when it was last seen, told which news of the budget it has.
	seen, told int
	unsent
	// failed is set if the store did not answer the last time: then what is known here has to do.
	failed bool
	// timer extends or returns what is set aside; nil if nothing is.
	timer *time.Timer
}

// unsent is what other processes do not know yet: pulls that were counted, and those without an answer.
type unsent struct {
	fresh spent
	lost  int
}

// covered reports whether one more pull is set aside.
func (a *account) covered(now time.Time) bool {
	return a.pulling+a.used < a.granted && now.Sub(a.asked) < usable
}

// needed returns how many pulls are under way, reserved or waited for.
func (a *account) needed() (pulls int) {
	pulls = a.pulling + a.waiting
	for _, r := range a.reservations {
		if r.account == a {
			pulls += r.left
		}
	}
	return pulls
}

// grant returns how many pulls of a budget to set aside: those needed and, while pulls are made, some ahead, as far as there are any. Those
// under way are set aside in any case.
func (a *account) grant(b *budget, rule Rule, now time.Time) int {
	want := a.needed()
	left, known := b.available(rule)
	if !known {
		return want
	}
	left += want - a.waiting // what is its own
	grant := min(want, left)
	if now.Sub(a.took) < settleEvery {
		grant += max(0, min(maxAhead, (left-want+1)/2))
	}
	return max(a.pulling, grant)
}

// merged is what becomes of a saved state.
type merged struct {
	*budget
	// theirs is set if the reading is that of another process.
	theirs bool
	// news is that of the budget which was merged; grant is what is set aside.
	of          *budget
	news, grant int
}

// merge returns the budget with what other processes have saved. A reading of theirs replaces ours unless ours is newer; if it is unknown
// which of them is, the one with less applies.
func (a *account) merge(kept *budget, sent unsent, owner string, rule Rule, now time.Time) merged {
	kept.forget(now)
	lost := kept.expire(owner, now)
	b := *a.budget
	b.forget(now)
	m := merged{budget: &b, of: a.budget, news: b.news}
	news, foreign := b.news != a.told, kept.Readings != a.seen
	switch until := b.Until; {
	case kept.Known && foreign && (!news || !b.Known || kept.Remaining <= b.Remaining):
		m.theirs = true
		b.read(kept)
		b.Remaining = max(0, b.Remaining-sent.lost)
		if news && until.After(b.Until) {
			b.Until = until
		}
	case kept.Known && b.Known && !news:
		b.Remaining = min(b.Remaining, max(0, kept.Remaining-sent.lost))
	case b.Known:
		b.Remaining = max(0, b.Remaining-lost)
	}
	if foreign && kept.Until.After(b.Until) {
		b.Until = kept.Until
	}
	b.Spent = b.Spent.join(kept.Spent.add(sent.fresh))
	b.Levels = b.Levels.join(kept.Levels, b.window())
	b.attribute()
	b.Readings = kept.Readings
	if news {
		b.Readings++
	}
	b.Allotments = kept.Allotments
	m.grant = a.grant(&b, rule, now)
	return m
}

// read takes over a reading with what was concluded from it.
func (b *budget) read(from *budget) {
	b.Known, b.Limit, b.Remaining, b.Window, b.Read, b.Until = from.Known, from.Limit, from.Remaining, from.Window, from.Read, from.Until
	b.Others, b.OthersSince, b.OthersAt = from.Others, from.OthersSince, from.OthersAt
}

// accept takes over what was saved, unless the registry has said less meanwhile.
func (a *account) accept(m merged, rule Rule, now time.Time) {
	b := a.budget
	a.seen = m.Readings
	b.Spent = b.Spent.join(m.Spent.add(a.fresh))
	b.Levels = b.Levels.join(m.Levels, m.window())
	b.attribute()
	b.Allotments = m.Allotments
	if b != m.of {
		return // it is another since, all of which is news
	}
	if a.told = m.news; b.news == m.news || m.theirs && m.Known && m.Remaining < b.Remaining {
		b.read(m.budget)
		b.Remaining = max(0, b.Remaining-a.lost)
		if m.theirs {
			b.heard = now
		}
		if b.Known {
			b.fit(rule)
		}
	}
}
