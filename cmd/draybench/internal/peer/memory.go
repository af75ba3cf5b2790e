package peer

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

// The kernel starts a process's peak with that of the process that started it (exec sets ru_maxrss from the memory which
// it replaces), so what rusage says of a small tool may be about this program. Hence the peak of this program is brought
// down before, and a figure that is not above it is replaced by what /proc showed while the tool ran. Where there is no
// /proc, rusage has to do.

// lowerPeak resets the peak of this process to what it has now, and returns that in bytes; 0 is unknown.
func lowerPeak() int64 {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) //nolint:gosec // a kernel file, which is there or not
	return highWater("self")
}

// highWater is the peak of a process's memory in bytes; 0 is unknown, as of a process that has ended.
func highWater(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, after, found := bytes.Cut(status, []byte("\nVmHWM:"))
	if !found {
		return 0
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(line, []byte("kB")))), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// CPU is the CPU time of a running process, user and system; 0 is unknown, as where there is no /proc.
func (p *Process) CPU() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name may have spaces
	fields := bytes.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * (time.Second / clockTicks)
}

// clockTicks is how many units of /proc's times there are in a second; it is the same on all that Go runs on.
const clockTicks = 100

// peakWatch looks at a process again and again.
type peakWatch struct {
	end  chan struct{}
	peak chan int64
}

// watchPeak looks at a process at once, and until stop.
func watchPeak(pid int) *peakWatch {
	w := &peakWatch{end: make(chan struct{}), peak: make(chan int64, 1)}
	go w.run(fmt.Sprint(pid), highWater(fmt.Sprint(pid)))
	return w
}

func (w *peakWatch) run(pid string, peak int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			peak = max(peak, highWater(pid))
		case <-w.end:
			w.peak <- peak
			return
		}
	}
}

// stop ends the watch and returns the peak in bytes; 0 when nothing was seen.
func (w *peakWatch) stop() int64 {
	close(w.end)
	return <-w.peak
}
