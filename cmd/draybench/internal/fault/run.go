package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

// Options say what to run. Only Tools has to be set.
type Options struct {
	Tools []peer.Tool
	// Timeout bounds each run of a program; 0 is 150 seconds, more than twice dray's own patience with a silent registry.
	Timeout time.Duration
	// Only chooses the rows whose "side: fault" contains it; "" is all.
	Only string
	// Quick leaves out the rows in which a program has to wait for its own time-out.
	Quick bool
	// Parallel is how many runs are under way at once, 0 is one. More blurs the times, of which most is waiting.
	Parallel int
	// Log gets a line for each run; nil is nowhere.
	Log io.Writer
}

// defaultTimeout is that of one run.
const defaultTimeout = 150 * time.Second

// Run runs every program under every fault. An error is one of the harness; what a program makes of a fault is in the table.
func Run(ctx context.Context, options Options) (Table, error) {
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if options.Log == nil {
		options.Log = io.Discard
	}
	table := Table{Tools: options.Tools}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, options.Parallel))
	r := &runner{options: options, fixture: newFixture()}
	var chosen []scenario
	for _, s := range scenarios() {
		if strings.Contains(s.name(), options.Only) && (!s.slow || !options.Quick) {
			chosen = append(chosen, s)
			table.Rows = append(table.Rows, Row{Fault: s.fault, Side: s.side, Must: s.must.String(), Cells: make([]Cell, len(options.Tools))})
		}
	}
	for i, s := range chosen {
		for j, tool := range options.Tools {
			group.Go(func() error {
				cell, err := r.cell(ctx, s, tool)
				table.Rows[i].Cells[j] = cell
				return err
			})
		}
	}
	return table, group.Wait()
}

type runner struct {
	options Options
	fixture fixture
	mu      sync.Mutex // of the log
}

// cell runs one program under one fault, and once more after it where it cannot be overcome.
func (r *runner) cell(ctx context.Context, s scenario, tool peer.Tool) (Cell, error) {
	dir, err := os.MkdirTemp("", "draybench-fault-")
	if err != nil {
		return Cell{}, fmt.Errorf("fault table: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	st, err := newStage(r.fixture, s, dir)
	if err != nil {
		return Cell{}, fmt.Errorf("%s: %w", s.name(), err)
	}
	defer st.close()
	c := Cell{Tool: tool.Name}
	if c.Run, err = r.run(ctx, st, tool); err != nil {
		return Cell{}, fmt.Errorf("%s: %s: %w", s.name(), tool.Name, err)
	}
	c.Hits = st.hits.Load()
	if len(s.must.causes) > 0 {
		st.healed.Store(true)
		again, err := r.run(ctx, st, tool)
		if err != nil {
			return Cell{}, fmt.Errorf("%s, healed: %s: %w", s.name(), tool.Name, err)
		}
		c.Healed = &again
	}
	st.mu.Lock()
	c.Broken, c.Flaws = st.broken, st.flaws
	st.mu.Unlock()
	if tool.Name == dray {
		c.Named = s.named(st, c.Run.Stderr)
		c.Failings = s.failings(c)
	}
	r.log(s, c)
	return c, nil
}

// run runs a program once, to its end or to that of its time.
func (r *runner) run(ctx context.Context, st *stage, tool peer.Tool) (Attempt, error) {
	limited, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	usage, err := tool.Run(limited, st.work)
	late := errors.Is(limited.Err(), context.DeadlineExceeded)
	if ctx.Err() != nil {
		return Attempt{}, context.Cause(ctx)
	}
	if err != nil && !late {
		return Attempt{}, err
	}
	if strings.Contains(usage.Stderr, password) {
		st.flaw("the password is in its log")
	}
	took := usage.Wall
	if late {
		took = r.options.Timeout
	}
	return Attempt{
		Arrived: st.arrived(), Of: len(st.want), Exit: usage.Exit, Seconds: took.Seconds(), TimedOut: late, Stderr: usage.Stderr,
	}, nil
}

func (r *runner) log(s scenario, c Cell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.options.Log, "%s: %s: %s\n", s.name(), c.Tool, c)
}
