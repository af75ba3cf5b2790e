package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// broken lists what may pass: an answer that is another one later, and none at all.
func broken() map[string]emulator.Fault {
	faults := map[string]emulator.Fault{"reset": {Reset: true}}
	for _, status := range []int{408, 421, 425, 429, 499, 500, 502, 503, 504, 520, 599} {
		faults[strconv.Itoa(status)] = emulator.Fault{Status: status}
	}
	return faults
}

// calls are requests of each kind that have no streamed body, and what they look like on the wire.
func calls(i emulator.Image) map[string]struct {
	method, kind string
	call         func(ctx context.Context, c *Client) error
} {
	type entry = struct {
		method, kind string
		call         func(ctx context.Context, c *Client) error
	}
	blob, root := content(i.Blobs[0].Data), i.Root()
	put := image.Manifest{Descriptor: image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}, Raw: root.Body}
	return map[string]entry{
		"Head": {"HEAD", emulator.KindManifest, func(ctx context.Context, c *Client) error {
			_, err := c.Head(ctx, at("app").Tag("1"))
			return err
		}},
		"Manifest": {"GET", emulator.KindManifest, func(ctx context.Context, c *Client) error {
			_, err := c.Manifest(ctx, at("app").Tag("1"))
			return err
		}},
		"PutManifest": {"PUT", emulator.KindManifest, func(ctx context.Context, c *Client) error {
			return c.PutManifest(ctx, at("app").Tag("2"), put)
		}},
		"OpenBlob": {"GET", emulator.KindBlob, func(ctx context.Context, c *Client) error {
			body, err := c.OpenBlob(ctx, at("app"), blob, 0, nil)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, body)
			return errors.Join(err, body.Close())
		}},
		"HasBlob": {"HEAD", emulator.KindBlob, func(ctx context.Context, c *Client) error {
			_, err := c.HasBlob(ctx, at("app"), blob)
			return err
		}},
		"Tags": {"GET", emulator.KindTags, func(ctx context.Context, c *Client) error {
			_, err := c.Tags(ctx, at("app"), everything)
			return err
		}},
		"Catalog": {"GET", emulator.KindCatalog, func(ctx context.Context, c *Client) error {
			_, err := c.Catalog(ctx, at("team"), everything)
			return err
		}},
		"Referrers": {"GET", emulator.KindReferrers, func(ctx context.Context, c *Client) error {
			_, err := c.Referrers(ctx, at("app"), image.Digest(i.Digest))
			return err
		}},
		"token": {"GET", emulator.KindToken, func(ctx context.Context, c *Client) error {
			_, err := c.Head(ctx, at("app").Tag("1"))
			return err
		}},
		"start of an upload": {"POST", emulator.KindUpload, func(ctx context.Context, c *Client) error {
			opened := 0
			_, err := c.PutBlob(ctx, at("app"), content([]byte("new")), image.Repository{}, source([]byte("new"), &opened), nil)
			return err
		}},
	}
}

// faulty is a stand that asks for tokens, holds an image, and has not been asked yet.
func faulty(t *testing.T) (*emulator.Registry, *Client, emulator.Image) {
	t.Helper()
	auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}}
	r, c := stand(t, emulator.Options{Referrers: true, Auth: auth}, Options{Keychain: signed(home, "ann", "secret")})
	return r, c, push(t, r, "app", "1")
}

// TestRetries breaks each kind of request twice. The pauses are at least half of 500 ms and 1 s, and at most the whole.
func TestRetries(t *testing.T) {
	for name, entry := range calls(emulator.MultiArch(1, emulator.ImageOptions{})) {
		for what, fault := range broken() {
			t.Run(name+" "+what, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r, c, _ := faulty(t)
					fault.Times, fault.Match = 2, requests(entry.method, entry.kind)
					if entry.kind != emulator.KindToken { // the first request of all only asks for a token
						if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
							t.Fatal(err)
						}
					}
					r.Reset()
					r.Inject(fault)
					var err error
					took := elapsed(func() { err = entry.call(t.Context(), c) })
					if err != nil {
						t.Fatal(err)
					}
					if took < 750*time.Millisecond || took > 1500*time.Millisecond {
						t.Errorf("took %v", took)
					}
					challenged := r.Count(func(q emulator.Request) bool { return q.Kind == entry.kind && q.Status == http.StatusUnauthorized })
					const want = 3
					if n := kind(r.Gate, entry.method, entry.kind) - challenged; n != want {
						t.Errorf("%d requests, want %d: %v", n, want, lines(r.Gate))
					}
				})
			})
		}
	}
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	cases := []struct {
		name   string
		header http.Header
		body   string
		want   time.Duration
	}{
		{"seconds", http.Header{"Retry-After": {"7"}}, "", 7 * time.Second},
		{"fraction", http.Header{"Retry-After": {"2.5"}}, "", 2500 * time.Millisecond},
		{"Docker Hub's older header", http.Header{"X-Retry-After": {"9"}}, "", 9 * time.Second},
		{"date", http.Header{"Retry-After": {"Sat, 01 Jan 2000 00:00:12 GMT"}}, "", 12 * time.Second},
		{"date by a clock of its own", http.Header{"Retry-After": {"Sat, 01 Jan 2022 00:00:05 GMT"}, "Date": {"Sat, 01 Jan 2022 00:00:00 GMT"}}, "", 5 * time.Second},
		{"Unix time", http.Header{"Retry-After": {"1000000020"}}, "", 20 * time.Second},
		{"GHCR's message", nil, `{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 3.5s, allowed: 44000/minute"}]}`, 3500 * time.Millisecond},
		{"shorter than the pause", http.Header{"Retry-After": {"0"}}, "", 0},
		{"gone by", http.Header{"Retry-After": {"Sat, 01 Jan 1990 00:00:12 GMT"}}, "", 0},
		{"nonsense", http.Header{"Retry-After": {"later"}}, "", 0},
		{"abuse limit of Docker Hub", nil, "Too Many Requests (HAP429).\n", 0},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				if test.name == "Unix time" { // the bubble begins in 2000, before the first second that is taken for one
					time.Sleep(time.Until(time.Unix(1_000_000_000, 0)))
				}
				r, c := stand(t, emulator.Options{}, Options{})
				push(t, r, "app", "1")
				r.Inject(emulator.Fault{Match: requests("GET", emulator.KindManifest), Times: 1, Status: 429, Header: test.header, Body: test.body})
				var err error
				took := elapsed(func() { _, err = c.Manifest(t.Context(), at("app").Tag("1")) })
				if err != nil {
					t.Fatal(err)
				}
				if least, most := max(test.want, 250*time.Millisecond), max(test.want, 500*time.Millisecond); took < least || took > most {
					t.Errorf("took %v, want %v to %v", took, least, most)
				}
			})
		})
	}
}

// TestLongPauseIsLeftToTheCaller: what a registry asks for beyond Retries.Max is not waited for.
func TestLongPauseIsLeftToTheCaller(t *testing.T) {
	cases := []struct {
		name string
		max  time.Duration
		wait string
		want time.Duration
	}{
		{"the default", 0, "31", 31 * time.Second},
		{"an hour", 0, "3600", time.Hour},
		{"a bound of its own", 5 * time.Second, "6", 6 * time.Second},
		{"never more than a day", 0, "900000", 24 * time.Hour},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{Retries: Retries{Max: test.max}})
				push(t, r, "app", "1")
				r.Inject(emulator.Fault{Status: 429, Header: http.Header{"Retry-After": {test.wait}}})
				start := time.Now()
				_, err := c.Manifest(t.Context(), at("app").Tag("1"))
				e := failure(t, err)
				if took := time.Since(start); took != 0 || len(r.Requests()) != 1 {
					t.Errorf("waited %v for %d requests", took, len(r.Requests()))
				}
				if got := e.RetryAt().Sub(start); got != test.want || !e.Temporary() {
					t.Errorf("RetryAt is in %v, want %v; temporary %v", got, test.want, e.Temporary())
				}
			})
		})
	}
}

func TestNotRetried(t *testing.T) {
	for name, entry := range calls(emulator.MultiArch(1, emulator.ImageOptions{})) {
		for _, status := range []int{400, 401, 403, 404, 413, 507} {
			t.Run(name+" "+strconv.Itoa(status), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r, c, _ := faulty(t)
					if _, err := c.SignIn(t.Context(), at("app")); err != nil {
						t.Fatal(err)
					}
					r.Reset()
					r.Inject(emulator.Fault{Match: requests(entry.method, entry.kind), Status: status})
					var err error
					took := elapsed(func() { err = entry.call(t.Context(), c) })
					if took != 0 {
						t.Errorf("took %v", took)
					}
					most := 1
					if entry.method == "POST" {
						most = 2 // without a mount, should it be the mount that is refused
					}
					if n := kind(r.Gate, entry.method, entry.kind); n > most {
						t.Errorf("%d requests: %v", n, lines(r.Gate))
					}
					switch {
					case err != nil:
					case status == 404 && name == "HasBlob", status < 405 && name == "Referrers":
						return // the answer is no
					case name == "Head":
						return // a GET has served
					}
					if e := failure(t, err); e.Temporary() || !e.RetryAt().IsZero() {
						t.Errorf("%v: temporary %v, retry at %v", err, e.Temporary(), e.RetryAt())
					}
					if absent := errors.Is(err, image.ErrAbsent); absent != (status == 404) && name != "Catalog" {
						t.Errorf("%v: absent %v", err, absent)
					}
				})
			})
		}
	}
}

func TestManifestIsSentAgainWhole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		i := push(t, r, "app", "1")
		match := requests("PUT", emulator.KindManifest)
		r.Inject(emulator.Fault{Match: match, Times: 1, CutRequestAt: 20})
		r.Inject(emulator.Fault{Match: match, Times: 1, Status: 502})
		if err := calls(i)["PutManifest"].call(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, body, _ := r.Manifest("app", "2"); !bytes.Equal(body, i.Root().Body) {
			t.Errorf("the registry got %d bytes of %d", len(body), len(i.Root().Body))
		}
	})
}

// TestUploadIsTriedAgain: a fault that lasts ends with an error that says so, and what was torn is never completed; one that
// passes costs nothing but requests.
func TestUploadIsTriedAgain(t *testing.T) {
	faults := broken()
	faults["cut"] = emulator.Fault{CutRequestAt: 1000}
	for what, fault := range faults {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{Uploads: emulator.UploadOptions{Forgetful: true}}, Options{})
				data := bytes.Repeat([]byte("layer"), 100_000)
				fault.Match = func(q *http.Request) bool { // what carries bytes: smaller requests are tried after two cuts
					return emulator.MatchKind("", emulator.KindUpload)(q) && (q.Method == http.MethodPut || q.Method == http.MethodPatch)
				}
				remove := r.Inject(fault)
				opened := 0
				_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
				e := failure(t, err)
				if n := kind(r.Gate, "PUT", emulator.KindUpload) + kind(r.Gate, "PATCH", emulator.KindUpload); n != 5 || opened > 5 || e.Attempts != 5 || !e.Temporary() {
					t.Errorf("%v: sent %d times, opened %d times, %d attempts, temporary %v", err, n, opened, e.Attempts, e.Temporary())
				}
				contains(t, err.Error(), "blob upload", home)
				lacks(t, err.Error(), "_state", "?", "digest=")
				if r.HasBlob("app", string(content(data).Digest)) {
					t.Error("a broken upload was completed")
				}
				remove()
				fault.Times = 4
				r.Inject(fault)
				if _, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil); err != nil {
					t.Errorf("a fault that passes: %v", err)
				}
			})
		})
	}
}

func TestPersistentFailure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		r.Inject(emulator.Fault{Status: 502, Body: `{"errors":[{"code":"UPSTREAM_BROKEN","message":"the backend is away"}]}`})
		var err error
		took := elapsed(func() { _, err = c.Manifest(t.Context(), at("app").Tag("1")) })
		e := failure(t, err)
		if n := len(r.Requests()); n != 5 || e.Attempts != 5 || e.Status != 502 || !e.Temporary() || e.Code() != "upstream-broken" {
			t.Errorf("%d requests, %+v", n, e)
		}
		if least := (500 + 1000 + 2000 + 4000) * time.Millisecond; took < least/2 || took > least {
			t.Errorf("took %v", took)
		}
		const want = "GET manifest: 192.0.2.1 answered 502 Bad Gateway: UPSTREAM_BROKEN the backend is away (5 attempts)"
		if err.Error() != want {
			t.Errorf("error:\n%v\nwant:\n%v", err, want)
		}
	})
}

func TestCancelEndsTheWait(t *testing.T) {
	for what, fault := range map[string]emulator.Fault{
		"a pause": {Status: 503, Header: http.Header{"Retry-After": {"30"}}}, "no answer": {Hang: true}, "a slow answer": {Delay: time.Hour},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				push(t, r, "app", "1")
				r.Inject(fault)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				var err error
				took := elapsed(func() { _, err = c.Head(ctx, at("app").Tag("1")) })
				if err == nil || took != 2*time.Second || errors.Is(err, image.ErrAbsent) {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// TestSilentHostIsFoundOutOnce: what waits for a slot at a host that never answers is not sent, once the first are given up.
func TestSilentHostIsFoundOutOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		r.Inject(emulator.Fault{Hang: true})
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				if _, err := c.Head(t.Context(), at("app").Tag(fmt.Sprint(i))); err == nil {
					t.Error("no error")
				}
			})
		}
		if took := elapsed(group.Wait); took > 10*time.Minute {
			t.Errorf("the failures took %v", took)
		}
		if n := len(r.Requests()); n > 10*startConcurrency {
			t.Errorf("%d requests", n)
		}
	})
}

// TestHealedHost: neither a burst of errors nor a dead host may slow down what is asked once the host is well again.
func TestHealedHost(t *testing.T) {
	for what, test := range map[string]struct {
		fault emulator.Fault
		rest  time.Duration
	}{
		"answers 502":     {emulator.Fault{Status: 502}, 0},
		"gives no answer": {emulator.Fault{Reset: true}, restAfterFailure},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				push(t, r, "app", "1")
				remove := r.Inject(test.fault)
				var group sync.WaitGroup
				for range 14 {
					group.Go(func() {
						if _, err := c.Head(t.Context(), at("app").Tag("1")); err == nil {
							t.Error("no error")
						}
					})
				}
				if took := elapsed(group.Wait); took > 7500*time.Millisecond {
					t.Errorf("the failures took %v", took)
				}
				remove()
				if test.rest > 0 { // left alone: no request, no wait, the same error
					before := len(r.Requests())
					_, err := c.Tags(t.Context(), at("app"), everything)
					if e := failure(t, err); e.Operation != "GET tag list" || !e.Temporary() || len(r.Requests()) != before {
						t.Errorf("while the host is left alone: %v, %d requests", err, len(r.Requests())-before)
					}
					time.Sleep(test.rest + 1)
				}
				if took := elapsed(func() {
					if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
						t.Error(err)
					}
				}); took > 0 {
					t.Errorf("the host is well, its answer took %v", took)
				}
			})
		})
	}
}
