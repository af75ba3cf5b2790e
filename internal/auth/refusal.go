package auth

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// refusals remember what the token server has refused to one credential, so that not every request asks again. Docker Hub locks an account
// for ten minutes after some wrong passwords, so a credential that fails there is not used at all for a while. Elsewhere a refusal may
// concern one repository. The signer's lock guards them.
type refusals struct {
	// all applies to every token, byScope to one.
	all     refusal
	byScope map[string]refusal
	// strikes counts refusals in a row, of whatever scope; latest is the time of the last.
	strikes int
	latest  time.Time
}

type refusal struct {
	until time.Time
	err   *wire.Error
}

const (
	// refusalFor is how long a refused token is not requested again.
	refusalFor = time.Minute
	// lockFor is how long a credential is not used after maxStrikes refusals, or after too many requests.
	lockFor    = 10 * time.Minute
	maxStrikes = 3
	maxScopes  = 10_000
)

// check returns the last refusal; nil if there is none or it has expired.
func (r *refusals) check(scope string, now time.Time) error {
	for _, known := range []refusal{r.all, r.byScope[scope]} {
		if known.err != nil && now.Before(known.until) {
			return known.err
		}
	}
	return nil
}

// served records that the credential works.
func (r *refusals) served() { r.strikes = 0 }

// note records a failure if it is a refusal, and returns the error to report; locks says that wrong passwords lock an account.
func (r *refusals) note(scope string, locks, signed bool, e *wire.Error, now time.Time) *wire.Error {
	switch {
	case e.Status == http.StatusTooManyRequests:
		if e.NotBefore.IsZero() && locks {
			e.NotBefore = enough(signed, e.Header, now)
		}
		if !e.NotBefore.IsZero() {
			r.all = refusal{e.NotBefore, e}
		}
		return e
	case e.Status != http.StatusForbidden && !denies(e):
		return e
	}
	if r.byScope == nil || len(r.byScope) >= maxScopes {
		r.byScope = map[string]refusal{}
	}
	e.Header = nil // it may be long
	r.byScope[scope] = refusal{now.Add(refusalFor), e}
	if e.Status == http.StatusForbidden { // it knows the account
		return e
	}
	if now.Sub(r.latest) > lockFor {
		r.strikes = 0
	}
	r.strikes, r.latest = r.strikes+1, now
	if locks && signed && r.strikes >= maxStrikes {
		until := now.Add(lockFor)
		locked := *e
		locked.Hint += fmt.Sprintf("; refused %d times, it is not tried again before %s, because it would lock the account", r.strikes, until.UTC().Format("15:04 MST"))
		r.all = refusal{until, &locked}
	}
	return e
}

// denies reports whether a token server refuses the credential: by 401, or to a form by 400 (RFC 6749, 5.2).
func denies(e *wire.Error) bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusBadRequest && e.Operation == "POST token"
}

// enough returns until when to leave a token server alone after a 429: as its header says; without one, as long as Docker Hub locks an
// account if there is a credential, or a minute, the window of its limit.
func enough(signed bool, header http.Header, now time.Time) time.Time {
	// Docker's header counts the seconds until its window ends; Docker Hub's API sends a Unix time in the same header.
	const unixFrom = 1_000_000_000
	if n, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64); err == nil && n > 0 {
		at := now.Add(time.Duration(min(n, unixFrom)) * time.Second)
		if n >= unixFrom {
			at = time.Unix(n, 0)
		}
		if at.After(now) && at.Before(now.Add(time.Hour)) {
			return at
		}
	}
	if signed {
		return now.Add(lockFor)
	}
	return now.Add(refusalFor)
}
