package main

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// slaughter says how replicas are killed.
type slaughter struct {
	// mappings run once a period each, at times of their own. slow ones run every slowEvery besides, and their source lists tags for slowFor.
	mappings, slow int
	period         time.Duration
	kills          int
	lease          time.Duration
}

const (
	slowEvery, slowFor = 10 * time.Second, 3 * time.Second
	// killEvery is how often a replica is killed, and taken how soon the next run begins of a job that it has left.
	killEvery, taken = 5 * time.Second, 30 * time.Second
	// patience is how late a run may begin where nobody was killed: how soon there is a free place depends on the machine.
	patience = 2 * time.Minute
)

// killing is the end of a replica, which was killed at a time and was dead at another; what began before back is not of the process that was started next.
type killing struct {
	replica        string
	at, dead, back time.Time
}

// lag is how much later than the end of a process the ledger may execute what it has sent, and the source may see that its connections have ended.
const lag = time.Second

// herd are three replicas with many mappings, of which one after the other is killed.
type herd struct {
	slaughter
	t              *testing.T
	source, target *registry.Registry
	db             *sql.DB
	desks          []desk
	replicas       []*running
	killings       []killing

	mu sync.Mutex
	// lists are when the source began to list tags for each job, which each run asks for once; under are the lists under way.
	lists map[string][]time.Time
	under listings
	// broken are the lists that were not waited for to their end, by job; twice are jobs of which there were two lists at once.
	broken map[string][]time.Time
	twice  []string
}

func newHerd(t *testing.T, how slaughter) *herd {
	t.Helper()
	url := postgrestest.Database(t)
	h := &herd{
		slaughter: how, t: t, db: ledgerDB(t, url), source: registry.New(registry.Options{}), target: registry.New(registry.Options{}),
		lists: map[string][]time.Time{}, under: listings{}, broken: map[string][]time.Time{},
	}
	h.source.Inject(registry.Fault{Delay: slowFor, Match: h.watch})
	// The slow ones have a host of their own, so that others do not wait behind them.
	from, slow, to := start(t, h.source), start(t, h.source), start(t, h.target)
	h.push(1, h.source, h.target)
	for n := range 3 {
		d := newDesk(t)
		lines := []string{
			"version: 1", serverLine(d.socket), "jobs: 16", fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: %s}", url, n, h.lease),
			fmt.Sprintf("registries: {'%s': {concurrency: 256}}", slow), "mappings:",
		}
		for _, job := range h.jobs() {
			host, schedule := from, fmt.Sprintf("'@every %s', jitter: %s", h.period, h.period)
			if isSlow(job) {
				host, schedule = slow, fmt.Sprintf("'@every %s', jitter: %s", slowEvery, slowEvery)
			}
			lines = append(lines, mapping("name: %s, source: '%s/%s', target: '%s/%s', tags: ['v*'], referrers: false, schedule: %s", job, host, job, to, job, schedule))
		}
		d.write(d.config, strings.Join(lines, "\n"))
		h.desks, h.replicas = append(h.desks, d), append(h.replicas, launch(t, d.config, d.socket))
	}
	return h
}

func isSlow(job string) bool { return strings.HasPrefix(job, "slow-") }

func (h *herd) jobs() (names []string) {
	for i := range h.mappings {
		names = append(names, fmt.Sprint("app-", i))
	}
	for i := range h.slow {
		names = append(names, fmt.Sprint("slow-", i))
	}
	return names
}

// push moves the tag of every job to an image.
func (h *herd) push(seed int64, to ...*registry.Registry) (digest string) {
	h.t.Helper()
	image := registry.SingleArch(seed, "linux/amd64", registry.ImageOptions{LayerSize: 1000})
	for _, job := range h.jobs() {
		for _, r := range to {
			if err := image.Push(r, job, "v1"); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	return image.Digest
}

// watch notes a list of tags at the source. It reports whether that is slow.
func (h *herd) watch(r *http.Request) bool {
	job, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
	if !ok {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	began := time.Now()
	h.lists[job] = append(h.lists[job], began)
	if h.under.begin(job, r) {
		h.twice = append(h.twice, job)
	}
	go func() {
		<-r.Context().Done()
		h.mu.Lock()
		defer h.mu.Unlock()
		if at := time.Now(); isSlow(job) && at.Sub(began) < slowFor {
			h.broken[job] = append(h.broken[job], at)
		}
	}()
	return isSlow(job)
}

// count returns how many jobs there are of which a condition is true.
func (h *herd) count(condition string, args ...any) (n int) {
	h.t.Helper()
	if err := h.db.QueryRowContext(h.t.Context(), "SELECT count(*) FROM dray.jobs WHERE "+condition, args...).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// kill kills a replica, and starts it again.
func (h *herd) kill(n int) {
	h.t.Helper()
	at := time.Now()
	kill(h.t, h.replicas[n])
	k := killing{replica: fmt.Sprint("replica-", n), at: at, dead: time.Now()}
	h.replicas[n] = launch(h.t, h.desks[n].config, h.desks[n].socket)
	var joined int64
	if err := h.db.QueryRowContext(h.t.Context(), "SELECT max(joined) FROM dray.members WHERE name = $1", k.replica).Scan(&joined); err != nil {
		h.t.Fatal(err)
	}
	k.back = time.UnixMilli(joined)
	h.killings = append(h.killings, k)
}

// died returns when a replica was killed that had begun something.
func (h *herd) died(replica string, began time.Time) (at time.Time, ok bool) {
	for _, k := range h.killings {
		if k.replica == replica && k.back.After(began) {
			return k.dead, true
		}
	}
	return time.Time{}, false
}

// past returns the recorded runs of each job in their order. One that was cut off ends with its replica; cut are those.
func (h *herd) past() (runs map[string][]record.Run, cut int) {
	h.t.Helper()
	rows, err := h.db.QueryContext(h.t.Context(), "SELECT j.name, r.started, r.ended, r.outcome, r.error FROM dray.runs r JOIN dray.jobs j ON j.id = r.job ORDER BY r.started, r.id")
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	runs = map[string][]record.Run{}
	for rows.Next() {
		var job string
		var started, ended int64
		var run record.Run
		if err := rows.Scan(&job, &started, &ended, &run.Outcome, &run.Error); err != nil {
			h.t.Fatal(err)
		}
		run.Started, run.Ended = time.UnixMilli(started), time.UnixMilli(ended)
		if run.Outcome == record.RunCutOff {
			cut++
			var replica string
			_, _ = fmt.Sscanf(run.Error, "the replica %s ended", &replica)
			var ok bool
			if run.Ended, ok = h.died(replica, run.Started); !ok {
				h.t.Errorf("%s was cut off, and nobody has killed its replica: %+v", job, run)
				continue
			}
		}
		runs[job] = append(runs[job], run)
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	return runs, cut
}

// begins returns when runs of a job began since the first that counts, as its source and the history know it: the source does not know of one whose replica
// was killed at once, and the history makes one of several in a row that did nothing.
func (h *herd) begins(job string, runs []record.Run) (all []time.Time) {
	all = slices.Clone(h.lists[job])
	for _, run := range runs {
		if run.Started.After(all[0]) {
			all = append(all, run.Started)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// takeovers returns how long each job waited for its next run that a killed replica had left, the shortest first.
func (h *herd) takeovers(runs map[string][]record.Run) (waits []time.Duration) {
	h.t.Helper()
	for _, job := range h.jobs() {
		begins := h.begins(job, runs[job])
		left := map[time.Time]time.Time{} // by when the replica was dead, after when the next run begins
		for _, run := range runs[job] {
			if run.Outcome == record.RunCutOff {
				left[run.Ended] = slices.MaxFunc([]time.Time{run.Started, run.Ended.Add(lag)}, time.Time.Compare)
			}
		}
		for _, at := range h.broken[job] {
			i := slices.IndexFunc(h.killings, func(k killing) bool { return !at.Before(k.at) && at.Before(k.dead.Add(lag)) })
			if i < 0 {
				h.t.Errorf("%s was broken off at %s, and nobody was killed", job, at)
				continue
			}
			if left[h.killings[i].dead].IsZero() {
				h.t.Errorf("the history does not have that %s was cut off at %s", job, at)
			}
		}
		for at, after := range left {
			i := slices.IndexFunc(begins, func(next time.Time) bool { return next.After(after) })
			if i < 0 {
				h.t.Errorf("%s does not run any more since %s", job, at)
				continue
			}
			if waits = append(waits, begins[i].Sub(at)); begins[i].Sub(at) > taken {
				h.t.Errorf("%s was taken over after %s", job, begins[i].Sub(at))
			}
		}
	}
	slices.Sort(waits)
	return waits
}

// check checks that all jobs have run when they were due, and never twice at once.
func (h *herd) check() {
	h.t.Helper()
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	runs, cut := h.past()
	if len(h.twice) > 0 {
		h.t.Errorf("two runs at once, by their source: %q", h.twice)
	}
	all, latest := 0, time.Duration(0)
	for _, job := range h.jobs() {
		period := h.period
		if isSlow(job) {
			period = slowEvery
		}
		all += len(h.lists[job])
		begins := append(h.begins(job, runs[job]), now)
		for i := range begins[1:] {
			if late := begins[i+1].Sub(begins[i]) - period; late > patience {
				h.t.Errorf("%s had no run for %s, and is due every %s", job, begins[i+1].Sub(begins[i]), period)
			} else {
				latest = max(latest, late)
			}
		}
		for i, run := range runs[job][1:] {
			if before := runs[job][i]; run.Started.Before(before.Ended) {
				h.t.Errorf("two runs of %s at once, by the history: %+v, %+v", job, before, run)
			}
		}
	}
	waits := h.takeovers(runs)
	if len(waits) < len(h.killings) {
		h.t.Fatalf("%d jobs were taken over after %d kills", len(waits), len(h.killings))
	}
	median := waits[len(waits)/2]
	h.t.Logf("%d kills, %d mappings, %d runs, at most %.1f s later than due; %d were cut off and taken over, after %.1f s, %.1f s in the median, %.1f s at the most",
		len(h.killings), len(h.jobs()), all, latest.Seconds(), cut, waits[0].Seconds(), median.Seconds(), waits[len(waits)-1].Seconds())
	if median > 22*time.Second {
		h.t.Errorf("the median is %s", median)
	}
}

// TestReplicasAreKilled kills one of three replicas each five seconds: every job that is due runs, never twice at once, and what the dead have begun is
// taken over within half a minute. With DRAY_TEST_KILLS it has so many mappings, for three minutes, and the usual lease.
func TestReplicasAreKilled(t *testing.T) {
	timed(t)
	how := slaughter{mappings: 200, slow: 30, period: 20 * time.Second, kills: 3, lease: 10 * time.Second}
	if mappings, err := strconv.Atoi(os.Getenv("DRAY_TEST_KILLS")); err == nil {
		how = slaughter{mappings: mappings - 100, slow: 100, period: 3 * time.Minute, kills: 36, lease: 20 * time.Second}
	}
	h := newHerd(t, how)
	r := h.replicas[0]
	began := time.Now()
	r.within(t, 8*time.Minute, "all jobs have run", func() bool { return h.count("ended > 0") == len(h.jobs()) })
	t.Logf("all have run for the first time within %s", time.Since(began))
	digest := h.push(2, h.source)
	began = time.Now()
	h.mu.Lock()
	for job, lists := range h.lists { // from here on
		h.lists[job] = lists[len(lists)-1:]
	}
	h.mu.Unlock()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // which one dies
	for n := range how.kills {
		time.Sleep(time.Until(began.Add(time.Duration(n) * killEvery)))
		h.kill(random.IntN(len(h.replicas)))
	}
	t.Logf("%d kills within %s", how.kills, time.Since(began))
	h.replicas[0].within(t, how.period+2*time.Minute, "all jobs have run since", func() bool {
		return time.Since(began) > how.period+slowFor && h.count("ended < $1 OR failures > 0", began.UnixMilli()) == 0
	})
	last := h.killings[len(h.killings)-1].dead
	h.replicas[0].within(t, 2*time.Minute, "what the last one has left is taken over", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for job, broken := range h.broken {
			if lists := h.lists[job]; len(broken) > 0 && !lists[len(lists)-1].After(broken[len(broken)-1]) {
				return false
			}
		}
		return time.Since(last) > how.lease+killEvery
	})
	for _, job := range h.jobs() {
		if got := h.target.Digest(job, "v1"); got != digest {
			t.Errorf("%s is %s, want %s", job, got, digest)
		}
	}
	h.check()
}
