package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/record"
)

// A paused job starts no run by its schedule, by events, or to retry. What is due meanwhile, and what events name, is noted, and a run begins
// when the job is resumed. A run that was asked for since the pause began starts anyway; what was asked for before waits.

// ErrNoMemory is the error of a memory that keeps no pauses.
var ErrNoMemory = errors.New("a pause has to survive a restart, and there is no state directory to keep it in")

// pauses are those in force, by the names of jobs; that of all jobs has the empty one.
type pauses map[string]record.Pause

// of returns the pause that holds for a job, its own before that of all; nil for none.
func (p pauses) of(job string) *record.Pause {
	if own, ok := p[job]; ok {
		return &own
	}
	return p.all()
}

// all returns the pause of all jobs, nil for none.
func (p pauses) all() *record.Pause {
	if all, ok := p[""]; ok {
		return &all
	}
	return nil
}

// kept returns a pause as it is put in force: one that is in force already keeps its time.
func (p pauses) kept(job string, pause record.Pause) record.Pause {
	if before, ok := p[job]; ok {
		pause.Since = before.Since
	}
	pause.All = job == ""
	return pause
}

// gone returns the names of the jobs that have a pause and are not among jobs.
func (p pauses) gone(jobs []Job) (names []string) {
	there := map[string]bool{"": true}
	for i := range jobs {
		there[jobs[i].Name] = true
	}
	for name := range p {
		if !there[name] {
			names = append(names, name)
		}
	}
	return names
}

// held reports whether a pause keeps a job from running.
func held(s record.State, pause *record.Pause) bool { return pause != nil && !s.Anyway }

// withPause returns what is shown of a job with a pause that holds for it, nil for none. It has no time by which a success is expected, and
// none when it runs.
func withPause(j record.JobStatus, s record.State, pause *record.Pause) record.JobStatus {
	if pause == nil {
		return j
	}
	j.Paused, j.Deadline, j.OutsideWindows = pause, time.Time{}, false
	if held(s, pause) && j.State != record.JobRunning {
		j.State, j.Due, j.DeferredUntil, j.Trigger = record.JobPaused, time.Time{}, time.Time{}, ""
	}
	return j
}

// Pause has a job, or all where job is empty, start no run by itself until it is resumed; that lasts across restarts. What is under way goes on.
// It returns false if there is no such job.
func (d *Daemon) Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error) {
	pause.Since = d.Now()
	err = d.ask(ctx, func() (err error) {
		found, err = d.options.Plans.Pause(ctx, job, pause)
		return err
	})
	if found && err == nil {
		d.options.Log.LogAttrs(ctx, slog.LevelInfo, "paused", slog.String("job", allOr(job)), slog.String("by", pause.By), slog.String("reason", pause.Reason))
	}
	return found, err
}

// Resume ends the pause of a job, or that of all where job is empty: a job that is paused by itself too stays so. It returns false if there
// is no such job.
func (d *Daemon) Resume(ctx context.Context, job, by string) (found bool, err error) {
	err = d.ask(ctx, func() (err error) {
		found, err = d.options.Plans.Resume(ctx, job)
		return err
	})
	if found && err == nil {
		d.options.Log.LogAttrs(ctx, slog.LevelInfo, "resumed", slog.String("job", allOr(job)), slog.String("by", by))
	}
	return found, err
}

// allOr returns what a log calls a job, or all jobs.
func allOr(job string) string {
	if job == "" {
		return "all jobs"
	}
	return job
}

// Pause implements [Plans]. It fails if the memory does not keep the pause.
func (a *Alone) Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error) {
	a.pausing.Lock()
	defer a.pausing.Unlock()
	a.mu.Lock()
	found, pause = a.has(job), a.pauses.kept(job, pause)
	a.mu.Unlock()
	if !found {
		return false, nil
	}
	if err := a.writer.memory.KeepPause(ctx, job, pause); err != nil {
		return true, fmt.Errorf("pause: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pauses[job] = pause
	a.repause(job)
	return true, nil
}

// Resume implements [Plans]. It fails as [Alone.Pause] does.
func (a *Alone) Resume(ctx context.Context, job string) (found bool, err error) {
	a.pausing.Lock()
	defer a.pausing.Unlock()
	a.mu.Lock()
	found = a.has(job)
	_, paused := a.pauses[job]
	a.mu.Unlock()
	if !found || !paused {
		return found, nil
	}
	if err := a.writer.memory.DropPauses(ctx, []string{job}); err != nil {
		return true, fmt.Errorf("resume: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pauses, job)
	a.repause(job)
	return true, nil
}

// has reports whether there is a job, or any where job is empty.
func (a *Alone) has(job string) bool {
	e, ok := a.entries[job]
	return job == "" || ok && !e.removed
}

// repause queues a job, or all where job is empty, by the pauses in force.
func (a *Alone) repause(job string) {
	now := clock()
	for _, e := range a.entries {
		switch {
		case e.removed || job != "" && e.Name != job:
			continue
		case e.token == 0:
			e.state.Anyway = false
			a.put(e, now)
		default: // it runs
			e.state.Anyway = false
			a.scheduled(a.status(e, now))
		}
	}
}

// unpause forgets the pauses of jobs that are gone.
func (a *Alone) unpause(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	if err := a.writer.memory.DropPauses(ctx, names); err != nil { // the next start tries again
		a.log.LogAttrs(ctx, slog.LevelWarn, "the pauses of jobs that are gone cannot be forgotten", slog.Any("err", err))
	}
}

// Paused implements [View].
func (a *Alone) Paused(context.Context) (*record.Pause, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pauses.all(), nil
}

// Pause implements [Plans].
func (s *Shared) Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error) {
	found, err = s.member.Pause(ctx, job, pause)
	s.outdate()
	return found, err
}

// Resume implements [Plans].
func (s *Shared) Resume(ctx context.Context, job string) (found bool, err error) {
	found, err = s.member.Resume(ctx, job)
	s.outdate()
	return found, err
}

// outdate has the board read anew when it is next shown.
func (s *Shared) outdate() {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.outdated = true
}

// Paused implements [View].
func (s *Shared) Paused(ctx context.Context) (*record.Pause, error) {
	b, err := s.look(ctx)
	return b.paused, err
}
