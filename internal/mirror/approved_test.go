package mirror_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
)

// TestApproved makes a plan, lets the world move on, and syncs what was approved: that alone is imported, and what is not as planned any more is
// refused, with the reason.
func TestApproved(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		for i, tag := range []string{"right", "moved", "gone", "taken", "there", "old"} {
			push(t, s.a, int64(i), "x", tag)
		}
		push(t, s.b, 5, "x", "old")
		old := s.b.Digest("x", "old")
		push(t, s.a, 6, "x", "old")
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		approved := map[string][]diff.Action{}
		for _, out := range s.mirror.Plan(t.Context(), []plan.Job{j})[0].Outcomes {
			approved[j.Name] = append(approved[j.Name], out.Action)
		}
		if n := len(approved[j.Name]); n != 6 {
			t.Fatalf("the plan has %d imports", n)
		}
		push(t, s.a, 11, "x", "moved")
		s.a.DeleteTag("x", "gone")
		push(t, s.b, 12, "x", "taken")
		push(t, s.b, 4, "x", "there") // somebody else has brought it
		push(t, s.a, 13, "x", "new")
		taken := s.b.Digest("x", "taken")
		result := s.mirror.SyncApproved(t.Context(), []plan.Job{j}, approved)[0]
		var got []string
		for _, out := range result.Outcomes {
			got = append(got, strings.Join([]string{out.Target.Tag, string(out.Reason), string(out.Status)}, " "))
		}
		slices.Sort(got)
		want := []string{"gone absent-at-source absent", "moved not-planned refused", "old moved imported", "right absent imported", "taken not-planned refused", "there unchanged kept"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		for tag, digest := range map[string]string{"right": s.a.Digest("x", "right"), "old": s.a.Digest("x", "old"), "taken": taken, "moved": "", "new": ""} {
			whole(t, s.b, "x", tag, digest)
		}
		if old == s.b.Digest("x", "old") {
			t.Error("the planned move was not made")
		}
	})
}

// A plan that somebody has changed makes dray write nothing that its mapping does not say.
func TestApprovedByAForger(t *testing.T) {
	forge := map[string]func(*diff.Action){
		"another source":     func(a *diff.Action) { a.Source.Path = "secret" },
		"another tag":        func(a *diff.Action) { a.Source.Tag = "other" },
		"another digest":     func(a *diff.Action) { a.Source.Digest = image.DigestOf([]byte("x"), "") },
		"another target":     func(a *diff.Action) { a.Target.Path = "y" },
		"another target tag": func(a *diff.Action) { a.Target.Tag = "other" },
		"another content":    func(a *diff.Action) { a.Digest = image.DigestOf([]byte("x"), "") },
		"over another":       func(a *diff.Action) { a.Was = image.DigestOf([]byte("x"), "") },
		"no digest":          func(a *diff.Action) { a.Source.Digest = "" },
	}
	for name, change := range forge {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				push(t, s.a, 1, "x", "v1")
				push(t, s.a, 2, "x", "other")
				push(t, s.a, 3, "secret", "v1")
				j := job(t, "x", "x", []string{"v*"}, hostA, hostB)
				a := s.mirror.Plan(t.Context(), []plan.Job{j})[0].Outcomes[0].Action
				change(&a)
				result := s.mirror.SyncApproved(t.Context(), []plan.Job{j}, map[string][]diff.Action{j.Name: {a}})[0]
				refused := slices.ContainsFunc(result.Outcomes, func(out mirror.Outcome) bool { return out.Op == diff.Refuse && out.Reason == diff.NotPlanned })
				if there := s.b.Repositories(); len(there) > 0 || !refused {
					t.Errorf("refused: %t; the target has %q", refused, there)
				}
			})
		})
	}
}
