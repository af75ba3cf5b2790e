package fault

import (
	"net/http"

	"github.com/draysync/dray/internal/emulator/registry"
)

// silences are requests, one in each scenario, that a registry takes and never answers to the end.
func silences(side string) []scenario {
	hangs := func(m match) func(*stage, *end, fixture) {
		return func(_ *stage, e *end, _ fixture) { e.inject(m, registry.Fault{Hang: true, Times: 1}) }
	}
	if side == Target {
		return []scenario{
			{fault: "hang at the start of an upload", side: side, slow: true, arm: hangs(kind(http.MethodPost, registry.KindUpload))},
			{fault: "hang at a manifest PUT", side: side, slow: true, arm: hangs(kind(http.MethodPut, registry.KindManifest))},
			{fault: "hang at the look at a tag", side: side, slow: true, arm: hangs(byTag)},
		}
	}
	return []scenario{
		{fault: "hang before a blob", side: side, slow: true, arm: hangs(kind(http.MethodGet, registry.KindBlob))},
		{fault: "hang before a manifest", side: side, slow: true, arm: hangs(byTag)},
		{fault: "hang in the middle of a blob", side: side, slow: true, arm: func(_ *stage, e *end, f fixture) {
			e.wrap(blob(f.victim).and(first(1)), stall)
		}},
	}
}
