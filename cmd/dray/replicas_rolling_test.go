package main

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

const (
	// A random config has at most one job for each of some targets, in one of some variants, which have a source each.
	rollingTargets  = 6
	rollingVariants = 3
	// rollingNever is a job that only a minority has.
	rollingNever = "rolling-never"
)

// rollingConfig are the variants of the jobs, by name: the part of a config that changes.
type rollingConfig map[string]int

// rollingSource is where a job in a variant imports from, and rollingTarget where a job imports into.
func rollingSource(job string, variant int) string { return fmt.Sprintf("%s.%d", job, variant) }
func rollingTarget(job string) string              { return job[:strings.LastIndex(job, "-")] }

// rolling are three replicas whose config changes.
type rolling struct {
	*cluster
	db     *sql.DB
	random *rand.Rand
	// present is the config in force, and files are those of the replicas: of these at least two are the present one, unless the next is about to be.
	present rollingConfig
	files   []rollingConfig
	// names are those that the targets' jobs have, or had last; each name was given once.
	names map[string]string
	given int
	// may is how often each job may have run since the last check: once for each time that it was new or changed, and once for each run that did not
	// succeed, of which failed counts those before.
	may, failed map[string]int
	restarts    []time.Time
	count       map[string]int
}

func newRolling(t *testing.T, seed uint64) *rolling {
	t.Helper()
	r := &rolling{
		cluster: newCluster(t, 0), random: rand.New(rand.NewPCG(seed, 1)), present: rollingConfig{}, //nolint:gosec // reproducible
		names: map[string]string{}, may: map[string]int{}, failed: map[string]int{}, count: map[string]int{},
	}
	r.db = ledgerDB(t, r.database)
	for target := range rollingTargets {
		target := fmt.Sprint("rolling-", target)
		r.names[target] = r.name(target)
	}
	r.push(rollingSource(rollingNever, 0))
	r.mappings = func(replica int) (lines []string) {
		for job, variant := range r.files[replica] {
			lines = append(lines, mapping("name: %s, source: '%s/%s', target: '%s/%s', tags: ['v*'], referrers: false",
				job, r.from, rollingSource(job, variant), r.to, rollingTarget(job)))
		}
		return lines
	}
	for range 3 {
		r.files = append(r.files, r.present)
		r.add()
	}
	r.alive(3)
	return r
}

// name returns a new name for the job of a target.
func (r *rolling) name(target string) string {
	r.given++
	job := fmt.Sprintf("%s-%d", target, r.given)
	for variant := range rollingVariants {
		r.push(rollingSource(job, variant))
	}
	return job
}

// changed returns another config than the present one, in which one job is new, gone, renamed or in another variant.
func (r *rolling) changed() rollingConfig {
	next := maps.Clone(r.present)
	target := fmt.Sprint("rolling-", r.random.IntN(rollingTargets))
	job := r.names[target]
	variant, ok := next[job]
	what := r.random.IntN(4)
	switch {
	case !ok:
		next[job] = r.random.IntN(rollingVariants)
	case what == 0:
		delete(next, job)
	case what == 1:
		delete(next, job)
		next[r.name(target)] = variant
	default:
		next[job] = (variant + 1 + r.random.IntN(rollingVariants-1)) % rollingVariants
	}
	return next
}

// give gives a replica a config. One that two of three have is in force at once; of any other one the replica says that it is not.
func (r *rolling) give(replica int, config rollingConfig) {
	r.t.Helper()
	r.files[replica] = config
	r.write(replica)
	p := r.replicas[replica]
	if err := p.client.Reload(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	have := 0
	for _, file := range r.files {
		if maps.Equal(file, config) {
			have++
		}
	}
	if have < 2 {
		if c := p.status(r.t).Config; c.Decides() || c.InForce == "" {
			r.t.Errorf("replica %d alone has the config, and it is in force: %+v", replica, c)
		}
		return
	}
	p.until(r.t, "the config of most is in force", func() bool { c := p.status(r.t).Config; return c.Decides() })
	for job, variant := range config {
		if before, ok := r.present[job]; !ok || before != variant {
			r.may[job]++
		}
		r.names[rollingTarget(job)] = job
	}
	r.present = config
}

// restart stops or kills a replica, and starts it again.
func (r *rolling) restart(replica int) {
	r.t.Helper()
	if r.random.IntN(4) == 0 {
		r.count["kills"]++
		kill(r.t, r.replicas[replica])
	} else {
		r.count["stops"]++
		terminate(r.t, r.replicas[replica])
	}
	r.restarts = append(r.restarts, time.Now())
	r.launch(replica)
	p := r.replicas[replica]
	p.until(r.t, "it has said which config it has", func() bool {
		s := p.status(r.t)
		return slices.ContainsFunc(s.Replicas, func(m record.Replica) bool { return m.Me && m.Generation != "" && m.Generation == s.Config.Hash })
	})
}

// step changes the config at one replica after the other. Some do not get it, or have one that nobody else has, and some are restarted.
func (r *rolling) step() {
	r.t.Helper()
	order := r.random.Perm(3)
	if r.random.IntN(5) == 0 {
		r.count["configs of one"]++
		alone := r.changed()
		alone[rollingNever] = 0
		odd := max(0, slices.IndexFunc(r.files, func(file rollingConfig) bool { return !maps.Equal(file, r.present) }))
		r.give(odd, alone)
	}
	next := r.changed()
	r.give(order[0], next)
	if r.random.IntN(12) == 0 {
		r.restart(order[0])
	}
	r.give(order[1], next)
	if r.random.IntN(4) > 0 {
		r.give(order[2], next)
	} else {
		r.count["stale files"]++
	}
	if r.random.IntN(12) == 0 {
		r.restart(r.random.IntN(3))
	}
}

// check waits until all is done that the config in force asks for, and checks that no more was done, and that all say what waits.
func (r *rolling) check() {
	r.t.Helper()
	unsettled := r.unsettled()
	for deadline := time.Now().Add(soon); unsettled != ""; unsettled = r.unsettled() {
		if time.Now().After(deadline) {
			r.t.Fatalf("within a minute not all that is in force has run: %s\nin force: %v\n%s", unsettled, r.present, r.rows())
		}
		time.Sleep(10 * time.Millisecond)
	}
	rows, err := r.db.QueryContext(r.t.Context(), "SELECT j.name, count(*) FILTER (WHERE r.outcome <> 'ok') FROM dray.jobs j JOIN dray.runs r ON r.job = j.id GROUP BY j.name")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	failed := map[string]int{}
	for rows.Next() {
		var job string
		var n int
		if err := rows.Scan(&job, &n); err != nil {
			r.t.Fatal(err)
		}
		failed[job] = n
	}
	r.mu.Lock()
	for job, ran := range r.ran {
		if strings.HasPrefix(job, "steady-") {
			continue
		}
		if may := r.may[job] + failed[job] - r.failed[job]; len(ran) > may {
			r.t.Errorf("%s has run %d times, and could %d times", job, len(ran), may)
		}
		r.count["runs"] += len(ran)
		delete(r.ran, job)
	}
	r.mu.Unlock()
	clear(r.may)
	r.failed = failed
	for i, p := range r.replicas {
		minority := !maps.Equal(r.files[i], r.present)
		p.until(r.t, "it says which replicas have another config", func() bool {
			s := p.status(r.t)
			return (!minority || strings.Contains(p.log.String(), "most replicas have another config")) && s.Config.Decides() != minority && len(s.Replicas) == 3 && !slices.ContainsFunc(s.Replicas, func(m record.Replica) bool {
				return m.InForce != maps.Equal(r.files[replicaOf(m.Name)], r.present)
			})
		})
	}
}

// unsettled returns what is still to be done; empty where all replicas have the jobs in force, these have imported, and nothing runs or is due.
func (r *rolling) unsettled() string {
	names := []string{"asked"}
	for job, variant := range r.present {
		if got, want := r.target.Digest(rollingTarget(job), "v1"), r.source.Digest(rollingSource(job, variant), "v1"); got != want {
			return fmt.Sprintf("the target of %s has %q, not %s", job, got, want)
		}
		names = append(names, job)
	}
	for i := range steady {
		names = append(names, fmt.Sprint("steady-", i))
	}
	slices.Sort(names)
	for i, p := range r.replicas {
		if jobs := p.jobs(r.t); !slices.Equal(slices.Sorted(slices.Values(jobs)), names) {
			return fmt.Sprintf("replica %d has the jobs %q", i, jobs)
		}
	}
	var busy string
	const query = "SELECT coalesce(string_agg(name, ', '), '') FROM dray.jobs WHERE name LIKE 'rolling-%' AND (member IS NOT NULL OR next > 0 AND NOT removed)"
	if err := r.db.QueryRowContext(r.t.Context(), query).Scan(&busy); err != nil {
		r.t.Fatal(err)
	}
	return busy
}

// rows are the jobs whose config changes, as the ledger has them.
func (r *rolling) rows() (text string) {
	r.t.Helper()
	const query = "SELECT coalesce(string_agg(to_jsonb(j)::text, E'\\n' ORDER BY name), '') FROM dray.jobs j WHERE name LIKE 'rolling-%'"
	if err := r.db.QueryRowContext(r.t.Context(), query).Scan(&text); err != nil {
		r.t.Fatal(err)
	}
	return text
}

// onTime checks that the jobs that never change have left out no turn: but where replicas were restarted, whose jobs others take over.
func (r *rolling) onTime(began time.Time) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	const every = 10 * time.Second
	longest := time.Duration(0)
	for i := range steady {
		job := fmt.Sprint("steady-", i)
		ran := append(r.ran[job], time.Now())
		for n := range ran[1:] {
			pause, limit := ran[n+1].Sub(ran[n]), 2*every
			longest = max(longest, pause)
			if slices.ContainsFunc(r.restarts, func(at time.Time) bool { return at.After(ran[n].Add(-every)) && at.Before(ran[n+1]) }) {
				limit = every + 30*time.Second
			}
			if pause > limit {
				r.t.Errorf("%s did not run for %s", job, pause)
			}
		}
		if most := 1 + int(time.Since(began)/every) + 1 + r.failed[job]; len(ran)-1 > most { // at the start, and at each full ten seconds of the clock
			r.t.Errorf("%s ran %d times, and could %d times", job, len(ran)-1, most)
		}
	}
	r.t.Logf("of jobs that run each %s the longest pause was %s", every, longest.Round(time.Millisecond))
}

// TestRollingConfigAtRandom changes the config of three replicas at random, one after the other, with stale files, files that one alone has, and restarts:
// each job that is new or changed runs once, the others run neither then nor late, what one replica alone has is never in force, and all say what waits.
// DRAY_TEST_ROUNDS says how many changes it makes.
func TestRollingConfigAtRandom(t *testing.T) {
	timed(t)
	changes := fulltest.Rounds(30, 30)
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	began := time.Now()
	r := newRolling(t, seed)
	for change := range changes {
		r.step()
		if r.random.IntN(15) == 0 || change == changes-1 {
			r.count["checks"]++
			r.check()
		}
		if t.Failed() {
			t.Fatalf("at change %d", change)
		}
	}
	r.onTime(began)
	t.Logf("%d changes in %s: %v", changes, time.Since(began).Round(time.Second), r.count)
	r.ends()
}
