package worktime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

var errOver = errors.New("over")

// TestWorktime: the time counts while anything works, and while nothing waits; not while all that there is waits for its turn.
func TestWorktime(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(ctx context.Context)
		want time.Duration
	}{
		"nothing waits": {func(context.Context) {}, 10 * time.Second},
		"it waits for an hour": {func(ctx context.Context) {
			done := worktime.Wait(ctx)
			time.Sleep(time.Hour)
			done()
			done()
		}, time.Hour + 10*time.Second},
		"it works, waits, and works": {func(ctx context.Context) {
			time.Sleep(4 * time.Second)
			done := worktime.Wait(ctx)
			time.Sleep(time.Minute)
			done()
			worked := worktime.Work(ctx)
			time.Sleep(4 * time.Second)
			worked()
		}, time.Minute + 10*time.Second},
		"one waits and another works": {func(ctx context.Context) {
			defer worktime.Wait(ctx)()
			defer worktime.Work(ctx)()
			<-ctx.Done()
		}, 10 * time.Second},
		"the other has ended": {func(ctx context.Context) {
			waited, worked := worktime.Wait(ctx), worktime.Work(ctx)
			time.Sleep(5 * time.Second)
			worked()
			time.Sleep(time.Minute)
			waited()
		}, time.Minute + 10*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := worktime.WithTimeout(t.Context(), 10*time.Second, errOver)
				defer cancel()
				tt.do(ctx)
				<-ctx.Done()
				if took := time.Since(began); took != tt.want || !errors.Is(context.Cause(ctx), errOver) {
					t.Errorf("it ended after %s by %v, want %s", took, context.Cause(ctx), tt.want)
				}
			})
		})
	}
}

// TestCancelled: what has been cancelled does not end by its time, and what is noted of it then has no effect.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := worktime.WithTimeout(t.Context(), time.Second, errOver)
		waited := worktime.Wait(ctx)
		cancel()
		waited()
		time.Sleep(time.Minute)
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			t.Errorf("it ended by %v", cause)
		}
		worktime.Wait(t.Context())() // without a timeout there is nothing to note
	})
}
