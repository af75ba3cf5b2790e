package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

func TestMounts(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 1000)
	cases := []struct {
		name    string
		holders []string
		from    image.Repository
		data    []byte
		mounted bool
		query   bool // the start of the upload names where to mount from
		want    []string
	}{
		{"from a repository that has it", []string{"base"}, at("base"), data, true, true, []string{"POST upload 201"}},
		{"from one that lacks it", []string{"else"}, at("base"), data, false, true, []string{"POST upload 202", "PUT upload 201"}},
		{"from nowhere", []string{"base"}, image.Repository{}, data, false, false, []string{"POST upload 202", "PUT upload 201"}},
		{"from another registry", []string{"base"}, image.Repository{Registry: other, Path: "base"}, data, false, false, []string{"POST upload 202", "PUT upload 201"}},
		{"from itself", nil, at("app"), data, false, false, []string{"POST upload 202", "PUT upload 201"}},
		{"the empty blob", nil, image.Repository{}, nil, false, false, []string{"POST upload 202", "PUT upload 201"}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{})
			for _, holder := range test.holders {
				r.PutBlob(holder, test.data)
			}
			opened := 0
			mounted, err := c.PutBlob(t.Context(), at("app"), content(test.data), test.from, source(test.data, &opened), nil)
			if err != nil || mounted != test.mounted {
				t.Fatalf("PutBlob = %v, %v; want %v", mounted, err, test.mounted)
			}
			if diff := cmp.Diff(test.want, lines(r.Gate)); diff != "" {
				t.Error(diff)
			}
			if test.mounted == (opened > 0) && len(test.data) > 0 {
				t.Errorf("the source was opened %d times", opened)
			}
			if !r.HasBlob("app", string(content(test.data).Digest)) {
				t.Error("the blob is not there")
			}
			want := "mount=" + string(content(test.data).Digest)
			if test.query {
				want = "from=base&" + want
			}
			if got := r.Requests()[0].Query; len(test.data) > 0 && got != replaceColon(want) {
				t.Errorf("query %q, want %q", got, replaceColon(want))
			}
		})
	}
}

func replaceColon(s string) string {
	return string(bytes.ReplaceAll([]byte(s), []byte(":"), []byte("%3A")))
}

// torn reads some bytes and then fails.
type torn struct {
	io.Reader
	err    error
	closed *bool
}

func (b torn) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.err
	}
	return n, err
}

func (b torn) Close() error { *b.closed = true; return nil }

// TestSourceBreaks: what is returned is why the source broke, and nothing is completed at the target.
func TestSourceBreaks(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 10_000)
	broken := &Error{Host: "source.example", Operation: "GET blob", Message: "the body broke off", Cause: io.ErrUnexpectedEOF}
	wrapping := errors.Join(errors.New("half of it"), io.EOF) // errors of others may wrap io.EOF
	cases := map[string]struct {
		open func(closed *bool) (io.ReadCloser, error)
		want error
	}{
		"when it is opened": {func(*bool) (io.ReadCloser, error) { return nil, broken }, broken},
		"half way": {func(closed *bool) (io.ReadCloser, error) {
			return torn{bytes.NewReader(data[:20_000]), broken, closed}, nil
		}, broken},
		"half way, by a wrapped io.EOF": {func(closed *bool) (io.ReadCloser, error) {
			return torn{bytes.NewReader(data[:20_000]), wrapping, closed}, nil
		}, wrapping},
		"at its last byte": {func(closed *bool) (io.ReadCloser, error) {
			return torn{bytes.NewReader(data[:len(data)-1]), broken, closed}, nil
		}, broken},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				var body io.ReadCloser
				var closed bool
				_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, func(int64) (b io.ReadCloser, err error) {
					body, err = test.open(&closed)
					return body, err
				}, nil)
				if !errors.Is(err, test.want) {
					t.Errorf("PutBlob: %v, want %v", err, test.want)
				}
				if body != nil && !closed {
					t.Error("the source was not closed")
				}
				if r.HasBlob("app", string(content(data).Digest)) {
					t.Error("the blob was completed")
				}
			})
		})
	}
}

// TestWrongBlob: a download that is not what was asked for is ErrCorrupt, or temporary where it only broke off.
func TestWrongBlob(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 1000)
	shorter := content(data)
	shorter.Size--
	cases := map[string]struct {
		fault     emulator.Fault
		d         image.Descriptor
		corrupt   bool
		temporary bool
	}{
		"it breaks off":       {emulator.Fault{CutAt: 100}, content(data), false, true},
		"it has another size": {emulator.Fault{}, shorter, true, false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{Hosts: oneAtATime})
				r.PutBlob("app", data)
				test.fault.Match = requests("GET", emulator.KindBlob)
				r.Inject(test.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				for range 3 { // the slot among the requests in flight is given back each time
					body, err := c.OpenBlob(ctx, at("app"), test.d, 0, nil)
					if err == nil {
						_, err = io.ReadAll(body)
						_ = body.Close()
					}
					e := failure(t, err)
					if errors.Is(err, image.ErrCorrupt) != test.corrupt || e.Temporary() != test.temporary || errors.Is(err, io.EOF) {
						t.Errorf("%v: corrupt %v, temporary %v", err, errors.Is(err, image.ErrCorrupt), e.Temporary())
					}
					contains(t, err.Error(), "GET blob: "+home)
				}
			})
		})
	}
}

// counting counts how many requests of a kind are under way at once, from the request until its answer is read or closed.
type counting struct {
	http.RoundTripper

	mu        sync.Mutex
	now, most map[string]int
}

// requestKind is what has slots of its own.
func requestKind(q *http.Request) string {
	switch blob := strings.Contains(q.URL.Path, "/blobs/"); {
	case q.Method == http.MethodGet && blob:
		return "download"
	case q.Method == http.MethodGet || q.Method == http.MethodHead:
		return "read"
	case blob && (q.Method == http.MethodPut || q.Method == http.MethodPatch):
		return "upload"
	}
	return "write"
}

func (f *counting) RoundTrip(q *http.Request) (*http.Response, error) {
	kind := requestKind(q)
	f.mu.Lock()
	f.now[kind]++
	f.most[kind] = max(f.most[kind], f.now[kind])
	f.mu.Unlock()
	landed := sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now[kind]--
	})
	resp, err := f.RoundTripper.RoundTrip(q)
	if err != nil {
		landed()
		return nil, err
	}
	resp.Body = &landing{ReadCloser: resp.Body, landed: landed}
	return resp, nil
}

// landing is the body of an answer, which ends the request's flight.
type landing struct {
	io.ReadCloser
	landed func()
}

func (l *landing) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		l.landed()
	}
	return n, err
}

func (l *landing) Close() error {
	l.landed()
	return l.ReadCloser.Close()
}

func TestRequestsInFlight(t *testing.T) {
	for name, test := range map[string]struct {
		host Host
		want int
	}{"default": {Host{}, defaultConcurrency}, "three": {Host{Concurrency: 3}, 3}, "one": {Host{Concurrency: 1}, 1}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := emulator.New(emulator.Options{})
				i := push(t, r, "app", "1")
				f := &counting{RoundTripper: emulator.Network{home: r}, now: map[string]int{}, most: map[string]int{}}
				c := client(t, f, Options{Hosts: map[string]Host{home: test.host}})
				r.Inject(emulator.Fault{Delay: time.Second})
				var group sync.WaitGroup
				for n := range 300 {
					group.Go(func() {
						if n%2 == 0 {
							if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
								t.Error(err)
							}
							return
						}
						body, err := c.OpenBlob(t.Context(), at("app"), content(i.Blobs[0].Data), 0, nil)
						if err != nil {
							t.Error(err)
							return
						}
						if _, err := io.Copy(io.Discard, body); err != nil {
							t.Error(err)
						}
						if err := body.Close(); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				for _, kind := range []string{"read", "download"} {
					if got := f.most[kind]; got != test.want {
						t.Errorf("%d requests of kind %q in flight at most, want %d", got, kind, test.want)
					}
				}
			})
		})
	}
}

// TestUploadsFedByDownloads: source and target are one registry that takes one request of a kind at a time.
func TestUploadsFedByDownloads(t *testing.T) {
	for _, concurrency := range []int{1, 2} {
		inBubble(t, func(t *testing.T) {
			auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}}
			r := emulator.New(emulator.Options{Auth: auth})
			f := &counting{RoundTripper: emulator.Network{home: r}, now: map[string]int{}, most: map[string]int{}}
			c := client(t, f, Options{Hosts: map[string]Host{home: {Concurrency: concurrency}}, Keychain: signed(home, "ann", "secret")})
			r.Inject(emulator.Fault{Match: requests("", emulator.KindToken)}) // others wait for it at a mutex, which stops a bubble's clock
			r.Inject(emulator.Fault{Delay: 5 * time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var group sync.WaitGroup
			for n := range 10 {
				data := bytes.Repeat([]byte{byte(n)}, 100_000)
				r.PutBlob("source", data)
				group.Go(func() {
					_, err := c.PutBlob(ctx, at("target"), content(data), image.Repository{}, func(int64) (io.ReadCloser, error) {
						return c.OpenBlob(ctx, at("source"), content(data), 0, nil)
					}, nil)
					if err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			for _, kind := range []string{"write", "upload", "download"} {
				if got := f.most[kind]; got != concurrency {
					t.Errorf("%d requests of kind %q at once, want %d", got, kind, concurrency)
				}
			}
		})
	}
}

// TestTokenWhileADownloadIsOpen: an upload signs in while the download that feeds it has the only slot for reading.
func TestTokenWhileADownloadIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}}
		r, c := stand(t, emulator.Options{Auth: auth}, Options{Hosts: oneAtATime, Keychain: signed(home, "ann", "secret")})
		data := bytes.Repeat([]byte("layer"), 1000)
		r.PutBlob("source", data)
		body, err := c.OpenBlob(t.Context(), at("source"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutBlob(t.Context(), at("target"), content(data), image.Repository{}, func(int64) (io.ReadCloser, error) { return body, nil }, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestBrokenUploadsHoldNoSlot: source and target take one request of a kind at a time, and every upload breaks off once. Who waits to go on
// holds no download that another needs.
func TestBrokenUploadsHoldNoSlot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		from, to := emulator.New(emulator.Options{}), emulator.New(emulator.Options{})
		one := Host{Concurrency: 1}
		c := client(t, emulator.Network{home: from, other: to}, Options{Hosts: map[string]Host{home: one, other: one}})
		to.Inject(emulator.Fault{Match: requests("PUT", emulator.KindUpload), Times: 8, CutRequestAt: 300_000})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var group sync.WaitGroup
		for n := range 8 {
			data := bytes.Repeat([]byte{byte(n), 1}, 400_000)
			from.PutBlob("app", data)
			group.Go(func() {
				_, err := c.PutBlob(ctx, image.Repository{Registry: other, Path: "app"}, content(data), image.Repository{}, func(offset int64) (io.ReadCloser, error) {
					return c.OpenBlob(ctx, at("app"), content(data), offset, nil)
				}, nil)
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

// trickling is a source that gives a byte each second.
type trickling struct{ *bytes.Reader }

func (s trickling) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.Reader.Read(p[:1])
}

func (trickling) Close() error { return nil }

// TestSlowSources: uploads whose sources trickle leave the only slot for uploads to one whose source is fast, and arrive in the end.
func TestSlowSources(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, c := stand(t, emulator.Options{}, Options{Hosts: oneAtATime})
		var group sync.WaitGroup
		put := func(repository string, data []byte, open func(offset int64) io.ReadCloser) {
			_, err := c.PutBlob(t.Context(), at(repository), content(data), image.Repository{}, func(offset int64) (io.ReadCloser, error) { return open(offset), nil }, nil)
			if err != nil {
				t.Error(err)
			}
		}
		for n := range 16 {
			data := bytes.Repeat([]byte{byte(n)}, smallBlob+1)
			group.Go(func() {
				put("slow", data, func(offset int64) io.ReadCloser {
					head := trickling{bytes.NewReader(data[offset:min(int64(len(data)), offset+600)])}
					return struct {
						io.Reader
						io.Closer
					}{io.MultiReader(head, bytes.NewReader(data[min(int64(len(data)), offset+600):])), head}
				})
			})
		}
		time.Sleep(time.Minute)
		began := time.Now()
		for n := range 20 {
			data := bytes.Repeat([]byte("fast"+string(rune('a'+n))), smallBlob)
			put("fast", data, func(offset int64) io.ReadCloser { return io.NopCloser(bytes.NewReader(data[offset:])) })
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the fast ones take %s", took)
		}
		group.Wait()
		if took := time.Since(began); took > 10*time.Minute {
			t.Errorf("the slow ones take %s", took)
		}
	})
}
