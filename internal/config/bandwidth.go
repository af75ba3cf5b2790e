package config

import (
	"fmt"
	"regexp"
	"strconv"
)

// The limits of a bandwidth, in bytes per second. With less, counterparts give up on transfers that share it.
const (
	minBandwidth = 64 << 10
	maxBandwidth = 1 << 40
)

var (
	bandwidthText = regexp.MustCompile(`^([0-9]{1,12}(?:\.[0-9]{1,6})?)(B|kB|MB|GB|KiB|MiB|GiB)/s$`)
	byteUnits     = map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
)

// bandwidth reads bytes per second; 0 for none.
func (b *builder) bandwidth(t text) int64 {
	if !t.set {
		return 0
	}
	const wanted = "a bandwidth such as 50MiB/s"
	m := bandwidthText.FindStringSubmatch(t.value)
	if m == nil {
		b.invalid(t, fmt.Errorf("%s is not a bandwidth: write a number and B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s or GiB/s, such as 50MiB/s", quote(t.raw)), wanted)
		return 0
	}
	n, _ := strconv.ParseFloat(m[1], 64) // the pattern allows only numbers
	rate := n * byteUnits[m[2]]
	if rate < minBandwidth || rate > maxBandwidth {
		b.invalid(t, fmt.Errorf("%s is out of range: write 64KiB/s to 1024GiB/s, or remove it for no limit", quote(t.raw)), wanted)
		return 0
	}
	return int64(rate)
}
