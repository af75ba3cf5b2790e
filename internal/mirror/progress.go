package mirror

import "github.com/draysync/dray/internal/diff"

// Meter counts the bytes of one import. Its methods may be called concurrently and must not block.
type Meter interface {
	// Expect adds blob bytes to the import. A negative number takes back what a failed try has expected.
	Expect(bytes int64)
	// Moved adds blob bytes that were copied, or that the target already has. A negative number takes back what a retry sends again.
	Moved(bytes int64)
}

// Watcher follows a run. Its methods may be called concurrently.
type Watcher interface {
	// Observing adds tags to observe; Observed reports that one was.
	Observing(tags int)
	Observed()
	// Planned reports how many imports follow, once everything is observed.
	Planned(imports int)
	// Begin is called when an import starts, End with its outcome, and with the outcomes of actions that needed no import.
	Begin(diff.Action) Meter
	End(Outcome)
}

// counted is a Meter that also reports moved bytes elsewhere.
type counted struct {
	Meter
	moved func(bytes int64)
}

// Moved implements Meter.
func (c counted) Moved(bytes int64) {
	c.moved(bytes)
	c.Meter.Moved(bytes)
}

// onDemand is a Meter that begins with the first bytes, since most looks move none and need not be shown.
type onDemand struct{ begin func() Meter }

// Expect implements Meter.
func (o onDemand) Expect(bytes int64) { o.begin().Expect(bytes) }

// Moved implements Meter.
func (o onDemand) Moved(bytes int64) { o.begin().Moved(bytes) }
