package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

// TestTenThousandMappings starts a daemon with 10,000 mappings, lets it find that nothing is to do, and changes one. What it takes is
// logged. The close bounds on time are of processors, since tests share their machine. That on memory when all is loaded is for a daemon while the
// source holds back all answers, so that no job has gone on. The program is built without the race detector.
func TestTenThousandMappings(t *testing.T) {
	fulltest.Require(t)
	const jobs = 10_000
	program := buildProgram(t)
	d := newDesk(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	image := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 10})
	d.do(image.Push(source, "app", "v1"))
	for i := range jobs {
		d.do(image.Push(target, fmt.Sprintf("app-%d", i), "v1"))
	}
	from, to := start(t, source), start(t, target)
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	source.Inject(registry.Fault{Before: func() { <-held }})
	write := func(retries int) {
		var b strings.Builder
		fmt.Fprintf(&b, "version: 1\nstateDir: %s\n%s\nlog: {level: warn}\njobs: 64\ndefaults: {schedule: '17 3 29 2 *', referrers: false}\nmappings:\n", filepath.Join(d.target, "state"), serverLine(d.socket))
		for i := range jobs {
			more := ""
			if i == 4711 {
				more = fmt.Sprintf(", retries: %d", retries)
			}
			fmt.Fprintln(&b, mapping("name: job-%d, source: '%s/app', target: '%s/app-%d', tags: [v1]%s", i, from, to, i, more))
		}
		d.write(d.config, b.String())
	}
	write(1)
	began := time.Now()
	r := launchProgram(t, program, d.config, d.socket)
	r.until(t, "all jobs are there", func() bool { return len(r.status(t).Jobs) == jobs })
	loaded, loadedCPU, loadedPeak := time.Since(began), r.cpu(t), r.peak(t)
	release()
	tick := time.NewTicker(200 * time.Millisecond) // an answer has all jobs
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Minute); r.busy(t) > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are still to run", r.busy(t))
		}
	}
	allRan, ranPeak := time.Since(began), r.peak(t)
	r.isSaved(t)
	idleFrom, idleFor := r.cpu(t), 10*time.Second
	<-time.After(idleFor) // so long it is measured
	idle := float64(r.cpu(t)-idleFrom) / float64(idleFor)
	changed := time.Now()
	write(2)
	cpu := r.cpu(t)
	began = time.Now()
	d.do(r.client.Reload(t.Context()))
	reloaded, reloadedCPU := time.Since(began), r.cpu(t)-cpu
	r.until(t, "the changed job has run again", func() bool { return r.busy(t) == 0 })
	again := 0
	for _, j := range r.status(t).Jobs {
		if j.Last == nil {
			t.Fatalf("%+v", j)
		}
		if j.Last.Started.After(changed) {
			again++
		}
	}
	memory := r.peak(t)
	t.Logf("loaded and answering after %s (%s of a core), all ran after %s; idle %.2f %% of a core; reload %s (%s of a core), %d jobs ran anew; peak memory %d MiB, %d when all had run, %d at the end",
		loaded.Round(time.Millisecond), loadedCPU, allRan.Round(time.Millisecond), 100*idle, reloaded.Round(time.Millisecond), reloadedCPU, again, loadedPeak>>20, ranPeak>>20, memory>>20)
	if again != 1 {
		t.Errorf("%d jobs ran after a reload that changes one", again)
	}
	if loadedCPU > 10*time.Second || reloadedCPU > 10*time.Second || loaded > time.Minute || reloaded > time.Minute || idle > 0.05 || loadedPeak > 150<<20 || memory > 300<<20 {
		t.Error("that is too much")
	}
	r.stop(t)
}

// buildProgram builds the program as it is shipped, without a race detector.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "dray")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// busy counts the jobs that run, or would if they could.
func (r *running) busy(t *testing.T) int {
	t.Helper()
	n := 0
	for _, j := range r.status(t).Jobs {
		if j.State == record.JobRunning || j.State == record.JobWaiting || j.Last == nil {
			n++
		}
	}
	return n
}

// isSaved waits until the last runs are written, which is done beside them.
func (r *running) isSaved(t *testing.T) {
	t.Helper()
	var last time.Time
	for _, j := range r.status(t).Jobs {
		if j.Last.Ended.After(last) {
			last = j.Last.Ended
		}
	}
	r.until(t, "the last runs are saved", func() bool {
		runs, err := r.client.History(t.Context(), "", 100) // of those that end at one time, any may be the last
		return err == nil && slices.ContainsFunc(runs, func(run record.JobRun) bool { return !run.Ended.Before(last) })
	})
}

// cpu is the time that the process has computed: proc_pid_stat(5), in hundredths of a second.
func (r *running) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// peak is the most memory that the process has had, in bytes.
func (r *running) peak(t *testing.T) int64 { return r.statusField(t, "VmHWM:") }

// statusField is a number of bytes in proc_pid_status(5).
func (r *running) statusField(t *testing.T, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Skip("the system does not say")
	return 0
}
