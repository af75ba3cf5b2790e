//go:build unix

package peer

import (
	"os"
	"runtime"
	"syscall"
)

// peakRSS is the peak of an ended process's memory, in bytes. floor is the peak of this program when it started the
// process, and seen is what the watch saw; see memory.go.
func peakRSS(state *os.ProcessState, floor, seen int64) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return seen
	}
	peak := int64(usage.Maxrss) //nolint:unconvert // int32 on some platforms
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		peak <<= 10 // KiB elsewhere
	}
	if seen > 0 && peak <= floor+floor/4 {
		return seen
	}
	return peak
}
