package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/worktime"
)

// stand is a daemon in a bubble of fake time, with all around it under the test's control.
type stand struct {
	*Daemon
	changed chan struct{}
	halt    chan struct{}
	kill    context.CancelFunc
	ended   chan error
	log     *bytes.Buffer

	mu     sync.Mutex
	config config
	// begun are the runs that began, in order.
	begun []begin
	// under counts the runs under way of each job; twice is set where one had two.
	under      map[string]int
	times      map[string]int // how often each job has begun
	twice      bool
	mostAtOnce int
	closed     int // generations
	states     map[string]record.State
	pauses     map[string]record.Pause
	kept       []kept
	told       []string // by the service manager's words
	events     []string
	watchdog   time.Duration
	// wrap changes what hands out jobs; nil for not.
	wrap func(Work) Work
	// member shares the jobs with others; nil for not.
	member Member
	// parts are shared with other processes, and assist makes those of their runs; nil for not.
	parts  Parts
	assist func(ctx context.Context, job string, imports []mirror.Import, draining <-chan struct{}, ended func()) []mirror.Outcome
}

// config is what Build finds.
type config struct {
	jobs     []Job
	parallel int
	grace    time.Duration
	err      error
	// rejected has the mistakes of some files.
	rejected error
	// takes is how long a run takes, result how it ends; nil for well.
	takes time.Duration
	// hangs are the registries between which a run does not get on for an hour, but for a step now and then; zero for none.
	hangs  string
	steps  time.Duration
	result func(job string, run int) mirror.Result
	// throttled has each run wait for the bandwidth of all.
	throttled bool
	// slow is how long a build takes, also when it is stopped where it is deaf; writes how long each write of the memory does.
	slow, writes time.Duration
	deaf         bool
	// stuck is how long a build hangs, whatever is stopped.
	stuck time.Duration
	// forgets is why the memory keeps no pause; nil if it does.
	forgets error
}

type begin struct {
	job  string
	at   time.Time
	took string // the fingerprint of the config that it ran with
	some []string
}

// job makes a job; its fingerprint is its name and schedule, and more where that matters.
func job(t *testing.T, name, spec string, more ...string) Job {
	t.Helper()
	j := Job{Name: name, Fingerprint: strings.Join(append([]string{name, spec}, more...), " ")}
	if spec != "" {
		var err error
		if j.Schedule, err = schedule.Parse(spec, "UTC"); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// inBubble starts a daemon and hands it to f; at the end it is stopped.
func inBubble(t *testing.T, c config, f func(t *testing.T, s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(c)
		s.start(t)
		f(t, s)
		s.stop(t)
	})
}

func newStand(c config) *stand {
	return &stand{config: c, states: map[string]record.State{}, pauses: map[string]record.Pause{}, under: map[string]int{}, times: map[string]int{}, log: &bytes.Buffer{}}
}

// start runs a daemon, anew where one has ended, and returns when it has nothing to do at the moment.
func (s *stand) start(t *testing.T) {
	t.Helper()
	s.changed, s.halt, s.ended = make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	log := slog.New(slog.NewTextHandler(s.log, nil))
	var keeper interface {
		Work
		Plans
		View
	} = NewAlone((*memory)(s), (*recorder)(s).Scheduled, log)
	if s.member != nil {
		keeper = NewShared(t.Context(), s.member, (*recorder)(s).Scheduled, log)
	}
	work := Work(keeper)
	if s.wrap != nil {
		work = s.wrap(work)
	}
	claims, _ := keeper.(Claims)
	s.Daemon = New(Options{
		Claims: claims,
		Build:  s.build, Work: work, Plans: keeper, View: keeper, Events: (*recorder)(s), Manager: (*manager)(s), Changed: s.changed, Log: log, Parts: s.parts,
	})
	ctx, kill := context.WithCancel(t.Context())
	s.kill = kill
	d, halt, ended := s.Daemon, s.halt, s.ended
	go func() { ended <- d.Run(ctx, halt) }()
	synctest.Wait()
}

// stop ends the daemon as a signal does.
func (s *stand) stop(t *testing.T) {
	t.Helper()
	close(s.halt)
	if err := <-s.ended; err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	s.kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.twice {
		t.Error("a job ran twice at once")
	}
	if len(s.under) > 0 {
		t.Errorf("runs are left: %v", s.under)
	}
}

// crash ends the daemon as kill -9 does: nothing that it does from then on is seen.
func (s *stand) crash() {
	s.mu.Lock()
	states, pauses, kept, events := maps.Clone(s.states), maps.Clone(s.pauses), slices.Clone(s.kept), slices.Clone(s.events)
	s.mu.Unlock()
	s.kill()
	<-s.ended
	s.mu.Lock()
	s.states, s.pauses, s.kept, s.events = states, pauses, kept, events
	s.mu.Unlock()
}

func (s *stand) build(ctx context.Context) (Generation, error) {
	s.mu.Lock()
	c := s.config
	s.mu.Unlock()
	time.Sleep(c.stuck)
	if err := sleep(ctx, c.slow); err != nil && !c.deaf {
		return Generation{}, err
	}
	if c.err != nil {
		return Generation{}, c.err
	}
	prints, hangs := map[string]string{}, map[string]bool{}
	for _, j := range c.jobs {
		prints[j.Name] = j.Fingerprint
		hangs[j.Name] = c.hangs != "" && j.Registries == c.hangs
	}
	return Generation{
		Rejected: c.rejected, Jobs: c.jobs, Parallel: max(1, c.parallel), Grace: c.grace, Take: func() {},
		Run: func(ctx context.Context, name string, some []string, draining <-chan struct{}, w mirror.Watcher, _ mirror.Crew) mirror.Result {
			c := c
			if hangs[name] {
				c.takes = time.Hour
			} else {
				c.steps = 0
			}
			return s.work(ctx, c, name, prints[name], some, draining, w)
		},
		Plan: func(ctx context.Context, name string, _ mirror.Watcher) mirror.Result {
			return mirror.Result{Job: name, Err: sleep(ctx, c.takes)}
		},
		Approved: func(ctx context.Context, name string, imports []diff.Action, draining <-chan struct{}, w mirror.Watcher) mirror.Result {
			return s.work(ctx, c, name, prints[name], []string{fmt.Sprintf("%d approved", len(imports))}, draining, w)
		},
		Assist: func(ctx context.Context, job string, imports []mirror.Import, _ bool, draining <-chan struct{}, _ mirror.Watcher, ended func()) []mirror.Outcome {
			return s.assist(ctx, job, imports, draining, ended)
		},
		Close: func() { s.mu.Lock(); s.closed++; s.mu.Unlock() },
	}, nil
}

// work is a run: it has one import, which takes its time.
func (s *stand) work(ctx context.Context, c config, name, print string, some []string, draining <-chan struct{}, w mirror.Watcher) mirror.Result {
	s.mu.Lock()
	s.begun = append(s.begun, begin{name, time.Now(), print, some})
	s.under[name]++
	s.twice = s.twice || s.under[name] > 1
	s.mostAtOnce = max(s.mostAtOnce, len(s.under))
	s.times[name]++
	n := s.times[name]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.under[name]--; s.under[name] == 0 {
			delete(s.under, name)
		}
	}()
	result := mirror.Result{Job: name, Started: time.Now()}
	w.Observing(1)
	w.Observed()
	w.Planned(1)
	w.Begin(diff.Action{}).Expect(1)
	for ended := time.Now().Add(c.takes); c.steps > 0 && time.Until(ended) > c.steps; w.Observed() {
		if err := sleep(ctx, c.steps); err != nil {
			result.Err = err
			return result
		}
		c.takes -= c.steps
	}
	if c.throttled {
		defer worktime.Throttle(ctx)()
	}
	if err := sleep(ctx, c.takes); err != nil {
		result.Err = err
		return result
	}
	if c.result != nil {
		result = c.result(name, n)
		result.Job, result.Started = name, time.Now().Add(-c.takes)
	}
	result.Duration = c.takes
	return result
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change gives Build another config, says that it changed, and waits until that is dealt with.
func (s *stand) change(edit func(c *config)) {
	s.mu.Lock()
	edit(&s.config)
	s.mu.Unlock()
	s.changed <- struct{}{}
	synctest.Wait()
}

// gone returns how many generations are closed.
func (s *stand) gone() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// runs returns when a job began to run, as offsets from the first moment.
func (s *stand) runs(name string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []time.Duration
	for _, b := range s.begun {
		if b.job == name {
			list = append(list, b.at.Sub(epoch))
		}
	}
	return list
}

// epoch is when the time of a bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// kept is a run that the memory was told of, and the state of its job after it.
type kept struct {
	record.JobRun
	State record.State
}

// memory keeps states and runs.
type memory stand

func (m *memory) JobStates(context.Context) (map[string]record.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.states), nil
}

func (m *memory) KeepRun(ctx context.Context, run record.JobRun, state record.State) error {
	m.mu.Lock()
	slow := m.config.writes
	m.mu.Unlock()
	if err := sleep(ctx, slow); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = append(m.kept, kept{run, state})
	m.states[run.Job] = state
	return nil
}

func (m *memory) KeepJobs(_ context.Context, states map[string]record.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.states, states)
	return nil
}

func (m *memory) Pauses(context.Context) (map[string]record.Pause, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.pauses), nil
}

func (m *memory) KeepPause(_ context.Context, job string, pause record.Pause) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.config.forgets != nil {
		return m.config.forgets
	}
	m.pauses[job] = pause
	return nil
}

func (m *memory) DropPauses(_ context.Context, jobs []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, job := range jobs {
		delete(m.pauses, job)
	}
	return m.config.forgets
}

// recorder keeps events.
type recorder stand

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *recorder) Ran(run Run, before record.State) {
	r.note("ran %s, %d failures after %d", run.Job, run.State.Failures, before.Failures)
}
func (r *recorder) Scheduled(j record.JobStatus) { r.note("scheduled %s", j.Job) }
func (r *recorder) Removed(job string)           { r.note("removed %s", job) }
func (r *recorder) Reloaded(_ time.Time, generation int, err error) {
	r.note("reloaded %d: %v", generation, err)
}

// manager keeps what the service manager is told.
type manager stand

func (m *manager) tell(text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, text)
	return nil
}

func (m *manager) Ready(status string) error       { return m.tell("ready: " + status) }
func (m *manager) Reloading() error                { return m.tell("reloading") }
func (m *manager) Status(text string) error        { return m.tell("status: " + text) }
func (m *manager) Watchdog() error                 { return m.tell("watchdog") }
func (m *manager) Stopping() error                 { return m.tell("stopping") }
func (m *manager) WatchdogInterval() time.Duration { return m.watchdog }

// count counts the lines of a list that begin so.
func (s *stand) count(list *[]string, prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range *list {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// list copies a list.
func (s *stand) list(list *[]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*list)
}

// status returns a job as a snapshot has it.
func (s *stand) status(t *testing.T, name string) record.JobStatus {
	t.Helper()
	snapshot, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(snapshot.Jobs, func(j record.JobStatus) bool { return j.Job == name })
	if i < 0 {
		t.Fatalf("there is no job %s", name)
	}
	return snapshot.Jobs[i]
}

var errBad = errors.New("dray.yaml:3:1: bad")
