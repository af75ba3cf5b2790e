package mirror

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// Crew has other processes make imports of a run.
type Crew interface {
	// Left returns how imports of an earlier run of the job ended, and which others are making. It is called once, before the run observes.
	Left(ctx context.Context) (made []Outcome, under []Import)
	// Share has parts made, by this process and by others, and waits for what others were making before. It yields the outcomes that others
	// have told, each once. Another process may keep a part for as long as limit. What is not settled is left to the caller.
	Share(ctx context.Context, parts []Part, limit time.Duration) iter.Seq[[]Outcome]
}

// Part is some imports of a run, which any process of a [Crew] may make.
type Part struct {
	Imports []Import
	// Make has this process make them, but those of which an outcome was told, and returns how they ended. It calls ended for each. again says that
	// another process may have made some.
	Make func(again bool, ended func()) []Outcome
}

// Import is an import of a run, with what another process needs to know to make it.
type Import struct {
	diff.Action
	// HeldAs, Sibling, Fresh and Offered are as in an [Order].
	HeldAs  string           `json:",omitempty"`
	Sibling image.Digest     `json:",omitempty"`
	Fresh   bool             `json:",omitempty"`
	Offered image.Descriptor `json:",omitzero"`
}

// importsOfPart is how many imports a part has at most: as many as one queue makes at once.
const importsOfPart = importsPerQueue

// left are imports of an earlier run of the job.
type left struct {
	// made are those that were made, by target, until the run has them; under are the targets of those that others were making when it began.
	made  map[image.Reference]Outcome
	under map[image.Reference]bool
}

// takeLeft asks what an earlier run of the job has left.
func (m *Mirror) takeLeft(ctx context.Context, r *run) {
	if m.Crew == nil {
		return
	}
	made, under := m.Crew.Left(ctx)
	r.left.under = map[image.Reference]bool{}
	for _, i := range under {
		r.left.under[i.Target] = true
	}
	r.keepLeft(made)
}

// keepLeft keeps the imports that were made of outcomes which no batch has.
func (r *run) keepLeft(outcomes []Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, out := range outcomes {
		if out.Status == record.Imported {
			if r.left.made == nil {
				r.left.made = map[image.Reference]Outcome{}
			}
			out.Job = r.job.Name
			r.left.made[out.Target] = out
		}
	}
}

// share has the imports of a batch made together with others, as far as they are.
func (m *Mirror) share(ctx context.Context, p *batch, queues *queues) {
	if m.Crew == nil {
		return
	}
	at := map[image.Reference]int{}
	for i := range p.outcomes {
		if out := &p.outcomes[i]; out.pending() && !p.left.under[out.Target] {
			at[out.Target] = i
		}
	}
	limit := time.Duration(1+p.job.Retries) * (p.job.Timeout + maxPause) // the imports of a part run side by side
	for outcomes := range m.Crew.Share(ctx, m.parts(ctx, p, queues, slices.Sorted(maps.Values(at))), limit) {
		var others []Outcome
		for _, out := range outcomes {
			if i, ok := at[out.Target]; ok {
				m.told(&p.outcomes[i], out)
			} else {
				others = append(others, out)
			}
		}
		p.keepLeft(others)
	}
	m.inherit(p)
}

// told takes the outcome of an import that another process has made.
func (m *Mirror) told(out *Outcome, theirs Outcome) {
	if theirs.Source.WithDigest("") != out.Source.WithDigest("") || !slices.Contains(record.Statuses(), theirs.Status) {
		return // it is made here
	}
	theirs.Job = out.Job
	if theirs.Engine == "" { // it was decided anew
		*out = theirs
		return
	}
	meter := m.Watcher.Begin(out.Action)
	meter.Expect(theirs.Bytes)
	meter.Moved(theirs.Bytes)
	*out = theirs
	m.Watcher.End(*out)
}

// inherit takes the imports of an earlier run that are still as the batch wants them: the history has each import once, and no tag that was imported
// as one that was kept.
func (m *Mirror) inherit(p *batch) {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	for i := range p.outcomes {
		out := &p.outcomes[i]
		made, ok := p.left.made[out.Target]
		if !ok || out.Op == diff.Refuse {
			continue
		}
		delete(p.left.made, out.Target)
		if made.Digest == out.Digest && (out.pending() || out.plainlyKept()) {
			m.told(out, made)
		} else {
			out.add(made.Cost)
		}
	}
}

// parts divides imports of a batch, those that one request could make and neighbors together.
func (m *Mirror) parts(ctx context.Context, p *batch, queues *queues, imports []int) (parts []Part) {
	for _, some := range p.divide(imports) {
		var part Part
		for _, i := range some {
			order := p.order(i)
			part.Imports = append(part.Imports, Import{order.Action, order.HeldAs, order.Sibling, order.Fresh, order.Offered})
		}
		part.Make = func(again bool, ended func()) (outcomes []Outcome) {
			rest := slices.DeleteFunc(slices.Clone(some), func(i int) bool { return !p.outcomes[i].pending() })
			for range len(some) - len(rest) {
				ended()
			}
			queues.these(p, rest, func(i int, moved func(int64)) {
				m.importOne(ctx, p, i, again, moved)
				ended()
			})
			for _, i := range rest {
				outcomes = append(outcomes, p.outcomes[i])
			}
			return outcomes
		}
		parts = append(parts, part)
	}
	return parts
}

// divide divides imports into parts. Those that are alike come together, with the first of them.
func (p *batch) divide(imports []int) (parts [][]int) {
	alike := map[likeness][]int{}
	for _, i := range imports {
		key := p.likenessOf(p.outcomes[i].Action)
		alike[key] = append(alike[key], i)
	}
	var part []int
	for _, i := range imports {
		key := p.likenessOf(p.outcomes[i].Action)
		for some := range slices.Chunk(alike[key], importsOfPart) {
			if len(part)+len(some) > importsOfPart {
				parts, part = append(parts, part), nil
			}
			part = append(part, some...)
		}
		delete(alike, key)
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}

// Assist makes imports of a run that another process has. It calls ended after each; again says that another process may have made some.
func (m *Mirror) Assist(ctx context.Context, job plan.Job, imports []Import, again bool, ended func()) []Outcome {
	r := newRun(job)
	p := r.batch(nil)
	r.stocked, r.sibling = map[image.Repository]bool{}, map[image.Repository]image.Digest{}
	for _, i := range imports {
		out := Outcome{Action: i.Action, Job: job.Name}
		if i.Op != diff.Import || !job.MayWrite(i.Target) || !slices.Contains(sourceRegistries(job), i.Source.Registry) {
			out.Status, out.Err = record.Failed, errNotOfJob
		}
		p.outcomes = append(p.outcomes, out)
		p.noteImport(i)
	}
	p.likewise()
	queues := newQueues()
	queues.each(p, (*Outcome).pending, func(i int, moved func(int64)) {
		m.importOne(ctx, p, i, again, moved)
		ended()
	})
	m.reportBatch(p)
	return p.outcomes
}

// errNotOfJob says that a process has put up an import which the job cannot have.
var errNotOfJob = errors.New("the mapping does not have this import")

// noteImport notes what the process that has observed knows of an import's target and source.
func (p *batch) noteImport(i Import) {
	repo := i.Target.Repository
	p.stocked[repo] = p.stocked[repo] || !i.Fresh
	p.sibling[repo] = cmp.Or(p.sibling[repo], i.Sibling)
	if i.HeldAs != "" {
		if p.held[repo] == nil {
			p.held[repo] = map[image.Digest]string{}
		}
		p.held[repo][i.Digest] = i.HeldAs
	}
	if i.Target.Tag != "" && i.Reason != diff.Hidden {
		if p.observed[repo] == nil {
			p.observed[repo] = map[string]image.Digest{}
		}
		p.observed[repo][i.Target.Tag] = i.Was
	}
	if i.Offered.Digest != "" {
		p.offered[i.Offered.Digest] = i.Offered
	}
}

// Unmade reports whether an import ended only because this process was to end it: another one can make it.
func (out *Outcome) Unmade() bool {
	return Interrupted(out.Err) || errors.Is(out.Err, record.ErrLost)
}

// pending reports whether an import still has to be made.
func (out *Outcome) pending() bool { return out.Op == diff.Import && out.Status == "" }

// toldOutcome is an outcome as one process tells it another.
type toldOutcome struct {
	diff.Action
	Engine, EngineReason string
	Status               record.Status
	Cost
	Duration time.Duration
	RetryAt  time.Time  `json:",omitzero"`
	Err      *toldError `json:",omitempty"`
}

// toldError is an error with what [Causes] and records need of it.
type toldError struct {
	Text, Code string
	// Side, Ref, For and Cause are those of a SideError in it.
	Side            Side `json:",omitempty"`
	Ref, For, Cause string
}

// MarshalJSON writes an outcome for another process, without the job.
func (out Outcome) MarshalJSON() ([]byte, error) {
	told := toldOutcome{out.Action, out.Engine, out.EngineReason, out.Status, out.Cost, out.Duration, out.RetryAt, nil}
	if out.Err != nil {
		told.Err = &toldError{Text: record.Text(out.Err.Error()), Code: record.Code(out.Err)}
		if side, ok := errors.AsType[*SideError](out.Err); ok {
			told.Err.Side, told.Err.Ref, told.Err.For, told.Err.Cause = side.Side, side.Ref, side.For, record.Text(side.Err.Error())
		}
	}
	return json.Marshal(told)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (out *Outcome) UnmarshalJSON(text []byte) error {
	var told toldOutcome
	if err := json.Unmarshal(text, &told); err != nil {
		return fmt.Errorf("an outcome of another process: %w", err)
	}
	*out = Outcome{
		Action: told.Action, Engine: told.Engine, EngineReason: told.EngineReason, Status: told.Status, Cost: told.Cost, Duration: told.Duration, RetryAt: told.RetryAt,
	}
	if e := told.Err; e != nil {
		var side error
		if e.Side != "" {
			side = &SideError{Side: e.Side, Ref: e.Ref, For: e.For, Err: errors.New(e.Cause)}
		}
		out.Err = &otherError{e.Text, e.Code, side}
	}
	return nil
}

// otherError is an error of another process.
type otherError struct {
	text, code string
	side       error // nil for none
}

func (e *otherError) Error() string { return e.text }
func (e *otherError) Code() string  { return e.code }
func (e *otherError) Unwrap() error { return e.side }
