package mirror_test

import (
	"context"
	"testing"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
)

// picky is an engine that can make no import for which it has a reason.
type picky struct {
	plain
	name, why, because string
	fits               bool
}

func (p picky) Name() string { return p.name }

func (p picky) Fits(context.Context, mirror.Order) (bool, string) {
	if p.fits {
		return true, p.because
	}
	return false, p.why
}

// TestChooseEngine has three engines, of which the last makes what no other can, be chosen by the mapping and by what they say.
func TestChooseEngine(t *testing.T) {
	able, unable := picky{name: "first", fits: true, because: "it is quick"}, picky{name: "first", why: "it is too large"}
	silent, second := picky{name: "first"}, picky{name: "second", fits: true, because: "it is near"}
	never := picky{name: "second", why: "it is too far"}
	for name, tt := range map[string]struct {
		first, second        mirror.Engine
		named                string
		engine, why, refused string
	}{
		"the first that fits":              {able, second, "auto", "first", "it is quick", ""},
		"the next, for its own reason":     {unable, second, "auto", "second", "it is near", ""},
		"the last, for the first's reason": {unable, never, "auto", "copy", "it is too large", ""},
		"the last, without a reason":       {silent, silent, "auto", "copy", "", ""},
		"the last, by its name":            {able, second, "copy", "copy", "the mapping says so", ""},
		"by name":                          {able, second, "second", "second", "it is near", ""},
		"by name, and it does not fit":     {unable, second, "first", "first", "", "the mapping says engine: first, but it is too large"},
		"by a name that there is not":      {able, second, "third", "third", "", "the mapping says engine: third, but there is no such engine"},
	} {
		t.Run(name, func(t *testing.T) {
			world := plain{head: func(image.Reference) bool { return false }}
			m := world.mirror()
			m.Engines = []mirror.Engine{tt.first, tt.second, world}
			job := plainJob(t, "job", 0, "1")
			job.Engine = tt.named
			results := m.Plan(t.Context(), []plan.Job{job})
			if len(results) != 1 || len(results[0].Outcomes) != 1 {
				t.Fatalf("%+v", results)
			}
			out := results[0].Outcomes[0]
			if out.Engine != tt.engine || out.EngineReason != tt.why || out.Detail != tt.refused || (out.Reason == diff.EngineUnfit) != (tt.refused != "") {
				t.Errorf("%q, %q, %q %q; want %+v", out.Engine, out.EngineReason, out.Reason, out.Detail, tt)
			}
		})
	}
}
