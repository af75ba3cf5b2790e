package report

import (
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
)

// Quiet is a [mirror.Watcher] that shows nothing, for where there is no terminal. It is its own meter.
type Quiet struct{}

// Observing does nothing.
func (Quiet) Observing(int) {}

// Observed does nothing.
func (Quiet) Observed() {}

// Planned does nothing.
func (Quiet) Planned(int) {}

// Begin returns a meter that does nothing.
func (Quiet) Begin(diff.Action) mirror.Meter { return Quiet{} }

// End does nothing.
func (Quiet) End(mirror.Outcome) {}

// Expect does nothing.
func (Quiet) Expect(int64) {}

// Moved does nothing.
func (Quiet) Moved(int64) {}
