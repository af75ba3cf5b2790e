package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestSoak lets a daemon follow a source that moves tags constantly while faults come and go, for as long as DRAY_TEST_SOAK says. Its
// memory has to be flat after the first sixth of that, and the targets equal to the source at the end.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("DRAY_TEST_SOAK"))
	if err != nil {
		t.Skip("set DRAY_TEST_SOAK to a duration, such as 30m, to run this test")
	}
	const repositories, tags = 10, 5
	d := newDesk(t)
	program := buildProgram(t)
	source, target := registry.New(registry.Options{Referrers: true}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	lines := []string{
		"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "log: {level: error}", "jobs: 4",
		"defaults: {schedule: '@every 10s', retries: 1, tags: ['v*']}", "mappings:",
	}
	for i := range repositories {
		lines = append(lines, mapping("name: app-%d, source: '%s/in/app-%d', target: '%s/out/app-%d'", i, from, i, to, i))
	}
	d.write(d.config, strings.Join(lines, "\n"))
	seed := int64(0)
	move := func() {
		seed++
		repo, tag := fmt.Sprintf("in/app-%d", rand.IntN(repositories)), fmt.Sprintf("v%d", rand.IntN(tags))
		image := registry.MultiArch(seed, registry.ImageOptions{Layers: 2, LayerSize: 2000})
		d.do(image.Push(source, repo, tag))
		if seed%5 == 0 {
			_, err := source.PutReferrer(repo, image.Digest, "application/vnd.example.signature", fmt.Appendf(nil, "signature %d", seed))
			d.do(err)
		}
	}
	for range 100 {
		move()
	}
	r := launchProgram(t, program, d.config, d.socket)
	began := time.Now()
	type sample struct {
		at     time.Duration
		memory int64
	}
	var samples []sample
	faults := 0
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for time.Since(began) < length {
		remove := func() {}
		if rand.IntN(3) == 0 {
			faults++
			side := []*registry.Registry{source, target}[rand.IntN(2)]
			remove = side.Inject(soakFault())
		}
		for range 20 {
			move()
			<-pace.C
		}
		remove()
		source.Reset() // what they have noted of requests
		target.Reset()
		samples = append(samples, sample{time.Since(began), r.memory(t)})
	}
	r.until(t, "targets equal the source", func() bool {
		for i := range repositories {
			for j := range tags {
				tag := fmt.Sprintf("v%d", j)
				if want := source.Digest(fmt.Sprintf("in/app-%d", i), tag); target.Digest(fmt.Sprintf("out/app-%d", i), tag) != want {
					return false
				}
			}
		}
		return true
	})
	flat := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.at < length/6 })
	third := len(flat) / 3
	early, late := mean(flat[:third], func(s sample) int64 { return s.memory }), mean(flat[len(flat)-third:], func(s sample) int64 { return s.memory })
	for i := 0; i < len(samples); i += max(1, len(samples)/30) {
		t.Logf("%s: %d MiB", samples[i].at.Round(time.Second), samples[i].memory>>20)
	}
	m := r.metrics(t, d.socket)
	t.Logf("%d tags moved, %d faults; memory %d MiB in the first third after the start, %d MiB in the last; %.0f goroutines, %.0f descriptors",
		seed, faults, early>>20, late>>20, m["go_goroutines"], m["process_open_fds"])
	if late > early+early/4 {
		t.Errorf("memory grew from %d to %d bytes", early, late)
	}
	r.stop(t)
}

// soakFault is one of those that pass.
func soakFault() registry.Fault {
	all := []registry.Fault{
		{Status: http.StatusServiceUnavailable, Times: 5}, {Status: http.StatusTooManyRequests, Times: 5, Header: http.Header{"Retry-After": {"1"}}},
		{Reset: true, Times: 5}, {Match: registry.MatchKind(http.MethodGet, registry.KindBlob), CutAt: 1000, Times: 10},
		{Match: registry.MatchKind(http.MethodGet, registry.KindBlob), FlipByte: 500, Times: 3}, {Status: http.StatusInternalServerError, Times: 20},
		{Delay: 200 * time.Millisecond, Times: 50}, {Match: registry.MatchKind(http.MethodPut, ""), Status: http.StatusBadGateway},
		{Match: registry.MatchKind(http.MethodHead, ""), Status: http.StatusForbidden},
	}
	return all[rand.IntN(len(all))]
}

func mean[T any](list []T, of func(T) int64) int64 {
	var sum int64
	for _, v := range list {
		sum += of(v)
	}
	return sum / max(1, int64(len(list)))
}

// memory is what of the process is in memory now, in bytes.
func (r *running) memory(t *testing.T) int64 { return r.statusField(t, "VmRSS:") }
