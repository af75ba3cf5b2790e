package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Memory lasts across restarts. Its errors are logged; the daemon goes on without what was not saved.
type Memory interface {
	// JobStates returns the states of all jobs, by name.
	JobStates(ctx context.Context) (map[string]record.State, error)
	// KeepRun saves a run and the state of its job.
	KeepRun(ctx context.Context, run record.JobRun, state record.State) error
	// KeepJobs saves the states of jobs, by name.
	KeepJobs(ctx context.Context, states map[string]record.State) error
	// Pauses returns the pauses in force by the jobs' names, that of all jobs by the empty one. KeepPause saves one, and DropPauses deletes
	// some; both return once that is done, and their errors are answered.
	Pauses(ctx context.Context) (map[string]record.Pause, error)
	KeepPause(ctx context.Context, job string, pause record.Pause) error
	DropPauses(ctx context.Context, jobs []string) error
}

// maxWrites is how many runs may wait for the memory before the next one does not end.
const maxWrites = 1024

// writer writes to a memory that may be slow: one write after another, beside those who have something to write.
type writer struct {
	memory Memory
	log    *slog.Logger
	// slots are taken by runs that wait to be written.
	slots chan struct{}
	// wake receives when there is something to do.
	wake chan struct{}
	// drop ends the present write and all later ones; written is closed at the end. Both are nil before start.
	drop    context.CancelFunc
	written chan struct{}

	mu     sync.Mutex
	runs   []keptRun
	states map[string]record.State
	ending bool
}

// keptRun is a run and the state of its job after it.
type keptRun struct {
	run   record.JobRun
	state record.State
}

func newWriter(memory Memory, log *slog.Logger) *writer {
	return &writer{memory: memory, log: log, slots: make(chan struct{}, maxWrites), wake: make(chan struct{}, 1), states: map[string]record.State{}}
}

// room waits until there is room for a run.
func (w *writer) room(ctx context.Context) error {
	select {
	case w.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run queues a run. What was to be written of its job is in its state.
func (w *writer) run(run record.JobRun, state record.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.states, run.Job)
	w.runs = append(w.runs, keptRun{run, state})
	w.signal()
}

// state queues a job's state.
func (w *writer) state(job string, state record.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states[job] = state
	w.signal()
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// start begins to write, if that has not begun. Only stop ends it.
func (w *writer) start(ctx context.Context) {
	if w.written != nil {
		return
	}
	ctx, w.drop = context.WithCancel(context.WithoutCancel(ctx))
	w.written = make(chan struct{})
	go w.write(ctx)
}

// stop returns once all is written, or ctx has ended.
func (w *writer) stop(ctx context.Context) {
	if w.written == nil {
		return
	}
	defer context.AfterFunc(ctx, w.drop)()
	w.mu.Lock()
	w.ending = true
	w.signal()
	w.mu.Unlock()
	<-w.written
	w.drop()
}

func (w *writer) write(ctx context.Context) {
	defer close(w.written)
	for {
		runs, states, ending := w.pending()
		switch {
		case len(runs) == 0 && len(states) == 0 && ending:
			return
		case len(runs) == 0 && len(states) == 0:
			<-w.wake
			continue
		}
		for _, r := range runs {
			w.failed(ctx, "the run", w.memory.KeepRun(ctx, r.run, r.state))
			select {
			case <-w.slots:
			default: // one that was cut off needed no room
			}
		}
		if len(states) > 0 {
			w.failed(ctx, "the states of jobs", w.memory.KeepJobs(ctx, states))
		}
	}
}

// pending hands over what is to be written: the runs come before the states.
func (w *writer) pending() (runs []keptRun, states map[string]record.State, ending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	runs, w.runs = w.runs, nil
	if len(w.states) > 0 {
		states, w.states = w.states, map[string]record.State{}
	}
	return runs, states, w.ending
}

func (w *writer) failed(ctx context.Context, what string, err error) {
	if err != nil {
		w.log.LogAttrs(ctx, slog.LevelDebug, "the store could not keep "+what, slog.Any("err", err)) //nolint:sloglint // one of a few; the store has warned
	}
}

// lastWrites limits the remaining writes after the daemon's context has ended.
const lastWrites = 250 * time.Millisecond
