package auth

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// refusals are what the token server has refused to one credential, so that it is not asked the same for every request. Docker Hub locks an
// account for ten minutes after some wrong passwords, so there a credential that fails is left alone as a whole. Elsewhere a refusal may be
// about one repository. The lock of the signer guards them.
type refusals struct {
	// all holds for every token, byScope for one.
	all     refusal
	byScope map[string]refusal
	// strikes are the refusals one after the other, whatever was asked for, the latest at latest.
	strikes int
	latest  time.Time
}

type refusal struct {
	until time.Time
	err   *wire.Error
}

const (
	// refusalFor is how long a refused token is not asked for again.
	refusalFor = time.Minute
	// lockFor is how long a credential is not used that was refused maxStrikes times, or of which the server has had enough.
	lockFor    = 10 * time.Minute
	maxStrikes = 3
	maxScopes  = 10_000
)

// check returns the last refusal, nil where there is none or it is over.
func (r *refusals) check(scope string, now time.Time) error {
	for _, known := range []refusal{r.all, r.byScope[scope]} {
		if known.err != nil && now.Before(known.until) {
			return known.err
		}
	}
	return nil
}

// served notes that the credential is good.
func (r *refusals) served() { r.strikes = 0 }

// note keeps a failure where it is a refusal, and returns what there is to say of it; locks says that wrong passwords lock an account there.
func (r *refusals) note(scope string, locks, signed bool, e *wire.Error, now time.Time) *wire.Error {
	switch e.Status {
	case http.StatusTooManyRequests:
		if e.NotBefore.IsZero() && locks {
			e.NotBefore = enough(signed, e.Header, now)
		}
		if !e.NotBefore.IsZero() {
			r.all = refusal{e.NotBefore, e}
		}
		return e
	case http.StatusUnauthorized, http.StatusForbidden:
	default:
		return e
	}
	if r.byScope == nil || len(r.byScope) >= maxScopes {
		r.byScope = map[string]refusal{}
	}
	e.Header = nil // as long as it likes
	r.byScope[scope] = refusal{now.Add(refusalFor), e}
	if e.Status == http.StatusForbidden { // it knows who asks
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

// enough is until when a token server is left alone that has had enough of requests: as long as its header says, or as Docker Hub locks an
// account where there is a credential, and a minute, the window of its limit, otherwise.
func enough(signed bool, header http.Header, now time.Time) time.Time {
	// Docker's says in how many seconds its window ends; Docker Hub's API says a Unix time in the same header.
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
