package azure

import (
	"math"
	"time"
)

// Bucket is a budget of requests that fills up again.
type Bucket struct {
	Size      int
	PerSecond float64
}

// level is how full a bucket is.
type level struct {
	left float64
	at   time.Time
}

// take takes one request out of a named bucket. It returns what is left, or how long to wait.
func (c *Cloud) take(name string, bucket Bucket) (left int, wait time.Duration) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l, known := c.buckets[name]
	if !known {
		l = &level{left: float64(bucket.Size), at: now}
		c.buckets[name] = l
	}
	l.left = math.Min(float64(bucket.Size), l.left+now.Sub(l.at).Seconds()*bucket.PerSecond)
	l.at = now
	if l.left < 1 {
		seconds := math.Ceil((1 - l.left) / bucket.PerSecond)
		return 0, time.Duration(math.Max(1, seconds)) * time.Second
	}
	l.left--
	return int(l.left), 0
}
