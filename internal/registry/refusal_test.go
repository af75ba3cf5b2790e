package registry

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// The bounds of packages auth and wire, which these tests look at from outside.
const (
	lockFor          = 10 * time.Minute
	maxStrikes       = 3
	stallTimeout     = time.Minute
	restAfterFailure = 10 * time.Second
)

// lockingStand is a registry with an account, and a client with a password for it; locks says that it is Docker Hub, which locks accounts.
func lockingStand(t *testing.T, locks bool, password string) (*emulator.Registry, *Client, func(path string) image.Repository) {
	t.Helper()
	name, host := home, home
	if locks {
		name, host = image.DockerHub, "registry-1.docker.io"
	}
	r := emulator.New(emulator.Options{Auth: &emulator.Auth{Users: map[string]string{"ann": "secret"}, Realm: "https://" + home + "/token"}})
	c := client(t, emulator.Network{home: r, host: r}, Options{Keychain: signed(name, "ann", password)})
	return r, c, func(path string) image.Repository { return image.Repository{Registry: name, Path: path} }
}

// TestWrongPasswordIsNotInsisted signs in with a wrong password for one repository after the other: Docker Hub locks an account that does.
// Elsewhere each repository is asked for, since the refusal may be about that one.
func TestWrongPasswordIsNotInsisted(t *testing.T) {
	for locks, want := range map[bool]int{true: maxStrikes, false: 20} {
		t.Run(fmt.Sprintf("locks=%t", locks), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c, at := lockingStand(t, locks, "wr0ng")
				ask := func(from int) (text string) {
					for i := range 20 {
						_, err := c.Head(t.Context(), at(fmt.Sprintf("team/app%d", from+i)).Tag("1"))
						e := failure(t, err)
						if e.Status != http.StatusUnauthorized || !e.RetryAt().IsZero() {
							t.Fatalf("%+v", e)
						}
						text = err.Error()
					}
					return text
				}
				text := ask(0)
				if n := kind(r.Gate, "", emulator.KindToken); n != want {
					t.Errorf("%d token requests, want %d", n, want)
				}
				if !locks {
					return
				}
				contains(t, text, "it would lock the account", "check registries")
				time.Sleep(lockFor)
				ask(100)
				if n := kind(r.Gate, "", emulator.KindToken) - want; n == 0 || n > maxStrikes {
					t.Errorf("%d token requests after the lock", n)
				}
			})
		})
	}
}

// TestTokenServerHasEnough meets a 429 of the server that gives tokens: nothing more is asked of it before the time that it says, and what
// waits for it is deferred.
func TestTokenServerHasEnough(t *testing.T) {
	for name, tt := range map[string]struct {
		header http.Header
		wait   time.Duration
	}{
		"says nothing":  {nil, lockFor},
		"reset, in":     {http.Header{"X-Ratelimit-Reset": {"49"}}, 49 * time.Second},
		"reset, at":     {http.Header{"X-Ratelimit-Reset": {"946684860"}}, lockFor}, // long gone: the bubble begins in 2000
		"retry, in":     {http.Header{"Retry-After": {"300"}}, 5 * time.Minute},
		"retry, at":     {http.Header{"Retry-After": {"1746136938"}}, 24 * time.Hour},
		"reset, absurd": {http.Header{"X-Ratelimit-Reset": {"99999999999999"}}, lockFor},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c, at := lockingStand(t, true, "secret")
				push(t, r, "team/app", "1")
				r.Reset()
				remove := r.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindToken), Status: http.StatusTooManyRequests, Header: tt.header, Body: "Too Many Requests"})
				began := time.Now()
				for range 20 {
					_, err := c.Head(t.Context(), at("team/app").Tag("1"))
					if again := failure(t, err).RetryAt(); again.Sub(began) != tt.wait {
						t.Fatalf("it is to be tried again after %s, want %s: %v", again.Sub(began), tt.wait, err)
					}
				}
				if n := kind(r.Gate, "", emulator.KindToken); n != 1 {
					t.Errorf("%d token requests", n)
				}
				remove()
				time.Sleep(tt.wait)
				if _, err := c.Head(t.Context(), at("team/app").Tag("1")); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
