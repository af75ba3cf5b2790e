package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

func noon() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

func TestQueueZero(t *testing.T) {
	var q Queue
	if at, ok := q.Next(); ok || !at.IsZero() {
		t.Errorf("Next() = %s, %t of an empty queue", at, ok)
	}
	if keys := q.Pop(noon(), 3); keys != nil {
		t.Errorf("Pop() = %v of an empty queue", keys)
	}
	q.Remove("a")
}

func TestQueuePop(t *testing.T) {
	type put struct {
		key      string
		minutes  int
		priority int
	}
	tests := []struct {
		name string
		puts []put
		n    int
		want []string
	}{
		{"priority, then due, then key", []put{{"d", -1, 0}, {"c", -2, 0}, {"a", -1, 5}, {"b", -1, 0}, {"e", -1, -5}}, 9, []string{"a", "c", "b", "d", "e"}},
		{"due now, and not later", []put{{"a", 0, 0}, {"b", 1, 9}}, 9, []string{"a"}},
		{"at most n", []put{{"a", -1, 0}, {"b", -1, 0}, {"c", -1, 1}}, 2, []string{"c", "a"}},
		{"none", []put{{"a", -1, 0}}, 0, nil},
		{"less than none", []put{{"a", -1, 0}}, -1, nil},
		{"an hour is not long", []put{{"a", -60, 0}, {"b", -1, 1}}, 1, []string{"b"}},
		{"more than an hour is", []put{{"c", -61, 0}, {"b", -62, -9}, {"a", -1, 9}}, 9, []string{"b", "c", "a"}},
		{"moved", []put{{"a", -1, 0}, {"b", -1, 1}, {"b", -1, -1}, {"a", 5, 9}}, 9, []string{"b"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var q Queue
			for _, p := range tc.puts {
				q.Put(p.key, noon().Add(time.Duration(p.minutes)*time.Minute), p.priority)
			}
			if diff := gocmp.Diff(tc.want, q.Pop(noon(), tc.n)); diff != "" {
				t.Errorf("Pop() (-want +got):\n%s", diff)
			}
		})
	}
}

// TestQueueClockSetBack: what was due is not any more.
func TestQueueClockSetBack(t *testing.T) {
	var q Queue
	q.Put("a", noon(), 0)
	q.Put("b", noon().Add(-time.Hour), 0)
	q.Pop(noon(), 0)
	if got := q.Pop(noon().Add(-time.Minute), 9); !slices.Equal(got, []string{"b"}) {
		t.Errorf("Pop() = %v, want b alone", got)
	}
	if at, ok := q.Next(); !ok || !at.Equal(noon()) {
		t.Errorf("Next() = %s, %t", at, ok)
	}
}

// TestQueueStarvesNobody has a place for one job a minute, and one of high priority that is due each minute.
func TestQueueStarvesNobody(t *testing.T) {
	var q Queue
	q.Put("low", noon(), 0)
	for minute := range 120 {
		now := noon().Add(time.Duration(minute) * time.Minute)
		q.Put(fmt.Sprint(minute), now, 9)
		if slices.Contains(q.Pop(now, 1), "low") {
			if minute != 61 {
				t.Errorf("ran after %d minutes, want 61", minute)
			}
			return
		}
	}
	t.Error("never ran")
}

// TestQueueIsTheModel compares with a list that is sorted each time.
func TestQueueIsTheModel(t *testing.T) {
	type entry struct {
		key      string
		due      time.Time
		priority int
	}
	random := rand.New(rand.NewPCG(3, 4))
	var q Queue
	model, now := map[string]entry{}, noon()
	for step := range 50_000 {
		key := fmt.Sprint(random.IntN(50))
		switch random.IntN(6) {
		case 0:
			now = now.Add(time.Duration(random.IntN(600)-60) * time.Second)
		case 1:
			delete(model, key)
			q.Remove(key)
		case 2, 3, 4:
			model[key] = entry{key, now.Add(time.Duration(random.IntN(7200)-3000) * time.Second), random.IntN(3)}
			q.Put(key, model[key].due, model[key].priority)
		case 5:
			var due []entry
			for _, e := range model {
				if !e.due.After(now) {
					due = append(due, e)
				}
			}
			slices.SortFunc(due, func(a, b entry) int {
				longA, longB := now.Sub(a.due) > time.Hour, now.Sub(b.due) > time.Hour
				switch {
				case longA != longB && longA:
					return -1
				case longA != longB:
					return 1
				case longA:
					return cmp.Or(a.due.Compare(b.due), b.priority-a.priority, cmp.Compare(a.key, b.key))
				}
				return cmp.Or(b.priority-a.priority, a.due.Compare(b.due), cmp.Compare(a.key, b.key))
			})
			var want []string
			for _, e := range due[:min(len(due), random.IntN(4))] {
				want = append(want, e.key)
				delete(model, e.key)
			}
			if got := q.Pop(now, len(want)); !slices.Equal(got, want) {
				t.Fatalf("step %d: Pop() = %v, want %v", step, got, want)
			}
		}
		var first time.Time
		for _, e := range model {
			if first.IsZero() || e.due.Before(first) {
				first = e.due
			}
		}
		if at, ok := q.Next(); ok != (len(model) > 0) || !at.Equal(first) {
			t.Fatalf("step %d: Next() = %s, %t, want %s", step, at, ok, first)
		}
	}
}

func TestQueueIdleAllocatesNothing(t *testing.T) {
	var q Queue
	for i := range 100 {
		q.Put(fmt.Sprint(i), noon().Add(time.Duration(i)*time.Minute), 0)
	}
	if n := testing.AllocsPerRun(100, func() { q.Next(); q.Pop(noon(), 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
