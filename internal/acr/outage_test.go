package acr_test

import (
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/mirror"
)

// TestOutageIsNotClosed: a registry that has been looked at, and that nothing leads to for a while, is not one with a closed data plane: no
// tag of it is overwritten unseen.
func TestOutageIsNotClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		first := push(t, w.hub, "library/hello-world", "latest", 1)
		j := job(t, "hello-world:latest", targetHost+"/hello-world")
		all(t, w.run(t, j)[0], mirror.Imported, "acr")
		before := len(w.cloud.Account().Imports)
		push(t, w.hub, "library/hello-world", "latest", 2)
		w.target.Change(func(o *emulator.RegistryOptions) { o.NoRoute = true })
		for _, out := range w.run(t, j)[0].Outcomes {
			if out.Status != mirror.Failed || out.Unverified {
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
