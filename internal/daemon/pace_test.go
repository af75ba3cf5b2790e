package daemon

import (
	"testing"
	"time"
)

// A steady stream has its rate from the second second on; one that pauses, or has blobs that are there already, does not jump.
func TestPace(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := pace{began: now}
	const each, step = 128 << 10, 10 * time.Millisecond // 12.5 MiB/s
	last := int64(0)
	for i := range 3000 {
		if i == 1000 {
			now = now.Add(2 * time.Second) // a pause
		}
		if i%500 == 250 {
			p.add(2<<30, now)
		}
		now = now.Add(step)
		p.add(each, now)
		if i < 100 {
			continue
		}
		rate := p.perSecond(now)
		if low, high := int64(9<<20), int64(13<<20+1<<19); rate < low || rate > high {
			t.Fatalf("after %d steps: %d bytes per second", i, rate)
		}
		if jump := rate - last; i != 1000 && last != 0 && (jump > last/10 || jump < -last/10) {
			t.Fatalf("after %d steps: from %d to %d bytes per second", i, last, rate)
		}
		last = rate
	}
	p.add(-(5 << 20), now) // an attempt is taken back
	if rate := p.perSecond(now.Add(time.Minute)); rate > 50_000 {
		t.Errorf("a minute later: %d bytes per second", rate)
	}
	if rate := (&pace{began: now}).perSecond(now); rate != 0 {
		t.Errorf("nothing came: %d", rate)
	}
}
