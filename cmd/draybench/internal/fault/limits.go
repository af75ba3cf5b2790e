package fault

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// form is one way to write Retry-After. RFC 9110, 10.2.3, has seconds and dates; Docker Hub has sent Unix times.
type form struct {
	name string
	// until is the end of a pause that begins now, as exactly as the form can say it.
	until func(now time.Time) time.Time
	text  func(until time.Time) string
}

func forms() []form {
	wholeSecond := func(now time.Time) time.Time { return now.Add(2 * time.Second).Truncate(time.Second) }
	return []form{
		{"seconds", func(now time.Time) time.Time { return now.Add(time.Second) }, func(time.Time) string { return "1" }},
		{"a date", wholeSecond, func(until time.Time) string { return until.UTC().Format(http.TimeFormat) }},
		{"Unix time", wholeSecond, func(until time.Time) string { return strconv.FormatInt(until.Unix(), 10) }},
	}
}

// limits are the 429s of one side.
func limits(side string) []scenario {
	kinds := []struct {
		name  string
		match match
		auth  *registry.Auth
	}{
		{"manifests", kind("", registry.KindManifest), nil},
		{"tokens", kind("", registry.KindToken), signedIn(0)},
		{"uploads", func(r *http.Request) bool { return upload(r) && r.Method != http.MethodPatch }, nil},
	}
	if side == Source {
		kinds = kinds[:2]
	}
	var list []scenario
	for _, k := range kinds {
		for _, f := range forms() {
			list = append(list, scenario{
				fault: "429 on " + k.name + ", Retry-After in " + f.name, side: side, auth: k.auth,
				arm: func(st *stage, e *end, _ fixture) {
					l := &limit{form: f, stage: st, asked: map[string]*pauseOf{}}
					e.wrap(k.match.and(l.refuses), l.answer)
				},
			})
		}
	}
	return list
}

// limit refuses each request once, and again as long as the pause is not over that it has asked for.
type limit struct {
	form  form
	stage *stage
	mu    sync.Mutex
	asked map[string]*pauseOf
}

// pauseOf is what one client was asked for.
type pauseOf struct{ from, until time.Time }

// meanwhile is how long after a refusal requests may come that were under way before it was read.
const meanwhile = 100 * time.Millisecond

func (l *limit) refuses(r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	asked, known := l.asked[purpose(r)]
	switch {
	case !known:
		l.asked[purpose(r)] = &pauseOf{now, l.form.until(now)}
		return true
	case !now.Before(asked.until):
		return false
	case now.After(asked.from.Add(meanwhile)) && exact(r):
		l.stage.flaw("asked again before Retry-After was over")
	}
	return true
}

func (l *limit) answer(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	l.mu.Lock()
	until := l.asked[purpose(r)].until
	l.mu.Unlock()
	w.Header().Set("Retry-After", l.form.text(until))
	problem(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many requests")
}
