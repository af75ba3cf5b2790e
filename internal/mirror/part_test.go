package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// crew shares parts with another mirror: what choose returns says who makes one.
type crew struct {
	other  *mirror.Mirror
	job    plan.Job
	choose func(part int) maker
	// made and under are what an earlier run has left; late are outcomes that others tell while the run shares.
	made  []mirror.Outcome
	under []mirror.Import
	late  []mirror.Outcome
	parts []mirror.Part
	limit time.Duration
}

type maker int

const (
	own maker = iota
	others
	nobody
	otherThenOwn // one that dies when it has made them
	partly       // one that makes some and gives the rest back
)

func (c *crew) Left(context.Context) (made []mirror.Outcome, under []mirror.Import) {
	return throughJSON(c.made), c.under
}

func (c *crew) Share(ctx context.Context, parts []mirror.Part, limit time.Duration) iter.Seq[[]mirror.Outcome] {
	c.limit = limit
	return func(yield func([]mirror.Outcome) bool) {
		if c.late != nil && !yield(throughJSON(c.late)) {
			return
		}
		c.late = nil
		for _, p := range parts {
			c.parts = append(c.parts, p)
			switch c.choose(len(c.parts)) {
			case own:
				p.Make(false, func() {})
			case others:
				if !yield(throughJSON(c.other.Assist(ctx, c.job, throughJSON(p.Imports), false, func() {}))) {
					return
				}
			case otherThenOwn:
				c.other.Assist(ctx, c.job, throughJSON(p.Imports), false, func() {})
				p.Make(true, func() {})
			case partly:
				some := p.Imports[:(len(p.Imports)+1)/2]
				if !yield(throughJSON(c.other.Assist(ctx, c.job, throughJSON(some), false, func() {}))) {
					return
				}
				var ended atomic.Int64
				p.Make(true, func() { ended.Add(1) })
				if n := int(ended.Load()); n != len(p.Imports) {
					panic(fmt.Sprint(n, " imports have ended of ", len(p.Imports)))
				}
			case nobody:
			}
		}
	}
}

// throughJSON returns what another process reads.
func throughJSON[V any](list []V) (read []V) {
	text, err := json.Marshal(list)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		panic(err)
	}
	return read
}

// shared has the mirror share the imports of a job with another one.
func (s *stand) shared(j plan.Job, choose func(int) maker) *crew {
	m := s.mirror
	other := &mirror.Mirror{Observer: m.Observer, Pages: m.Pages, Manifests: m.Manifests, Engines: m.Engines, Watcher: silent{}, Log: m.Log}
	c := &crew{other: other, job: j, choose: choose}
	s.mirror.Crew = c
	return c
}

// TestShared: whoever makes the imports of a run, its outcomes are those of a run alone, each once, and nothing is left to do.
func TestShared(t *testing.T) {
	fulltest.Long(t)
	for seed := range fulltest.Rounds(4, 40) {
		run := func(share bool) (got []string) {
			inBubble(t, func(t *testing.T, s *stand) {
				random := rand.New(rand.NewPCG(seed, 11)) //nolint:gosec // a world that can be made again
				for n := range 60 {
					s.stock(t, s.a, random, "app", fmt.Sprintf("v%d", n%40))
				}
				s.stock(t, s.c, random, "app", "v7")
				j := job(t, "app", "app", []string{"v*", "none"}, hostA, hostC, hostD)
				j.RefuseMoved, j.Referrers = random.IntN(2) == 0, plan.Referrers{All: random.IntN(2) == 0}
				if share {
					s.shared(j, func(int) maker { return maker(random.IntN(5)) })
				}
				s.c.Reset()
				r := s.mirror.SyncOne(t.Context(), j, nil)
				settledShared(t, r)
				if len(s.records.list) != len(r.Outcomes) {
					t.Errorf("%d outcomes are recorded, there are %d", len(s.records.list), len(r.Outcomes))
				}
				for _, out := range r.Outcomes {
					if out.Status == record.Imported {
						s.arrived(t, out)
					}
				}
				s.writtenOnce(t)
				for _, line := range lines([]mirror.Result{r}) { // what one that died has made is kept
					got = append(got, strings.NewReplacer(" kept", " there", " imported", " there").Replace(line))
				}
				s.mirror.Crew = nil
				for _, out := range s.mirror.SyncOne(t.Context(), j, nil).Outcomes {
					if out.Status == record.Imported {
						t.Errorf("left to do: %+v", out)
					}
				}
			})
			return got
		}
		if alone, shared := run(false), run(true); !slices.Equal(alone, shared) {
			t.Fatalf("seed %d: alone\n%s\nshared\n%s", seed, strings.Join(alone, "\n"), strings.Join(shared, "\n"))
		}
	}
}

// writtenOnce checks that no tag was written twice.
func (s *stand) writtenOnce(t *testing.T) {
	t.Helper()
	for _, r := range []*emulator.Registry{s.c, s.d} {
		written := map[string]bool{}
		r.Count(func(q emulator.Request) bool {
			if q.Method == http.MethodPut && q.Kind == emulator.KindManifest && !strings.Contains(q.Reference, ":") {
				if written[q.Reference] {
					t.Errorf("%s is written twice", q.Reference)
				}
				written[q.Reference] = true
			}
			return false
		})
	}
}

// settledShared checks that each outcome has ended, and none is there twice.
func settledShared(t *testing.T, r mirror.Result) {
	t.Helper()
	seen := map[string]bool{}
	for _, out := range r.Outcomes {
		key := fmt.Sprint(out.Source.WithDigest(""), out.Target, out.Op == "refuse")
		if out.Status == "" || out.Job != r.Job || seen[key] {
			t.Errorf("outcome %+v", out)
		}
		seen[key] = true
	}
}

// TestParts: parts have at most 16 imports, neighbors together, and those of one image; and the other mirror knows what this one has observed.
func TestParts(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		for n := range 50 {
			seed := int64(n)
			if n%10 == 0 {
				seed = 1000 // five tags of one image
			}
			push(t, s.a, seed, "app", fmt.Sprintf("v%02d", n))
		}
		push(t, s.c, 7, "app", "other")
		push(t, s.c, 99, "app", "v01")
		j := job(t, "app", "app", []string{"v*"}, hostA, hostC)
		j.Retries = 2
		c := s.shared(j, func(int) maker { return others })
		r := s.mirror.SyncOne(t.Context(), j, nil)
		var sizes []int
		var tags []string
		for _, p := range c.parts {
			sizes = append(sizes, len(p.Imports))
			for _, i := range p.Imports {
				tags = append(tags, i.Target.Tag)
			}
		}
		if c.limit != 3*(time.Minute+30*time.Second) {
			t.Errorf("a part may take %s", c.limit)
		}
		first := "v00 v10 v20 v30 v40 v01 v02"
		if !slices.Equal(sizes, []int{16, 16, 16, 2}) || !strings.HasPrefix(strings.Join(tags, " "), first) || len(slices.Compact(slices.Sorted(slices.Values(tags)))) != 50 {
			t.Errorf("parts of %d imports: %q", sizes, tags)
		}
		if i := c.parts[0].Imports[5]; i.Was == "" || i.Fresh || i.Offered.Digest == "" || i.Sibling == "" {
			t.Errorf("an import without what was observed: %+v", i)
		}
		if got := r.Counts(); got.Import != 50 {
			t.Errorf("%+v", got)
		}
	})
}

// TestPartlyMade: of a part of which another has made some imports, this one makes the rest, and all of them count as imported.
func TestPartlyMade(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		for n := range 40 {
			push(t, s.a, int64(n), "app", fmt.Sprintf("v%02d", n))
		}
		j := job(t, "app", "app", []string{"v*"}, hostA, hostC)
		s.shared(j, func(int) maker { return partly })
		r := s.mirror.SyncOne(t.Context(), j, nil)
		settledShared(t, r)
		for _, out := range r.Outcomes {
			if out.Status != record.Imported {
				t.Errorf("%+v", out)
			}
		}
		if len(r.Outcomes) != 40 || len(s.records.list) != 40 {
			t.Errorf("%d outcomes, %d are recorded", len(r.Outcomes), len(s.records.list))
		}
		s.writtenOnce(t)
	})
}

// TestAssistRefuses: a mirror makes no import that the job does not have.
func TestAssistRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "app", "v1")
		j := job(t, "app", "app", []string{"v*"}, hostA, hostC)
		c := s.shared(j, func(int) maker { return nobody })
		if r := s.mirror.SyncOne(t.Context(), j, nil); r.Counts().Import != 1 {
			t.Fatal(r)
		}
		before := writes(s.c) + writes(s.d)
		for what, change := range map[string]func(i *mirror.Import){
			"another target": func(i *mirror.Import) { i.Target = at(hostD, "app").Repository.Tag("v1") },
			"another source": func(i *mirror.Import) { i.Source.Registry = hostB },
			"no import":      func(i *mirror.Import) { i.Op = "keep" },
			"another tag":    func(i *mirror.Import) { i.Target.Tag = "edge" },
		} {
			i := c.parts[0].Imports[0]
			change(&i)
			out := s.mirror.Assist(t.Context(), j, []mirror.Import{i}, false, func() {})
			if len(out) != 1 || out[0].Status != record.Failed || out[0].Err == nil {
				t.Errorf("%s: %+v", what, out)
			}
		}
		if writes(s.c)+writes(s.d) != before {
			t.Error("it is written")
		}
	})
}

// TestTold: an outcome that another process tells is the same in all that is made of it.
func TestTold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "app", "v1")
		push(t, s.a, 2, "app", "v2")
		push(t, s.a, 3, "app", "v3")
		push(t, s.c, 4, "app", "v3")
		s.c.Inject(emulator.Fault{Status: 500, Match: func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/manifests/v2") && r.Method == http.MethodPut
		}})
		j := job(t, "app", "app", []string{"v*", "none"}, hostA, hostC)
		j.RefuseMoved = true
		r := s.mirror.SyncOne(t.Context(), j, nil)
		r.Outcomes = append(r.Outcomes, mirror.Outcome{Job: "app", Status: record.Deferred, RetryAt: time.Now().UTC(), Err: fmt.Errorf("wait: %w", errors.New("429"))})
		read := throughJSON(r.Outcomes)
		for i := range read {
			if read[i].Job != "" {
				t.Error("the job is told")
			}
			read[i].Job = "app"
			a, b := r.Outcomes[i], read[i]
			if fmt.Sprintf("%+v", a.Record()) != fmt.Sprintf("%+v", b.Record()) && a.Record().RetryAt == nil || a.Action != b.Action || a.EngineReason != b.EngineReason || !a.RetryAt.Equal(b.RetryAt) {
				t.Errorf("told %+v\nread %+v", a, b)
			}
		}
		told := mirror.Result{Job: "app", Outcomes: read}
		if a, b := fmt.Sprint(mirror.Causes(r)), fmt.Sprint(mirror.Causes(told)); a != b || len(mirror.Causes(told)) != 2 {
			t.Errorf("told %s\nread %s", a, b)
		}
		if r.Counts() != told.Counts() {
			t.Error(r.Counts(), told.Counts())
		}
	})
}

// TestLeft: what an earlier run has imported is in the result as imported, once, also if its tag is gone; what another process is making is not made
// a second time unless it comes to nothing.
func TestLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		digests := map[string]image.Digest{}
		for n := range 6 {
			tag := fmt.Sprintf("v%d", n)
			digests[tag] = image.Digest(push(t, s.a, int64(n), "app", tag).Digest)
		}
		j := job(t, "app", "app", []string{"v*"}, hostA, hostC)
		c := s.shared(j, func(int) maker { return own })
		first := s.mirror.SyncOne(t.Context(), j, nil)
		find := func(r mirror.Result, tag string) mirror.Outcome {
			i := slices.IndexFunc(r.Outcomes, func(out mirror.Outcome) bool { return out.Target.Tag == tag })
			if i < 0 {
				return mirror.Outcome{}
			}
			return r.Outcomes[i]
		}
		gone := find(first, "v0")
		gone.Target.Tag = "v9"
		for _, tag := range []string{"v2", "v3", "v4"} {
			s.c.DeleteTag("app", tag)
		}
		moved := push(t, s.a, 77, "app", "v5").Digest
		failed := find(first, "v2")
		failed.Status, failed.Err = record.Failed, errors.New("no")
		// v0, v5: imported before, v5 has moved since; v9 is gone; v1, v2: under way when the run begins, v2 fails; v3: under way, and never told.
		c.made = []mirror.Outcome{find(first, "v0"), find(first, "v5"), gone}
		c.late = []mirror.Outcome{find(first, "v1"), failed}
		for _, tag := range []string{"v1", "v2", "v3"} {
			c.under = append(c.under, mirror.Import{Action: find(first, tag).Action})
		}
		c.parts = nil
		r := s.mirror.SyncOne(t.Context(), j, nil)
		settledShared(t, r)
		want := map[string]record.Status{"v0": record.Imported, "v1": record.Imported, "v2": record.Imported, "v3": record.Imported, "v4": record.Imported, "v5": record.Imported, "v9": record.Imported}
		for tag, status := range want {
			if out := find(r, tag); out.Status != status {
				t.Errorf("%s: %+v", tag, out)
			}
		}
		if len(r.Outcomes) != len(want) || string(find(r, "v5").Digest) != moved || find(r, "v5").Was != digests["v5"] {
			t.Error(lines([]mirror.Result{r}))
		}
		if len(c.parts) != 1 || len(c.parts[0].Imports) != 2 { // v4 and v5
			t.Errorf("%+v", c.parts)
		}
	})
}
