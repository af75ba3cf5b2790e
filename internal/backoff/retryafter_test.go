package backoff

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	const none = -1
	for what, test := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing":                               {http.Header{}, none},
		"seconds":                               {http.Header{"Retry-After": {" 120 "}}, 2 * time.Minute},
		"zero":                                  {http.Header{"Retry-After": {"0"}}, 0},
		"a fraction":                            {http.Header{"Retry-After": {"1.5"}}, 1500 * time.Millisecond},
		"a date by the registry's clock":        {http.Header{"Retry-After": {"Wed, 01 Jul 2026 13:00:30 GMT"}, "Date": {"Wed, 01 Jul 2026 13:00:00 GMT"}}, 30 * time.Second},
		"a date without the registry's clock":   {http.Header{"Retry-After": {"Wed, 01 Jul 2026 12:00:10 GMT"}}, 10 * time.Second},
		"a date gone by":                        {http.Header{"Retry-After": {"Wed, 01 Jul 2020 12:00:10 GMT"}}, 0},
		"the last date there is":                {http.Header{"Retry-After": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, longestWait},
		"a Unix time, as Docker Hub has sent":   {http.Header{"Retry-After": {"1782907260"}}, time.Minute},
		"a Unix time by the registry's clock":   {http.Header{"Retry-After": {"1782907260"}, "Date": {"Wed, 01 Jul 2026 12:00:20 GMT"}}, 40 * time.Second},
		"a Unix time gone by":                   {http.Header{"Retry-After": {"1746136938"}}, 0},
		"Docker Hub's older header":             {http.Header{"X-Retry-After": {"60"}}, time.Minute},
		"a number beyond what an int64 has":     {http.Header{"Retry-After": {"99999999999999999999999999"}}, longestWait},
		"negative":                              {http.Header{"Retry-After": {"-5"}}, none},
		"a word":                                {http.Header{"Retry-After": {"soon"}}, none},
		"an exponent":                           {http.Header{"Retry-After": {"1e300"}}, none},
		"no number, though a float may be that": {http.Header{"Retry-After": {"inf"}}, none},
	} {
		got, ok := RetryAfter(test.header, now)
		if want := test.want; ok != (want != none) || ok && got != want {
			t.Errorf("%s: %v, %v; want %v", what, got, ok, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Wed, 01 Jul 2026 13:00:30 GMT", "Wed, 01 Jul 2026 13:00:00 GMT")
	f.Add("1746136938", "x")
	f.Fuzz(func(t *testing.T, value, date string) {
		d, ok := RetryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, time.Unix(1782907200, 0))
		if d < 0 || d > longestWait || !ok && d != 0 {
			t.Fatalf("%q, %q: a pause of %v", value, date, d)
		}
	})
}
