package wire

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	cases := []struct {
		name    string
		header  http.Header
		message string
		want    time.Duration
		ok      bool
	}{
		{"none", header(), "", 0, false},
		{"seconds", header("Retry-After", "120"), "", 2 * time.Minute, true},
		{"GHCR's message", header(), "toomanyrequests: retry-after: 880.092µs, allowed: 44000/minute", 880092 * time.Nanosecond, true},
		{"GHCR's message, longer", header(), "retry-after: 1m2s", 62 * time.Second, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok := retryAfter(c.header, c.message, now)
			if got != c.want || ok != c.ok {
				t.Errorf("retryAfter = %v, %v; want %v, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestClean(t *testing.T) {
	cases := map[string]string{
		"plain text":         "plain text",
		"two\nlines\x1b[31m": "two lines [31m",
		"toomanyrequests: You have reached your pull rate limit as 'acme': dckr_jti_9Lg3-DN__PcJ-x=. You may": "toomanyrequests: You have reached your pull rate limit as [redacted]: [redacted]. You may",
		"Authorization: Bearer abcdefghijkl.mnop":                                                             "Authorization: Bearer [redacted]",
		"bad \xff\xfe bytes": "bad ? bytes",
	}
	for in, want := range cases {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Clean(strings.Repeat("x", 10_000)); len(got) > 310 {
		t.Errorf("clean leaves %d bytes", len(got))
	}
}
