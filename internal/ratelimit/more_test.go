package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/record"
)

// named is the stand's job under another name, to other targets.
func (s *stand) named(t *testing.T, name string, targets ...string) plan.Job {
	t.Helper()
	j := s.job(t)
	j.Name, j.Targets = name, nil
	for _, path := range targets {
		j.Targets = append(j.Targets, image.Reference{Repository: image.Repository{Registry: targetHost, Path: path}})
	}
	return j
}

// A run in which nothing changed costs nothing; a tag that moved costs its new manifests; and what three mappings want, for two targets
// each, is paid for once.
func TestPaidOnce(t *testing.T) {
	fulltest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, hub.Options{Limit: 5000, Window: time.Hour}, ratelimit.Rule{Metered: true})
		defer s.stop(t)
		const tags = 300
		s.fill(t, tags)
		jobs := []plan.Job{s.named(t, "one", "one/a", "one/b"), s.named(t, "two", "two/a", "two/b"), s.named(t, "three", "three/a", "three/b")}
		for _, r := range s.mirror.Sync(t.Context(), jobs) {
			if n := statuses(r)[record.Imported]; n != 2*tags {
				t.Fatalf("%v %v", r.Err, statuses(r))
			}
		}
		if a := s.Account(); a.Pulled != 3*tags || a.Repeated > 0 || s.pulled != a.Pulled {
			t.Errorf("%+v, of which %d are known", a, s.pulled)
		}
		before := s.Account().Pulled
		for _, r := range s.mirror.Sync(t.Context(), jobs) {
			if n := statuses(r)[record.Kept]; n != 2*tags {
				t.Errorf("%v %v", r.Err, statuses(r))
			}
		}
		if n := s.Account().Pulled - before; n > 0 {
			t.Errorf("a run in which nothing changed costs %d pulls", n)
		}
		if err := emulator.MultiArch(9999, emulator.ImageOptions{}).Push(s.source, "team/app", "v7"); err != nil {
			t.Fatal(err)
		}
		s.mirror.Sync(t.Context(), jobs)
		if n := s.Account().Pulled - before; n != 3 {
			t.Errorf("a moved tag costs %d pulls", n)
		}
	})
}

func statuses(r mirror.Result) map[record.Status]int {
	counts := map[record.Status]int{}
	for _, out := range r.Outcomes {
		counts[out.Status]++
	}
	return counts
}

// TestFinishedBeforeBegun: seven pulls bring two images of three manifests, not six indexes, though nothing is known of any; and in the end
// every pull has brought something.
func TestFinishedBeforeBegun(t *testing.T) {
	for name, tt := range map[string]struct {
		options hub.Options
		rule    ratelimit.Rule
	}{
		"the hub says it":    {hub.Options{Limit: 100}, ratelimit.Rule{Metered: true}},
		"the config says it": {hub.Options{Limit: 7, Headers: hub.None}, ratelimit.Rule{Metered: true, Limit: 7, Window: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.options.Window = time.Hour
				s := newStand(t, tt.options, tt.rule)
				defer s.stop(t)
				s.Spend(tt.options.Limit - 7)
				for i := range 6 {
					name := fmt.Sprintf("team/app%d", i)
					if err := emulator.MultiArch(int64(i+1), emulator.ImageOptions{Layers: 1, LayerSize: 50}).Push(s.source, name, "v1"); err != nil {
						t.Fatal(err)
					}
					repo := func(host string) image.Reference { return image.Repository{Registry: host, Path: name}.Tag("v1") }
					s.jobs = append(s.jobs, plan.Job{Name: name, Source: repo(s.sourceHost), Targets: []image.Reference{repo(targetHost)}, Timeout: time.Hour})
				}
				s.untilDone(t, func(round int) {
					arrived := 0
					for i := range s.jobs {
						arrived += len(s.target.Tags(fmt.Sprintf("team/app%d", i)))
					}
					if round == 0 && arrived != 2 {
						t.Errorf("%d images were brought by 7 pulls, want 2: %+v", arrived, s.Account())
					}
				})
				if a := s.Account(); a.Pulled != 18 || a.Repeated > 0 || a.Vain > 0 || a.Refused > 0 {
					t.Errorf("%+v, want 18 pulls", a)
				}
			})
		})
	}
}

// While the hub allows nothing, 200 tags of another registry take the time that they take without it, and that of the hub's own looks at the
// target.
func TestOthersGoOn(t *testing.T) {
	fulltest.Long(t)
	took := map[bool]time.Duration{}
	for _, beside := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStand(t, hub.Options{Limit: 100, Window: time.Hour}, ratelimit.Rule{Metered: true})
			defer s.stop(t)
			s.fill(t, 200)
			s.Spend(100)
			s.target.Inject(emulator.Fault{Delay: 20 * time.Millisecond})
			for i := range 200 {
				if err := emulator.MultiArch(int64(i+1), emulator.ImageOptions{}).Push(s.target, "other", fmt.Sprintf("v%d", i)); err != nil {
					t.Fatal(err)
				}
			}
			other := s.named(t, "other", "copy")
			other.Source = image.Reference{Repository: image.Repository{Registry: targetHost, Path: "other"}}
			jobs := []plan.Job{other}
			if beside {
				jobs = append(jobs, s.named(t, "hub", "hub"))
			}
			results := s.mirror.Sync(t.Context(), jobs)
			if n := statuses(results[0])[record.Imported]; n != 200 {
				t.Fatalf("%v", statuses(results[0]))
			}
			if beside && (statuses(results[1])[record.Deferred] != 200 || s.Account().Refused > 0) {
				t.Errorf("%v, %+v", statuses(results[1]), s.Account())
			}
			took[beside] = results[0].Duration
		})
	}
	// Their 200 HEADs at the target, of 20 ms each, share its 16 places in flight; a few more round trips are for how the two mesh.
	const looks, slack = 200 * 20 * time.Millisecond / 16, 5 * 20 * time.Millisecond
	if took[true] > took[false]+looks+slack {
		t.Errorf("%s beside an exhausted hub, %s without", took[true], took[false])
	}
	t.Log(took)
}

// Fifty worlds of random limits, windows, jobs, costs, priorities, spenders and crashes: the budget is never exceeded by a request that
// could have been known to be too many, no pull is made twice, nothing starves, and everything ends.
func TestRandomWorlds(t *testing.T) {
	for seed := range fulltest.Rounds(10, 25) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // reproducible
			synctest.Test(t, func(t *testing.T) {
				limit := 10 + random.IntN(90)
				options := hub.Options{
					Limit: limit, Window: time.Duration(1+random.IntN(6)) * time.Hour, Fixed: random.IntN(2) == 0,
					Headers: hub.Headers(random.IntN(2)), RetryAfter: hub.RetryAfter(random.IntN(4)), Skew: time.Duration(random.IntN(600)-300) * time.Second,
				}
				rule := ratelimit.Rule{Metered: true, Keep: random.IntN(limit / 2), KeepPercent: random.IntN(3) * 20}
				s := newStand(t, options, rule)
				s.jobs = nil
				pulls := 0
				for i := range 1 + random.IntN(4) {
					job := s.named(t, fmt.Sprintf("job%d", i), fmt.Sprintf("copy%d", i))
					job.Source.Path = fmt.Sprintf("team/app%d", i)
					job.Priority = random.IntN(3)
					pulls += s.fillWith(t, job.Source.Path, 2+random.IntN(20), random)
					s.jobs = append(s.jobs, job)
				}
				foreign := random.IntN(3) * limit / 10
				next := time.Now()
				s.untilDone(t, func(int) {
					if random.IntN(3) == 0 {
						s.stop(t)
						s.start(t)
					}
					if foreign > 0 && !time.Now().Before(next) { // somebody else spends that many in a window
						time.AfterFunc(time.Duration(random.Int64N(int64(options.Window))), func() { s.Spend(foreign) })
						next = time.Now().Add(options.Window)
					}
				})
				s.checkLog(t)
				for _, job := range s.jobs {
					if got, want := len(s.target.Tags(job.Targets[0].Path)), len(s.source.Tags(job.Source.Path)); got != want {
						t.Errorf("%s has %d tags of %d", job.Name, got, want)
					}
				}
				// Somebody else may spend between a HEAD and the GETs after it: that is not ours to know, and costs one refusal at most.
				a := s.Account()
				if a.Pulled != pulls || a.Repeated > 0 || a.Vain > 0 || foreign == 0 && a.Refused > 0 {
					t.Errorf("%+v with %+v, %+v, want %d pulls", a, options, rule, pulls)
				}
				if keep := max(rule.Keep, limit*rule.KeepPercent/100); foreign == 0 && a.Lowest < keep {
					t.Errorf("%d were left, want %d", a.Lowest, keep)
				}
				s.stop(t)
			})
		})
	}
}

// fillWith pushes images of one to five manifests, and returns how many there are in all.
func (s *stand) fillWith(t *testing.T, path string, tags int, random *rand.Rand) (manifests int) {
	t.Helper()
	for i := range tags {
		seed := random.Int64()
		options := emulator.ImageOptions{Layers: 1, LayerSize: 50, Attestations: random.IntN(3) == 0}
		pushed := emulator.MultiArch(seed, options)
		if random.IntN(3) == 0 {
			pushed = emulator.SingleArch(seed, "linux/amd64", emulator.ImageOptions{Layers: 1, LayerSize: 50})
		}
		if err := pushed.Push(s.source, path, fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
		manifests += len(pushed.Manifests)
	}
	return manifests
}

// A credential that is sent, where the registry counts the address all the same, is said once, by the entry of the config; where none is
// sent nothing is.
func TestSignInWithoutEffect(t *testing.T) {
	for _, signed := range []bool{true, false} {
		t.Run(fmt.Sprint(signed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, hub.Options{Limit: 100, Window: time.Hour}, ratelimit.Rule{Metered: true})
				defer s.stop(t)
				s.fill(t, 5)
				s.signed = signed
				s.untilDone(t, nil)
				s.checkLog(t)
				lines := strings.Count(s.log.String(), "the sign-in took no effect")
				if b := s.governor.Budgets(time.Now()); len(b) != 1 || b[0].Unapplied != signed || signed != (lines == 1) {
					t.Errorf("%+v, said %d times", b, lines)
				}
			})
		})
	}
}
