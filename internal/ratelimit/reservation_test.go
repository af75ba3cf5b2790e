package ratelimit

import (
	"slices"
	"testing"
	"time"
)

// TestReservations: what has begun gets what it needs of what is kept for others, what came first keeps what it has where there turns out
// to be less, and what is given back is there for all.
func TestReservations(t *testing.T) {
	type reserve struct {
		pulls int
		begun bool
	}
	for name, tt := range map[string]struct {
		reserves []reserve
		then     func(b *budget, list []*reservation)
		want     []int
	}{
		"as far as there are any":       {[]reserve{{3, false}, {3, false}, {3, false}, {3, false}}, nil, []int{3, 3, 1, 0}},
		"what has begun comes first":    {[]reserve{{3, false}, {3, false}, {4, true}}, nil, []int{3, 0, 4}},
		"but not before what has begun": {[]reserve{{3, true}, {3, true}, {3, true}}, nil, []int{3, 3, 1}},
		"more than was thought": {[]reserve{{3, false}, {3, false}}, func(_ *budget, list []*reservation) {
			list[0].begun = true
			list[0].adjust(6)
		}, []int{6, 1}},
		"less than was thought": {[]reserve{{3, false}, {3, false}, {3, false}}, func(_ *budget, list []*reservation) {
			list[0].adjust(1)
			list[2].adjust(3)
		}, []int{1, 3, 3}},
		"others have spent": {[]reserve{{3, false}, {3, true}, {1, false}}, func(b *budget, _ []*reservation) {
			b.Remaining = 4
			b.fit(Rule{})
		}, []int{1, 3, 0}},
		"others have spent nearly all": {[]reserve{{2, true}, {3, true}, {1, false}}, func(b *budget, _ []*reservation) {
			b.Remaining = 1
			b.fit(Rule{})
		}, []int{1, 0, 0}},
		"some are left to others": {[]reserve{{3, false}, {3, false}}, func(b *budget, _ []*reservation) {
			b.fit(Rule{Keep: 3})
		}, []int{3, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(Options{Rule: func(string) Rule { return Rule{Metered: true} }, Account: func(string, string) string { return "" }})
			a, err := g.of(t.Context(), "hub.example", "a/x")
			if err != nil {
				t.Fatal(err)
			}
			a.Known, a.Limit, a.Remaining, a.Read = true, 100, 7, time.Now()
			var list []*reservation
			for _, one := range tt.reserves {
				ctx, _ := g.Reserve(t.Context(), "hub.example", "a/x", one.pulls, one.begun)
				list = append(list, reservationOf(ctx))
			}
			if tt.then != nil {
				tt.then(a.budget, list)
			}
			var got []int
			for _, r := range list {
				got = append(got, r.left)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
			for _, r := range list {
				r.adjust(0)
			}
			if len(a.reservations) > 0 || a.reserved() != 0 {
				t.Errorf("%d reservations are left, of %d pulls", len(a.reservations), a.reserved())
			}
		})
	}
}
