package ratelimit

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reading is what an answer says about a budget of pulls. Missing numbers are -1.
type Reading struct {
	Limit, Remaining int
	// Window is the time window of the limit; zero if unknown.
	Window time.Duration
	// Source is whom the registry counts: an account's name or an address. It must not be logged.
	Source string
}

// maxValues limits how many values of a list are read, maxNumber the value of a number.
const (
	maxValues = 16
	maxNumber = 1 << 40
)

// Read reads the headers that say how much is left, in any spelling: ratelimit-limit, x-ratelimit-limit, each "N", "N;w=SECONDS", or a list
// of these, of which the one with the least left applies. It returns false if there are none.
func Read(header http.Header) (Reading, bool) {
	r := Reading{Limit: -1, Remaining: -1, Source: strings.TrimSpace(header.Get("Docker-Ratelimit-Source"))}
	limits, remaining := quantities(header, "Limit"), quantities(header, "Remaining")
	for _, q := range remaining {
		if r.Remaining < 0 || q.n < r.Remaining {
			r.Remaining, r.Window = q.n, q.window
		}
	}
	for _, q := range limits {
		if r.Limit < 0 || q.window == r.Window {
			r.Limit = q.n
			if r.Window == 0 {
				r.Window = q.window
			}
		}
	}
	return r, r.Remaining >= 0
}

// resetIn returns when the window starts over, if an answer says it in seconds (draft-ietf-httpapi-ratelimit-headers-05); zero otherwise.
func resetIn(header http.Header) time.Duration {
	reset := quantities(header, "Reset")
	if len(reset) != 1 || reset[0].n >= int(maxWindow/time.Second) {
		return 0
	}
	return time.Duration(reset[0].n) * time.Second
}

// quantity is a number with its window.
type quantity struct {
	n      int
	window time.Duration
}

// quantities reads the header in its standard spelling, or else the one with "X-".
func quantities(header http.Header, name string) []quantity {
	for _, prefix := range []string{"Ratelimit-", "X-Ratelimit-"} {
		var list []quantity
		for _, value := range header.Values(prefix + name) {
			for text := range strings.SplitSeq(value, ",") {
				if q, ok := parseQuantity(text); ok && len(list) < maxValues {
					list = append(list, q)
				}
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// parseQuantity reads "100;w=3600". It ignores unknown parameters.
func parseQuantity(text string) (quantity, bool) {
	number, parameters, _ := strings.Cut(text, ";")
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > maxNumber {
		return quantity{}, false
	}
	q := quantity{n: int(n)}
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
		if strings.EqualFold(key, "w") && err == nil && seconds > 0 && seconds < int64(maxWindow/time.Second) {
			q.window = time.Duration(seconds) * time.Second
		}
	}
	return q, true
}

// maxWindow is the longest plausible window.
const maxWindow = 31 * 24 * time.Hour

// refusal is the subject of a 429.
type refusal int

const (
	// abuse: the rate of requests of any kind.
	abuse refusal = iota
	// pulls: the budget of pulls.
	pulls
)

// judge determines the subject of a 429. Docker Hub names the pull limit in its text, or says that nothing is left; a 429 with neither
// concerns the rate of requests. The text need not be JSON.
func judge(header http.Header, body string) refusal {
	text := strings.ToLower(body)
	if strings.Contains(text, "pull rate limit") || strings.Contains(text, "increase-rate-limit") {
		return pulls
	}
	if r, ok := Read(header); ok && r.Remaining == 0 && r.Window > 0 {
		return pulls
	}
	return abuse
}
