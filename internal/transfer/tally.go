package transfer

import (
	"sync/atomic"

	"github.com/draysync/dray/internal/mirror"
)

// tally is the meter of one attempt. It passes everything on, and can take it all back when the attempt has failed, because the next one
// counts from the start.
type tally struct {
	meter           mirror.Meter
	expected, moved atomic.Int64
}

// Expect implements mirror.Meter.
func (t *tally) Expect(bytes int64) {
	t.expected.Add(bytes)
	t.meter.Expect(bytes)
}

// Moved implements mirror.Meter.
func (t *tally) Moved(bytes int64) {
	t.moved.Add(bytes)
	t.meter.Moved(bytes)
}

func (t *tally) takeBack() {
	if moved := t.moved.Swap(0); moved != 0 {
		t.meter.Moved(-moved)
	}
	if expected := t.expected.Swap(0); expected != 0 {
		t.meter.Expect(-expected)
	}
}
