package daemon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Member is one of several processes that work on the same jobs, which a ledger keeps. Its methods wait for the ledger, and fail while it cannot be
// reached. All times are by the ledger's clock.
type Member interface {
	claims
	offers
	board
	// Keep keeps the membership until ctx ends, and Leave ends it.
	Keep(ctx context.Context)
	Leave(ctx context.Context) error
	// Now is the ledger's clock. Ledger returns whether the ledger can be reached.
	Now() time.Time
	Ledger() record.Ledger
}

type claims interface {
	// Take claims the first job that is due, of those between registries that are not full and whose names are not in but. If there is none
	// it returns nil, and after how long the next one is due, negative for never.
	Take(ctx context.Context, full, but []string) (claim *record.Claim, next time.Duration, err error)
	// End and GiveBack are as those of Work.
	End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error
	GiveBack(ctx context.Context, claim *record.Claim) error
}

type offers interface {
	// Offer says which jobs this process has, as a generation with a hash, and reports whether that is in force. It asks for the jobs only
	// if they are about to be put in force.
	Offer(ctx context.Context, hash string, plans func(context.Context) ([]record.Plan, error)) (decides bool, err error)
	// InForce returns the number and the hash of the generation in force, as the ledger last reported it.
	InForce() (number int64, hash string)
	// Ask has a job run now. Look has it look at tags soon, at all if there are more than record.MaxLooks.
	Ask(ctx context.Context, job string) (found bool, err error)
	Look(ctx context.Context, job string, tags []string, soon time.Duration) error
	// Pause and Resume are as those of Plans.
	Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error)
	Resume(ctx context.Context, job string) (found bool, err error)
}

type board interface {
	// Jobs returns the jobs of the generation in force, Fingerprints theirs, and JobStates the states of all that there were, by name.
	Jobs(ctx context.Context) (map[string]record.SharedJob, error)
	Fingerprints(ctx context.Context) (map[string]string, error)
	JobStates(ctx context.Context) (map[string]record.State, error)
	// Pauses returns the pauses in force by the jobs' names, that of all jobs by the empty one.
	Pauses(ctx context.Context) (map[string]record.Pause, error)
	// Replicas returns the processes that are alive.
	Replicas(ctx context.Context) ([]record.Replica, error)
}

const (
	// wakeEvery is how often others may have made jobs due, offerEvery how often jobs are offered again that are not in force.
	wakeEvery  = 2 * time.Second
	offerEvery = 3 * time.Second
	// boardEvery is how often the board is read at the most, scheduledEvery at the least; boardLasts limits how long that takes.
	boardEvery     = time.Second
	boardLasts     = 2 * time.Second
	scheduledEvery = 30 * time.Second
	// endPause is the pause before what ends a claim is sent again.
	endPause = 500 * time.Millisecond
	// leaveLasts limits how long the ledger may take to hear of the end.
	leaveLasts = time.Second
)

// Shared keeps the jobs of a process that shares them with others, in their ledger.
type Shared struct {
	member    Member
	scheduled func(record.JobStatus)
	log       *slog.Logger
	wake      chan struct{}
	// end ends what goes on beside, and ended is closed then.
	end   context.CancelFunc
	ended chan struct{}

	// offering is held by who offers.
	offering sync.Mutex
	// said names the generations, the one in force and the own one, that were logged last.
	said string

	mu sync.Mutex
	// jobs are those of this process, by name, and hash is that of their generation; both are empty before the first offer.
	jobs map[string]Job
	hash string
	// was are the jobs of the generation before, by name.
	was map[string]Job
	// but are the jobs of the generation in force, by its number, that this process lacks or has in another form; behind is set until they are known.
	but    []string
	number int64
	behind bool

	reading sync.Mutex
	// read is when the board was read last, and shown what it was; outdated is set if this process has changed it since.
	read     time.Time
	outdated bool
	shown    shown
}

// shown is what the board shows.
type shown struct {
	jobs     []record.JobStatus
	replicas []record.Replica
	paused   *record.Pause
}

// NewShared returns a keeper of jobs for a member. It calls scheduled with the status of each job now and then; that must not block.
func NewShared(ctx context.Context, member Member, scheduled func(record.JobStatus), log *slog.Logger) *Shared {
	s := &Shared{member: member, scheduled: scheduled, log: log, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	go s.keep(ctx)
	return s
}

// keep keeps the membership, wakes the daemon, offers the jobs again, and reports their status, until ctx ends.
func (s *Shared) keep(ctx context.Context) {
	defer close(s.ended)
	var both sync.WaitGroup
	both.Go(func() { s.member.Keep(ctx) })
	both.Go(func() { every(ctx, wakeEvery, s.ring) })
	both.Go(func() { every(ctx, offerEvery, func() { s.offerAgain(ctx) }) })
	both.Go(func() {
		every(ctx, scheduledEvery, func() {
			jobs, err := s.Board(ctx)
			if err != nil {
				return // the store has said so
			}
			s.mu.Lock()
			mine := s.jobs
			s.mu.Unlock()
			for _, j := range jobs {
				if _, ok := mine[j.Job]; ok { // others may have jobs that nobody would report as removed here
					s.scheduled(j)
				}
			}
		})
	})
	both.Wait()
}

// every calls f again and again, until ctx ends.
func every(ctx context.Context, pause time.Duration, f func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Shared) ring() {
	wake(s.wake)
}

// Wake implements [Work].
func (s *Shared) Wake() <-chan struct{} { return s.wake }

// Offer implements [Plans]. Jobs that are not in force, since most have others or the ledger cannot be reached, are offered again until they are.
func (s *Shared) Offer(ctx context.Context, jobs []Job) (next time.Time, err error) {
	byName := make(map[string]Job, len(jobs))
	for _, job := range jobs {
		byName[job.Name] = job
	}
	s.mu.Lock()
	s.was, s.jobs, s.hash, s.behind = s.jobs, byName, hashOf(jobs), true
	s.mu.Unlock()
	s.offer(ctx)
	return time.Now(), ctx.Err()
}

// hashOf returns a hash of jobs, whatever their order.
func hashOf(jobs []Job) string {
	lines := make([]string, 0, len(jobs))
	for _, job := range jobs {
		lines = append(lines, fmt.Sprintf("%q %q %d %q\n", job.Name, job.Fingerprint, job.Priority, job.Registries))
	}
	slices.Sort(lines)
	hash := sha256.New()
	for _, line := range lines {
		_, _ = hash.Write([]byte(line))
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// offerAgain offers jobs that are not in force.
func (s *Shared) offerAgain(ctx context.Context) {
	s.mu.Lock()
	hash, behind := s.hash, s.behind
	s.mu.Unlock()
	if _, inForce := s.member.InForce(); hash != "" && (behind || inForce != hash) {
		s.offer(ctx)
	}
}

// offer offers the jobs, and says when another generation is in force, and when this one is.
func (s *Shared) offer(ctx context.Context) {
	s.offering.Lock()
	defer s.offering.Unlock()
	s.mu.Lock()
	jobs, was, hash := s.jobs, s.was, s.hash
	s.mu.Unlock()
	decides, err := s.member.Offer(ctx, hash, func(ctx context.Context) ([]record.Plan, error) {
		states, err := s.member.JobStates(ctx)
		return plansOf(jobs, was, states, s.member.Now()), err
	})
	if err == nil {
		err = s.compare(ctx, jobs, hash)
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "the jobs could not be offered", slog.Any("err", err))
		return
	}
	now, _ := s.member.InForce()
	said := fmt.Sprint(now, hash)
	if s.said == said {
		return
	}
	s.said = said
	if decides {
		s.log.LogAttrs(ctx, slog.LevelInfo, "config in force", slog.String("reason", hash[:record.HashShown]))
		s.ring()
	} else {
		s.log.LogAttrs(ctx, slog.LevelWarn, "most replicas have another config: only the jobs run here that are the same in both", slog.String("reason", hash[:record.HashShown]))
	}
}

// plansOf returns jobs as they are to be put in force; was are those of the generation before.
func plansOf(jobs, was map[string]Job, states map[string]record.State, now time.Time) []record.Plan {
	plans := make([]record.Plan, 0, len(jobs))
	for _, job := range jobs {
		before, known := was[job.Name]
		if !known {
			before = job
		}
		state := adopted(states[job.Name], before.Schedule, job, now)
		state.Due, state.Trigger = next(job, state, now)
		plans = append(plans, record.Plan{Name: job.Name, Fingerprint: job.Fingerprint, Priority: job.Priority, Registries: job.Registries, State: state})
	}
	return plans
}

// compare finds out which jobs of the generation in force this process lacks or has in another form.
func (s *Shared) compare(ctx context.Context, jobs map[string]Job, hash string) error {
	number, inForce := s.member.InForce()
	var but []string
	if inForce != hash {
		theirs, err := s.member.Fingerprints(ctx)
		if err != nil {
			return err
		}
		for name, fingerprint := range theirs {
			if jobs[name].Fingerprint != fingerprint {
				but = append(but, name)
			}
		}
		slices.Sort(but)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hash == hash {
		s.but, s.number, s.behind = but, number, false
	}
	return nil
}

// errBehind says that it is not known which jobs may be taken.
var errBehind = errors.New("the jobs have not been compared with the ones in force")

// Take implements [Work].
func (s *Shared) Take(ctx context.Context, full []string) (claim *record.Claim, next time.Time, err error) {
	number, _ := s.member.InForce()
	s.mu.Lock()
	jobs, hash, but, known := s.jobs, s.hash, s.but, !s.behind && s.number == number
	s.mu.Unlock()
	if !known {
		if err := s.compare(ctx, jobs, hash); err != nil || hash == "" {
			return nil, time.Time{}, cmp.Or(err, errBehind)
		}
		return s.Take(ctx, full)
	}
	claim, wait, err := s.member.Take(ctx, full, but)
	switch {
	case err != nil:
		return nil, time.Time{}, err
	case claim == nil && wait < 0:
		return nil, time.Time{}, nil
	case claim == nil:
		return nil, time.Now().Add(wait), nil
	}
	if !claim.State.Begun.IsZero() {
		s.log.LogAttrs(ctx, slog.LevelInfo, "taken over", slog.String("job", claim.Job))
	}
	return claim, time.Time{}, nil
}

// Parts returns parts of which this process takes none of jobs that it lacks or has in another form.
func (s *Shared) Parts(all Parts) Parts { return knownParts{all, s} }

type knownParts struct {
	Parts
	shared *Shared
}

// TakePart implements [Parts].
func (p knownParts) TakePart(ctx context.Context, but []string) (*record.PartClaim, error) {
	s := p.shared
	number, _ := s.member.InForce()
	s.mu.Lock()
	but, known := slices.Concat(but, s.but), s.hash != "" && !s.behind && s.number == number
	s.mu.Unlock()
	if !known { // the next Take of a job finds out
		return nil, nil //nolint:nilnil // there is none
	}
	return p.Parts.TakePart(ctx, but)
}

// End implements [Work]. It goes on until the ledger has answered, or the claim is lost.
func (s *Shared) End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error {
	if len(state.Again) > record.MaxLooks {
		state.Again, state.Tried, state.Due, state.Trigger = nil, 0, s.Now(), record.Asked
	}
	return untilAnswered(ctx, claim, func(ctx context.Context) error { return s.member.End(ctx, claim, run, state) })
}

// GiveBack implements [Work]. It goes on until the ledger has answered, or the claim is lost.
func (s *Shared) GiveBack(ctx context.Context, claim *record.Claim) error {
	return untilAnswered(ctx, claim, func(ctx context.Context) error { return s.member.GiveBack(ctx, claim) })
}

func untilAnswered(ctx context.Context, claim *record.Claim, send func(context.Context) error) error {
	ctx, cancel := until(ctx, claim.Lost)
	defer cancel()
	for {
		err := send(ctx)
		if err == nil || errors.Is(err, record.ErrLost) {
			return err
		}
		select {
		case <-time.After(endPause):
		case <-ctx.Done():
			if isClosed(claim.Lost) {
				return record.ErrLost
			}
			return err
		}
	}
}

// Ask implements [Plans].
func (s *Shared) Ask(ctx context.Context, job string) (found bool, err error) {
	found, err = s.member.Ask(ctx, job)
	s.outdate()
	return found, err
}

// Look implements [Plans].
func (s *Shared) Look(ctx context.Context, job string, tags []string) error {
	return s.member.Look(ctx, job, tags, gathered)
}

// Leave implements [Plans].
func (s *Shared) Leave(ctx context.Context) {
	s.end()
	<-s.ended
	ctx, cancel := context.WithTimeout(ctx, leaveLasts)
	defer cancel()
	if err := s.member.Leave(ctx); err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "the ledger could not be left", slog.Any("err", err))
	}
}

// Board implements [View]. While the ledger cannot be reached it is what was read last.
func (s *Shared) Board(ctx context.Context) ([]record.JobStatus, error) {
	b, err := s.look(ctx)
	return slices.Clone(b.jobs), err
}

// Replicas implements [View].
func (s *Shared) Replicas(ctx context.Context) ([]record.Replica, error) {
	b, err := s.look(ctx)
	return b.replicas, err
}

// Ledger implements [View].
func (s *Shared) Ledger() *record.Ledger { return new(s.member.Ledger()) }

// Generations implements [View].
func (s *Shared) Generations() (own, inForce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, inForce = s.member.InForce()
	return s.hash, inForce
}

// Now implements [View].
func (s *Shared) Now() time.Time { return s.member.Now() }

// look reads the board, unless it was read within the last second, or cannot be.
func (s *Shared) look(ctx context.Context) (shown, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	fresh := time.Since(s.read) < boardEvery && !s.outdated
	if !s.read.IsZero() && (fresh || !s.member.Ledger().Reachable) {
		return s.shown, nil
	}
	ctx, cancel := context.WithTimeout(ctx, boardLasts)
	defer cancel()
	b, err := s.readBoard(ctx)
	switch {
	case err != nil && s.read.IsZero():
		return shown{}, err
	case err == nil:
		s.read, s.outdated, s.shown = time.Now(), false, b
	}
	return s.shown, nil
}

func (s *Shared) readBoard(ctx context.Context) (b shown, err error) {
	theirs, err := s.member.Jobs(ctx)
	if err != nil {
		return b, err
	}
	paused, err := s.member.Pauses(ctx)
	if err != nil {
		return b, err
	}
	if b.replicas, err = s.member.Replicas(ctx); err != nil {
		return b, err
	}
	b.paused = pauses(paused).all()
	s.mu.Lock()
	mine := s.jobs
	s.mu.Unlock()
	now := s.member.Now()
	b.jobs = make([]record.JobStatus, 0, len(theirs))
	for name, their := range theirs {
		job, ok := mine[name]
		if !ok {
			job = Job{Name: name}
		}
		j := status(job, their.State, now)
		if their.Replica == "" && j.State == record.JobRunning { // it is to be taken over
			j.State, j.Started = record.JobWaiting, time.Time{}
		}
		j.Replica = their.Replica
		b.jobs = append(b.jobs, withPause(j, their.State, pauses(paused).of(name)))
	}
	return b, nil
}
