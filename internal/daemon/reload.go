package daemon

import (
	"context"
	"log/slog"
	"time"
)

// reload is the state of reloads.
type reload struct {
	// busy is set while a generation is being built; again is set if another must follow, for those who wait.
	busy    bool
	again   bool
	waiting []chan error
	// rejected is why the current config was not accepted; nil if it runs. partly is set if it runs but for some of its files.
	rejected   error
	partly     bool
	rejectedAt time.Time
	// succeededAt is when a config was last accepted.
	succeededAt time.Time
}

func (r *reload) succeeded(at time.Time) {
	r.rejected, r.partly, r.rejectedAt, r.succeededAt = nil, false, time.Time{}, at
}

// Reload reads the config and returns once it runs, or why it was rejected. The trigger is the reason for the log.
func (d *Daemon) Reload(ctx context.Context, trigger string) error {
	answer := make(chan error, 1)
	if err := d.do(ctx, func() { d.requestReload(trigger, answer) }); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// requestReload starts to build a generation, or has another one built after the present build, which may have read the files before they
// changed.
func (d *Daemon) requestReload(trigger string, answer chan error) {
	switch {
	case d.stopped:
		if answer != nil {
			answer <- ErrStopping
		}
		return
	case d.reload.busy:
		d.reload.again = true
		if answer != nil {
			d.reload.waiting = append(d.reload.waiting, answer)
		}
		return
	}
	d.reload.busy = true
	d.tell(d.options.Manager.Reloading())
	var answers []chan error
	if answer != nil {
		answers = append(answers, answer)
	}
	d.build(trigger, append(answers, d.reload.waiting...))
	d.reload.waiting = nil
}

func (d *Daemon) build(trigger string, answers []chan error) {
	ctx := d.building
	go func() {
		g, err := d.builder.Build(ctx)
		d.done <- func() { d.built(trigger, g, err, answers) }
	}()
}

// built switches to a generation, or keeps the current one.
func (d *Daemon) built(trigger string, g Generation, err error, answers []chan error) {
	now := time.Now()
	d.reload.busy = false
	if d.building.Err() != nil { // the loop may not know about the stop yet
		if err == nil {
			g.Close()
		}
		d.refuse(answers)
		return
	}
	if err != nil {
		d.reject(trigger, err, false, now)
		d.reloaded(trigger, err, now, answers)
		return
	}
	d.reload.busy = true // until the jobs have been offered
	gone := d.adopt(g)
	d.offer = &offer{jobs: g.Jobs, done: func(err error) {
		d.reload.busy = false
		for _, job := range gone {
			d.options.Events.Removed(job)
		}
		if err != nil {
			d.refuse(answers)
			return
		}
		if g.Rejected != nil {
			d.reject(trigger, g.Rejected, true, now)
		} else {
			d.reload.succeeded(now)
			d.options.Log.LogAttrs(d.ctx, slog.LevelInfo, "config reloaded", slog.String("reason", trigger), slog.Int("generation", d.current.number))
		}
		d.reloaded(trigger, g.Rejected, now, answers)
	}}
}

// offer is what the taker is to offer, and what the loop does then; err is set if the daemon stops.
type offer struct {
	jobs []Job
	done func(err error)
}

// reloaded answers those who wait for a build that has ended.
func (d *Daemon) reloaded(trigger string, err error, at time.Time, answers []chan error) {
	d.options.Events.Reloaded(at, d.current.number, err)
	for _, answer := range answers {
		answer <- err
	}
	d.tell(d.options.Manager.Ready(d.words()))
	if d.reload.again {
		d.reload.again = false
		d.requestReload(trigger, nil)
	}
}

// refuse answers those who ask while the daemon stops.
func (d *Daemon) refuse(answers []chan error) {
	for _, answer := range answers {
		answer <- ErrStopping
	}
}

// reject notes the mistakes of the config or, if it is taken over partly, of some of its files. The same mistakes are logged once.
func (d *Daemon) reject(trigger string, err error, partly bool, now time.Time) {
	level := slog.LevelError
	if d.reload.rejected != nil && d.reload.rejected.Error() == err.Error() {
		level = slog.LevelDebug
	}
	d.reload.rejected, d.reload.partly, d.reload.rejectedAt = err, partly, now
	attrs := []slog.Attr{slog.String("reason", trigger), slog.Int("generation", d.current.number), slog.Any("err", err)}
	if partly {
		d.options.Log.LogAttrs(d.ctx, level, "config reloaded, but for files with mistakes: these stay as they were", attrs...)
		return
	}
	d.options.Log.LogAttrs(d.ctx, level, "config rejected, the last good one runs on", attrs...)
}
