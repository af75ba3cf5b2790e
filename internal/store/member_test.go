package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// lease is long, since the real clock goes on too.
const lease = 20 * time.Minute

// crew are members of a ledger whose clock a test sets.
func crew(t *testing.T, names ...string) (d *stand, members []*Member) {
	t.Helper()
	d = newStand(t)
	d.ledger = postgrestest.Database(t)
	for _, name := range names {
		m, err := (&Ledger{d.open(t)}).Enter(t.Context(), MemberOptions{Name: name, Dray: "test", Lease: lease, Events: &told{count: map[string]int{}}})
		must(t, err)
		members = append(members, m)
	}
	return d, members
}

// plans are jobs that are due now, each with a priority of its own.
func plans(d *stand, fingerprint string, n int) (all []record.Plan) {
	for i := range n {
		all = append(all, record.Plan{
			Name: fmt.Sprint("job", i), Fingerprint: fingerprint, Priority: i % 10, Registries: fmt.Sprint("r", i%3),
			State: record.State{Anchor: d.Now(), Due: d.Now(), Trigger: record.First},
		})
	}
	return all
}

func planned(all []record.Plan) func(context.Context) ([]record.Plan, error) {
	return func(context.Context) ([]record.Plan, error) { return all, nil }
}

func offer(t *testing.T, m *Member, hash string, all []record.Plan) bool {
	t.Helper()
	decides, err := m.Offer(t.Context(), hash, planned(all))
	must(t, err)
	return decides
}

func taken(t *testing.T, m *Member) *record.Claim {
	t.Helper()
	must(t, m.renew(t.Context()))
	claim, _, err := m.Take(t.Context(), nil, nil)
	must(t, err)
	return claim
}

// endRun ends the run of a claim, whose job is then not due.
func endRun(d *stand, m *Member, claim *record.Claim) error {
	run, state := busyRun(d, claim.Job, 2)
	state.Due = d.Now().Add(time.Hour)
	return m.End(context.Background(), claim, run, state)
}

// TestTake has members take all jobs: each once, those of a higher priority first, none between registries that are full.
func TestTake(t *testing.T) {
	d, members := crew(t, "a", "b", "c")
	offer(t, members[0], "one", plans(d, "f", 100))
	for _, m := range members[1:] { // only now there is a majority
		offer(t, m, "one", plans(d, "f", 100))
	}
	first := taken(t, members[0])
	if first == nil || !strings.HasSuffix(first.Job, "9") || first.Fingerprint != "f" || first.State.Trigger != record.First || !first.Begun.Equal(d.Now()) {
		t.Fatal(first)
	}
	if claim, next, err := members[1].Take(t.Context(), []string{"r0", "r1", "r2"}, nil); claim != nil || next > 0 || err != nil {
		t.Error(claim, next, err)
	}
	but := []string{first.Job, "job29", "job59"}
	if claim, _, err := members[1].Take(t.Context(), []string{"r0", "r1"}, but); claim == nil || claim.Job != "job89" && first.Job != "job89" || err != nil {
		t.Error(claim, err)
	}
	var mu sync.Mutex
	jobs := map[string]int{}
	var together sync.WaitGroup
	for _, m := range members {
		together.Go(func() {
			for {
				claim, _, err := m.Take(context.Background(), nil, nil)
				if err != nil {
					t.Error(err)
				}
				if claim == nil {
					return
				}
				mu.Lock()
				jobs[claim.Job]++
				mu.Unlock()
				if err := endRun(d, m, claim); err != nil {
					t.Error(err)
				}
			}
		})
	}
	together.Wait()
	if len(jobs) != 98 || slices.Max(slices.Collect(maps.Values(jobs))) != 1 {
		t.Error(len(jobs), jobs)
	}
	if _, next, err := members[0].Take(t.Context(), nil, nil); next != time.Hour || err != nil {
		t.Error(next, err)
	}
	if runs := history(t, members[0].ledger.Store, HistoryQuery{Limit: 1000}); len(runs) != 98 || len(runs[0].Actions) != 2 {
		t.Error(len(runs))
	}
}

// TestEnd: what the end of a run says of its job holds, but for what others have changed meanwhile.
func TestEnd(t *testing.T) {
	d, members := crew(t, "a")
	m, ctx := members[0], t.Context()
	offer(t, m, "one", plans(d, "f", 1))
	state := func() record.State { return states(t, m.ledger.Store)["job0"] }
	claim := taken(t, m)
	if s := state(); !s.Due.IsZero() || !s.Begun.Equal(d.Now()) || s.BegunBy != record.First {
		t.Error(s)
	}
	if found, err := m.Ask(ctx, "job0"); !found || err != nil || !state().Due.IsZero() {
		t.Error(found, err, state())
	}
	if found, err := m.Ask(ctx, "other"); found || err != nil {
		t.Error(found, err)
	}
	must(t, endRun(d, m, claim))
	if s := state(); !s.Due.Equal(d.Now()) || s.Trigger != record.Asked || !s.Begun.IsZero() || s.Ended.IsZero() {
		t.Error(s)
	}
	if err := endRun(d, m, claim); !errors.Is(err, record.ErrLost) {
		t.Error(err)
	}
	claim = taken(t, m)
	if !claim.State.Asked || claim.State.Trigger != record.Asked {
		t.Error(claim.State)
	}
	must(t, m.GiveBack(ctx, claim))
	if s := state(); !s.Asked || s.Trigger != record.Asked || !s.Due.Equal(d.Now()) || !s.Begun.IsZero() {
		t.Error(s)
	}
	claim = taken(t, m)
	changed := plans(d, "g", 1)
	changed[0].State = state()
	changed[0].State.Due, changed[0].State.Trigger = d.Now().Add(time.Second), record.First
	if !offer(t, m, "two", changed) {
		t.Error("it does not decide")
	}
	must(t, endRun(d, m, claim))
	if s := state(); !s.Due.Equal(d.Now().Add(time.Second)) || s.Planned != "g" {
		t.Error(s)
	}
	d.pass(time.Second)
	claim = taken(t, m)
	changed = plans(d, "f", 1) // it has changed back, and so is not due
	changed[0].State = state()
	changed[0].State.Due, changed[0].State.Trigger = time.Time{}, record.Scheduled
	offer(t, m, "one again", changed)
	must(t, endRun(d, m, claim))
	if s := state(); !s.Due.Equal(d.Now()) || s.Trigger != record.First || s.Planned != "f" {
		t.Error(s)
	}
	offer(t, m, "three", nil)
	d.pass(2 * time.Second)
	if claim := taken(t, m); claim != nil {
		t.Error("a job that is removed was taken", claim)
	}
	if runs := history(t, m.ledger.Store, HistoryQuery{}); len(runs) != 3 {
		t.Error(len(runs))
	}
}

// TestTakenOver: what a member had begun that is gone others begin, first of all, and what it says afterwards is refused.
func TestTakenOver(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b := members[0], members[1]
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 5))
	}
	lost := taken(t, a)
	d.pass(lease - time.Minute)
	must(t, b.renew(t.Context()))
	must(t, b.sweep(t.Context()))
	if claim := taken(t, b); claim == nil || claim.Job == lost.Job {
		t.Error(claim)
	}
	d.pass(2 * time.Minute)
	must(t, b.sweep(t.Context()))
	again := taken(t, b)
	if again == nil || again.Job != lost.Job || again.Token == lost.Token || again.State.Begun.IsZero() {
		t.Fatal(again)
	}
	if err := endRun(d, a, lost); !errors.Is(err, record.ErrLost) {
		t.Error(err)
	}
	if err := a.GiveBack(t.Context(), lost); !errors.Is(err, record.ErrLost) {
		t.Error(err)
	}
	if err := a.renew(t.Context()); !errors.Is(err, errNoMember) {
		t.Error(err)
	}
	for _, ended := range []<-chan struct{}{a.Lost(), lost.Lost} {
		<-ended
	}
	if _, _, err := a.Take(t.Context(), nil, nil); !errors.Is(err, errNoMember) {
		t.Error(err)
	}
	runs := history(t, b.ledger.Store, HistoryQuery{})
	if len(runs) != 1 || runs[0].Job != lost.Job || runs[0].Outcome != record.RunCutOff || runs[0].Trigger != record.First || !runs[0].Started.Equal(lost.Begun) ||
		!runs[0].Ended.Equal(lost.Begun) || !strings.HasPrefix(runs[0].Error, "the replica a ended,") || runs[0].Repeats != 0 {
		t.Errorf("%+v", runs)
	}
	must(t, endRun(d, b, again))
	all, err := b.JobStates(t.Context())
	must(t, err)
	if last := all[lost.Job].Last; last == nil || last.Outcome == record.RunCutOff {
		t.Errorf("%+v", last)
	}
	a.turn(t.Context(), 0)
	if claim := taken(t, a); claim == nil {
		t.Error("it has not entered anew")
	}
	must(t, a.Leave(t.Context()))
	if claim := taken(t, b); claim == nil || claim.State.Begun.IsZero() {
		t.Error("what it had begun when it left is not free", claim)
	}
	if runs = history(t, b.ledger.Store, HistoryQuery{}); len(runs) != 3 || runs[0].Outcome != record.RunCutOff {
		t.Errorf("%+v", runs)
	}
	if strings.Count(d.log.String(), "fenced") != 1 || strings.Count(d.log.String(), "free again") != 1 {
		t.Error(d.log.String())
	}
}

// TestChangedThereAndBackThenKilled: an offer that has found a job as it was before the run under way did not see that run, which others make once more.
func TestChangedThereAndBackThenKilled(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b := members[0], members[1]
	offered := func(hash, fingerprint string, due time.Time, trigger record.Trigger) {
		t.Helper()
		all := plans(d, fingerprint, 1)
		all[0].State.Due, all[0].State.Trigger = due, trigger
		for _, m := range members {
			offer(t, m, hash, all)
		}
	}
	offered("one", "f", d.Now(), record.First)
	must(t, endRun(d, a, taken(t, a)))
	offered("two", "g", d.Now(), record.First)
	lost := taken(t, a)
	offered("one again", "f", d.Now().Add(24*time.Hour), record.Scheduled)
	d.pass(lease - time.Minute)
	must(t, b.renew(t.Context()))
	d.pass(2 * time.Minute)
	must(t, b.sweep(t.Context()))
	claim := taken(t, b)
	if claim == nil || claim.Job != lost.Job || claim.Fingerprint != "f" || claim.State.Trigger != record.First {
		t.Fatal(claim)
	}
	d.pass(lease - time.Minute)
	if err := a.renew(t.Context()); !errors.Is(err, errNoMember) {
		t.Error(err)
	}
	a.turn(t.Context(), 0)                                                // it enters anew
	if found, err := a.Ask(t.Context(), lost.Job); !found || err != nil { // a run that is asked for stays so
		t.Error(found, err)
	}
	d.pass(2 * time.Minute)
	must(t, a.sweep(t.Context()))
	if claim := taken(t, a); claim == nil || claim.Job != lost.Job || claim.State.Trigger != record.Asked {
		t.Error(claim)
	}
}

// TestTakeUnanswered loses the answer to Take: the job is free again after the next renewal.
func TestTakeUnanswered(t *testing.T) {
	d := newStand(t)
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	l, err := Join(t.Context(), proxy.URL, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: 10 * time.Minute})
	must(t, err)
	all := plans(d, "f", 1)
	offer(t, m, "one", all)
	proxy.Next("nextval", postgrestest.CutAnswer)
	if claim, _, err := m.Take(t.Context(), nil, nil); claim != nil || err == nil {
		t.Fatal(claim, err)
	}
	if claim, _, err := m.Take(t.Context(), nil, nil); claim != nil || err != nil {
		t.Fatal("it was not taken", claim, err)
	}
	if claim := taken(t, m); claim == nil || !claim.State.Begun.IsZero() {
		t.Fatal("it is not free, or a run has begun", claim)
	}
	// The answer to End is lost too: the run is there once, and the claim has ended.
	proxy.Next("dray.outcomes", postgrestest.CutAnswer)
	for token := range m.claims {
		must(t, endRun(d, m, &record.Claim{Job: "job0", Fingerprint: "f", Token: token}))
	}
	if runs := history(t, l.Store, HistoryQuery{}); len(runs) != 1 || proxy.Done() != 2 {
		t.Error(len(runs), proxy.Done())
	}
}

// TestFenced: who cannot renew stops by itself.
func TestFenced(t *testing.T) {
	t.Parallel()
	d := newStand(t)
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	l, err := Join(t.Context(), proxy.URL, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: 15 * time.Second})
	must(t, err)
	offer(t, m, "one", plans(d, "f", 1))
	claim, _, err := m.Take(t.Context(), nil, nil)
	must(t, err)
	lost := m.Lost()
	proxy.Next("dray.members", postgrestest.Swallow)
	proxy.Refuse()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { m.Keep(ctx); close(ended) }()
	<-lost
	<-claim.Lost
	if _, err := m.number(); err == nil {
		t.Error("it counts itself alive")
	}
	cancel()
	<-ended
}

// TestAwayStays: a ledger that is away is known to be so until it has answered, and is asked at each turn.
func TestAwayStays(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	l, err := Join(t.Context(), proxy.URL, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: 10 * time.Minute, Guest: true}) // it does not sweep
	must(t, err)
	m.turn(t.Context(), 0)
	if l := m.Ledger(); !l.Reachable {
		t.Errorf("it answers: %+v", l)
	}
	proxy.Down()
	m.turn(t.Context(), 0)
	since := m.Ledger()
	m.turn(t.Context(), 1)
	if now := m.Ledger(); since.Reachable || since.Since.IsZero() || now != since {
		t.Errorf("it was %+v and is %+v", since, now)
	}
	proxy.Up()
	m.turn(t.Context(), 1)
	if l := m.Ledger(); !l.Reachable {
		t.Errorf("it is not asked again soon: %+v", l)
	}
	proxy.Down()
	m.turn(t.Context(), 0)
	since = m.Ledger()
	// The lease ends while a renewal waits for another request: then the ledger was not asked.
	m.taking <- struct{}{}
	m.mu.Lock()
	m.until = boottime() + 100*time.Millisecond
	m.mu.Unlock()
	var turn sync.WaitGroup
	turn.Go(func() { m.turn(t.Context(), 0) })
	for _, err := m.number(); err == nil; _, err = m.number() {
		runtime.Gosched()
	}
	<-m.taking
	turn.Wait()
	if now := m.Ledger(); now != since {
		t.Errorf("it was %+v and is %+v", since, now)
	}
	proxy.Up()
	m.turn(t.Context(), 0)
	if l := m.Ledger(); !l.Reachable {
		t.Errorf("it answers again: %+v", l)
	}
	m.giveUp(m.id)
	if l := m.Ledger(); l.Reachable {
		t.Errorf("it was silent for too long: %+v", l)
	}
}

// TestGiveUpLate: who has seen that a lease has ended gives up nothing that was begun since, if others were quicker.
func TestGiveUpLate(t *testing.T) {
	_, members := crew(t, "a")
	m := members[0]
	m.mu.Lock()
	old := m.id
	m.until = boottime()
	m.mu.Unlock()
	_, err := m.number() // as what watches does
	if !errors.Is(err, errNoMember) {
		t.Fatal(err)
	}
	m.turn(t.Context(), 0)
	lost := m.Lost()
	m.giveUp(0)
	m.giveUp(old)
	if id, err := m.number(); err != nil || id == old || !m.Ledger().Reachable {
		t.Error(id, err, m.Ledger())
	}
	m.giveUp(m.id)
	<-lost
}

// TestOffer: more than half decide, and what has not changed goes on.
func TestOffer(t *testing.T) {
	d, members := crew(t, "a", "b", "c")
	a, b, c := members[0], members[1], members[2]
	guest, err := a.ledger.Enter(t.Context(), MemberOptions{Name: "guest", Guest: true, Lease: lease})
	must(t, err)
	if !offer(t, a, "one", plans(d, "f", 3)) {
		t.Error("the first one is not in force, and no other is")
	}
	if offer(t, b, "two", plans(d, "g", 3)) || offer(t, guest, "two", plans(d, "g", 3)) {
		t.Error("a minority decides")
	}
	claim := taken(t, a)
	next := plans(d, "f", 2)
	next[1].Fingerprint = "g"
	next = append(next, record.Plan{Name: "new", Fingerprint: "h", State: record.State{Due: d.Now(), Trigger: record.First}})
	if offer(t, b, "three", next) || !offer(t, c, "three", next) || !offer(t, b, "three", next) {
		t.Error("a majority does not decide")
	}
	force, err := a.Fingerprints(t.Context())
	must(t, err)
	if want := map[string]string{"job0": "f", "job1": "g", "new": "h"}; !maps.Equal(force, want) {
		t.Error(force)
	}
	if claim, _, err := a.Take(t.Context(), nil, nil); claim != nil || err != nil {
		t.Error("it takes jobs as a generation has them that it does not know", claim, err)
	}
	if offer(t, a, "one", plans(d, "f", 3)) {
		t.Error("who has the old one decides")
	}
	must(t, endRun(d, a, claim)) // job2, which is removed
	// Who has the one in force dies: the other one wins.
	d.pass(lease - time.Minute)
	must(t, a.renew(t.Context()))
	d.pass(2 * time.Minute)
	if !offer(t, a, "one", plans(d, "f", 3)) {
		t.Error("the only one alive does not decide")
	}
}

// TestOfferOfOldPlans: what happens to a job between its plan and its being in force has it run, though by that plan it need not.
func TestOfferOfOldPlans(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(t *testing.T, d *stand, a, b *Member, claim *record.Claim)
		why     record.Trigger
	}{
		"its run ends": {func(t *testing.T, d *stand, _, b *Member, claim *record.Claim) { must(t, endRun(d, b, claim)) }, record.First},
		"its run is cut off": {func(t *testing.T, _ *stand, a, b *Member, _ *record.Claim) {
			_, err := a.ledger.transact(t.Context(), do("UPDATE {members} SET expires = 0 WHERE id = ?", b.id))
			must(t, err)
			must(t, a.sweep(t.Context()))
		}, record.First},
		"it is asked for": {func(t *testing.T, d *stand, a, b *Member, claim *record.Claim) {
			_, err := a.Ask(t.Context(), claim.Job)
			must(t, err)
			must(t, endRun(d, b, claim))
		}, record.Asked},
	} {
		t.Run(name, func(t *testing.T) {
			d, members := crew(t, "a", "b")
			a, b := members[0], members[1]
			for _, m := range members {
				offer(t, m, "old", plans(d, "f", 1))
			}
			claim := taken(t, b)
			d.pass(time.Second)
			offer(t, b, "new", nil)
			decides, err := a.Offer(t.Context(), "new", func(ctx context.Context) ([]record.Plan, error) {
				state := states(t, a.ledger.Store)["job0"]
				tt.happens(t, d, a, b, claim)
				state.Due, state.Trigger = time.Time{}, record.Scheduled
				return []record.Plan{{Name: "job0", Fingerprint: "g", State: state}}, ctx.Err()
			})
			if s := states(t, a.ledger.Store)["job0"]; !decides || err != nil || !s.Due.Equal(d.Now()) || s.Trigger != tt.why {
				t.Errorf("%t, %v: due %s, %q; it is %s", decides, err, s.Due, s.Trigger, d.Now())
			}
		})
	}
}

// TestOfferRandom has members offer, renew, die and come back at random: a generation only comes into force if it has a majority, or if no one
// alive has the one in force; and no job is lost.
func TestOfferRandom(t *testing.T) {
	d, members := crew(t, "a", "b", "c")
	db := members[0].ledger
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // for a test
	expires, generation := map[int64]time.Time{}, map[int64]string{}
	for _, m := range members {
		expires[m.id] = d.Now().Add(lease)
	}
	inForce := ""
	for round := range 150 {
		m := members[random.IntN(len(members))]
		switch random.IntN(4) {
		case 0:
			d.pass(time.Duration(random.IntN(8)) * time.Minute)
		case 1:
			if err := m.renew(t.Context()); err == nil {
				expires[m.id] = d.Now().Add(lease)
			}
		default:
			if m.id == 0 {
				must(t, m.enter(t.Context()))
				expires[m.id] = d.Now().Add(lease)
			}
			hash := fmt.Sprint("h", random.IntN(3))
			decides, err := m.Offer(t.Context(), hash, planned(plans(d, hash, 3)))
			if alive := expires[m.id].After(d.Now()); alive != (err == nil) {
				t.Fatal(round, alive, err)
			}
			if err != nil {
				m.end()
				continue
			}
			generation[m.id] = hash
			all, same, holders := 0, 0, 0
			for id, until := range expires {
				if until.After(d.Now()) {
					all++
					if generation[id] == hash {
						same++
					}
					if inForce != "" && generation[id] == inForce {
						holders++
					}
				}
			}
			if decides && hash != inForce && 2*same <= all && holders > 0 {
				t.Fatalf("round %d: %d of %d decide while %d have the one in force", round, same, all, holders)
			}
			if !decides && (2*same > all) {
				t.Fatalf("round %d: %d of %d do not decide", round, same, all)
			}
			if decides {
				inForce = hash
			}
		}
		if inForce != "" {
			jobs, err := (&Member{ledger: db}).Fingerprints(t.Context())
			must(t, err)
			if len(jobs) != 3 || jobs["job1"] != inForce {
				t.Fatal(round, inForce, jobs)
			}
		}
	}
}

// worker is a process that works on jobs until it is killed. It says what it takes, ends and loses.
func worker(ctx context.Context, url, name string) error {
	l, err := Join(ctx, url, Options{Now: time.Now})
	if err != nil {
		return err
	}
	slow, lease := strings.HasPrefix(name, "slow"), lease
	if slow { // the others lose nothing, also where the machine stands still for a while
		lease = 5 * time.Second
	}
	m, err := l.Enter(ctx, MemberOptions{Name: name, Dray: "test", Lease: lease})
	if err != nil {
		return err
	}
	go m.Keep(ctx)
	for pause := time.NewTicker(20 * time.Millisecond); ; {
		claim, _, err := m.Take(ctx, nil, nil)
		if err != nil || claim == nil {
			<-pause.C
			continue
		}
		fmt.Println("took", claim.Job)
		if slow {
			<-claim.Lost
		}
		run := record.JobRun{Job: claim.Job, Run: record.Run{Outcome: record.RunOK, Started: claim.Begun, Ended: time.Now(), Counts: record.Counts{Import: 1}}}
		switch err := m.End(ctx, claim, run, record.State{Fingerprint: claim.Fingerprint}); {
		case errors.Is(err, record.ErrLost):
			fmt.Println("lost", claim.Job)
		case err != nil:
			fmt.Println("failed", claim.Job, err)
		default:
			fmt.Println("ended", claim.Job)
		}
	}
}

type workerProcess struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startWorker(t *testing.T, url, name string) *workerProcess {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self, "worker", name)
	cmd.Env = append(os.Environ(), childDir+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	w := &workerProcess{cmd, bufio.NewScanner(out)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	return w
}

// says waits for a line that begins with a word, and returns the rest.
func (w *workerProcess) says(t *testing.T, word string) string {
	t.Helper()
	for w.lines.Scan() {
		if rest, ok := strings.CutPrefix(w.lines.Text(), word+" "); ok {
			return rest
		}
	}
	t.Fatalf("it ended without %q", word)
	return ""
}

// TestWorkers kills a process that has a job, and stops another for longer than its lease: others run the jobs, each to its end once.
func TestWorkers(t *testing.T) {
	t.Parallel()
	const jobs = 30
	url := postgrestest.Database(t)
	l, err := Join(t.Context(), url, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	m, err := l.Enter(t.Context(), MemberOptions{Name: "test", Lease: 10 * time.Minute})
	must(t, err)
	d := newStand(t)
	offer(t, m, "one", plans(d, "f", jobs))
	killed := startWorker(t, url, "slow killed")
	stopped := startWorker(t, url, "slow stopped")
	killed.says(t, "took")
	second := stopped.says(t, "took")
	must(t, killed.cmd.Process.Kill())
	must(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))
	good := startWorker(t, url, "good")
	left := map[string]bool{}
	for i := range jobs {
		left[fmt.Sprint("job", i)] = true
	}
	for len(left) > 0 {
		job := good.says(t, "ended")
		if !left[job] {
			t.Errorf("%s has ended twice", job)
		}
		delete(left, job)
	}
	must(t, stopped.cmd.Process.Signal(syscall.SIGCONT))
	if got := stopped.says(t, "lost"); got != second {
		t.Error(second, got)
	}
	runs := history(t, l.Store, HistoryQuery{Limit: 1000})
	ended := slices.DeleteFunc(slices.Clone(runs), func(r record.JobRun) bool { return r.Outcome == record.RunCutOff })
	if len(ended) != jobs || len(runs) != jobs+2 {
		t.Errorf("%d runs have ended, and %d were cut off", len(ended), len(runs)-len(ended))
	}
}
