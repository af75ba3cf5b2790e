package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
)

// TestDownloadGoesOn: a body that is cut is taken up with a Range request where it broke off, however often, and from the
// start where the registry knows no ranges; the bytes are right either way.
func TestDownloadGoesOn(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	cases := map[string]struct {
		fault    emulator.Fault
		requests int
	}{
		"whole":     {emulator.Fault{}, 1},
		"half":      {emulator.Fault{Times: 1, CutAt: int64(len(data) / 2)}, 2},
		"ten times": {emulator.Fault{Times: 10, CutAt: int64(len(data) / 12)}, 11},
		"at once":   {emulator.Fault{Times: 1, CutAt: 1}, 2},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				r.PutBlob("app", data)
				test.fault.Match = requests(http.MethodGet, emulator.KindBlob)
				r.Inject(test.fault)
				body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(body)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
				}
				if err := body.Close(); err != nil {
					t.Error(err)
				}
				asked := r.Count(func(q emulator.Request) bool { return q.Kind == emulator.KindBlob })
				var sent int64
				for _, q := range r.Requests() {
					sent += q.BytesOut
				}
				if asked != test.requests || sent > int64(len(data))+64<<10 {
					t.Errorf("%d requests, %d bytes; want %d requests and hardly more than %d bytes", asked, sent, test.requests, len(data))
				}
			})
		})
	}
}

// TestDownloadWithoutRanges: a registry that answers a Range with the whole is read from the start.
func TestDownloadWithoutRanges(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	inBubble(t, func(t *testing.T) {
		r := emulator.New(emulator.Options{})
		r.PutBlob("app", data)
		r.Inject(emulator.Fault{Times: 1, Match: requests(http.MethodGet, emulator.KindBlob), CutAt: 1000})
		rangeless := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Header.Del("Range")
			r.ServeHTTP(w, q)
		})
		c := client(t, emulator.Network{home: rangeless}, Options{})
		body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = body.Close() }()
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
		}
	})
}

// TestDownloadWithOddRanges: a registry that answers a Range with something else than the rest is asked for the whole, also at the first request.
func TestDownloadWithOddRanges(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	const cut = 1000
	rest := string(data[cut:])
	partial := func(contentRange string) emulator.Fault {
		return emulator.Fault{Status: 206, Header: http.Header{"Content-Range": {contentRange}}, Body: rest}
	}
	for name, c := range map[string]struct {
		fault    emulator.Fault
		requests int // after the cut
	}{
		"416":             {emulator.Fault{Status: 416, Header: http.Header{"Content-Range": {"bytes */5"}}}, 2},
		"400":             {emulator.Fault{Status: 400}, 2},
		"403":             {emulator.Fault{Status: 403}, 2},
		"501":             {emulator.Fault{Status: 501}, 2},
		"none":            {emulator.Fault{Status: 206, Body: rest}, 2},
		"elsewhere":       {partial(fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data))), 2},
		"another size":    {partial(fmt.Sprintf("bytes %d-%d/%d", cut, len(data)-1, len(data)+5)), 2},
		"another unit":    {partial(fmt.Sprintf("%d-%d/%d", cut, len(data)-1, len(data))), 2},
		"capital letters": {partial(fmt.Sprintf("Bytes %d-%d/%d", cut, len(data)-1, len(data))), 1},
		"unknown size":    {partial(fmt.Sprintf("bytes %d-%d/*", cut, len(data)-1)), 1},
	} {
		c.fault.Match = func(q *http.Request) bool { return q.Header.Get("Range") != "" }
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, client := stand(t, emulator.Options{}, Options{})
				r.PutBlob("app", data)
				r.Inject(c.fault)
				r.Inject(emulator.Fault{Times: 1, Match: requests(http.MethodGet, emulator.KindBlob), CutAt: cut})
				body, err := client.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = body.Close() }()
				if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
				}
				if n := kind(r.Gate, http.MethodGet, emulator.KindBlob); n != 1+c.requests {
					t.Errorf("%d requests, want %d", n, 1+c.requests)
				}
				from, err := client.OpenBlob(t.Context(), at("app"), content(data), cut, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = from.Close() }()
				if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, data[cut:]) {
					t.Errorf("from an offset: %d of %d bytes, %v", len(got), len(data)-cut, err)
				}
			})
		})
	}
}

// TestDownloadThatCannotGoOn ends with an error that says so, and soon.
func TestDownloadThatCannotGoOn(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1<<20)
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		r.PutBlob("app", data)
		r.Inject(emulator.Fault{Times: 1, Match: requests(http.MethodGet, emulator.KindBlob), CutAt: 1000})
		r.Inject(emulator.Fault{Match: func(q *http.Request) bool { return q.Header.Get("Range") != "" }, Status: http.StatusServiceUnavailable})
		start := time.Now()
		body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = body.Close() }()
		got, err := io.ReadAll(body)
		if len(got) > len(data)-1 || err == nil || !failure(t, err).Temporary() {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		contains(t, err.Error(), "the body broke off", "and it could not be resumed: GET blob", "503")
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %v to give up", took)
		}
	})
}

// TestSilence: a registry that takes a request and says nothing, or stops in the middle of a body, is given up after a minute,
// and asked again.
func TestSilence(t *testing.T) {
	data := bytes.Repeat([]byte("y"), 200_000)
	t.Run("before the headers", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{})
			push(t, r, "app", "1")
			r.Inject(emulator.Fault{Times: 2, Match: requests(http.MethodHead, emulator.KindManifest), Hang: true})
			start := time.Now()
			if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took < 2*stallTimeout || took > 2*stallTimeout+10*time.Second {
				t.Errorf("two silences took %v", took)
			}
		})
	})
	t.Run("for good", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{})
			r.Inject(emulator.Fault{Hang: true})
			_, err := c.Head(t.Context(), at("app").Tag("1"))
			if e := failure(t, err); !e.Temporary() || !strings.Contains(e.Error(), "no data for too long") {
				t.Errorf("error = %v", err)
			}
		})
	})
	t.Run("in a body", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			r := emulator.New(emulator.Options{})
			r.PutBlob("app", data)
			first := true
			stops := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if first && q.Method == http.MethodGet {
					first = false
					w.Header().Set("Content-Length", "200000")
					_, _ = w.Write(data[:70_000])
					w.(http.Flusher).Flush() //nolint:forcetypeassert // the emulator's
					<-q.Context().Done()
					return
				}
				r.ServeHTTP(w, q)
			})
			c := client(t, emulator.Network{home: stops}, Options{})
			body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = body.Close() }()
			start := time.Now()
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if took := time.Since(start); took < stallTimeout || took > stallTimeout+10*time.Second {
				t.Errorf("the silence took %v", took)
			}
		})
	})
}

// TestSlowReaderIsNoSilence: the time in which nobody reads a body is not the registry's.
func TestSlowReaderIsNoSilence(t *testing.T) {
	data := bytes.Repeat([]byte("z"), 300_000)
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		r.PutBlob("app", data)
		body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = body.Close() }()
		buffer := make([]byte, 100_000)
		for {
			_, err := io.ReadFull(body, buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * stallTimeout)
		}
		if n := r.Count(func(q emulator.Request) bool { return q.Kind == emulator.KindBlob }); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestRefusedLink: a link to a store that is refused once is asked for again, once; a refusal that stays names the store.
func TestRefusedLink(t *testing.T) {
	data := []byte("blob")
	for _, status := range []int{400, 401, 403, 404} {
		for _, times := range []int{1, 2} {
			t.Run(fmt.Sprint(status, times), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					store := &emulator.Store{URL: "https://" + other}
					r := emulator.New(emulator.Options{Store: store})
					r.PutBlob("app", data)
					asked := 0
					c := client(t, emulator.Network{home: r, other: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						if asked++; asked <= times {
							http.Error(w, "Request has expired", status)
							return
						}
						store.ServeHTTP(w, q)
					})}, Options{})
					body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
					if times == 1 {
						if err != nil {
							t.Fatal(err)
						}
						if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
							t.Errorf("%q, %v", got, err)
						}
						if err := body.Close(); err != nil {
							t.Error(err)
						}
						return
					}
					e := failure(t, err)
					if e.Status != status || asked != 2 {
						t.Errorf("%v after %d requests; want status %d after 2", e, asked, status)
					}
					if status == http.StatusForbidden {
						contains(t, e.Hint, other)
						lacks(t, e.Hint, "account")
					}
				})
			})
		}
	}
}
