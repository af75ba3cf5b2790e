package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// revoking refuses the first token from the moment that it is told to.
type revoking struct {
	*emulator.Registry
	first   string
	revoked bool
}

// ServeHTTP implements http.Handler.
func (r *revoking) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	token := q.Header.Get("Authorization")
	if r.first == "" && len(token) > 7 && token[:7] == "Bearer " {
		r.first = token
	}
	if r.revoked && token == r.first && token != "" {
		q.Header.Del("Authorization") // as if nobody had signed in: the registry answers with its challenge
	}
	r.Registry.ServeHTTP(w, q)
}

// TestTokenThatIsNoLongerTaken: whatever the clock says, a token that is refused is renewed once, for every kind of request.
func TestTokenThatIsNoLongerTaken(t *testing.T) {
	for name := range calls(emulator.Image{Manifests: []emulator.Manifest{{}}, Blobs: []emulator.Blob{{}}}) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := &revoking{Registry: emulator.New(emulator.Options{Referrers: true, Auth: &emulator.Auth{Users: map[string]string{"ann": "secret"}}})}
				c := client(t, emulator.Network{home: r}, Options{Keychain: signed(home, "ann", "secret")})
				call := calls(push(t, r.Registry, "app", "1"))[name]
				if err := call.call(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				r.revoked = true
				time.Sleep(time.Second) // of the bubble
				before := kind(r.Gate, "", emulator.KindToken)
				if err := call.call(t.Context(), c); err != nil {
					t.Errorf("after the token was revoked: %v", err)
				}
				if n := kind(r.Gate, "", emulator.KindToken) - before; n < 1 || n > 2 {
					t.Errorf("%d requests for tokens", n)
				}
			})
		})
	}
}

// TestDeniedRepository: what an account may not read costs one new token, and then none for a while.
func TestDeniedRepository(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		auth := &emulator.Auth{
			Users:  map[string]string{"ann": "secret"},
			Permit: func(_, repository, _ string) bool { return repository == "app" },
		}
		r, c := stand(t, emulator.Options{Auth: auth}, Options{Keychain: signed(home, "ann", "secret")})
		push(t, r, "app", "1")
		push(t, r, "hidden", "1")
		if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of the bubble
		var seen []int
		for range 3 {
			before := len(r.Requests())
			_, err := c.Head(t.Context(), at("hidden").Tag("1"))
			if e := failure(t, err); e.Status != http.StatusUnauthorized || e.Temporary() {
				t.Errorf("error = %v", err)
			}
			seen = append(seen, len(r.Requests())-before)
		}
		if seen[1] > 2 || seen[2] > 2 || seen[0] > 6 {
			t.Errorf("requests for three tries: %v", seen)
		}
	})
}

// TestTokenDoesNotAgeInLine: a request that has to wait its turn gets its token after that.
func TestTokenDoesNotAgeInLine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}, TTL: 70 * time.Second}
		r, c := stand(t, emulator.Options{Auth: auth}, Options{Hosts: oneAtATime, Keychain: signed(home, "ann", "secret")})
		i := push(t, r, "app", "1")
		r.Inject(emulator.Fault{Match: requests("GET", emulator.KindBlob), Delay: 50 * time.Second})
		errs := make(chan error)
		for _, b := range i.Blobs {
			go func() {
				body, err := c.OpenBlob(t.Context(), at("app"), content(b.Data), 0, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, body)
					_ = body.Close()
				}
				errs <- err
			}()
		}
		for range i.Blobs {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestManifestSpoiltOnTheWay: other bytes than the digest's are asked for once more, and named for what they are.
func TestManifestSpoiltOnTheWay(t *testing.T) {
	for times, heals := range map[int]bool{1: true, 0: false} {
		r, c := stand(t, emulator.Options{}, Options{})
		i := push(t, r, "app", "1")
		r.Inject(emulator.Fault{Match: requests("GET", emulator.KindManifest), Times: times, FlipByte: 1})
		_, err := c.Manifest(t.Context(), at("app").Digest(image.Digest(i.Digest)))
		if heals != (err == nil) {
			t.Errorf("spoilt %d times: %v", times, err)
		}
		if err != nil {
			contains(t, err.Error(), "GET manifest: "+home, "digest")
			if e := failure(t, err); e.Code() != "digest-mismatch" || kind(r.Gate, "GET", emulator.KindManifest) != 2 {
				t.Errorf("%v after %v", err, lines(r.Gate))
			}
		}
	}
}

// TestBlobSpoiltOnTheWay: a blob that arrives with other bytes is sent again, and not for ever.
func TestBlobSpoiltOnTheWay(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 1000)
	spoilt := emulator.Fault{Match: requests(http.MethodPut, emulator.KindUpload), Status: 400, Body: `{"errors":[{"code":"DIGEST_INVALID","message":"digest did not match"}]}`}
	for times, sent := range map[int]int{1: 2, 2: 3, 0: 3} {
		inBubble(t, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{})
			fault := spoilt
			fault.Times = times
			r.Inject(fault)
			opened := 0
			_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
			if heals := times > 0; heals != (err == nil) || heals != r.HasBlob("app", string(content(data).Digest)) {
				t.Errorf("spoilt %d times: %v", times, err)
			}
			if err != nil {
				contains(t, err.Error(), "DIGEST_INVALID")
			}
			if n := kind(r.Gate, http.MethodPut, emulator.KindUpload); n != sent {
				t.Errorf("spoilt %d times: sent %d times, want %d\n%v", times, n, sent, lines(r.Gate))
			}
		})
	}
}

// TestRedirectToAnotherPort: it is another host for all that a credential is concerned.
func TestRedirectToAnotherPort(t *testing.T) {
	data := []byte("the blob")
	for name, behaviour := range bearerAndBasic() {
		t.Run(name, func(t *testing.T) {
			const port = home + ":8443"
			r, away := emulator.New(behaviour), emulator.NewGate(answer(200, nil, string(data)))
			c := client(t, emulator.Network{home: r, port: away}, Options{Keychain: signed(home, "ann", "secret")})
			blob := requests("GET", emulator.KindBlob)
			r.Inject(emulator.Fault{
				Match:  func(q *http.Request) bool { return blob(q) && q.Header.Get("Authorization") != "" },
				Status: 307, Header: http.Header{"Location": {"https://" + port + "/store/x"}},
			})
			body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(body); err != nil || string(got) != string(data) {
				t.Errorf("read %q, %v", got, err)
			}
			_ = body.Close()
			if n, leaked := len(away.Requests()), away.Count(authorized); n != 1 || leaked != 0 {
				t.Errorf("the other port saw %d requests, %d with a credential", n, leaked)
			}
		})
	}
}

// TestSilenceAfterAManifest: a manifest is no blob that would have to be hashed.
func TestSilenceAfterAManifest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		i := push(t, r, "app", "1")
		r.Inject(emulator.Fault{Match: requests("PUT", emulator.KindManifest), Times: 1, Hang: true})
		var err error
		took := elapsed(func() { err = calls(i)["PutManifest"].call(context.WithoutCancel(t.Context()), c) })
		if err != nil || took < stallTimeout || took > stallTimeout+5*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestForeignLayer: where the registry lacks it, it comes from its URL, without the credential.
func TestForeignLayer(t *testing.T) {
	data := []byte("a layer of Windows")
	for name, behaviour := range bearerAndBasic() {
		t.Run(name, func(t *testing.T) {
			r, away, c := signedIn(t, behaviour, answer(200, nil, string(data)))
			push(t, r, "app", "1")
			body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, []string{"https://" + other + "/layer.tar.gz"})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(body); err != nil || string(got) != string(data) {
				t.Errorf("read %q, %v", got, err)
			}
			_ = body.Close()
			if n, leaked := len(away.Requests()), away.Count(authorized); n != 1 || leaked != 0 {
				t.Errorf("the URL's host saw %d requests, %d with a credential", n, leaked)
			}
			r.PutBlob("app", data)
			before := len(away.Requests())
			if body, err = c.OpenBlob(t.Context(), at("app"), content(data), 0, []string{"https://" + other + "/layer.tar.gz"}); err != nil {
				t.Fatal(err)
			}
			_ = body.Close()
			if len(away.Requests()) != before {
				t.Error("the URL was asked for what the registry has")
			}
		})
	}
}

// TestAnswerThatBreaksOff: a list or a manifest whose body is cut is asked for again.
func TestAnswerThatBreaksOff(t *testing.T) {
	for _, name := range []string{"Tags", "Catalog", "Referrers", "Manifest"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{Referrers: true}, Options{})
				i := push(t, r, "app", "1")
				r.Inject(emulator.Fault{Match: requests("GET", ""), Times: 2, CutAt: 5})
				if err := calls(i)[name].call(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
