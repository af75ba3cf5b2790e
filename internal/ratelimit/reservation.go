package ratelimit

import (
	"context"
	"slices"
	"time"
)

// reservation reserves pulls for requests that belong together, so that others do not start what cannot be finished.
type reservation struct {
	*Governor
	account *account
	left    int
	// begun says that a pull was made for it, now or before.
	begun bool
}

// reserved is the context key of a *reservation.
type reserved struct{}

// Reserve reserves pulls of a repository for the requests of the returned context, as far as any are left: the rest is taken one by one, as
// without a reservation. begun says that pulls were already spent on it: it may use pulls reserved for what has not begun. adjust changes
// how many remain reserved; call adjust(0) in the end, which returns the unused ones.
func (g *Governor) Reserve(ctx context.Context, registry, repository string, pulls int, begun bool) (of context.Context, adjust func(pulls int)) {
	if !g.Metered(registry) {
		return ctx, func(int) {}
	}
	a, err := g.of(ctx, registry, repository)
	if err != nil { // then no request of the context is sent
		return ctx, func(int) {}
	}
	r := &reservation{Governor: g, account: a, begun: begun}
	r.adjust(pulls)
	return context.WithValue(ctx, reserved{}, r), r.adjust
}

// Idle returns the pulls that are reserved for the requests of a context, until resume is called: then they are reserved again, as far as any
// are left.
func (*Governor) Idle(ctx context.Context) (resume func()) {
	r := reservationOf(ctx)
	if r == nil {
		return func() {}
	}
	r.mu.Lock()
	pulls := r.left
	r.unlock()
	r.adjust(0)
	return func() { r.adjust(pulls) }
}

// adjust sets the size of the reservation, limited by what is left.
func (r *reservation) adjust(pulls int) {
	r.mu.Lock()
	defer r.unlock()
	b := r.account.budget
	if more := pulls - r.left; more > 0 {
		b.forget(time.Now())
		if left, known := b.available(r.options.Rule(r.account.registry)); known && more > left {
			left = max(0, left)
			if r.begun {
				left += b.cut(more-left, func(other *reservation) bool { return !other.begun })
			}
			pulls = r.left + left
		}
	}
	b.reservations = slices.DeleteFunc(b.reservations, func(other *reservation) bool { return other == r && pulls == 0 })
	if r.left == 0 && pulls > 0 {
		b.reservations = append(b.reservations, r)
	}
	r.left = pulls
	b.wake()
}

// reserved returns how many pulls are reserved.
func (b *budget) reserved() (pulls int) {
	for _, r := range b.reservations {
		pulls += r.left
	}
	return pulls
}

// cut takes pulls back from some of the reservations, from the last first. It returns how many.
func (b *budget) cut(pulls int, from func(*reservation) bool) (taken int) {
	for _, r := range slices.Backward(b.reservations) {
		if n := min(r.left, pulls-taken); n > 0 && from(r) {
			r.left -= n
			taken += n
		}
	}
	b.reservations = slices.DeleteFunc(b.reservations, func(r *reservation) bool { return r.left == 0 })
	return taken
}

// fit takes reserved pulls back when less turns out to be left: first from what has not begun.
func (b *budget) fit(rule Rule) {
	excess := b.reserved() - max(0, b.Remaining-b.allotted()-rule.keep(b.Limit))
	excess -= b.cut(excess, func(r *reservation) bool { return !r.begun })
	b.cut(excess, func(*reservation) bool { return true })
}

// of reports whether there are pulls reserved in the budget of an account.
func (r *reservation) of(a *account) bool {
	return r != nil && r.left > 0 && r.account.budget == a.budget
}

// fits reports whether there is a pull left, by what is known of the budget.
func (r *reservation) fits(a *account, rule Rule, now time.Time) bool {
	a.forget(now)
	left, known := a.available(rule)
	return known && !now.Before(a.Until) && (left > 0 || left == 0 && r.of(a))
}

// take takes a pull, from the reservation if there is one, or says when to try again. The caller holds the lock.
func (r *reservation) take(a *account, rule Rule, now time.Time) (retry time.Time, ok bool) {
	mine := r.of(a)
	if mine {
		r.left--
	}
	retry, ok = a.take(rule, now)
	switch {
	case mine && !ok:
		r.left++
	case mine && r.left == 0:
		a.reservations = slices.DeleteFunc(a.reservations, func(other *reservation) bool { return other == r })
	}
	if r != nil && ok {
		r.begun = true
	}
	return retry, ok
}

// reservationOf returns the reservation of a request's context, nil for none.
func reservationOf(ctx context.Context) *reservation {
	r, _ := ctx.Value(reserved{}).(*reservation)
	return r
}
