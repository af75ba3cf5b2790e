package ratelimit

import (
	"testing"
	"time"
)

// TestMerge: the later reading of two processes applies, the one with less if that is unknown, and allotments that are over count as spent.
func TestMerge(t *testing.T) {
	now := time.Now()
	allotted := func(left int, until time.Duration) map[string]allotment {
		return map[string]allotment{"other": {Until: now.Add(until), Left: left}, "own": {Until: now.Add(lease), Left: 7}}
	}
	for name, tt := range map[string]struct {
		own        int // -1 for unknown
		news       bool
		kept       int
		newer      bool
		sent       unsent
		allotments map[string]allotment
		want, free int
	}{
		"theirs is newer":              {own: 50, kept: 90, newer: true, want: 90, free: 90},
		"theirs is all that is known":  {own: -1, kept: 90, newer: true, want: 90, free: 90},
		"ours is newer":                {own: 50, news: true, kept: 40, want: 50, free: 50},
		"both are new, theirs is less": {own: 50, news: true, kept: 40, newer: true, want: 40, free: 40},
		"both are new, ours is less":   {own: 50, news: true, kept: 90, newer: true, want: 50, free: 50},
		"one was lost here":            {own: 50, kept: 40, newer: true, sent: unsent{lost: 1}, want: 39, free: 39},
		"one was lost there":           {own: 50, kept: 49, want: 49, free: 49},
		"theirs are set aside":         {own: 50, kept: 50, allotments: allotted(5, time.Second), want: 50, free: 45},
		"theirs are over":              {own: 50, kept: 50, allotments: allotted(5, -time.Second), want: 45, free: 45},
		"theirs are over, ours is new": {own: 50, news: true, kept: 60, allotments: allotted(5, -time.Second), want: 45, free: 45},
		"of a wrong clock":             {own: 50, kept: 50, allotments: allotted(5, time.Hour), want: 45, free: 45},
		"more than there are":          {own: 50, kept: 50, allotments: allotted(80, -time.Second), want: 0, free: 0},
		"negative":                     {own: 50, kept: 50, allotments: allotted(-80, time.Second), want: 50, free: 50},
	} {
		t.Run(name, func(t *testing.T) {
			a := &account{budget: &budget{Known: tt.own >= 0, Remaining: max(0, tt.own), Limit: 100, Read: now, Window: time.Hour}}
			kept := &budget{Known: true, Remaining: tt.kept, Limit: 100, Read: now, Window: time.Hour, Readings: 3, Allotments: tt.allotments}
			if a.seen = 3; tt.newer {
				a.seen = 2
			}
			if tt.news {
				a.news = 1
			}
			a.accept(a.merge(kept, tt.sent, "own", Rule{}, now), Rule{}, now)
			if free, _ := a.available(Rule{}); a.Remaining != tt.want || free != tt.free || a.seen < 3 || a.told != a.news {
				t.Errorf("%d remain, %d are free, want %d and %d", a.Remaining, free, tt.want, tt.free)
			}
		})
	}
}
