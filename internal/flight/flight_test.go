package flight

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneMakes: it is made once for all who wait, again for who comes later, and for nobody once all have gone.
func TestOneMakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		made := 0
		slow := func(ctx context.Context) (int, error) {
			made++
			select {
			case <-time.After(time.Minute):
				return made, nil
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if got, err := g.Do(t.Context(), "a", slow); got != 1 || err != nil {
					t.Errorf("%d, %v", got, err)
				}
			})
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Do(hurried, "a", slow); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that does not wait: %v", err)
		}
		group.Wait()
		if got, err := g.Do(t.Context(), "a", slow); got != 2 || err != nil {
			t.Errorf("later: %d, %v", got, err)
		}
		alone, cancelAlone := context.WithTimeout(t.Context(), time.Second)
		defer cancelAlone()
		start := time.Now()
		_, _ = g.Do(alone, "b", slow) // that it fails was seen above
		synctest.Wait()
		if len(g.flying) != 0 || time.Since(start) > time.Second {
			t.Errorf("what nobody waits for goes on: %d after %s", len(g.flying), time.Since(start))
		}
	})
}
