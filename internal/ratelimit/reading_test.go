package ratelimit

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/backoff"
)

// header reads lines as a response has them.
func header(lines string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Add(name, value)
		}
	}
	return h
}

// The headers are as they were recorded.
func TestRead(t *testing.T) {
	for name, tt := range map[string]struct {
		lines string
		want  Reading
		ok    bool
	}{
		"2026, signed in": {
			"docker-ratelimit-source: davidrochester1\nx-ratelimit-limit: 200;w=3600\nratelimit-limit: 200;w=3600\nx-ratelimit-remaining: 198;w=3600\nratelimit-remaining: 198;w=3600",
			Reading{200, 198, time.Hour, "davidrochester1"}, true,
		},
		"2025, nothing left": {
			"ratelimit-limit: 100;w=21600\nratelimit-remaining: 0;w=21600\ndocker-ratelimit-source: 2001:41d0:801:2000::",
			Reading{100, 0, 6 * time.Hour, "2001:41d0:801:2000::"}, true,
		},
		"x only":         {"x-ratelimit-limit: 100;w=3600\nx-ratelimit-remaining: 0;w=3600", Reading{100, 0, time.Hour, ""}, true},
		"token endpoint": {"x-ratelimit-limit: 3000, 3000;w=60\nx-ratelimit-remaining: 2999\nx-ratelimit-reset: 49", Reading{3000, 2999, 0, ""}, true},
		"Hub API":        {"x-ratelimit-limit: 180\nx-ratelimit-reset: 1746136938\nx-ratelimit-remaining: 0", Reading{180, 0, 0, ""}, true},
		"the least left": {"ratelimit-limit: 10;w=60, 100;w=3600\nratelimit-remaining: 9;w=60, 3;w=3600", Reading{100, 3, time.Hour, ""}, true},
		"source alone":   {"docker-ratelimit-source: ann", Reading{-1, -1, 0, "ann"}, false},
		"nonsense":       {"ratelimit-limit: many\nratelimit-remaining: -1;w=x", Reading{-1, -1, 0, ""}, false},
		"none":           {"", Reading{-1, -1, 0, ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Read(header(tt.lines))
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
				t.Error(ok, diff)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	for body, want := range map[string]refusal{
		`{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"}]}`:                          pulls,
		`toomanyrequests: You have reached your pull rate limit as '***': dckr_jti_9Lg3-DN__PcJ-…=. You may increase the limit by upgrading. https://www.docker.com/increase-rate-limit`: pulls,
		"Too Many Requests (HAP429).\n": abuse, "": abuse, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`: abuse,
	} {
		if got := judge(http.Header{}, body); got != want {
			t.Errorf("%q is about %v", body, got)
		}
	}
	if got := judge(header("ratelimit-remaining: 0;w=3600"), ""); got != pulls {
		t.Error("nothing is left, and it is not about that")
	}
}

// FuzzRead: no header makes a reading that a budget cannot bear, and no answer one that names whom the registry counts.
func FuzzRead(f *testing.F) {
	f.Add("100;w=3600", "99;w=3600", "90", "You have reached your pull rate limit as 'ann': dckr_jti_x")
	f.Add("3000, 3000;w=60", "2999", "Mon, 23 Nov 2026 12:10:00 GMT", "")
	f.Add("9999999999999999999", "-0;w=-1;w=9999999999", "1795435500", "Too Many Requests (HAP429).")
	f.Fuzz(func(t *testing.T, limit, remaining, retry, body string) {
		h := http.Header{"Ratelimit-Limit": {limit}, "X-Ratelimit-Remaining": {remaining}, "Retry-After": {retry}}
		now := time.Unix(1_795_435_200, 0)
		r, ok := Read(h)
		if r.Limit < -1 || r.Remaining < -1 || ok != (r.Remaining >= 0) || r.Window < 0 || r.Window > maxWindow {
			t.Fatalf("%+v %v", r, ok)
		}
		judge(h, body)
		b := &budget{}
		rule := Rule{Metered: true, Keep: 3}
		if ok {
			b.learn(r, now, now)
		}
		var asked time.Time
		if wait, ok := backoff.RetryAfter(h, now); ok {
			asked = now.Add(wait)
		}
		if at := b.refuse(rule, asked, now); at.Before(now) || at.After(now.Add(maxWindow+2*time.Hour)) {
			t.Fatalf("%+v waits until %s", b, at)
		}
		for i := range 10 {
			if at, ok := b.take(rule, now.Add(time.Duration(i)*time.Hour)); ok {
				b.settle(true, now)
			} else if at.Before(now) {
				t.Fatalf("%+v waits until %s", b, at)
			}
		}
	})
}
