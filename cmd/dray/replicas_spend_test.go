package main

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
)

const (
	// hubLimit is how many pulls a window of the hub allows, all of them to dray. A window is so long that what a dead replica had set aside, which
	// half a minute gives back, can still be pulled in it.
	hubLimit, hubWindow = 100, 2 * time.Minute
	// hubPaused is how long a replica is paused: longer than its lease, and than what it has set aside is left to it.
	hubPaused = 35 * time.Second
)

// shoppers are three replicas that pull from a hub all that it allows.
type shoppers struct {
	t        *testing.T
	hub      *hub.Hub
	db       *sql.DB
	desks    []desk
	replicas []*running
	pauses   sync.WaitGroup

	mu sync.Mutex
	// pulled counts the pulls of each manifest. underWay are manifests that a replica was at when it was killed or paused, and how often.
	pulled, underWay map[string]int
}

func newShoppers(t *testing.T, repositories, tags int) *shoppers {
	t.Helper()
	source := registry.New(registry.Options{})
	for n := range repositories * tags {
		image := registry.SingleArch(int64(n), "linux/amd64", registry.ImageOptions{LayerSize: 50})
		if err := image.Push(source, fmt.Sprint("app-", n/tags), fmt.Sprint("v", n%tags)); err != nil {
			t.Fatal(err)
		}
	}
	pull := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/")
	}
	source.Inject(registry.Fault{Delay: 200 * time.Millisecond, Match: pull}) // after the hub has counted it
	url := postgrestest.Database(t)
	s := &shoppers{
		t: t, db: ledgerDB(t, url), hub: hub.New(source, hub.Options{Limit: hubLimit, Window: hubWindow, Fixed: true}),
		pulled: map[string]int{}, underWay: map[string]int{},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pull(r) {
			s.mu.Lock()
			s.pulled[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
			s.mu.Unlock()
		}
		s.hub.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host, to := strings.TrimPrefix(server.URL, "http://"), start(t, registry.New(registry.Options{}))
	for n := range 3 {
		d := newDesk(t)
		lines := []string{
			"version: 1", serverLine(d.socket), fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: 10s}", url, n),
			fmt.Sprintf("registries: {'%s': {plainHTTP: true, rateLimit: {keep: 0}}}", host), "mappings:",
		}
		for i := range repositories {
			lines = append(lines, mapping("name: app-%d, source: '%s/app-%d', target: '%s/app-%d', tags: ['v*'], referrers: false, schedule: '@every 20s', jitter: 20s", i, host, i, to, i))
		}
		d.write(d.config, strings.Join(lines, "\n"))
		s.desks, s.replicas = append(s.desks, d), append(s.replicas, launch(t, d.config, d.socket))
	}
	return s
}

// now returns how many windows are over, and how many pulls there were since.
func (s *shoppers) now() (over, pulls int) {
	windows := s.hub.Windows()
	pulls = s.hub.Account().Pulled
	for _, n := range windows {
		pulls -= n
	}
	return len(windows), pulls
}

// member returns the number of a replica in the ledger.
func (s *shoppers) member(n int) (id int64) {
	s.t.Helper()
	const query = "SELECT id FROM dray.members WHERE name = $1 ORDER BY joined DESC LIMIT 1"
	if err := s.db.QueryRowContext(s.t.Context(), query, fmt.Sprint("replica-", n)).Scan(&id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

// note notes the manifests that a replica is at, by the holds that it has in the ledger.
func (s *shoppers) note(n int) (manifests int) {
	s.t.Helper()
	rows, err := s.db.QueryContext(s.t.Context(), "SELECT substr(key, 10) FROM dray.holds WHERE key LIKE 'manifest %' AND member = $1", s.member(n))
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; rows.Next(); manifests++ {
		var digest string
		if err := rows.Scan(&digest); err != nil {
			s.t.Fatal(err)
		}
		s.underWay[digest]++
	}
	return manifests
}

// kill kills a replica, and starts it again. It returns how many manifests it was at.
func (s *shoppers) kill(n int) (manifests int) {
	s.t.Helper()
	kill(s.t, s.replicas[n])
	manifests = s.note(n)
	s.replicas[n] = launch(s.t, s.desks[n].config, s.desks[n].socket)
	return manifests
}

// pause has a replica stand still beside what the test does. It returns how many manifests it was at.
func (s *shoppers) pause(n int) (manifests int) {
	s.t.Helper()
	process := s.replicas[n].Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(lag) // what it has sent before
	manifests = s.note(n)
	s.pauses.Go(func() {
		time.Sleep(hubPaused) // a real process
		_ = process.Signal(syscall.SIGCONT)
	})
	return manifests
}

// until waits until a window has so many pulls, or for some time after its first.
func (s *shoppers) until(window, pulls int, patience time.Duration) {
	s.t.Helper()
	var first time.Time
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		over, now := s.now()
		if over == window && now > 0 && first.IsZero() {
			first = time.Now()
		}
		switch {
		case over > window, over == window && now >= pulls, !first.IsZero() && time.Since(first) > patience:
			return
		case time.Since(began) > 3*hubWindow:
			s.t.Fatalf("no pull in window %d: %+v\n%s", window, s.hub.Account(), s.replicas[0].log)
		}
	}
}

// check checks that no manifest was pulled again but what a replica was at when it was killed or paused.
func (s *shoppers) check() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for digest, n := range s.pulled {
		if n > 1+s.underWay[digest] {
			s.t.Errorf("%s was pulled %d times, and was under way at %d kills and pauses", digest, n, s.underWay[digest])
		}
	}
}

// TestReplicasSpendWindows kills two of three replicas in each window of a hub, and pauses one in every other: they pull all that each window
// allows, are refused nothing, and pull no manifest again but what was under way at the kill. DRAY_TEST_WINDOWS says in how many windows.
func TestReplicasSpendWindows(t *testing.T) {
	windows, err := strconv.Atoi(os.Getenv("DRAY_TEST_WINDOWS"))
	if err != nil {
		t.Skip("set DRAY_TEST_WINDOWS to a number of windows, such as 10, to see for minutes how they are used")
	}
	timed(t)
	s := newShoppers(t, 12, windows*12) // more than the windows allow
	pauses, underWay := 0, 0
	for w := range windows {
		paused := w % 3
		s.until(w, 15, 5*time.Second)
		underWay += s.kill((paused + 1) % 3)
		if w%2 == 0 {
			pauses++
			underWay += s.pause(paused)
		}
		s.until(w, 50, 10*time.Second)
		underWay += s.kill((paused + 2) % 3)
		s.until(w+1, 1, 0)
		t.Logf("windows until now: %v; %+v", s.hub.Windows(), s.hub.Account())
	}
	s.pauses.Wait()
	used := s.hub.Windows()[:windows]
	a := s.hub.Account()
	t.Logf("%d kills, %d pauses, %d windows of %d pulls: used %v, %d refused, %d manifests pulled again, %d were under way at kills and pauses", 2*windows, pauses, windows, hubLimit, used, a.Refused, a.Repeated, underWay)
	if a.Refused > 0 || a.Lowest < 0 || slices.Min(used) < hubLimit-1 {
		t.Errorf("%+v, used %v", a, used)
	}
	s.check()
}
