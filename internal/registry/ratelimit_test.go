package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// parked is what a rate limit below answers in place of a registry.
type parked struct{ until time.Time }

func (parked) Error() string        { return "0 of 100 pulls are left" }
func (parked) Code() string         { return "pull-limit" }
func (p parked) RetryAt() time.Time { return p.until }

// limiting refuses to send what counts.
type limiting struct {
	next    http.RoundTripper
	until   time.Time
	refused *int
}

func (l limiting) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/manifests/") {
		*l.refused++
		return nil, parked{l.until}
	}
	return l.next.RoundTrip(req)
}

// TestRateLimitBelow: what a rate limit does not let through is not tried again, says when it may be, and is no sign of a registry that
// does not answer.
func TestRateLimitBelow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := emulator.New(emulator.Options{})
		if err := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{}).Push(r, "app", "v1"); err != nil {
			t.Fatal(err)
		}
		refused, until := 0, time.Now().Add(time.Hour)
		c, err := New(Options{Wrap: func(string, http.RoundTripper) http.RoundTripper {
			return limiting{emulator.Network{home: r}, until, &refused}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tag := image.Repository{Registry: home, Path: "app"}.Tag("v1")
		for range 2 {
			_, err = c.Manifest(t.Context(), tag)
			e, ok := errors.AsType[*Error](err)
			if !ok || !e.RetryAt().Equal(until) || e.Code() != "pull-limit" || e.Temporary() || !strings.Contains(err.Error(), "0 of 100 pulls are left") {
				t.Errorf("%v", err)
			}
		}
		if refused != 2 {
			t.Errorf("%d tries of 2", refused)
		}
		if _, err := c.Head(t.Context(), tag); err != nil {
			t.Error(err)
		}
	})
}
