package daemon

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
)

// Alone keeps the jobs of a process that shares them with no other: in this process, and in its memory. Its methods may be called from any
// goroutine, and wait for nothing but, at the first [Alone.Offer], the memory, and at the end of a run, a memory that is far behind.
type Alone struct {
	writer    *writer
	scheduled func(record.JobStatus)
	log       *slog.Logger

	// pausing is held by who changes what the memory has of pauses.
	pausing sync.Mutex

	mu      sync.Mutex
	entries map[string]*entry
	// past are the states of removed jobs; nil until they are loaded.
	past   map[string]record.State
	queue  schedule.Queue
	pauses pauses
	// aside are jobs that were due while their registries were full, by registries.
	aside map[string]*schedule.Queue
	// offers and tokens count.
	offers int
	tokens int64
}

// entry is a job with its state.
type entry struct {
	Job
	state record.State
	// token is that of the current claim, 0 for none.
	token int64
	// offer is the last one that had the job.
	offer int
	// removed is set once the job is gone, and only its run remains.
	removed bool
}

// NewAlone returns a keeper of jobs. It calls scheduled when a job's status or next run has changed; that must not block.
func NewAlone(memory Memory, scheduled func(record.JobStatus), log *slog.Logger) *Alone {
	return &Alone{writer: newWriter(memory, log), scheduled: scheduled, log: log, entries: map[string]*entry{}, aside: map[string]*schedule.Queue{}}
}

// Offer implements [Plans].
func (a *Alone) Offer(ctx context.Context, jobs []Job) (next time.Time, err error) {
	a.pausing.Lock()
	defer a.pausing.Unlock()
	next, resumed := a.offer(ctx, jobs)
	a.unpause(ctx, resumed)
	return next, nil
}

// offer also returns the names of jobs that are gone, and whose pauses are over.
func (a *Alone) offer(ctx context.Context, jobs []Job) (next time.Time, resumed []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.past == nil {
		a.load(ctx)
	}
	resumed = a.pauses.gone(jobs)
	for _, name := range resumed {
		delete(a.pauses, name)
	}
	a.offers++
	now := clock()
	for _, job := range jobs {
		a.adopt(job, now)
	}
	for _, e := range a.entries {
		if e.offer != a.offers && !e.removed {
			a.remove(e)
		}
	}
	a.requeue() // there may be more room now
	next, _ = a.queue.Next()
	return next, resumed
}

// load reads the saved states. A run that was under way in them was cut off.
func (a *Alone) load(ctx context.Context) {
	states, err := a.writer.memory.JobStates(ctx)
	if err != nil && ctx.Err() == nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "the history of earlier runs cannot be read; every job runs now", slog.Any("err", err))
	}
	if a.pauses, err = a.writer.memory.Pauses(ctx); err != nil && ctx.Err() == nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "the pauses cannot be read; no job is paused", slog.Any("err", err))
	}
	if a.pauses == nil {
		a.pauses = pauses{}
	}
	a.past = make(map[string]record.State, len(states))
	for name, s := range states {
		if !s.Begun.IsZero() && s.BegunBy == record.Event {
			run := record.Run{Started: s.Begun, Ended: s.Begun, Trigger: record.Event, Outcome: record.RunCutOff, Error: errCutOff.Error()}
			s.Begun, s.BegunBy, s.Deferred = time.Time{}, "", s.Begun
			a.writer.run(record.JobRun{Job: name, Run: run}, s)
		} else if !s.Begun.IsZero() && s.BegunBy == record.Approved {
			run := record.Run{Started: s.Begun, Ended: s.Begun, Trigger: record.Approved, Outcome: record.RunCutOff, Error: errCutOff.Error()}
			s.Begun, s.BegunBy = time.Time{}, ""
			a.writer.run(record.JobRun{Job: name, Run: run}, s)
		} else if !s.Begun.IsZero() {
			result := mirror.Result{Job: name, Started: s.Begun, Err: errCutOff}
			s = ended(s, result, "", true, s.Begun)
			a.writer.run(runOf(name, *s.Last, result, s).JobRun, s)
		}
		a.past[name] = s
	}
}

func (a *Alone) adopt(job Job, now time.Time) {
	e, known := a.entries[job.Name]
	if !known {
		e = &entry{Job: job, state: a.past[job.Name]}
		delete(a.past, job.Name)
		a.entries[job.Name] = e
	}
	e.offer = a.offers
	if known && !e.removed && e.Fingerprint == job.Fingerprint {
		return
	}
	e.state = adopted(e.state, e.Schedule, job, now)
	e.Job, e.removed = job, false
	a.plan(e, now)
	a.save(e)
}

func (a *Alone) remove(e *entry) {
	a.unqueue(e.Name)
	e.removed, e.state.Asked, e.state.Anyway = true, false, false
	a.forget(e)
}

// forget drops a job that is gone and does not run. Its state stays, here and in the memory, since the job may come back.
func (a *Alone) forget(e *entry) {
	if e.removed && e.token == 0 {
		delete(a.entries, e.Name)
		a.past[e.Name] = e.state
	}
}

// plan decides when a job runs next. A running job is planned when its run has ended.
func (a *Alone) plan(e *entry, now time.Time) {
	if e.token != 0 {
		return
	}
	e.state.Due, e.state.Trigger = next(e.Job, e.state, now)
	e.state.Planned = e.Fingerprint
	a.put(e, now)
}

// put queues a job that has been planned.
func (a *Alone) put(e *entry, now time.Time) {
	a.unqueue(e.Name)
	if at := due(e.state); !at.IsZero() && !held(e.state, a.pauses.of(e.Name)) {
		a.queue.Put(e.Name, at, e.Priority)
	}
	a.scheduled(a.status(e, now))
}

// status returns what is shown of a job.
func (a *Alone) status(e *entry, now time.Time) record.JobStatus {
	return withPause(status(e.Job, e.state, now), e.state, a.pauses.of(e.Name))
}

func (a *Alone) save(e *entry) { a.writer.state(e.Name, saved(e.state, clock())) }

// Take implements [Work].
func (a *Alone) Take(ctx context.Context, full []string) (claim *record.Claim, next time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.writer.start(ctx) // not sooner, so that what is offered and what begins at once are one write
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, err
	}
	now := clock()
	a.resume(full, now)
	for {
		names := a.queue.Pop(now, 1)
		if len(names) == 0 {
			next, _ = a.queue.Next()
			return nil, next, nil
		}
		if e := a.entries[names[0]]; slices.Contains(full, e.Registries) {
			a.setAside(e)
		} else {
			return a.claim(e, now), time.Time{}, nil
		}
	}
}

func (a *Alone) claim(e *entry, now time.Time) *record.Claim {
	a.tokens++
	e.token = a.tokens
	claim := &record.Claim{Job: e.Name, Fingerprint: e.Fingerprint, Token: e.token, Begun: now, State: e.state}
	claim.Some, claim.Again = some(e.state, now)
	e.state = claimed(claim)
	a.save(e)
	return claim
}

// End implements [Work].
func (a *Alone) End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error {
	if err := a.writer.room(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.free(claim)
	if err != nil {
		return err
	}
	now := clock()
	same := e.Fingerprint == claim.Fingerprint
	e.state = merged(e.state, state, same)
	switch {
	case e.removed:
	case same && !e.state.Asked:
		a.put(e, now)
	default:
		a.plan(e, now)
	}
	a.forget(e)
	a.writer.run(run, saved(e.state, now))
	return nil
}

// Wake implements [Work]: nobody else makes jobs due.
func (a *Alone) Wake() <-chan struct{} { return nil }

// GiveBack implements [Work].
func (a *Alone) GiveBack(_ context.Context, claim *record.Claim) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.free(claim)
	if err != nil {
		return err
	}
	anyway := e.state.Anyway || claim.State.Anyway && !e.removed
	e.state = merged(e.state, claim.State, e.Fingerprint == claim.Fingerprint)
	e.state.Anyway = anyway
	if !e.removed {
		a.plan(e, clock())
	}
	a.forget(e)
	a.save(e)
	return nil
}

// free ends a claim.
func (a *Alone) free(claim *record.Claim) (*entry, error) {
	e := a.entries[claim.Job]
	if e == nil || e.token != claim.Token {
		return nil, record.ErrLost
	}
	e.token = 0
	return e, nil
}

// Ask implements [Plans].
func (a *Alone) Ask(_ context.Context, job string) (found bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.entries[job]
	if !ok || e.removed {
		return false, nil
	}
	if held(e.state, a.pauses.of(job)) {
		e.state.Due = time.Time{} // the run is not the one that is due and waits
	}
	e.state.Asked, e.state.Anyway = true, true
	a.plan(e, clock())
	a.save(e)
	return true, nil
}

// Look implements [Plans]: a run looks at the tags, unless another begins before.
func (a *Alone) Look(_ context.Context, job string, tags []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.entries[job]
	if !ok || e.removed {
		return nil
	}
	now := clock()
	if at := now.Add(gathered); len(e.state.Looks) == 0 || at.Before(e.state.LookAt) || !containsAll(e.state.Looks, tags) {
		e.state = withLooks(e.state, tags, at)
		a.plan(e, now)
		a.save(e)
	}
	return nil
}

// Board implements [View].
func (a *Alone) Board(context.Context) ([]record.JobStatus, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	jobs, now := make([]record.JobStatus, 0, len(a.entries)), time.Now()
	for _, e := range a.entries {
		if !e.removed {
			jobs = append(jobs, a.status(e, now))
		}
	}
	return jobs, nil
}

// Replicas implements [View]: there are no others.
func (a *Alone) Replicas(context.Context) ([]record.Replica, error) { return nil, nil }

// Ledger implements [View]: there is none.
func (a *Alone) Ledger() *record.Ledger { return nil }

// Generations implements [View].
func (a *Alone) Generations() (own, inForce string) { return "", "" }

// Now implements [View].
func (a *Alone) Now() time.Time { return clock() }

// Leave implements [Plans].
func (a *Alone) Leave(ctx context.Context) { a.writer.stop(ctx) }

func (a *Alone) setAside(e *entry) {
	if a.aside[e.Registries] == nil {
		a.aside[e.Registries] = &schedule.Queue{}
	}
	a.aside[e.Registries].Put(e.Name, due(e.state), e.Priority)
}

// resume queues jobs that were set aside again, the first of each registries that have room, since there may be very many.
func (a *Alone) resume(full []string, now time.Time) {
	for registries, q := range a.aside {
		if slices.Contains(full, registries) {
			continue
		}
		names := q.Pop(now, 1)
		if len(names) == 0 { // the clock was set back
			names = q.Pop(never, math.MaxInt)
		}
		a.takeBack(registries, names)
	}
}

// takeBack queues jobs that were set aside.
func (a *Alone) takeBack(registries string, names []string) {
	for _, name := range names {
		e := a.entries[name]
		a.queue.Put(name, due(e.state), e.Priority)
	}
	if _, more := a.aside[registries].Next(); !more {
		delete(a.aside, registries)
	}
}

// requeue queues all jobs that were set aside, whatever the clock says.
func (a *Alone) requeue() {
	for registries, q := range a.aside {
		a.takeBack(registries, q.Pop(never, math.MaxInt))
	}
}

// unqueue removes a job from everything that is due.
func (a *Alone) unqueue(name string) {
	a.queue.Remove(name)
	for _, q := range a.aside {
		q.Remove(name)
	}
}

// never is later than any job's due time.
var never = time.Unix(1<<40, 0)

// clock returns the time with the precision of states.
func clock() time.Time { return time.Now().Truncate(time.Millisecond) }
