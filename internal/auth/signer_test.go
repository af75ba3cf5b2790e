package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// roundTrip is a function that sends a request.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// said is an answer.
func said(req *http.Request, status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req}
}

// clientOf returns a client that sends by a function.
func clientOf(t *testing.T, send roundTrip, source func(context.Context) (Credential, time.Time, error), locks bool) *Client {
	t.Helper()
	carrier, err := wire.New(wire.Options{
		Name: ours, API: ours, Start: 16, Most: 16, Retries: wire.Retries{Attempts: 2, First: time.Millisecond}, Log: slog.New(slog.DiscardHandler),
		Wrap: func(string, http.RoundTripper) http.RoundTripper { return send },
	})
	if err != nil {
		t.Fatal(err)
	}
	return New(carrier, source, locks, slog.New(slog.DiscardHandler))
}

// look sends one HEAD for a tag of a repository.
func look(t *testing.T, c *Client, repository string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "https://"+ours+"/v2/"+repository+"/manifests/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req, wire.Call{Operation: "HEAD manifest"}, Pull(repository))
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// challenged is the answer of a registry that wants a token of a realm.
func challenged(req *http.Request, realm string) *http.Response {
	return said(req, http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Bearer realm="` + realm + `",service="s"`}}, "")
}

// TestCredentialThatChangesMeanwhile: a credential is replaced while others ask the token server, which refuses for their number.
func TestCredentialThatChangesMeanwhile(t *testing.T) {
	var n atomic.Int64
	source := func(context.Context) (Credential, time.Time, error) {
		return Credential{Username: "ann", Password: fmt.Sprint("password", n.Add(1))}, time.Now(), nil
	}
	c := clientOf(t, func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/token" {
			return said(req, http.StatusTooManyRequests, nil, ""), nil
		}
		return challenged(req, "https://"+ours+"/token"), nil
	}, source, true)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 5 {
				if look(t, c, fmt.Sprint("app", i)) == nil {
					t.Error("no error")
				}
			}
		})
	}
	group.Wait()
}

// always is the source of a credential that does not change.
func always(c Credential) func(context.Context) (Credential, time.Time, error) {
	return func(context.Context) (Credential, time.Time, error) { return c, time.Time{}, nil }
}

// TestTokenServerThatMoves: where the token server that a registry named gives no token, the registry is asked once where it is now.
func TestTokenServerThatMoves(t *testing.T) {
	const before = "192.0.2.3"
	for name, after := range map[string]struct {
		now     func(req *http.Request) *http.Response // what the registry says then without a token
		old     int                                    // what the old server answers; 0 for nothing
		fails   bool
		request int // to the registry, of two looks
	}{
		"dead, moved":    {func(q *http.Request) *http.Response { return challenged(q, "https://"+their+"/token") }, 0, false, 3},
		"gone, moved":    {func(q *http.Request) *http.Response { return challenged(q, "https://"+their+"/token") }, 404, false, 3},
		"denies, moved":  {func(q *http.Request) *http.Response { return challenged(q, "https://"+their+"/token") }, 403, false, 3},
		"dead, open now": {func(q *http.Request) *http.Response { return said(q, 200, nil, "") }, 0, false, 2},
		"dead, basic now": {func(q *http.Request) *http.Response {
			return said(q, 401, http.Header{"Www-Authenticate": {`Basic realm="x"`}}, "")
		}, 0, false, 3},
		"dead for good": {func(q *http.Request) *http.Response { return challenged(q, "https://"+before+"/token") }, 0, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				moved, requests := false, 0
				c := clientOf(t, func(req *http.Request) (*http.Response, error) {
					authorization := req.Header.Get("Authorization")
					switch {
					case req.URL.Host+req.URL.Path == before+"/token" && moved && after.old == 0:
						return nil, io.ErrUnexpectedEOF
					case req.URL.Host+req.URL.Path == before+"/token" && moved:
						return said(req, after.old, nil, ""), nil
					case req.URL.Path == "/token":
						return said(req, http.StatusOK, nil, `{"token":"`+req.URL.Host+`"}`), nil
					}
					requests++
					switch {
					case !moved && authorization == "Bearer "+before, moved && (authorization == "Bearer "+their || strings.HasPrefix(authorization, "Basic")):
						return said(req, http.StatusOK, nil, ""), nil
					case !moved:
						return challenged(req, "https://"+before+"/token"), nil
					}
					return after.now(req), nil
				}, always(Credential{Username: "ann", Password: "p:w"}), false)
				if err := look(t, c, "app"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				moved, requests = true, 0
				for range 2 {
					err := look(t, c, "app")
					if (err != nil) != after.fails {
						t.Errorf("error = %v", err)
					}
					if err != nil && !strings.HasPrefix(err.Error(), "GET token: "+before) {
						t.Errorf("error = %v", err)
					}
				}
				if requests != after.request {
					t.Errorf("%d requests to the registry, want %d", requests, after.request)
				}
			})
		})
	}
}

// TestRealmOfEachRepository: registries such as Artifactory have a token server for each of their repositories, which knows nothing of others.
func TestRealmOfEachRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := 0
		c := clientOf(t, func(req *http.Request) (*http.Response, error) {
			place, below := strings.CutPrefix(req.URL.Path, "/token/")
			scope := req.URL.Query().Get("scope")
			name := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/1")
			switch {
			case below && scope != "repository:"+place+":pull":
				tokens++
				return said(req, http.StatusForbidden, nil, ""), nil
			case below:
				tokens++
				return said(req, http.StatusOK, nil, `{"token":"`+place+`"}`), nil
			case req.Header.Get("Authorization") == "Bearer "+name:
				return said(req, http.StatusOK, nil, ""), nil
			}
			return challenged(req, "https://"+ours+"/token/"+name), nil
		}, always(Credential{}), false)
		for range 5 {
			tokens = 0
			for _, repository := range []string{"a", "b", "c"} {
				if err := look(t, c, repository); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(2 * time.Minute) // the tokens end
		}
		if tokens != 3 {
			t.Errorf("%d requests for tokens of three repositories, the fifth time", tokens)
		}
	})
}

// TestCredentialThatHelperRenews: a credential that is refused is asked for anew, once, and tried within the same request.
func TestCredentialThatHelperRenews(t *testing.T) {
	for _, scheme := range []string{basic, bearer} {
		t.Run(scheme, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, given, taken := 0, "one", "one"
				source := func(context.Context) (Credential, time.Time, error) {
					asked++
					return Credential{Username: "ann", Password: given}, time.Now().Add(time.Hour), nil
				}
				c := clientOf(t, func(req *http.Request) (*http.Response, error) {
					_, password, _ := req.BasicAuth()
					challenge := http.Header{"Www-Authenticate": {`Basic realm="x"`}}
					if scheme == bearer {
						challenge = http.Header{"Www-Authenticate": {`Bearer realm="https://` + ours + `/token"`}}
					}
					switch {
					case req.URL.Path == "/token" && password == taken:
						return said(req, 200, nil, `{"token":"for`+taken+`","expires_in":1}`), nil
					case req.URL.Path != "/token" && scheme == basic && password == taken, req.Header.Get("Authorization") == "Bearer for"+taken:
						return said(req, 200, nil, ""), nil
					}
					return said(req, 401, challenge, ""), nil
				}, source, false)
				if err := look(t, c, "app"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				given, taken, asked = "two", "two", 0
				if err := look(t, c, "app"); err != nil || asked != 1 {
					t.Errorf("after a renewal: %v, asked %d times", err, asked)
				}
				time.Sleep(10 * time.Minute)
				taken, asked = "three", 0
				for range 20 {
					if err := look(t, c, "app"); err == nil {
						t.Error("a password that is wrong")
					}
				}
				if asked != 1 {
					t.Errorf("asked %d times for a password that is wrong", asked)
				}
				given = "three"
				time.Sleep(time.Minute)
				if err := look(t, c, "app"); err != nil {
					t.Errorf("after the second renewal: %v", err)
				}
			})
		})
	}
}

// TestTokenServerThatDenies: 403 is asked for no more often than 401.
func TestTokenServerThatDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := 0
		c := clientOf(t, func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/token" {
				tokens++
				return said(req, http.StatusForbidden, nil, ""), nil
			}
			return challenged(req, "https://"+ours+"/token"), nil
		}, always(Credential{Username: "ann", Password: "p:w"}), true)
		for range 20 {
			if err := look(t, c, "app"); err == nil || !strings.Contains(err.Error(), "403") {
				t.Errorf("error = %v", err)
			}
		}
		if tokens != 1 {
			t.Errorf("%d requests for tokens", tokens)
		}
		time.Sleep(refusalFor)
		if _ = look(t, c, "app"); tokens != 2 {
			t.Errorf("%d requests for tokens, after a minute", tokens)
		}
	})
}

// TestTokensAreBounded: what tokens take in memory has a bound, and an error costs the same however many there are.
func TestTokensAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 1<<20)
		c := clientOf(t, func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/token" {
				return said(req, http.StatusOK, nil, `{"token":"`+long+`"}`), nil
			}
			return challenged(req, "https://"+ours+"/token"), nil
		}, always(Credential{}), false)
		if err := look(t, c, "app"); err == nil || len(c.home.tokens) > 0 {
			t.Errorf("a token of a megabyte: %v", err)
		}
		for i := range 1000 {
			c.home.keep(fmt.Sprint(i/2), &token{text: long[:i<<7], born: time.Now(), ends: time.Now().Add(time.Hour)})
		}
		size := 0
		for key, known := range c.home.tokens {
			size += len(key) + len(known.text)
		}
		if size != c.home.size || size == 0 || size > 16<<20 {
			t.Errorf("%d bytes in %d tokens, reckoned as %d", size, len(c.home.tokens), c.home.size)
		}
		if all := c.home.secrets(); len(all) > 10 {
			t.Errorf("an error looks for %d secrets", len(all))
		}
	})
}

// TestTokenReplacedMeanwhile: an error repeats no token that its request carried, though there is another by now.
func TestTokenReplacedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		var moved atomic.Bool
		c := clientOf(t, func(req *http.Request) (*http.Response, error) {
			switch {
			case req.URL.Path == "/token":
				return said(req, http.StatusOK, nil, fmt.Sprintf(`{"token":"s3cret-t0ken-%d"}`, n.Add(1))), nil
			case req.Header.Get("Authorization") == "":
				return challenged(req, "https://"+ours+"/token"), nil
			case strings.HasSuffix(req.Header.Get("Authorization"), "-1"):
				time.Sleep(10 * time.Minute)
				moved.Store(true)
				fallthrough
			case moved.Load():
				return nil, errors.New("a proxy does not know s3cret-t0ken-1")
			}
			return said(req, http.StatusOK, nil, ""), nil
		}, always(Credential{}), false)
		failed := make(chan error)
		go func() { failed <- look(t, c, "app") }()
		time.Sleep(5 * time.Minute)
		if err := look(t, c, "app"); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Error(err)
		}
	})
}

// TestHelperThatHangs: a source that takes long to fail is not asked again by each wave of requests.
func TestHelperThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := clientOf(t, func(req *http.Request) (*http.Response, error) { return said(req, 200, nil, ""), nil },
			func(ctx context.Context) (Credential, time.Time, error) {
				if asked++; asked == 3 {
					return Credential{}, time.Time{}, nil
				}
				<-ctx.Done()
				return Credential{}, time.Time{}, context.Cause(ctx)
			}, false)
		for range 10 {
			var group sync.WaitGroup
			for i := range 10 {
				group.Go(func() {
					if err := look(t, c, fmt.Sprint("app", i)); err == nil {
						t.Error("no error")
					}
				})
			}
			group.Wait()
		}
		if asked != 1 {
			t.Errorf("asked %d times by ten waves", asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.Sleep(refusalFor)
		go func() { time.Sleep(time.Second); cancel() }()
		if _, err := c.Account(ctx); err == nil {
			t.Error("no error")
		}
		if err := look(t, c, "app"); err != nil {
			t.Errorf("after a search that nobody waited for: %v", err)
		}
	})
}

// TestSourceThatHangs: a source that no context ends, as a file on a file system that is away, is waited for with an end, is not asked again meanwhile, and
// serves once it answers.
func TestSourceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := clientOf(t, func(req *http.Request) (*http.Response, error) { return said(req, http.StatusOK, nil, ""), nil },
			func(context.Context) (Credential, time.Time, error) {
				if asked++; asked == 1 {
					time.Sleep(10 * time.Minute)
				}
				return Credential{Username: "ann", Password: "p"}, time.Time{}, nil
			}, false)
		for begun := time.Now(); time.Since(begun) < 9*time.Minute; time.Sleep(time.Minute) {
			before := time.Now()
			err := look(t, c, "app")
			if e, ok := errors.AsType[*wire.Error](err); !ok || !e.Temporary() || !strings.Contains(e.Error(), "gives no answer") {
				t.Errorf("after %s: %v", time.Since(begun), err)
			}
			if took := time.Since(before); took > sourceTimeout+searchGrace {
				t.Errorf("it took %s", took)
			}
		}
		time.Sleep(2 * time.Minute)
		if err := look(t, c, "app"); err != nil || asked != 2 {
			t.Errorf("asked %d times, %v", asked, err)
		}
	})
}

// TestCircles: redirects in a circle end, and the error names where they have led.
func TestCircles(t *testing.T) {
	circle := func(req *http.Request) *http.Response {
		return said(req, http.StatusTemporaryRedirect, http.Header{"Location": {"https://" + their + req.URL.Path + "?again"}}, "")
	}
	for name, send := range map[string]func(req *http.Request) *http.Response{
		"a registry": circle,
		"a token server": func(req *http.Request) *http.Response {
			if req.URL.Host == ours {
				return challenged(req, "https://"+their+"/token")
			}
			return circle(req)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent := 0
			c := clientOf(t, func(req *http.Request) (*http.Response, error) {
				sent++
				return send(req), nil
			}, always(Credential{}), false)
			if err := look(t, c, "app"); err == nil || !strings.Contains(err.Error(), "redirects more than 10 times, the last time to "+their) || sent > maxRedirects+1 {
				t.Errorf("after %d requests: %v", sent, err)
			}
		})
	}
}

// TestTokenServerIsAway: where a token server beside Basic gives 404 for a moment, and the registry takes tokens only, dray comes back to it; where it
// gives 404 for ever and the registry takes the password, also after it has changed, that serves.
func TestTokenServerIsAway(t *testing.T) {
	ann, next := Credential{Username: "ann", Password: "p"}, Credential{Username: "ann", Password: "q"}
	for name, tt := range map[string]struct {
		takes string // what the registry accepts; PASSWORD is the present one
		back  bool   // the token server comes back
		fails []bool // of a HEAD each 11 minutes
	}{
		"for a moment": {"Bearer t0k", true, []bool{true, false, false, false}},
		"for ever":     {"PASSWORD", false, []bool{false, false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away, now := true, ann
				client := clientOf(t, func(req *http.Request) (*http.Response, error) {
					sent := req.Header.Get("Authorization")
					if user, password, ok := req.BasicAuth(); ok && user == now.Username && password == now.Password {
						sent = "PASSWORD"
					}
					switch {
					case req.URL.Path == "/token" && away:
						return said(req, 404, nil, ""), nil
					case req.URL.Path == "/token":
						return said(req, 200, nil, `{"token":"t0k"}`), nil
					case sent != tt.takes:
						return said(req, 401, http.Header{"Www-Authenticate": {`Bearer realm="https://` + ours + `/token",service="s"`, `Basic realm="r"`}}, ""), nil
					}
					return said(req, 200, nil, ""), nil
				}, func(context.Context) (Credential, time.Time, error) { return now, time.Now().Add(time.Hour), nil }, false)
				for n, fails := range tt.fails {
					if err := look(t, client, "app"); (err != nil) != fails {
						t.Errorf("HEAD %d: %v", n, err)
					}
					away = !tt.back
					if n == 1 {
						now = next
					}
					time.Sleep(11 * time.Minute)
				}
			})
		})
	}
}
