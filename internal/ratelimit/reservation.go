package ratelimit

import (
	"context"
	"time"
)

// reservation is a number of pulls that are kept for what goes together, so that others do not begin what cannot be ended.
type reservation struct {
	*Governor
	account *account
	left    int
}

// reserved is the key under which a context carries its *reservation.
type reserved struct{}

// Reserve keeps pulls of a repository for the requests of the context that it returns, as far as there are any left: what does not fit is
// taken one by one, like everything without a reservation. adjust changes how many are still kept; adjust(0) gives back what was not
// used, and is called in the end.
func (g *Governor) Reserve(ctx context.Context, registry, repository string, pulls int) (of context.Context, adjust func(pulls int)) {
	if !g.Metered(registry) {
		return ctx, func(int) {}
	}
	a, err := g.of(ctx, registry, repository)
	if err != nil { // then nothing of the context is sent
		return ctx, func(int) {}
	}
	r := &reservation{Governor: g, account: a}
	r.adjust(pulls)
	return context.WithValue(ctx, reserved{}, r), r.adjust
}

// adjust makes the reservation as large as that, or as there is left.
func (r *reservation) adjust(pulls int) {
	r.mu.Lock()
	defer r.unlock()
	more := pulls - r.left
	if more > 0 {
		r.account.forget(time.Now())
		if left, known := r.account.available(r.options.Rule(r.account.registry)); known {
			more = min(more, max(0, left))
		}
	}
	r.left += more
	r.account.hold(more)
	if more < 0 {
		r.account.wake()
	}
}

// take takes a pull, of the reservation where it has one, or says when to try again. The caller holds the lock.
func (r *reservation) take(a *account, rule Rule, now time.Time) (retry time.Time, ok bool) {
	mine := r != nil && r.left > 0 && r.account.budget == a.budget
	if mine {
		r.account.hold(-1)
	}
	retry, ok = a.take(rule, now)
	switch {
	case mine && ok:
		r.left--
	case mine:
		r.account.hold(1)
	}
	return retry, ok
}

// reservationOf returns the reservation of a request's context, nil for none.
func reservationOf(ctx context.Context) *reservation {
	r, _ := ctx.Value(reserved{}).(*reservation)
	return r
}
