package ratelimit

import (
	"cmp"
	"slices"
	"time"
)

// Need is what a job will pull from a budget.
type Need struct {
	Job      string
	Priority int
	Pulls    int
}

// Share is what a job gets from a budget, and when.
type Share struct {
	Need
	// Now is how many of the pulls fit at once.
	Now int
	// Done is when the last of them is made; zero if that is unknown.
	Done time.Time
}

// Forecast says how a budget will be spent.
type Forecast struct {
	Shares []Share // in the order in which they are served
	// Others is how many pulls of the window others have made.
	Others int
}

// maxForecast limits the pulls whose time is calculated; beyond it the time is unknown.
const maxForecast = 1_000_000

// Forecast predicts how the needs of jobs will be served, from what is known about the budget of an account; false if that is nothing. It
// assumes that the window slides, and that others continue as they have for at least a window.
func (g *Governor) Forecast(registry, account string, needs []Need, now time.Time) (Forecast, bool) {
	g.mu.Lock()
	defer g.unlock()
	a := g.budgets[key{registry, account}]
	if a == nil {
		return Forecast{}, false
	}
	a.forget(now)
	return a.forecast(g.options.Rule(registry), needs, now)
}

func (b *budget) forecast(rule Rule, needs []Need, now time.Time) (Forecast, bool) {
	limit := b.Limit
	if !b.Known {
		limit = rule.Limit
	}
	if limit <= 0 {
		return Forecast{}, false
	}
	free, others := b.slots(rule, limit, now)
	f := Forecast{Others: others}
	for _, need := range needs {
		f.Shares = append(f.Shares, Share{Need: need})
	}
	slices.SortStableFunc(f.Shares, func(a, b Share) int { return cmp.Compare(b.Priority, a.Priority) })
	total := 0
	for _, s := range f.Shares {
		total += s.Pulls
	}
	if len(free) == 0 || total > maxForecast {
		return f, true
	}
	// A used slot is free again a window later, and all of them become free within one window: so they are used in turns.
	k := 0
	next := func() time.Time {
		at := free[k%len(free)].Add(time.Duration(k/len(free)) * b.window())
		k++
		return at
	}
	for from := 0; from < len(f.Shares); {
		to := from + 1
		for to < len(f.Shares) && f.Shares[to].Priority == f.Shares[from].Priority {
			to++
		}
		serve(f.Shares[from:to], next, now)
		from = to
	}
	return f, true
}

// serve gives pulls to jobs of one priority in turns.
func serve(shares []Share, next func() time.Time, now time.Time) {
	for round, more := 0, true; more; round++ {
		more = false
		for i := range shares {
			s := &shares[i]
			if round >= s.Pulls {
				continue
			}
			if s.Done = next(); !s.Done.After(now) {
				s.Now++
			}
			more = more || round+1 < s.Pulls
		}
	}
}

// slots returns the times, sorted, at which each slot of the window becomes free that others neither use nor keep; others is how many they
// use now.
func (b *budget) slots(rule Rule, limit int, now time.Time) (free []time.Time, others int) {
	remaining := limit - b.Spent.total()
	if b.Known {
		remaining, others = b.Remaining, b.othersNow()
	}
	from := now
	if b.Until.After(now) {
		from = b.Until
	}
	for range remaining {
		free = append(free, from)
	}
	for _, c := range b.Spent {
		back := c.at().Add(b.window())
		if !back.After(from) {
			back = from
		}
		for range min(c.pulls, maxForecast) {
			free = append(free, back)
		}
	}
	for range others { // it is unknown when they were made: before the last look
		free = append(free, b.Read.Add(b.window()))
	}
	slices.SortFunc(free, time.Time.Compare)
	taken := rule.keep(limit) + max(0, b.steady(now)-others) // of those that are free first
	free = free[min(taken, len(free)):]
	usable := limit - rule.keep(limit) - b.steady(now)
	return free[:min(len(free), max(0, usable))], others // a fixed window may start over before ours has slid
}
