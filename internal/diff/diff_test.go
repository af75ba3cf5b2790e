package diff

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/tagfilter"
)

var repo = image.Repository{Registry: "r.io", Path: "x"}

func sum(s string) image.Digest { return image.DigestOf([]byte(s), "") }

func TestActions(t *testing.T) {
	immutable, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"v*"}})
	if err != nil {
		t.Fatal(err)
	}
	fixed, v1 := plan.Job{Immutable: immutable}, repo.Tag("v1")
	cases := []struct {
		name   string
		job    plan.Job
		seen   Observation
		op     Op
		reason Reason
	}{
		{"absent", plan.Job{}, Observation{Want: sum("a")}, Import, Absent},
		{"unchanged", plan.Job{}, Observation{Want: sum("a"), Held: sum("a")}, Keep, Unchanged},
		{"moved", plan.Job{}, Observation{Want: sum("a"), Held: sum("b")}, Import, Moved},
		{"moved, refused", plan.Job{RefuseMoved: true}, Observation{Want: sum("a"), Held: sum("b")}, Refuse, Moved},
		{"absent where moving is refused", plan.Job{RefuseMoved: true}, Observation{Want: sum("a")}, Import, Absent},
		{"declined", plan.Job{}, Observation{Want: sum("a"), Declined: PlatformMissing}, Refuse, PlatformMissing},
		{"declined though equal", plan.Job{}, Observation{Want: sum("a"), Held: sum("a"), Declined: TwoWriters}, Refuse, TwoWriters},
		{"hidden", plan.Job{}, Observation{Want: sum("a"), Hidden: true}, Import, Hidden},
		{"hidden where moving is refused", plan.Job{RefuseMoved: true}, Observation{Want: sum("a"), Hidden: true}, Refuse, Hidden},
		{"hidden and declined", plan.Job{}, Observation{Want: sum("a"), Hidden: true, Declined: TwoWriters}, Refuse, TwoWriters},
		{"only Azure can ask for it", plan.Job{}, Observation{Unresolved: true, Held: sum("b")}, Import, Unresolved},
		{"only Azure can ask for it, and it must not be moved", plan.Job{RefuseMoved: true}, Observation{Unresolved: true, Held: sum("b")}, Keep, Unresolved},
		{"only Azure can ask for it, and it is not there", plan.Job{RefuseMoved: true}, Observation{Unresolved: true}, Import, Unresolved},
		{"immutable and there", fixed, Observation{Target: v1, There: true}, Keep, Immutable},
		{"immutable, there and declined", fixed, Observation{Target: v1, There: true, Declined: TwoWriters}, Refuse, TwoWriters},
		{"immutable and absent", fixed, Observation{Target: v1, Want: sum("a")}, Import, Absent},
		{"immutable and seen to be unchanged", fixed, Observation{Target: v1, Want: sum("a"), Held: sum("a")}, Keep, Unchanged},
		{"immutable and seen to have moved", fixed, Observation{Target: v1, Want: sum("a"), Held: sum("b")}, Refuse, Moved},
		{"immutable and hidden", fixed, Observation{Target: v1, Want: sum("a"), Hidden: true}, Refuse, Hidden},
		{"immutable, and only the target can ask", fixed, Observation{Target: v1, Unresolved: true, Held: sum("a")}, Keep, Unresolved},
		{"moved, and another is immutable", fixed, Observation{Target: repo.Tag("w1"), Want: sum("a"), Held: sum("b")}, Import, Moved},
		{"no digest", plan.Job{}, Observation{}, Refuse, Unobserved},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Actions(c.job, []Observation{c.seen})
			if got[0].Op != c.op || got[0].Reason != c.reason {
				t.Errorf("%s, %s; want %s, %s", got[0].Op, got[0].Reason, c.op, c.reason)
			}
		})
	}
}

func TestActionsAreSorted(t *testing.T) {
	seen := []Observation{{Target: repo.Tag("b")}, {Target: image.Repository{Registry: "a.io", Path: "z"}.Tag("z")}, {Target: repo.Tag("a")}}
	got := Actions(plan.Job{}, seen)
	if !slices.IsSortedFunc(got, Compare) {
		t.Errorf("not sorted: %v", got)
	}
}

func TestContested(t *testing.T) {
	claims := []Claim{
		{"one", repo.Tag("a")}, {"two", repo.Tag("a").WithDigest(sum("x"))}, {"one", repo.Tag("b")}, {"one", repo.Tag("b")}, {"two", repo.Tag("c")},
	}
	want := map[image.Reference][]string{repo.Tag("a"): {"one", "two"}}
	if diff := cmp.Diff(want, Contested(claims)); diff != "" {
		t.Error(diff)
	}
}

// FuzzActions holds the property that the whole of dray rests on: one action for each observation, and after the imports are
// applied a second round has nothing to import.
func FuzzActions(f *testing.F) {
	f.Add([]byte("abcabc"), false)
	f.Add([]byte{0, 1, 2, 3, 250, 0, 9}, true)
	f.Fuzz(func(t *testing.T, world []byte, refuse bool) {
		job := plan.Job{RefuseMoved: refuse}
		world = world[:min(len(world), 300)] // a hundred tags show all there is to see
		var seen []Observation
		for i := 0; i+2 < len(world); i += 3 {
			o := Observation{Source: repo.Tag("s"), Target: repo.Tag(fmt.Sprint(i))}
			if world[i] > 0 {
				o.Want = sum(fmt.Sprint(world[i] % 4))
			}
			if world[i+1] > 100 {
				o.Held = sum(fmt.Sprint(world[i+1] % 4))
			}
			switch {
			case world[i+2] > 200:
				o.Declined = PlatformMissing
			case world[i+2] > 150:
				o.Short = "no linux/arm64"
			}
			seen = append(seen, o)
		}
		before := slices.Clone(seen)
		actions := Actions(job, seen)
		refused := map[image.Reference]bool{}
		done := 0
		for _, a := range actions {
			if a.Op == Refuse {
				refused[a.Target] = true
			} else {
				done++
			}
		}
		for _, o := range seen {
			if (o.Declined != "" || o.Short != "") && !refused[o.Target] {
				t.Fatalf("nothing refuses %+v", o)
			}
		}
		if len(actions) > done+len(refused) || len(actions) < len(seen) || !slices.Equal(before, seen) || !slices.IsSortedFunc(actions, Compare) {
			t.Fatalf("%d actions for %d observations", len(actions), len(seen))
		}
		held := map[image.Reference]image.Digest{}
		for _, a := range actions {
			if a.Op == Import {
				held[a.Target] = a.Digest
			}
			if a.Op == Refuse && a.Reason == Moved && !refuse {
				t.Fatal("a move is refused that the job follows")
			}
		}
		for i := range seen {
			if d, ok := held[seen[i].Target]; ok {
				seen[i].Held = d
			}
		}
		for _, a := range Actions(job, seen) {
			if a.Op == Import {
				t.Fatalf("the second round would import again: %+v", a)
			}
		}
	})
}

func BenchmarkActions(b *testing.B) {
	seen := make([]Observation, 10_000)
	for i := range seen {
		seen[i] = Observation{Target: repo.Tag(fmt.Sprint(i)), Want: sum(fmt.Sprint(i)), Held: sum(fmt.Sprint(i % 9_000))}
	}
	b.ReportAllocs()
	for b.Loop() {
		Actions(plan.Job{}, seen)
	}
}
