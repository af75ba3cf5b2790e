package report

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"

	"github.com/draysync/dray/internal/image"
)

// meter follows one import. Its methods only count; what is shown is read from it as a frame is drawn.
type meter struct {
	name    string
	started time.Time
	whole   atomic.Int64
	passed  atomic.Int64
	// bar is nil where there are too many bars already. It is set before anybody else knows the meter.
	bar *mpb.Bar
}

// Expect implements mirror.Meter.
func (m *meter) Expect(bytes int64) { m.whole.Add(bytes) }

// Moved implements mirror.Meter.
func (m *meter) Moved(bytes int64) { m.passed.Add(bytes) }

// read returns a state that makes sense whatever was counted: 0 ≤ done ≤ whole.
func (m *meter) read() (done, whole int64) {
	done = max(0, m.passed.Load())
	return done, max(done, m.whole.Load())
}

// route tells which import an outcome ends. The digest of the action is no part of it: an engine may only know it in the end.
type route struct{ source, target image.Reference }

// pace estimates bytes a second from readings of a growing number. The zero value has none yet.
type pace struct {
	at   time.Time
	last int64
	rate float64
}

const (
	// paceStep is the least time between two readings that count, paceMemory the age at which one has lost most weight.
	paceStep   = 200 * time.Millisecond
	paceMemory = 3 * time.Second
	// longest is the longest remaining time that is worth showing.
	longest = 100 * time.Hour
)

// read takes a reading and returns bytes a second; 0 where nothing moves or not enough is known.
func (p *pace) read(now time.Time, bytes int64) float64 {
	if p.at.IsZero() {
		p.at, p.last = now, bytes
		return 0
	}
	passed := now.Sub(p.at)
	if passed < paceStep {
		return p.rate
	}
	current := float64(max(0, bytes-p.last)) / passed.Seconds()
	weight := 1 - math.Exp(-passed.Seconds()/paceMemory.Seconds())
	if p.rate == 0 {
		weight = 1
	}
	p.rate += weight * (current - p.rate)
	p.at, p.last = now, bytes
	if p.rate < 1 {
		p.rate = 0
	}
	return p.rate
}

// remaining is how long the rest takes at this rate; 0 where nobody can tell.
func remaining(rest, rate float64) time.Duration {
	if rate <= 0 || rest <= 0 || rest/rate >= longest.Seconds() {
		return 0
	}
	return max(time.Second, time.Duration(rest/rate*float64(time.Second)))
}
