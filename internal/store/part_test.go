package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

func raw(texts ...string) (all []json.RawMessage) {
	for _, t := range texts {
		text, _ := json.Marshal(t)
		all = append(all, text)
	}
	return all
}

// put puts up parts with two imports each, which are named by their part.
func put(t *testing.T, m *Member, claim *record.Claim, n int) (ids []int64) {
	t.Helper()
	parts := make([]record.PartState, n)
	for i := range parts {
		parts[i].Imports = raw(fmt.Sprintf("%da", i), fmt.Sprintf("%db", i))
	}
	for range 2 { // the first answer was lost
		must(t, m.PutParts(t.Context(), claim, parts))
	}
	for _, p := range parts {
		ids = append(ids, p.ID)
	}
	return ids
}

// jobsOf are members that have offered one job, which the first has taken.
func jobsOf(t *testing.T, names ...string) (d *stand, members []*Member, claim *record.Claim) {
	t.Helper()
	d, members = crew(t, names...)
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 1))
		must(t, m.renew(t.Context()))
	}
	return d, members, taken(t, members[0])
}

func takePartOf(t *testing.T, m *Member, but ...string) *record.PartClaim {
	t.Helper()
	p, err := m.TakePart(t.Context(), but)
	must(t, err)
	return p
}

func partsOf(t *testing.T, m *Member, claim *record.Claim, ids []int64) []record.PartState {
	t.Helper()
	all, err := m.Settled(t.Context(), claim, ids, lease)
	must(t, err)
	return all
}

// TestParts: each part is made once, in order, by its run's member or by others; the outcomes come to the run, and nothing is left at its end.
func TestParts(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b", "c")
	a, b, ctx := members[0], members[1], t.Context()
	if p := takePartOf(t, b); p != nil {
		t.Error("there is a part", p)
	}
	ids := put(t, a, claim, 30)
	if p := takePartOf(t, a); p != nil {
		t.Error("a part of its own run is one of another's", p)
	}
	if p := takePartOf(t, b, "job0"); p != nil {
		t.Error("a part of a job that it has in another form", p)
	}
	first, err := a.TakeOwnPart(ctx, claim, ids)
	must(t, err)
	second := takePartOf(t, b)
	if first.ID != ids[0] || second.ID != ids[1] || second.Job != "job0" || second.Fingerprint != "f" || second.Again || string(second.Imports[1]) != `"1b"` || len(second.Imports) != 2 {
		t.Errorf("%+v %+v", first, second)
	}
	must(t, a.EndPart(ctx, first, raw("0a ok", "0b ok"), nil))
	if err := a.EndPart(ctx, first, raw("0a ok", "0b ok"), nil); !errors.Is(err, record.ErrLost) {
		t.Error("it ends twice", err)
	}
	must(t, b.EndPart(ctx, second, raw("1a \x00ok"), raw("1b"))) // given back
	if got := partsOf(t, a, claim, ids); len(got) != 2 || got[0].ID != ids[0] || len(got[0].Outcomes) != 2 || len(got[0].Imports) != 0 || len(got[1].Imports) != 1 {
		t.Errorf("%+v", got[:2])
	}
	var mu sync.Mutex
	made := map[string]int{}
	var group sync.WaitGroup
	for i, m := range members {
		group.Go(func() {
			for {
				p, err := (*record.PartClaim)(nil), error(nil)
				if i == 0 {
					p, err = m.TakeOwnPart(ctx, claim, ids)
				} else {
					p, err = m.TakePart(ctx, nil)
				}
				if err != nil {
					t.Error(err)
				}
				if p == nil || err != nil {
					return
				}
				var ok []string
				mu.Lock()
				for _, one := range p.Imports {
					made[string(one)]++
					ok = append(ok, "ok")
				}
				mu.Unlock()
				if p.Again != (p.ID == ids[1]) {
					t.Errorf("%+v", p)
				}
				if err := m.EndPart(ctx, p, raw(ok...), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	all := partsOf(t, a, claim, ids)
	outcomes := 0
	for _, p := range all {
		outcomes += len(p.Outcomes)
		if len(p.Imports) > 0 || p.Failed {
			t.Errorf("%+v", p)
		}
	}
	if len(made) != 57 || made[`"1b"`] != 1 || outcomes != 60 || len(all) != 30 {
		t.Errorf("%d imports made, %d outcomes of %d parts: %v", len(made), outcomes, len(all), made)
	}
	must(t, endRun(d, a, claim))
	if n := partRows(t, a); n != 0 {
		t.Errorf("%d parts are left", n)
	}
	if err := a.PutParts(ctx, claim, nil); !errors.Is(err, record.ErrLost) {
		t.Error("parts of a run that has ended", err)
	}
}

func partRows(t *testing.T, m *Member) (n int) {
	t.Helper()
	must(t, m.ledger.queryRow(t.Context(), "SELECT count(*) FROM {parts}").Scan(&n))
	return n
}

// TestPartIsLost: a part whose member is gone, or that takes too long, is free again, and who had it can neither end it nor write a tag; if that
// happens three times nobody takes it any more. One that leaves counts for nothing.
func TestPartIsLost(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b", "c")
	a, b, c, ctx := members[0], members[1], members[2], t.Context()
	ids := put(t, a, claim, 1)
	p := takePartOf(t, b)
	inPart := record.InPart(ctx, p.Token)
	done, _, err := b.Permit(inPart, "job0", "r.test/app:v1")
	must(t, err)
	done()
	if _, _, err := b.Permit(ctx, "job0", "r.test/app:v1"); !errors.Is(err, record.ErrLost) {
		t.Error("a part gives the right to write all of the job's tags", err)
	}
	pass := func() {
		d.pass(lease - time.Minute)
		for _, m := range []*Member{a, c} {
			must(t, m.renew(ctx))
		}
		d.pass(2 * time.Minute)
		must(t, c.sweep(ctx))
	}
	pass()
	again := takePartOf(t, c)
	if again == nil || again.ID != p.ID || again.Token == p.Token || !again.Again {
		t.Fatalf("%+v", again)
	}
	if err := b.EndPart(ctx, p, raw("late"), nil); !errors.Is(err, record.ErrLost) {
		t.Error("who was overtaken ends a part", err)
	}
	if _, _, err := b.Permit(inPart, "job0", "r.test/app:v1"); err == nil {
		t.Error("who was overtaken writes a tag")
	}
	must(t, b.enter(ctx))
	if _, _, err := b.Permit(inPart, "job0", "r.test/app:v1"); !errors.Is(err, record.ErrLost) {
		t.Error("who has entered anew writes a tag", err)
	}
	if n := heard(c).of("took over part"); n != 1 {
		t.Errorf("%d parts were taken over", n)
	}

	// It takes too long: the run frees it, and at the next renewal its member knows.
	d.pass(time.Minute)
	if _, err := a.Settled(ctx, claim, ids, 2*time.Minute); err != nil {
		t.Error(err)
	}
	must(t, c.renew(ctx))
	select {
	case <-again.Lost:
		t.Error("it was not too long")
	default:
	}
	d.pass(2 * time.Minute)
	_, err = a.Settled(ctx, claim, ids, 2*time.Minute)
	must(t, err)
	must(t, c.renew(ctx))
	<-again.Lost
	must(t, a.renew(ctx))

	if p := takePartOf(t, b); p == nil {
		t.Fatal("it is not free")
	}
	must(t, b.Leave(ctx))
	must(t, c.renew(ctx))
	if p := takePartOf(t, c); p == nil {
		t.Fatal("what one has left is not free")
	}
	c.end()
	must(t, c.enter(ctx)) // what it had is gone once its old number is
	d.pass(lease - time.Minute)
	must(t, a.renew(ctx))
	must(t, c.renew(ctx))
	d.pass(2 * time.Minute)
	must(t, c.sweep(ctx))
	if p := takePartOf(t, c); p != nil {
		t.Errorf("it was lost three times: %+v", p)
	}
	if own, err := a.TakeOwnPart(ctx, claim, ids); own != nil || err != nil {
		t.Errorf("it was lost three times: %+v %v", own, err)
	}
	if got := partsOf(t, a, claim, ids); len(got) != 1 || !got[0].Failed || len(got[0].Imports) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestPartIsTakenAgain: who lost a part and has taken it again ends it as it has it now, and not as it had it.
func TestPartIsTakenAgain(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	ids := put(t, a, claim, 1)
	once := takePartOf(t, b)
	d.pass(3 * time.Minute)
	if _, err := a.Settled(ctx, claim, ids, 2*time.Minute); err != nil {
		t.Error(err)
	}
	twice := takePartOf(t, b)
	if err := b.EndPart(ctx, once, raw("late"), nil); !errors.Is(err, record.ErrLost) {
		t.Error("it ends the part that it lost", err)
	}
	must(t, b.EndPart(ctx, twice, raw("0a ok", "0b ok"), nil))
	if got := partsOf(t, a, claim, ids); len(got) != 1 || len(got[0].Outcomes) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestPartOfOthersConfig: a part is made only by a member that has the job as its run has it, and that knows what is in force; a tag of it is written only
// as long as the job is the same.
func TestPartOfOthersConfig(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b", "c")
	a, b, c, ctx := members[0], members[1], members[2], t.Context()
	ids := put(t, a, claim, 3)
	p := takePartOf(t, b)
	for _, m := range []*Member{b, c} {
		offer(t, m, "two", plans(d, "g", 1))
	}
	if _, _, err := b.Permit(record.InPart(ctx, p.Token), "job0", "r.test/app:v1"); !errors.Is(err, record.ErrLost) {
		t.Error("a tag of a job that has changed is written", err)
	}
	for _, m := range []*Member{b, c} {
		must(t, m.renew(ctx))
		if p := takePartOf(t, m); p != nil {
			t.Error("a part of the job as it was", p)
		}
	}
	if own, err := a.TakeOwnPart(ctx, claim, ids); own == nil || err != nil {
		t.Error("the run makes its own", own, err)
	}
	must(t, a.renew(ctx))
}

// TestLeftParts: a run that goes on where another was cut off has the outcomes of that one's parts, and the parts that others are making; the rest is
// dropped. Nothing is told twice.
func TestLeftParts(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b", "c")
	a, b, c, ctx := members[0], members[1], members[2], t.Context()
	if claim.Parts {
		t.Error("there are no parts")
	}
	ids := put(t, a, claim, 6)
	var taken []*record.PartClaim
	for range 3 {
		taken = append(taken, takePartOf(t, b))
	}
	own, err := a.TakeOwnPart(ctx, claim, ids)
	must(t, err)
	must(t, b.EndPart(ctx, taken[0], raw("0a ok", "0b ok"), nil))
	must(t, b.EndPart(ctx, taken[1], raw("1a ok"), raw("1b")))
	partsOf(t, a, claim, ids) // it has heard of the first, and dies
	d.pass(lease - time.Minute)
	for _, m := range []*Member{b, c} {
		must(t, m.renew(ctx))
	}
	d.pass(2 * time.Minute)
	must(t, c.sweep(ctx))
	if p := takePartOf(t, c); p != nil {
		t.Error("a part of a run that nobody has", p)
	}
	next, _, err := c.Take(ctx, nil, nil)
	must(t, err)
	if next == nil || !next.Parts {
		t.Fatalf("%+v", next)
	}
	if p := takePartOf(t, b); p != nil {
		t.Error("a part of the run from before", p)
	}
	left, err := c.Left(ctx, next)
	must(t, err)
	slices.SortFunc(left, func(x, y record.PartState) int { return slices.Index(ids, x.ID) - slices.Index(ids, y.ID) })
	if len(left) != 3 || len(left[0].Outcomes) != 2 || len(left[1].Outcomes) != 1 || len(left[1].Imports) != 0 || left[0].Under || left[1].Under ||
		!left[2].Under || len(left[2].Imports) != 2 {
		t.Errorf("%+v", left)
	}
	if err := a.EndPart(ctx, own, raw("x", "y"), nil); !errors.Is(err, record.ErrLost) {
		t.Error(err)
	}
	done, _, err := b.Permit(record.InPart(ctx, taken[2].Token), "job0", "r.test/app:v1")
	must(t, err)
	done()
	more := put(t, c, next, 2)
	all := append([]int64{taken[2].ID}, more...)
	must(t, b.EndPart(ctx, taken[2], raw("2a ok"), raw("2b")))
	if got := partsOf(t, c, next, all[:1]); len(got) != 1 || len(got[0].Imports) != 1 {
		t.Errorf("%+v", got)
	}
	must(t, c.DropParts(ctx, next, all[:1]))
	if got := partsOf(t, c, next, all[:1]); len(got) != 1 || len(got[0].Imports) != 0 || len(got[0].Outcomes) != 1 {
		t.Errorf("%+v", got)
	}
	// A run that ends before all is made leaves what others are making, and outcomes of which it has not heard.
	under, unheard := takePartOf(t, b), takePartOf(t, b)
	must(t, b.EndPart(ctx, unheard, raw("ok"), nil))
	must(t, endRun(d, c, next))
	if n := partRows(t, c); n != 2 {
		t.Errorf("%d parts are left", n)
	}
	must(t, b.EndPart(ctx, under, raw("ok"), nil))
	// The job has changed since: what was made is told, and what is being made is lost.
	d.pass(2 * time.Hour)
	for _, m := range members {
		m.end()
		must(t, m.enter(ctx))
		offer(t, m, "two", plans(d, "g", 1))
	}
	last := takenBy(t, b)
	left, err = b.Left(ctx, last)
	must(t, err)
	if len(left) != 2 || len(left[0].Outcomes)+len(left[1].Outcomes) != 2 {
		t.Errorf("%+v", left)
	}
	must(t, endRun(d, b, last))
	if n := partRows(t, c); n != 0 {
		t.Errorf("%d parts are left", n)
	}
}

func takenBy(t *testing.T, m *Member) *record.Claim {
	t.Helper()
	claim := taken(t, m)
	if claim == nil || !claim.Parts {
		t.Fatalf("%+v", claim)
	}
	return claim
}

// TestOwnParts: a run hears what others have made of a part that its own process takes, and nothing is left of the part at its end for the next run.
func TestOwnParts(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	ids := put(t, a, claim, 2)
	must(t, b.EndPart(ctx, takePartOf(t, b), raw("0a ok"), raw("0b")))
	for i, want := range [][]json.RawMessage{raw("0a ok"), nil} {
		own, err := a.TakeOwnPart(ctx, claim, ids)
		must(t, err)
		if own.ID != ids[i] || len(own.Imports)+len(own.Outcomes) != 2 || len(own.Outcomes) != len(want) {
			t.Errorf("%+v", own)
		}
		must(t, a.EndPart(ctx, own, raw("ok"), nil))
	}
	must(t, endRun(d, a, claim))
	if n := partRows(t, a); n != 0 {
		t.Errorf("%d parts are left", n)
	}
}

// TestTakePartUnanswered: a part that the ledger has given to a member that has not heard of it is free again after the next renewal.
func TestTakePartUnanswered(t *testing.T) {
	_, members, claim := jobsOf(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	put(t, a, claim, 1)
	p := takePartOf(t, b)
	b.mu.Lock()
	delete(b.claims, p.Token)
	b.mu.Unlock()
	if p := takePartOf(t, b); p != nil {
		t.Error(p)
	}
	must(t, b.renew(ctx))
	if p := takePartOf(t, b); p == nil || !p.Again {
		t.Error(p)
	}
	must(t, b.renew(ctx))
	if p := takePartOf(t, b); p != nil {
		t.Error("a part that it has is free", p)
	}
}

// TestForgottenParts: parts of a run that nobody has resumed are forgotten.
func TestForgottenParts(t *testing.T) {
	d, members, claim := jobsOf(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	put(t, a, claim, 2)
	must(t, b.EndPart(ctx, takePartOf(t, b), raw("ok"), nil))
	for i, want := range []int{2, 2, 0} {
		if i == 1 {
			must(t, a.Leave(ctx))
		}
		if i == 2 {
			d.pass(writesLast + time.Minute)
		}
		must(t, b.ledger.dialect.shrink(ctx))
		if n := partRows(t, b); n != want {
			t.Errorf("%d parts are left, want %d", n, want)
		}
	}
}
