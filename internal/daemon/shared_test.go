package daemon

import (
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

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

// member is a ledger for one process, whose clock is ahead of the process's.
type member struct {
	ahead time.Duration

	mu sync.Mutex
	// hash is that of the generation in force, and theirs are the fingerprints of a generation that others have put in force; where it is
	// nil, what is offered is in force at once.
	hash   string
	number int64
	theirs map[string]string
	jobs   map[string]*sharedJob
	pauses map[string]record.Pause
	token  int64
	// away is since when nothing is answered.
	away time.Time
	// offers, reads, but and back say what was asked: how often jobs were offered and the board was read, which jobs were not to be taken, and
	// which claims were given back.
	offers, reads int
	but           []string
	back          []string
	runs          []record.JobRun
	left          bool
	// spurned is set if no one else takes what is given back.
	spurned bool
	// took changes what is claimed; nil for not.
	took func(*record.Claim)
}

type sharedJob struct {
	record.Plan
	token int64
}

var errAway = errors.New("nobody answers")

// ask answers, or fails.
func (m *member) ask(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.away.IsZero() {
		return errAway
	}
	f()
	return nil
}

// set changes what the ledger does.
func (m *member) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// without returns which jobs were not to be taken last.
func (m *member) without() (but []string) {
	m.set(func() { but = slices.Clone(m.but) })
	return but
}

func (m *member) Now() time.Time { return time.Now().Add(m.ahead).Truncate(time.Millisecond) }

func (m *member) Take(_ context.Context, _, but []string) (claim *record.Claim, next time.Duration, err error) {
	next = -1
	err = m.ask(func() {
		m.but = but
		for _, name := range slices.Sorted(maps.Keys(m.jobs)) {
			j := m.jobs[name]
			wait := due(j.State).Sub(m.Now())
			switch {
			case j.token != 0 || due(j.State).IsZero() || slices.Contains(but, name) || held(j.State, pauses(m.pauses).of(name)):
			case wait > 0 && (next < 0 || wait < next):
				next = wait
			case wait <= 0 && claim == nil:
				m.token++
				j.token = m.token
				claim = &record.Claim{Job: name, Fingerprint: j.Fingerprint, Token: m.token, Begun: m.Now(), State: j.State}
				claim.Some, claim.Again = some(j.State, m.Now())
				j.State = claimed(claim)
				if m.took != nil {
					m.took(claim)
				}
			}
		}
	})
	return claim, next, err
}

func (m *member) settle(claim *record.Claim, f func(j *sharedJob)) error {
	var lost error
	return errors.Join(m.ask(func() {
		if j := m.jobs[claim.Job]; j == nil || j.token != claim.Token {
			lost = record.ErrLost
		} else {
			j.token = 0
			f(j)
		}
	}), lost)
}

func (m *member) End(_ context.Context, claim *record.Claim, run record.JobRun, state record.State) error {
	return m.settle(claim, func(j *sharedJob) { j.State = state; m.runs = append(m.runs, run) })
}

func (m *member) GiveBack(_ context.Context, claim *record.Claim) error {
	return m.settle(claim, func(j *sharedJob) {
		j.State = claim.State
		if !m.spurned {
			j.State.Due = m.Now().Add(hour) // when others have taken it
		}
		m.back = append(m.back, claim.Job)
	})
}

func (m *member) Offer(ctx context.Context, hash string, plans func(context.Context) ([]record.Plan, error)) (decides bool, err error) {
	m.mu.Lock()
	m.offers++
	old, wins, away := m.hash != hash, m.theirs == nil, !m.away.IsZero()
	m.mu.Unlock()
	switch {
	case away:
		return false, errAway
	case !wins || !old:
		return wins, nil
	}
	all, err := plans(ctx)
	if err != nil {
		return false, err
	}
	return true, m.ask(func() {
		m.hash = hash
		m.number++
		jobs := map[string]*sharedJob{}
		for _, p := range all {
			if was := m.jobs[p.Name]; was != nil && was.Fingerprint == p.Fingerprint {
				jobs[p.Name] = was
			} else {
				jobs[p.Name] = &sharedJob{Plan: p}
			}
		}
		m.jobs = jobs
	})
}

func (m *member) InForce() (number int64, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.number, m.hash
}

func (m *member) Ask(_ context.Context, job string) (found bool, err error) {
	err = m.ask(func() {
		if found = m.jobs[job] != nil; found {
			m.jobs[job].State.Due, m.jobs[job].State.Trigger, m.jobs[job].State.Anyway = m.Now(), record.Asked, true
		}
	})
	return found, err
}

func (m *member) Look(_ context.Context, job string, tags []string, soon time.Duration) error {
	return m.ask(func() {
		if j := m.jobs[job]; j != nil {
			j.State = withLooks(j.State, tags, m.Now().Add(soon))
		}
	})
}

func (m *member) Pause(_ context.Context, job string, pause record.Pause) (found bool, err error) {
	err = m.ask(func() {
		if found = job == "" || m.jobs[job] != nil; found {
			m.pauses = map[string]record.Pause{job: pauses(m.pauses).kept(job, pause)}
		}
	})
	return found, err
}

func (m *member) Resume(_ context.Context, job string) (found bool, err error) {
	return true, m.ask(func() { delete(m.pauses, job) })
}

func (m *member) Pauses(context.Context) (all map[string]record.Pause, err error) {
	err = m.ask(func() { all = maps.Clone(m.pauses) })
	return all, err
}

func (m *member) Jobs(context.Context) (jobs map[string]record.SharedJob, err error) {
	jobs = map[string]record.SharedJob{}
	m.set(func() { m.reads++ })
	err = m.ask(func() {
		for name, j := range m.jobs {
			jobs[name] = record.SharedJob{State: j.State}
			if j.token != 0 {
				jobs[name] = record.SharedJob{State: j.State, Replica: "me"}
			}
		}
	})
	return jobs, err
}

func (m *member) Fingerprints(context.Context) (theirs map[string]string, err error) {
	err = m.ask(func() {
		if theirs = maps.Clone(m.theirs); theirs != nil {
			return
		}
		theirs = map[string]string{}
		for name, j := range m.jobs {
			theirs[name] = j.Fingerprint
		}
	})
	return theirs, err
}

func (m *member) JobStates(context.Context) (states map[string]record.State, err error) {
	states = map[string]record.State{}
	err = m.ask(func() {
		for name, j := range m.jobs {
			states[name] = j.State
		}
	})
	return states, err
}

func (m *member) Replicas(context.Context) (all []record.Replica, err error) {
	return []record.Replica{{Name: "me", Me: true}}, m.ask(func() {})
}

func (m *member) Ledger() record.Ledger {
	m.mu.Lock()
	defer m.mu.Unlock()
	return record.Ledger{Kind: "postgresql", Reachable: m.away.IsZero(), Since: m.away, RoundTrip: 0.001}
}

func (m *member) Keep(ctx context.Context) { <-ctx.Done() }

func (m *member) Leave(context.Context) error { return m.ask(func() { m.left = true }) }

// sharing starts a daemon that shares its jobs over a member.
func sharing(t *testing.T, c config, m *member, f func(t *testing.T, s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(c)
		s.member = m
		s.start(t)
		f(t, s)
		s.stop(t)
		if !m.left {
			t.Error("the ledger was not left")
		}
	})
}

// pass lets time go by, until there is nothing to do at the moment.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// When jobs are due, begin and end is by the ledger's clock, whatever this process's says.
func TestSharedClock(t *testing.T) {
	fulltest.Long(t)
	for name, ahead := range map[string]time.Duration{"behind": hour, "ahead": -hour} {
		t.Run(name, func(t *testing.T) {
			m := &member{ahead: ahead}
			sharing(t, config{jobs: []Job{job(t, "a", "@every 24h")}, takes: minute}, m, func(t *testing.T, s *stand) {
				pass(30 * hour)
				if diff := cmp.Diff([]time.Duration{0, 24 * hour}, s.runs("a")); diff != "" {
					t.Error(diff)
				}
				want := []record.Run{}
				for _, began := range []time.Duration{ahead, ahead + 24*hour} {
					want = append(want, record.Run{Started: epoch.Add(began), Ended: epoch.Add(began + minute)})
				}
				if len(m.runs) != 2 {
					t.Fatalf("%d runs are recorded", len(m.runs))
				}
				for i, run := range m.runs {
					if !run.Started.Equal(want[i].Started) || !run.Ended.Equal(want[i].Ended) {
						t.Errorf("a run is recorded from %s to %s, where it was from %s to %s", run.Started, run.Ended, want[i].Started, want[i].Ended)
					}
				}
				state := m.jobs["a"].State
				if due := epoch.Add(ahead + 48*hour); !state.Due.Equal(due) || !state.Anchor.Equal(epoch.Add(ahead)) {
					t.Errorf("it is due at %s from %s", state.Due, state.Anchor)
				}
				if j := s.status(t, "a"); j.State != record.JobScheduled || !j.Due.Equal(state.Due) {
					t.Errorf("%+v", j)
				}
				m.set(func() { m.jobs["a"].token, m.jobs["a"].State.Due = 9, m.Now().Add(-minute) }) // another has it, and has not begun
				pass(boardEvery)
				if j := s.status(t, "a"); j.State != record.JobWaiting {
					t.Errorf("%+v", j)
				}
			})
		})
	}
}

// What is claimed as this process does not have it is given back, and does not run.
func TestSharedClaimOfAnotherGeneration(t *testing.T) {
	m := &member{took: func(claim *record.Claim) {
		if claim.Job == "other" {
			claim.Fingerprint = "other"
		}
	}}
	sharing(t, config{jobs: []Job{job(t, "other", "@daily"), job(t, "same", "@daily")}}, m, func(t *testing.T, s *stand) {
		pass(minute)
		if len(s.runs("other")) != 0 || len(s.runs("same")) != 1 || !slices.Equal(m.back, []string{"other"}) {
			t.Errorf("%v, %v; given back: %v", s.runs("other"), s.runs("same"), m.back)
		}
	})
}

// What is given back, and what no one else takes, is not taken again at once, over and over; and what others cannot run keeps nothing else from running.
func TestSharedClaimThatNobodyWants(t *testing.T) {
	m := &member{spurned: true, took: func(claim *record.Claim) {
		if claim.Job == "a" {
			claim.Fingerprint = "other"
		}
	}}
	sharing(t, config{jobs: []Job{job(t, "a", "@daily"), job(t, "b", "@every 10s")}}, m, func(t *testing.T, s *stand) {
		pass(minute)
		var back int
		m.set(func() { back = len(m.back) })
		if runs := len(s.runs("b")); back < 2 || back > 70 || runs < 6 {
			t.Errorf("given back %d times in a minute, beside %d runs", back, runs)
		}
	})
}

// The end of a claim is sent until it is answered, or the claim is lost, or there is no more time.
func TestSharedEndIsRepeated(t *testing.T) {
	for name, tt := range map[string]struct {
		during func(m *member, lost chan struct{}, cancel func())
		want   error
		took   time.Duration
	}{
		"answered": {func(m *member, _ chan struct{}, _ func()) { m.set(func() { m.away = time.Time{} }) }, nil, minute},
		"lost there": {func(m *member, _ chan struct{}, _ func()) {
			m.set(func() { m.away = time.Time{}; m.jobs["a"].token++ })
		}, record.ErrLost, minute},
		"lost here":    {func(_ *member, lost chan struct{}, _ func()) { close(lost) }, record.ErrLost, minute - endPause/4},
		"no more time": {func(_ *member, _ chan struct{}, cancel func()) { cancel() }, errAway, minute - endPause/4},
	} {
		for _, way := range []string{"end", "give back"} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, lost := &member{}, make(chan struct{})
					m.took = func(claim *record.Claim) { claim.Lost = lost }
					s := NewShared(t.Context(), m, func(record.JobStatus) {}, slog.New(slog.DiscardHandler))
					defer s.Leave(t.Context())
					if _, err := s.Offer(t.Context(), []Job{job(t, "a", "@daily")}); err != nil {
						t.Fatal(err)
					}
					claim, _, err := s.Take(t.Context(), nil)
					if claim == nil || err != nil {
						t.Fatal(claim, err)
					}
					m.set(func() { m.away = time.Now() })
					ctx, cancel := context.WithTimeout(t.Context(), hour)
					defer cancel()
					time.AfterFunc(minute-endPause/4, func() { tt.during(m, lost, cancel) })
					began := time.Now()
					if way == "end" {
						err = s.End(ctx, claim, record.JobRun{Job: "a"}, claim.State)
					} else {
						err = s.GiveBack(ctx, claim)
					}
					if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.took {
						t.Errorf("%v after %s", err, took)
					}
					if ended := len(m.runs)+len(m.back) == 1; ended != (tt.want == nil) {
						t.Error(m.runs, m.back)
					}
				})
			})
		}
	}
}

// A run whose claim the ledger alone knows to be lost is not recorded either, and that is said.
func TestSharedRunIsNotRecorded(t *testing.T) {
	m := &member{}
	sharing(t, config{jobs: []Job{job(t, "a", "@daily")}, takes: hour}, m, func(t *testing.T, s *stand) {
		pass(minute)
		m.set(func() { m.jobs["a"].token++ })
		pass(2 * hour)
		if n := strings.Count(s.log.String(), "a run is not recorded"); n != 1 || s.count(&s.events, "ran") != 0 || len(m.runs) != 0 {
			t.Errorf("it says so %d times: %+v\n%s", n, m.runs, s.log)
		}
	})
}

// While others have another config in force, this process runs what is the same in both, and offers its own again until it decides. Each is
// said once.
func TestSharedDoesNotDecide(t *testing.T) {
	jobs := []Job{job(t, "changed", "@daily"), job(t, "new", "@daily"), job(t, "same", "@daily")}
	m := &member{hash: "theirs", number: 7, theirs: map[string]string{"changed": "before", "removed": "before", "same": jobs[2].Fingerprint}}
	m.jobs = map[string]*sharedJob{}
	for name, fingerprint := range m.theirs {
		m.jobs[name] = &sharedJob{Plan: record.Plan{Name: name, Fingerprint: fingerprint, State: record.State{Due: epoch, Trigger: record.First}}}
	}
	sharing(t, config{jobs: jobs, parallel: 3}, m, func(t *testing.T, s *stand) {
		pass(minute)
		if diff := cmp.Diff([]string{"changed", "removed"}, m.without()); diff != "" || len(s.runs("same")) != 1 || len(s.runs("changed")) != 0 || len(s.runs("new")) != 0 {
			t.Errorf("taken with %v", m.without())
		}
		if want := int(minute / offerEvery); m.offers < want-1 || m.offers > want+1 {
			t.Errorf("%d offers in a minute", m.offers)
		}
		if n := strings.Count(s.log.String(), "most replicas have another config"); n != 1 {
			t.Errorf("it says so %d times:\n%s", n, s.log)
		}
		m.set(func() { m.theirs = nil })
		pass(minute)
		offers := m.offers
		if len(s.runs("changed")) != 1 || len(s.runs("new")) != 1 || len(s.runs("same")) != 1 || len(m.without()) != 0 {
			t.Errorf("in force: %v, %v, %v; %v", s.runs("changed"), s.runs("new"), s.runs("same"), m.without())
		}
		pass(hour)
		if m.offers != offers || strings.Count(s.log.String(), "config in force") != 1 {
			t.Errorf("%d more offers\n%s", m.offers-offers, s.log)
		}
	})
}

// Jobs of which the ledger cannot hear are offered once it can; until then none runs. What was known of them is shown, and since when no more is.
func TestSharedIsAway(t *testing.T) {
	m := &member{}
	sharing(t, config{jobs: []Job{job(t, "a", "@every 1h")}}, m, func(t *testing.T, s *stand) {
		pass(minute)
		s.status(t, "a")
		since := time.Now()
		m.set(func() { m.away = since })
		reads := m.reads
		s.change(func(c *config) { c.jobs = []Job{job(t, "a", "@every 1h"), job(t, "b", "@every 1h")} })
		pass(3 * hour)
		if j := s.status(t, "a"); j.Last == nil || m.reads != reads {
			t.Errorf("%d reads: %+v", m.reads-reads, j)
		}
		snapshot, err := s.Snapshot(t.Context())
		if err != nil || snapshot.Ledger.Reachable || !snapshot.Ledger.Since.Equal(since) || len(snapshot.Jobs) != 1 || len(snapshot.Replicas) != 1 {
			t.Errorf("%+v %v", snapshot, err)
		}
		if len(s.runs("a")) != 1 || len(s.runs("b")) != 0 {
			t.Error("jobs run without the ledger")
		}
		if _, err := s.Trigger(t.Context(), "a"); !errors.Is(err, errAway) {
			t.Errorf("asked for a job: %v", err)
		}
		m.set(func() { m.away = time.Time{} })
		pass(minute)
		if len(s.runs("a")) != 2 || len(s.runs("b")) != 1 {
			t.Errorf("after it: %v %v", s.runs("a"), s.runs("b"))
		}
		if snapshot, err = s.Snapshot(t.Context()); err != nil || !snapshot.Ledger.Reachable || snapshot.Ledger.RoundTrip == 0 || snapshot.Config.Hash == "" || !snapshot.Config.Decides() || len(snapshot.Jobs) != 2 {
			t.Errorf("%+v %v", snapshot, err)
		}
	})
}

// A board that was never read is an error; one that was, and cannot be read now, is what it was.
func TestSharedBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &member{away: epoch}
		s := NewShared(t.Context(), m, func(record.JobStatus) {}, slog.New(slog.DiscardHandler))
		defer s.Leave(t.Context())
		if jobs, err := s.Board(t.Context()); jobs != nil || !errors.Is(err, errAway) {
			t.Error(jobs, err)
		}
		if claim, _, err := s.Take(t.Context(), nil); claim != nil || err == nil {
			t.Error("a job is taken before any was offered", claim, err)
		}
		if _, err := s.Offer(t.Context(), []Job{job(t, "a", "@daily")}); err != nil {
			t.Fatal(err)
		}
		if claim, _, err := s.Take(t.Context(), nil); claim != nil || !errors.Is(err, errAway) {
			t.Error("a job is taken that may not be in force", claim, err)
		}
		m.set(func() { m.away = time.Time{} })
		pass(2 * offerEvery)
		m.set(func() { m.reads = 0 })
		for range 3 {
			if jobs, err := s.Board(t.Context()); len(jobs) != 1 || err != nil {
				t.Error(jobs, err)
			}
		}
		if m.reads != 1 {
			t.Errorf("%d reads at one moment", m.reads)
		}
		if found, err := s.Ask(t.Context(), "a"); !found || err != nil {
			t.Error(found, err)
		}
		if jobs, err := s.Board(t.Context()); len(jobs) != 1 || jobs[0].Trigger != record.Asked || err != nil {
			t.Error("shown before it was asked for:", jobs, err)
		}
	})
}

// An event, or a request for some tags, has a run look at these only; what it leaves undone is looked at again, and too much of that at all.
func TestSharedLooks(t *testing.T) {
	m := &member{}
	sharing(t, config{jobs: []Job{job(t, "a", "@every 24h")}}, m, func(t *testing.T, s *stand) {
		pass(minute)
		s.push(t, "a", "v1", "v2")
		pass(minute)
		if diff := cmp.Diff([]string{"0s all", "1m2s v1 v2"}, s.seen("a", epoch)); diff != "" || len(m.runs) != 2 || m.runs[1].Trigger != record.Event {
			t.Errorf("%s\n%+v", diff, m.runs)
		}
		if state := m.jobs["a"].State; len(state.Looks) > 0 || !state.Due.Equal(epoch.Add(24*hour)) {
			t.Errorf("%+v", state)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := &member{}
		s := NewShared(t.Context(), m, func(record.JobStatus) {}, slog.New(slog.DiscardHandler))
		defer s.Leave(t.Context())
		if _, err := s.Offer(t.Context(), []Job{job(t, "a", "@daily")}); err != nil {
			t.Fatal(err)
		}
		claim, _, err := s.Take(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		state := claimed(claim)
		state.AgainAt = s.Now().Add(hour)
		for i := range record.MaxLooks + 1 {
			state.Again = append(state.Again, fmt.Sprint("r:", i))
		}
		if err := s.End(t.Context(), claim, record.JobRun{Job: "a"}, state); err != nil {
			t.Fatal(err)
		}
		if state := m.jobs["a"].State; len(state.Again) > 0 || !state.Due.Equal(s.Now()) || state.Trigger != record.Asked {
			t.Errorf("%d, %s", len(state.Again), state.Due)
		}
	})
}
