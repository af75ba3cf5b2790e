package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	b := Backoff{First: time.Second, Max: 10 * time.Second}
	for failures, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		for range 100 {
			if got := b.Pause(failures); got < want/2 || got > want {
				t.Errorf("after %d failures: %v, want %v to %v", failures, got, want/2, want)
			}
		}
	}
	if (Backoff{}).Pause(3) != 0 {
		t.Error("no pause is one")
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		over := errors.New("over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, over)
		defer cancel()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, over) {
			t.Error(err)
		}
	})
}
