package scale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

// Options say what to measure.
type Options struct {
	Dray   peer.Tool
	Shapes []Shape
	// Lists are the registries: true for one that lists digests, false for one that does not.
	Lists []bool
	// Referrers has dray look for referrers, which is its default.
	Referrers bool
	// Idle is how long the daemon is watched while nothing is due; 0 for not at all.
	Idle     time.Duration
	Dir      string    // for what dray keeps, which is removed at the end
	Progress io.Writer // a line for each measurement
}

// Row is what was measured of one shape and one kind of registry.
type Row struct {
	Shape
	Lists bool
	// First is the run of a dray that knows nothing yet, Again one that remembers it.
	First, Again Run
	// Store is the size of what dray keeps, in bytes.
	Store int64
	// Idle is the CPU time of the daemon in a second in which nothing is due; 0 if that was not measured.
	Idle float64
	// Resident is the daemon's most memory, in bytes; 0 if that was not measured.
	Resident int64
}

// Run is one run for all tags.
type Run struct {
	peer.Usage
	Source, Target Requests
}

// runsToLearn is how many runs after the first one are like all later ones: of registries that list digests, dray sees what they are, and compares
// some of what they list. Without referrers and listings there is nothing to remember.
func (o Options) runsToLearn(lists bool) int {
	switch {
	case lists:
		return 2
	case o.Referrers:
		return 1
	}
	return 0
}

// Measure measures each shape with each kind of registry. It returns what was measured until an error.
func Measure(ctx context.Context, o Options) (rows []Row, err error) {
	for _, shape := range o.Shapes {
		all := newImages(shape)
		for _, lists := range o.Lists {
			row, err := o.measure(ctx, all, lists)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", shape, err)
			}
			fmt.Fprintf(o.Progress, "draybench: %s\n", strings.Join(row.cells(), ", "))
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// String says what a shape has.
func (s Shape) String() string { return fmt.Sprintf("%d mappings of %d tags", s.Mappings, s.Tags) }

func (o Options) measure(ctx context.Context, all *images, lists bool) (row Row, err error) {
	dir, err := os.MkdirTemp(o.Dir, "scale-")
	if err != nil {
		return row, fmt.Errorf("prepare: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := stand{tool: o.Dray, work: peer.Work{Dir: dir}}
	if s.source, err = all.serve(lists); err != nil {
		return row, err
	}
	defer s.source.close()
	if s.target, err = all.serve(lists); err != nil {
		return row, err
	}
	defer s.target.close()
	if s.config, s.address, err = s.write(all.Shape, o.Referrers); err != nil {
		return row, err
	}
	row = Row{Shape: all.Shape, Lists: lists}
	if row.First, err = s.sync(ctx); err != nil {
		return row, err
	}
	row.Again = row.First
	for range o.runsToLearn(lists) {
		if row.Again, err = s.sync(ctx); err != nil {
			return row, err
		}
	}
	if o.Idle > 0 {
		if row.Idle, row.Resident, err = s.idle(ctx, o.Idle); err != nil {
			return row, err
		}
	}
	row.Store, err = size(filepath.Join(dir, "state"))
	return row, err
}

// stand is what dray works with: two registries, and a config for them.
type stand struct {
	tool            peer.Tool
	work            peer.Work
	source, target  *registry
	config, address string
}

// write writes dray's config, and returns its path and where the daemon answers.
func (s *stand) write(shape Shape, referrers bool) (path, address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return "", "", fmt.Errorf("find a free port: %w", err)
	}
	address = listener.Addr().String()
	_ = listener.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\nstateDir: %q\nserver: {listen: %q}\nlog: {level: warn}\nregistries:\n", filepath.Join(s.work.Dir, "state"), address)
	for _, host := range []string{s.source.host, s.target.host} {
		fmt.Fprintf(&text, "  %q: {plainHTTP: true}\n", host)
	}
	fmt.Fprintf(&text, "defaults: {schedule: \"@yearly\", referrers: %t}\nmappings:\n", referrers)
	for r := range shape.Mappings {
		name := repositoryName(r)
		fmt.Fprintf(&text, "  - {name: r%05d, source: \"%s/%s\", target: \"%s/%s\", tags: [\"v*\"]}\n", r, s.source.host, name, s.target.host, name)
	}
	path = filepath.Join(s.work.Dir, "dray.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return "", "", fmt.Errorf("config file: %w", err)
	}
	return path, address, nil
}

// sync runs dray once.
func (s *stand) sync(ctx context.Context) (run Run, err error) {
	process, err := s.tool.Begin(ctx, s.work, "sync", "-c", s.config)
	if err != nil {
		return run, err
	}
	if run.Usage, err = process.Wait(); err != nil {
		return run, err
	}
	if err := s.count(&run); err != nil || run.Exit != 0 {
		return run, errors.Join(err, fmt.Errorf("dray sync: exit code %d: %s", run.Exit, run.Stderr))
	}
	return run, ctx.Err()
}

func (s *stand) count(run *Run) (err error) {
	var of [2]error
	run.Source, of[0] = s.source.requests()
	run.Target, of[1] = s.target.requests()
	return errors.Join(of[:]...)
}

// idle runs the daemon until it has nothing to do, and watches it for a while. It returns its CPU time in a second, and its most memory.
func (s *stand) idle(ctx context.Context, long time.Duration) (share float64, memory int64, err error) {
	daemon, err := s.tool.Begin(ctx, s.work, "run", "-c", s.config)
	if err != nil {
		return 0, 0, err
	}
	share, err = s.watch(ctx, daemon, long)
	usage, ended := daemon.End()
	if err == nil && usage.Exit != 0 {
		err = fmt.Errorf("dray run: exit code %d: %s", usage.Exit, usage.Stderr)
	}
	return share, usage.PeakRSS, errors.Join(err, ended, s.count(new(Run)))
}

func (s *stand) watch(ctx context.Context, daemon *peer.Process, long time.Duration) (share float64, err error) {
	for done := false; !done; {
		if err := pause(ctx, 2*time.Second); err != nil {
			return 0, err
		}
		if done, err = s.done(ctx, daemon); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, 5*time.Second); err != nil { // for what it does afterwards
		return 0, err
	}
	before, began := daemon.CPU(), time.Now()
	if err := pause(ctx, long); err != nil {
		return 0, err
	}
	return (daemon.CPU() - before).Seconds() / time.Since(began).Seconds(), nil
}

// done reports whether all jobs of the daemon have run.
func (s *stand) done(ctx context.Context, daemon *peer.Process) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/api/v1/status", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil { // it may not listen yet
		return false, daemon.Ended()
	}
	defer resp.Body.Close()
	var status struct {
		Jobs []struct {
			State string `json:"state"`
			Last  any    `json:"last_run"`
		} `json:"jobs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return false, fmt.Errorf("dray's status: %w", err)
	}
	for _, j := range status.Jobs {
		if j.State == "running" || j.State == "waiting" || j.Last == nil {
			return false, nil
		}
	}
	return len(status.Jobs) > 0, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// size is the size of all files in a folder, in bytes.
func size(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
