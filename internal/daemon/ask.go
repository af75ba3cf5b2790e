package daemon

import (
	"cmp"
	"context"
	"time"

	"github.com/draysync/dray/internal/image"
)

// Look has jobs look at tags of their sources soon, by the jobs' names. All are noted once it returns without an error.
func (d *Daemon) Look(ctx context.Context, tags map[string][]image.Reference) error {
	return d.ask(ctx, func() (err error) {
		for job, some := range tags {
			names := make([]string, 0, len(some))
			for _, tag := range some {
				names = append(names, tag.String())
			}
			err = cmp.Or(err, d.options.Plans.Look(ctx, job, names))
		}
		return err
	})
}

// Now returns the time of the clock by which jobs are due and runs begin.
func (d *Daemon) Now() time.Time { return d.options.View.Now() }

// Trigger runs a job now, or right after its current run. It returns false if there is no such job.
func (d *Daemon) Trigger(ctx context.Context, job string) (found bool, err error) {
	err = d.ask(ctx, func() (err error) {
		found, err = d.options.Plans.Ask(ctx, job)
		return err
	})
	return found, err
}

// ask has jobs taken that may be due after f, unless the daemon stops.
func (d *Daemon) ask(ctx context.Context, f func() error) error {
	if err := d.do(ctx, func() {}); err != nil { // the jobs have been offered
		return err
	}
	err := ErrStopping
	if !isClosed(d.draining) {
		err = f()
	}
	return cmp.Or(err, d.do(ctx, func() { d.soon(clock()) }))
}
