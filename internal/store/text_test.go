package store

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// TestTexts keeps texts with bytes that no database takes: they come from registries, and nothing is lost because of them.
func TestTexts(t *testing.T) {
	const bad, good = "a\x00b\xffc\xc3", "a\ufffdb"
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	run, state := busyRun(d, "job", 2)
	run.Error, run.Trigger = bad, bad
	run.Actions[0] = record.Action{
		Op: bad, Outcome: bad, Reason: bad, Source: bad, Target: bad, Digest: bad, Was: bad, Engine: bad, Error: "<&>\u2028" + bad, Code: bad,
	}
	state.Fingerprint, state.Trigger, state.Planned, state.BegunBy = bad, bad, bad, bad
	keep(t, s, run, state)
	must(t, s.KeepJobs(ctx, map[string]record.State{"other": state}))
	got := history(t, s, HistoryQuery{Job: "job"})
	if len(got) != 1 || len(got[0].Actions) != 2 || got[0].Actions[1] != run.Actions[1] {
		t.Fatal(got)
	}
	all := states(t, s)
	texts := []string{got[0].Error, string(got[0].Trigger), strings.TrimPrefix(got[0].Actions[0].Error, "<&>\u2028"), all["job"].Fingerprint, string(all["other"].Trigger)}
	for _, text := range got[0].Actions[0].Texts() {
		texts = append(texts, strings.TrimPrefix(*text, "<&>\u2028"))
	}
	for _, text := range texts {
		if !strings.HasPrefix(text, good) {
			t.Errorf("%q", text)
		}
	}
	m := manifest(1, 10)
	m.MediaType = bad
	must(t, s.PutManifest(ctx, m))
	if !kept(t, s, m) {
		t.Error("the manifest is not kept")
	}
	must(t, s.PutTag(ctx, image.Reference{Repository: repo("a"), Tag: bad, Digest: digest(1)}))
	if tags, err := s.Tagged(ctx, repo("a"), []string{bad}); len(tags) != 1 || err != nil {
		t.Error(tags, err)
	}
	must(t, s.PutOperation(ctx, bad, []byte(bad)))
	if state, ok, err := s.Operation(ctx, bad); string(state) != bad || !ok || err != nil {
		t.Errorf("%q %v %v", state, ok, err)
	}
	must(t, putBudget(ctx, s, bad, []byte(bad)))
	if state := budgetOf(t, s, bad); state != bad {
		t.Errorf("%q", state)
	}
}
