package fault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

// dray is the name of the program that the table is for: of the others nothing is demanded.
const dray = "dray"

// Table has a row for each fault and in it a cell for each program.
type Table struct {
	Tools []peer.Tool `json:"tools"`
	Rows  []Row       `json:"rows"`
}

// Missed returns an error that lists where dray falls short of what its rows demand, nil for nowhere.
func (t Table) Missed() error {
	var errs []error
	for _, row := range t.Rows {
		for _, c := range row.Cells {
			if len(c.Failings) > 0 {
				errs = append(errs, fmt.Errorf("%s: %s: dray must %s: %s", row.Side, row.Fault, row.Must, strings.Join(c.Failings, "; ")))
			}
		}
	}
	return errors.Join(errs...)
}

// Row is one fault at one side.
type Row struct {
	Fault string `json:"fault"`
	Side  string `json:"side"`
	// Must is what dray has to do.
	Must string `json:"must"`
	// Cells are in the order of the table's tools.
	Cells []Cell `json:"cells"`
}

// Cell is what one program made of one fault.
type Cell struct {
	Tool string `json:"tool"`
	// Run is what it did under the fault.
	Run Attempt `json:"run"`
	// Healed is a second run after the end of a fault that cannot be overcome; nil elsewhere.
	Healed *Attempt `json:"healed,omitempty"`
	// Hits is how many requests the fault has changed; where it is none the program does not ask for such a thing.
	Hits int64 `json:"hits"`
	// Broken are the tags at the target that were not whole at the time of their writing, or later.
	Broken []string `json:"broken,omitempty"`
	// Flaws are other things that no program may do.
	Flaws []string `json:"flaws,omitempty"`
	// Named is the line of its log in which dray names side and cause.
	Named string `json:"named,omitempty"`
	// Failings is in what dray falls short of what the row demands. Only dray has any.
	Failings []string `json:"failings,omitempty"`
}

// Attempt is one run of a program.
type Attempt struct {
	// Arrived of Of tags are at the target, with the right digest and everything below it.
	Arrived int     `json:"arrived"`
	Of      int     `json:"of"`
	Exit    int     `json:"exit"`
	Seconds float64 `json:"seconds"`
	// TimedOut is set where the program was ended since its time was over.
	TimedOut bool `json:"timed_out,omitempty"`
	// Stderr is the end of what it wrote there.
	Stderr string `json:"-"`
}

// String is one word and the exit code where that is not 0.
func (a Attempt) String() string {
	text := "partial"
	switch a.Arrived {
	case a.Of:
		text = "whole"
	case 0:
		text = "none"
	}
	switch {
	case a.TimedOut:
		text += ", hangs"
	case a.Exit != 0:
		text += fmt.Sprintf(", exit %d", a.Exit)
	case a.Arrived != a.Of:
		text += ", exit 0 (!)"
	}
	return text
}

// String is the cell as the table has it.
func (c Cell) String() string {
	text := fmt.Sprintf("%s, %.1f s", c.Run, c.Run.Seconds)
	if len(c.Broken) > 0 {
		text = "BROKEN, " + text
	}
	if c.Tool == dray && c.Healed != nil && c.Named != "" {
		text += ", named"
	}
	if c.Healed != nil {
		text += fmt.Sprintf("; healed: %s", c.Healed)
	}
	if c.Hits == 0 {
		text += "; not met"
	}
	for _, more := range [][]string{c.Flaws, c.Failings} {
		if len(more) > 0 {
			text += "; " + strings.Join(more, "; ")
		}
	}
	return text
}
