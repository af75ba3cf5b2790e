package hub

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func answer(h *Hub, method, path string) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// What counts, and when a window gives it back.
func TestWindows(t *testing.T) {
	for name, tt := range map[string]struct {
		fixed bool
		// after are how many pulls there are at that many minutes after the first, when three were made at 0 and one at 30.
		after map[int]string
	}{
		"sliding": {false, map[int]string{31: "0", 59: "0", 60: "3", 89: "3", 90: "4"}},
		"fixed":   {true, map[int]string{31: "0", 59: "0", 60: "4", 90: "4"}},
	} {
		t.Run(name, func(t *testing.T) {
			for minute, want := range tt.after {
				synctest.Test(t, func(t *testing.T) {
					h := New(nothing, Options{Limit: 4, Window: time.Hour, Fixed: tt.fixed})
					for _, path := range []string{"/v2/a/manifests/v1", "/v2/a/manifests/sha256:x", "/v2/b/manifests/sha256:x"} {
						answer(h, http.MethodGet, path)
					}
					for _, free := range []string{"HEAD /v2/a/manifests/v1", "GET /v2/a/blobs/sha256:x", "GET /v2/a/tags/list", "GET /token"} {
						method, path, _ := strings.Cut(free, " ")
						if status := answer(h, method, path).StatusCode; status != http.StatusOK {
							t.Errorf("%s: %d", free, status)
						}
					}
					time.Sleep(30 * time.Minute)
					h.Spend(5) // of which there is one
					time.Sleep(time.Duration(minute-30) * time.Minute)
					got := answer(h, http.MethodHead, "/v2/a/manifests/v1").Header.Get("Ratelimit-Remaining")
					if got != want+";w=3600" {
						t.Errorf("at %d: %q, want %s", minute, got, want)
					}
					if a := h.Account(); a != (Account{Pulled: 3, Repeated: 1, Lowest: 1}) {
						t.Errorf("%+v", a)
					}
					if over := h.Windows(); tt.fixed && minute >= 60 != slices.Equal(over, []int{4}) {
						t.Errorf("the windows that are over had %v", over)
					}
				})
			}
		})
	}
}

// How it refuses, and what it notes of that.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nothing, Options{Limit: 1, Window: time.Hour, RetryAfter: Seconds, Exempt: []string{"free"}})
		answer(h, http.MethodGet, "/v2/a/manifests/v1")
		for range 2 {
			r := answer(h, http.MethodGet, "/v2/a/manifests/v2")
			if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "3601" || r.Header.Get("X-Ratelimit-Remaining") != "0;w=3600" {
				t.Errorf("%d %v", r.StatusCode, r.Header)
			}
		}
		if r := answer(h, http.MethodGet, "/v2/free/manifests/v1"); r.StatusCode != http.StatusOK || r.Header.Get("Ratelimit-Limit") != "" {
			t.Errorf("%d %v", r.StatusCode, r.Header)
		}
		if r := answer(h, http.MethodHead, "/v2/a/manifests/v1"); r.StatusCode != http.StatusOK {
			t.Error(r.StatusCode)
		}
		h.Change(func(o *Options) { o.RefuseHead, o.Headers, o.RetryAfter = true, None, UnixTime })
		if r := answer(h, http.MethodHead, "/v2/a/manifests/v1"); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Ratelimit-Limit") != "" || len(r.Header.Get("Retry-After")) < 9 {
			t.Errorf("%d %v", r.StatusCode, r.Header)
		}
		h.Abuse(true)
		if r := answer(h, http.MethodGet, "/token"); r.StatusCode != http.StatusTooManyRequests {
			t.Error(r.StatusCode)
		}
		if a := h.Account(); a != (Account{Pulled: 1, Refused: 3, Vain: 1}) {
			t.Errorf("%+v", a)
		}
	})
}
