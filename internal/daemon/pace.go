package daemon

import (
	"math"
	"time"
)

const (
	// paceOver is over how long the bytes per second of an import are averaged: a byte counts less the longer ago it came.
	paceOver = 10 * time.Second
	// pieceMost is more than what comes of a connection at once: a blob that the target has already is counted in one piece.
	pieceMost = aMiB
)

// pace is how fast an import gets on, in a mean that does not jump.
type pace struct {
	began, at time.Time
	// bytes are those that have come until at, weighted by exp(-age/paceOver).
	bytes float64
}

// add counts bytes that came now, unless they came from no connection.
func (p *pace) add(bytes int64, now time.Time) {
	if bytes < 0 || bytes > pieceMost {
		return
	}
	p.bytes, p.at = p.weighted(now)+float64(bytes), now
}

func (p *pace) weighted(now time.Time) float64 {
	return p.bytes * math.Exp(-now.Sub(p.at).Seconds()/paceOver.Seconds())
}

// perSecond returns the mean. An import that has just begun is not averaged over the time before, but over a second at least.
func (p *pace) perSecond(now time.Time) int64 {
	if p.bytes == 0 {
		return 0
	}
	age := max(time.Second, now.Sub(p.began)).Seconds() / paceOver.Seconds()
	return int64(p.weighted(now) / (paceOver.Seconds() * (1 - math.Exp(-age))))
}
