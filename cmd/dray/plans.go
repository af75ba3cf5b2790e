package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/web"
)

const (
	// maxPlans is how many plans are kept, maxPlanActions how many actions they have together, and planKept for how long each is.
	maxPlans       = 16
	maxPlanActions = 20_000
	planKept       = time.Hour
)

// plans are those that somebody has asked the daemon for. They end with the process.
type plans struct {
	daemon *daemon.Daemon
	log    *slog.Logger

	mu sync.Mutex
	// list is in the order in which they were asked for.
	list []*madePlan
}

// madePlan is a plan of one job. The lock of the plans guards it.
type madePlan struct {
	record.PlanStatus
	fingerprint string
	progress    *planProgress
	// actions are those to show, imports those to approve.
	actions []record.Action
	imports []diff.Action
}

// begin has a plan of a job made, and returns its ID; empty if there is no such job.
func (p *plans) begin(ctx context.Context, job, by string) (id string, err error) {
	plan := &madePlan{PlanStatus: record.PlanStatus{ID: rand.Text(), Job: job, State: record.PlanUnderWay, Asked: time.Now(), By: by}, progress: &planProgress{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	plan.fingerprint, err = p.daemon.Plan(ctx, job, plan.progress, func(result mirror.Result) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.made(plan, result)
	})
	if err != nil || plan.fingerprint == "" {
		return "", err
	}
	p.list = append(p.list, plan)
	p.forget()
	p.log.LogAttrs(ctx, slog.LevelInfo, "a plan is made", slog.String("job", job), slog.String("request", plan.ID), slog.String("by", by))
	return plan.ID, nil
}

// made takes what a plan has.
func (p *plans) made(plan *madePlan, result mirror.Result) {
	now := time.Now()
	plan.State, plan.Ended, plan.Expires, plan.progress = record.PlanMade, now, now.Add(planKept), nil
	plan.Counts = result.Counts()
	if result.Err != nil {
		plan.State, plan.Error = record.PlanFailed, record.Text(result.Err.Error())
		return
	}
	imports := result.Approvable()
	for _, out := range result.Outcomes {
		if out.Op != diff.Keep {
			plan.actions = append(plan.actions, out.Record().WithTexts(record.Text))
		}
	}
	if n := len(plan.actions); n > maxPlanActions {
		plan.State, plan.actions = record.PlanFailed, nil
		plan.Error = fmt.Sprintf("the plan has %d actions, more than %d: make it with dray plan --out FILE", n, maxPlanActions)
		return
	}
	plan.imports, plan.Imports = imports, len(imports)
	if causes := mirror.Causes(result); len(causes) > 0 {
		plan.Error = record.Text(causes[0].String())
	}
	p.forget()
}

// forget drops plans that have expired, and the oldest of too many.
func (p *plans) forget() {
	now, actions, kept := time.Now(), 0, 0
	for i := range slices.Backward(p.list) {
		plan := p.list[i]
		actions += len(plan.actions)
		over := !plan.Expires.IsZero() && !now.Before(plan.Expires) || kept >= maxPlans || actions > maxPlanActions && kept > 0
		if over && plan.State != record.PlanUnderWay {
			actions -= len(plan.actions)
			p.list[i] = nil
			continue
		}
		kept++
	}
	p.list = slices.DeleteFunc(p.list, func(plan *madePlan) bool { return plan == nil })
}

// find returns a plan; nil if there is none (any more).
func (p *plans) find(id string) *madePlan {
	p.forget()
	if i := slices.IndexFunc(p.list, func(plan *madePlan) bool { return plan.ID == id }); i >= 0 {
		return p.list[i]
	}
	return nil
}

// status returns a plan with most of its actions, after the first from.
func (p *plans) status(id string, from, most int) (s record.PlanStatus, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plan := p.find(id)
	if plan == nil {
		return s, false
	}
	return plan.shown(from, most), true
}

// of returns the plans of a job, the newest first, without their actions.
func (p *plans) of(job string) (list []record.PlanStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	for _, plan := range slices.Backward(p.list) {
		if plan.Job == job {
			list = append(list, plan.shown(0, 0))
		}
	}
	return list
}

func (p *madePlan) shown(from, most int) record.PlanStatus {
	s := p.PlanStatus
	from = min(from, len(p.actions))
	s.Whole, s.Actions = len(p.actions), slices.Clone(p.actions[from:min(len(p.actions), from+most)])
	if p.progress != nil {
		s.Progress = p.progress.snapshot()
	}
	return s
}

// approve has the imports of a plan made, once.
func (p *plans) approve(ctx context.Context, id, by string) (job string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plan := p.find(id)
	switch {
	case plan == nil:
		return "", nil
	case plan.State == record.PlanApproved:
		return plan.Job, fmt.Errorf("%w: it was approved at %s by %s", web.ErrStale, plan.Approved.UTC().Format(time.RFC3339), plan.ApprovedBy)
	case plan.State != record.PlanMade:
		return plan.Job, fmt.Errorf("%w: the plan is not made", web.ErrStale)
	case len(plan.imports) == 0:
		return plan.Job, fmt.Errorf("%w: the plan has nothing to import", web.ErrStale)
	}
	if err := p.daemon.Approve(ctx, plan.Job, plan.fingerprint, plan.imports); err != nil {
		return plan.Job, err
	}
	plan.State, plan.Approved, plan.ApprovedBy = record.PlanApproved, time.Now(), by
	plan.imports = nil // they are made once
	p.log.LogAttrs(ctx, slog.LevelInfo, "a plan is approved", slog.String("job", plan.Job), slog.String("request", id), slog.String("by", by))
	return plan.Job, nil
}

// planError says what an error of the daemon means to who asks.
func planError(err error) error {
	switch {
	case errors.Is(err, daemon.ErrStale), errors.Is(err, daemon.ErrShared):
		return fmt.Errorf("%w: %w", web.ErrStale, err)
	case errors.Is(err, daemon.ErrBusy):
		return fmt.Errorf("%w: %w", web.ErrUnavailable, err)
	}
	return unavailable(err)
}

// Plan implements web.Daemon.
func (a answers) Plan(ctx context.Context, job, by string) (id string, err error) {
	id, err = a.plans.begin(ctx, job, by)
	return id, planError(err)
}

// PlanStatus implements web.Daemon.
func (a answers) PlanStatus(_ context.Context, id string, from, most int) (record.PlanStatus, bool, error) {
	s, found := a.plans.status(id, from, most)
	return s, found, nil
}

// Plans implements web.Daemon.
func (a answers) Plans(_ context.Context, job string) ([]record.PlanStatus, error) {
	return a.plans.of(job), nil
}

// Approve implements web.Daemon.
func (a answers) Approve(ctx context.Context, id, by string) (job string, err error) {
	job, err = a.plans.approve(ctx, id, by)
	return job, planError(err)
}

// planProgress implements mirror.Watcher for a plan.
type planProgress struct {
	mu sync.Mutex
	p  record.Progress
}

func (w *planProgress) add(to *int, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*to += n
}

// Observing implements mirror.Watcher.
func (w *planProgress) Observing(tags int) { w.add(&w.p.Tags, tags) }

// Observed implements mirror.Watcher.
func (w *planProgress) Observed() { w.add(&w.p.Observed, 1) }

// Planned implements mirror.Watcher.
func (w *planProgress) Planned(imports int) { w.add(&w.p.Imports, imports) }

// Begin implements mirror.Watcher: a plan begins no import.
func (w *planProgress) Begin(diff.Action) mirror.Meter { return idleMeter{} }

// End implements mirror.Watcher.
func (w *planProgress) End(mirror.Outcome) {}

func (w *planProgress) snapshot() *record.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.p
	p.UnderWay = []record.Import{}
	return &p
}

// idleMeter counts nothing.
type idleMeter struct{}

// Expect implements mirror.Meter.
func (idleMeter) Expect(int64) {}

// Moved implements mirror.Meter.
func (idleMeter) Moved(int64) {}
