package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// A target that lacks a repository may answer 403, 400 or 405: then nothing is known. To a source the same is an error.
func TestHeld(t *testing.T) {
	for status, want := range map[int]error{
		400: image.ErrHidden, 403: image.ErrHidden, 405: image.ErrHidden, 406: image.ErrHidden, 410: image.ErrHidden, 451: image.ErrHidden,
		501: image.ErrHidden, 404: image.ErrAbsent, 401: nil, 402: nil, 500: nil,
	} {
		inBubble(t, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{Retries: Retries{Attempts: 1}})
			r.Inject(emulator.Fault{Status: status})
			_, err := c.Held(t.Context(), at("app").Tag("1"))
			for _, kind := range []error{image.ErrHidden, image.ErrAbsent} {
				if err == nil || errors.Is(err, kind) != errors.Is(want, kind) {
					t.Errorf("%d: %v", status, err)
				}
			}
			if e := failure(t, err); e.Status != status {
				t.Errorf("%d: %+v", status, e)
			}
			if _, err := c.Head(t.Context(), at("app").Tag("1")); err == nil || errors.Is(err, image.ErrHidden) {
				t.Errorf("Head: %v", err)
			}
			if _, err := c.HasBlob(t.Context(), at("app"), content([]byte("x"))); errors.Is(err, image.ErrHidden) != errors.Is(want, image.ErrHidden) {
				t.Errorf("HasBlob: %v", err)
			}
		})
	}
}

// Quay answers 401 for what is not there, to everybody who may not create it, and to who may until it is pushed to. A sign-in that is
// refused is another thing.
func TestHeldBySignIn(t *testing.T) {
	for name, tt := range map[string]struct {
		basic  bool
		host   auth.Credential
		made   string // by what the repository is made
		hidden bool
	}{
		"made by a token":       {false, auth.Credential{Username: "ann", Password: "secret"}, "/token", false},
		"made by an upload":     {false, auth.Credential{Username: "ann", Password: "secret"}, "/uploads/", true},
		"a wrong password":      {false, auth.Credential{Username: "ann", Password: "wrong"}, "/uploads/", false},
		"nobody":                {false, auth.Credential{}, "/uploads/", false},
		"basic, wrong password": {true, auth.Credential{Username: "ann", Password: "wrong"}, "/uploads/", false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var made atomic.Bool
				r := emulator.New(emulator.Options{Auth: &emulator.Auth{
					Basic: tt.basic, Users: map[string]string{"ann": "secret"}, Permit: func(_, _, _ string) bool { return made.Load() },
				}})
				making := roundTripper(func(req *http.Request) (*http.Response, error) {
					if strings.HasSuffix(req.URL.Path, tt.made) && (req.Method == http.MethodPost || strings.Contains(req.URL.RawQuery, "push")) {
						made.Store(true)
					}
					return emulator.Network{home: r}.RoundTrip(req)
				})
				c := client(t, making, Options{Keychain: as(tt.host), Retries: Retries{Attempts: 1}})
				for range 2 { // the second time it is known how to sign in
					if _, err := c.Held(t.Context(), at("app").Tag("1")); err == nil || errors.Is(err, image.ErrHidden) != tt.hidden {
						t.Errorf("Held: %v", err)
					} else if tt.made == "/token" && !errors.Is(err, image.ErrAbsent) {
						t.Errorf("with the rights to push: %v", err)
					}
				}
				if !tt.hidden {
					return
				}
				time.Sleep(time.Minute) // so long a token that was refused is not asked for anew
				made.Store(true)
				i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
				for _, b := range i.Blobs {
					opened := 0
					if _, err := c.PutBlob(t.Context(), at("app"), image.Descriptor{MediaType: b.MediaType, Digest: image.Digest(b.Digest), Size: int64(len(b.Data))}, image.Repository{}, source(b.Data, &opened), nil); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := c.Held(t.Context(), at("app").Tag("1")); !errors.Is(err, image.ErrAbsent) {
					t.Errorf("once it is made: %v", err)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestTokenServerOfAllOrNone: a token server may refuse what it would give a part of. What needs the part is done all the same.
func TestTokenServerOfAllOrNone(t *testing.T) {
	for _, status := range []int{401, 403} {
		inBubble(t, func(t *testing.T) {
			r := emulator.New(emulator.Options{Auth: &emulator.Auth{Users: map[string]string{"ann": "secret"}}})
			network := roundTripper(func(req *http.Request) (*http.Response, error) {
				for _, scope := range req.URL.Query()["scope"] {
					if scope == "repository:read:pull,push" || scope == "repository:secret:pull" {
						return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
					}
				}
				return emulator.Network{home: r}.RoundTrip(req)
			})
			c := client(t, network, Options{Keychain: signed(home, "ann", "secret")})
			push(t, r, "read", "1")
			i := push(t, r, "secret", "1")
			if _, err := c.Held(t.Context(), at("read").Tag("1")); err != nil {
				t.Errorf("%d: Held: %v", status, err)
			}
			opened := 0
			data := i.Blobs[0].Data
			if mounted, err := c.PutBlob(t.Context(), at("app"), content(data), at("secret"), source(data, &opened), nil); err != nil || mounted || opened == 0 {
				t.Errorf("%d: PutBlob of what cannot be mounted: %t, %v", status, mounted, err)
			}
			if _, err := c.PutBlob(t.Context(), at("read"), content(data), image.Repository{}, source(data, &opened), nil); err == nil || failure(t, err).Status != status {
				t.Errorf("%d: PutBlob where nothing may be pushed: %v", status, err)
			}
		})
	}
}

// TestSignInIsAskedOnce: whether an account can sign in is asked once for all tags that a target says nothing of.
func TestSignInIsAskedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{Auth: &emulator.Auth{Basic: true, Users: map[string]string{"ann": "secret"}, Permit: func(_, _, _ string) bool { return false }}},
			Options{Keychain: signed(home, "ann", "secret")})
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				if _, err := c.Held(t.Context(), at(fmt.Sprint("app", i)).Tag("1")); !errors.Is(err, image.ErrHidden) {
					t.Errorf("error = %v", err)
				}
			})
		}
		group.Wait()
		if n := r.Count(func(q emulator.Request) bool { return q.Path == "/v2/" }); n > 2 { // the challenge, and the sign-in
			t.Errorf("asked %d times whether it signs in", n)
		}
	})
}
