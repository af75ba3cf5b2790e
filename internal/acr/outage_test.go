package acr_test

import (
	"testing"

	"github.com/draysync/dray/internal/acr"
	emulator "github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/tagfilter"
)

// TestOutageIsNotClosed: a registry that has been looked at, and that nothing leads to for a while, is not one with a closed data plane: no
// tag of it is overwritten unseen.
func TestOutageIsNotClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		first := push(t, w.hub, "library/hello-world", "latest", 1)
		j := job(t, "hello-world:latest", targetHost+"/hello-world")
		all(t, w.run(t, j)[0], record.Imported, "acr")
		before := len(w.cloud.Account().Imports)
		push(t, w.hub, "library/hello-world", "latest", 2)
		w.target.Change(func(o *emulator.RegistryOptions) { o.NoRoute = true })
		for _, out := range w.run(t, j)[0].Outcomes {
			if out.Status != record.Failed || out.Unverified {
				t.Errorf("%s, unverified: %t, %v", out.Status, out.Unverified, out.Err)
			}
		}
		if n := len(w.cloud.Account().Imports) - before; n != 0 {
			t.Errorf("%d imports are asked for", n)
		}
		w.target.Change(func(o *emulator.RegistryOptions) { o.NoRoute = false })
		w.holds(t, "hello-world", "latest", first.Digest)
	})
}

// TestOpenBesideClosed: of one image that goes to two repositories of a registry, the tag of the one that can be looked at is looked at, and
// left where it is locked, though nobody may read the other.
func TestOpenBesideClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		first := push(t, w.hub, "library/hello-world", "latest", 1)
		j := job(t, "hello-world:latest", targetHost+"/open")
		shut := j.Targets[0]
		shut.Path = "shut"
		j.Targets = append(j.Targets, shut)
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.target.Lock("open", "latest", true)
		w.denied = "shut"
		w.stop(t)
		w.start(t)
		moved := push(t, w.hub, "library/hello-world", "latest", 2)
		for _, out := range w.run(t, j)[0].Outcomes {
			want := record.Refused
			if out.Target.Path == "shut" {
				want = record.Imported
			}
			if out.Status != want || out.Unverified != (want == record.Imported) {
				t.Errorf("%s is %s, unverified: %t, %v", out.Target, out.Status, out.Unverified, out.Err)
			}
		}
		w.holds(t, "open", "latest", first.Digest)
		w.holds(t, "shut", "latest", moved.Digest)
	})
}

// TestClosedListsNothing: a target that the config says is not to be looked at is not asked for its tags either, which may be immutable.
func TestClosedListsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.access = acr.AccessNone
		w.stop(t)
		w.start(t)
		push(t, w.source.Content, "app", "v1", 1)
		j := job(t, sourceHost+"/app", targetHost+"/app", "v1")
		var err error
		if j.Immutable, err = tagfilter.Compile(tagfilter.Spec{Include: []string{"v*"}}); err != nil {
			t.Fatal(err)
		}
		posts := counts(t, w) // which no request to the data plane may pass
		all(t, w.run(t, j)[0], record.Imported, "acr")
		all(t, w.run(t, j)[0], record.Kept, "")
		if n := posts(); n != 1 {
			t.Errorf("%d imports", n)
		}
	})
}
