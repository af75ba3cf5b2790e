package mirror

import "github.com/draysync/dray/internal/diff"

// Meter follows the bytes of one import. Its methods may be called concurrently and must not block.
type Meter interface {
	// Expect says that so many more blob bytes belong to the import. A negative number takes back what a try that failed has
	// expected.
	Expect(bytes int64)
	// Moved says that so many blob bytes have passed, or need not pass because the target has them. A negative number
	// takes back what a retry sends again.
	Moved(bytes int64)
}

// Watcher follows a run. Its methods may be called concurrently.
type Watcher interface {
	// Observing says that so many more tags are to be looked at; Observed that one was.
	Observing(tags int)
	Observed()
	// Planned says how many imports will follow, once all is observed.
	Planned(imports int)
	// Begin is called as an import starts; End with its outcome, and with the outcomes of actions that needed no import.
	Begin(diff.Action) Meter
	End(Outcome)
}

// counted is a Meter that tells somebody else, too, of what moves.
type counted struct {
	Meter
	moved func(bytes int64)
}

// Moved implements Meter.
func (c counted) Moved(bytes int64) {
	c.moved(bytes)
	c.Meter.Moved(bytes)
}

// onDemand is a Meter that begins with the first bytes: what seldom moves any is not shown before.
type onDemand struct{ begin func() Meter }

// Expect implements Meter.
func (o onDemand) Expect(bytes int64) { o.begin().Expect(bytes) }

// Moved implements Meter.
func (o onDemand) Moved(bytes int64) { o.begin().Moved(bytes) }
