// Package hub emulates Docker Hub for tests: a registry that counts manifest fetches, reports the remaining pulls in the observed ways,
// refuses further ones, and counts wasted fetches.
//
// What is real: each GET of a manifest counts one, HEAD and blobs are free, windows slide or are fixed, headers and refusals are as
// recorded. A [Hub] counts all clients as one address, unless [Options.Who] is set; a [Site] adds the other hosts: one for tokens, which
// locks accounts, and one for blobs.
package hub

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Headers says how the hub reports the remaining pulls.
type Headers int

// The spellings.
const (
	// Both are ratelimit-* and x-ratelimit-*, as of 2026.
	Both Headers = iota
	// Extended are x-ratelimit-* only.
	Extended
	// Plain are ratelimit-* only.
	Plain
	// Mixed are both, but x-ratelimit-* only with a refusal.
	Mixed
	// None: the hub sends no headers, as to an account without a limit, but the limit still applies.
	None
)

// RetryAfter is the form of Retry-After in a refusal.
type RetryAfter int

// The forms of Retry-After.
const (
	NoRetryAfter RetryAfter = iota
	Seconds
	Date
	UnixTime
)

// Options of a [Hub].
type Options struct {
	// Limit is how many pulls a window allows.
	Limit  int
	Window time.Duration
	// Fixed starts a window with its first pull, and the next when it is over; otherwise the window slides.
	Fixed      bool
	Headers    Headers
	RetryAfter RetryAfter
	// RefuseHead answers HEAD 429 as well when nothing is left.
	RefuseHead bool
	// Skew is how far the hub's clock is ahead.
	Skew time.Duration
	// Exempt are repositories whose pulls do not count.
	Exempt []string
	// Half counts every other GET, as it once did.
	Half bool
	// Who returns the account or address for which a request counts. nil counts all requests as one address.
	Who func(*http.Request) string
}

// address is who everybody is where nothing else is said.
const address = "192.0.2.77"

// Hub is a registry that counts. It may be changed while it is in use.
type Hub struct {
	next http.Handler

	mu      sync.Mutex
	options Options
	windows map[string]*window
	abuse   bool
	account Account
	over    []int
	seen    map[string]int
}

// window is what one account or address has pulled.
type window struct {
	pulls []time.Time
	start time.Time // of a fixed window
	empty bool      // something was refused since there was something left
	gets  int
}

// Account has the hub's counts, for tests to check.
type Account struct {
	// Pulled are GETs that counted, Refused those that were answered 429, and Vain those of them that came after another in the same
	// window, before anything was given back.
	Pulled, Refused, Vain int
	// Repeated are pulls of a digest that was pulled before.
	Repeated int
	// Lowest is the least that was ever left.
	Lowest int
}

// New returns a hub before a registry.
func New(next http.Handler, options Options) *Hub {
	return &Hub{next: next, options: options, windows: map[string]*window{}, seen: map[string]int{}, account: Account{Lowest: options.Limit}}
}

// Account returns what was seen up to now.
func (h *Hub) Account() Account {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.account
}

// Windows returns how many pulls each fixed window had that is known to be over.
func (h *Hub) Windows() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.over)
}

// Change changes how the hub behaves from now on.
func (h *Hub) Change(edit func(*Options)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	edit(&h.options)
}

// Spend spends pulls as another client of the same address does, up to the remaining number.
func (h *Hub) Spend(n int) { h.SpendAs(address, n) }

// SpendAs spends pulls of an account or address, as far as there are any.
func (h *Hub) SpendAs(who string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, w := time.Now(), h.window(who)
	for range min(n, h.left(w, now)) {
		w.count(now)
	}
}

// Abuse has everything refused for the number of requests, until it is called with false.
func (h *Hub) Abuse(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.abuse = on
}

func (h *Hub) window(who string) *window {
	if h.windows[who] == nil {
		h.windows[who] = &window{}
	}
	return h.windows[who]
}

// left returns what a window has left, and forgets what it has left behind.
func (h *Hub) left(w *window, now time.Time) int {
	if h.options.Fixed {
		if !w.start.IsZero() && now.Sub(w.start) >= h.options.Window {
			h.over = append(h.over, len(w.pulls))
			w.pulls, w.start = nil, time.Time{}
		}
	} else {
		for len(w.pulls) > 0 && now.Sub(w.pulls[0]) >= h.options.Window {
			w.pulls = w.pulls[1:]
		}
	}
	left := max(0, h.options.Limit-len(w.pulls))
	if left > 0 {
		w.empty = false
	}
	return left
}

func (w *window) count(now time.Time) {
	if len(w.pulls) == 0 {
		w.start = now
	}
	w.pulls = append(w.pulls, now)
}

// ServeHTTP implements http.Handler.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.admit(w, r) {
		return
	}
	h.next.ServeHTTP(w, r)
}

// admit counts, and says what is left; where nothing is, it answers.
func (h *Hub) admit(w http.ResponseWriter, r *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.abuse {
		h.account.Refused++
		http.Error(w, "Too Many Requests (HAP429).", http.StatusTooManyRequests)
		return false
	}
	repository, reference, ok := manifest(r.URL.Path)
	if !ok {
		return true
	}
	if slices.Contains(h.options.Exempt, repository) {
		return true
	}
	who := address
	if h.options.Who != nil {
		who = h.options.Who(r)
	}
	w.Header().Set("Docker-Ratelimit-Source", who)
	w.Header().Set("Date", now.Add(h.options.Skew).UTC().Format(http.TimeFormat))
	mine := h.window(who)
	left := h.left(mine, now)
	get := r.Method == http.MethodGet
	if left == 0 && (get || h.options.RefuseHead) {
		if get {
			h.account.Refused++
			if mine.empty {
				h.account.Vain++
			}
			mine.empty = true
		}
		h.refuse(w, mine, now)
		return false
	}
	if get {
		if mine.gets++; !h.options.Half || mine.gets%2 == 1 {
			mine.count(now)
			left--
		}
		h.account.Pulled++
		h.account.Lowest = min(h.account.Lowest, left)
		if strings.Contains(reference, ":") {
			if h.seen[reference]++; h.seen[reference] > 1 {
				h.account.Repeated++
			}
		}
	}
	h.say(w, left, false)
	return true
}

// say writes the headers.
func (h *Hub) say(w http.ResponseWriter, left int, refused bool) {
	span := ";w=" + strconv.Itoa(int(h.options.Window/time.Second))
	headers := h.options.Headers
	if headers == Mixed {
		if headers = Both; refused {
			headers = Extended
		}
	}
	for _, prefix := range map[Headers][]string{Both: {"Ratelimit-", "X-Ratelimit-"}, Extended: {"X-Ratelimit-"}, Plain: {"Ratelimit-"}}[headers] {
		w.Header().Set(prefix+"Limit", strconv.Itoa(h.options.Limit)+span)
		w.Header().Set(prefix+"Remaining", strconv.Itoa(left)+span)
	}
}

// refuse answers as the hub was recorded to, with an account's token id in the text, which must go nowhere.
func (h *Hub) refuse(w http.ResponseWriter, mine *window, now time.Time) {
	h.say(w, 0, true)
	at := now.Add(h.options.Window)
	switch {
	case h.options.Fixed:
		at = mine.start.Add(h.options.Window)
	case len(mine.pulls) > 0:
		at = mine.pulls[0].Add(h.options.Window)
	}
	there := at.Add(h.options.Skew)
	switch h.options.RetryAfter {
	case NoRetryAfter:
	case Seconds:
		w.Header().Set("Retry-After", strconv.Itoa(int(at.Sub(now)/time.Second)+1))
	case Date:
		w.Header().Set("Retry-After", there.Add(time.Second).UTC().Format(http.TimeFormat))
	case UnixTime:
		w.Header().Set("Retry-After", strconv.FormatInt(there.Unix()+1, 10))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit as 'ann': %s. `+
		`You may increase the limit by upgrading. https://www.docker.com/increase-rate-limit"}]}`, TokenID)
}

// TokenID appears in the text of a refusal, and must not appear in any log or error.
const TokenID = "dckr_jti_9Lg3-DN__PcJ-secret="

// manifest reads the path of a manifest.
func manifest(path string) (repository, reference string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	i := strings.LastIndex(rest, "/manifests/")
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+len("/manifests/"):], true
}
