package registry

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// standAs is a registry that is known by a name of the table.
func standAs(t *testing.T, host string, behaviour emulator.Options) (*emulator.Registry, *Client) {
	t.Helper()
	r := emulator.New(behaviour)
	return r, client(t, readAhead{emulator.Network{host: r}}, Options{})
}

// readAhead takes more of a body than it sends, as the buffers of a network do.
type readAhead struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r readAhead) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = struct {
			io.Reader
			io.Closer
		}{bufio.NewReaderSize(req.Body, 400_001), req.Body}
	}
	return r.RoundTripper.RoundTrip(req)
}

// layer is some bytes, in a pattern whose length no chunk is a multiple of.
func layer(size int) []byte {
	pattern := make([]byte, 4099)
	for i := range pattern {
		pattern[i] = byte(i * 7 >> (i % 9))
	}
	return bytes.Repeat(pattern, size/len(pattern)+1)[:size]
}

// steps writes the requests of a gate as "METHOD bytes status".
func steps(g *emulator.Gate) []string {
	var lines []string
	for _, q := range g.Requests() {
		lines = append(lines, fmt.Sprintf("%s %d %d", q.Method, q.BytesIn, q.Status))
	}
	return lines
}

// TestWaysToUpload: a blob goes as its registry wants it, by the table and by what the registry says.
func TestWaysToUpload(t *testing.T) {
	const mib = 1 << 20
	cases := map[string]struct {
		host    string
		uploads emulator.UploadOptions
		size    int
		want    []string
	}{
		"one PUT":                    {home, emulator.UploadOptions{}, 40 * mib, []string{"POST 0 202", "PUT 41943040 201"}},
		"Azure, small enough":        {"a.azurecr.io", emulator.UploadOptions{}, 16 * mib, []string{"POST 0 202", "PUT 16777216 201"}},
		"Azure, in chunks":           {"a.azurecr.io", emulator.UploadOptions{}, 40 * mib, []string{"POST 0 202", "PATCH 16777216 202", "PATCH 16777216 202", "PATCH 8388608 202", "PUT 0 201"}},
		"Azure, a chunk asked for":   {"a.azurecr.io", emulator.UploadOptions{MinChunk: 20 * mib}, 40 * mib, []string{"POST 0 202", "PATCH 20971520 202", "PATCH 20971520 202", "PUT 0 201"}},
		"GHCR keeps the last PATCH":  {"ghcr.io", emulator.UploadOptions{OnlyLastPatch: true}, 40 * mib, []string{"POST 0 202", "PUT 41943040 201"}},
		"a proxy with a limit":       {home, emulator.UploadOptions{MaxBody: 10 * mib}, 16 * mib, []string{"POST 0 202", "PUT 0 413", "GET 0 204", "PATCH 8388608 202", "PATCH 8388608 202", "PUT 0 201"}},
		"a proxy with a low limit":   {home, emulator.UploadOptions{MaxBody: 3 * mib}, 8 * mib, []string{"POST 0 202", "PUT 0 413", "GET 0 204", "PATCH 0 413", "GET 0 204", "PATCH 2097152 202", "PATCH 2097152 202", "PATCH 2097152 202", "PATCH 2097152 202", "PUT 0 201"}},
		"a proxy with a MB":          {home, emulator.UploadOptions{MaxBody: 1_000_000}, 2 * mib, []string{"POST 0 202", "PUT 0 413", "GET 0 204", "PATCH 0 413", "GET 0 204", "PATCH 524288 202", "PATCH 524288 202", "PATCH 524288 202", "PATCH 524288 202", "PUT 0 201"}},
		"the empty blob, no request": {home, emulator.UploadOptions{}, 0, []string{"POST 0 202", "PUT 0 201"}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := standAs(t, test.host, emulator.Options{Uploads: test.uploads})
				data, opened := layer(test.size), 0
				repo := image.Repository{Registry: test.host, Path: "app"}
				if _, err := c.PutBlob(t.Context(), repo, content(data), image.Repository{}, source(data, &opened), nil); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, steps(r.Gate)); diff != "" {
					t.Error(diff)
				}
				if !r.HasBlob("app", string(content(data).Digest)) {
					t.Error("the blob is not there")
				}
			})
		})
	}
}

// resets are the steps of an upload at a proxy that resets connections for what is larger than a MiB.
func resets(blobMiB int, refused ...int) []string {
	lines := []string{"POST 0 202"}
	for _, mib := range refused {
		lines = append(lines, fmt.Sprintf("%s 65536 0", map[bool]string{true: "PUT", false: "PATCH"}[mib == blobMiB]), "GET 0 204")
	}
	for range blobMiB {
		lines = append(lines, "PATCH 1048576 202")
	}
	return append(lines, "PUT 0 201")
}

// TestTooLargeIsReset: a proxy closes the connection within a body that is too large for it, and no 413 is read. The chunks get smaller until
// they pass, within the usual attempts, and a second blob is sent so from the start.
func TestTooLargeIsReset(t *testing.T) {
	for _, mib := range []int{2, 70} {
		t.Run(fmt.Sprint(mib), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := standAs(t, home, emulator.Options{Uploads: emulator.UploadOptions{MaxBody: 1 << 20, ResetTooLarge: true}})
				refused := map[int][]int{2: {2, 2}, 70: {70, 70, 16, 4}}[mib]
				data := layer(mib << 20)
				for i, want := range [][]string{resets(mib, refused...), resets(mib)} {
					data[0] = byte(i)
					opened := 0
					r.Reset()
					if _, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, steps(r.Gate)); diff != "" {
						t.Error(diff)
					}
				}
			})
		})
	}
}

// TestQuotaIsNoLimit: where a repository refuses also the smallest request with 413, that is not about the size, and others go on as before.
func TestQuotaIsNoLimit(t *testing.T) {
	r, c := stand(t, emulator.Options{}, Options{})
	r.Inject(emulator.Fault{Match: func(req *http.Request) bool {
		return strings.HasPrefix(req.URL.Path, "/v2/full/") && (req.Method == http.MethodPut || req.Method == http.MethodPatch)
	}, Status: http.StatusRequestEntityTooLarge})
	for repository, good := range map[string]bool{"full": false, "app": true} {
		data, opened := layer(900_000), 0
		if _, err := c.PutBlob(t.Context(), at(repository), content(data), image.Repository{}, source(data, &opened), nil); (err == nil) != good {
			t.Error(repository, err)
		}
	}
	r.Reset()
	data, opened := layer(9<<20), 0
	if _, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"POST upload 202", "PUT upload 201"}, lines(r.Gate)); diff != "" {
		t.Error(diff)
	}
}

// TestLimitIsLearned: a second blob is sent in chunks from the start.
func TestLimitIsLearned(t *testing.T) {
	r, c := stand(t, emulator.Options{Uploads: emulator.UploadOptions{MaxBody: 5 << 20}}, Options{})
	for i := range 2 {
		data, opened := layer(8<<20+i), 0
		if _, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Count(func(q emulator.Request) bool { return q.Status == http.StatusRequestEntityTooLarge }); n != 1 {
		t.Errorf("%d answers 413", n)
	}
}

// TestTooLargeForGood: where chunks are of no use the error says who limits.
func TestTooLargeForGood(t *testing.T) {
	_, c := standAs(t, "ghcr.io", emulator.Options{Uploads: emulator.UploadOptions{MaxBody: 1 << 20}})
	data, opened := layer(2<<20), 0
	_, err := c.PutBlob(t.Context(), image.Repository{Registry: "ghcr.io", Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil)
	if e := failure(t, err); e.Status != http.StatusRequestEntityTooLarge || e.Temporary() {
		t.Errorf("error = %v", err)
	}
	contains(t, err.Error(), "a proxy in front of the registry limits the size of uploads")
}

// TestUploadGoesOn: what the registry has is not sent again, nor asked for at the source.
func TestUploadGoesOn(t *testing.T) {
	const size, cut = 1_000_000, 300_000
	again := func(n int) []string {
		lines := []string{"POST 0 202", "PUT 300000 0"}
		for range n - 1 {
			lines = append(lines, "GET 0 204", "PATCH 200000 0")
		}
		return append(lines, "GET 0 204")
	}
	cases := map[string]struct {
		cuts   int
		host   string
		behave emulator.UploadOptions
		want   []string
		opened int
	}{
		"once":                          {1, home, emulator.UploadOptions{}, append(again(1), "PATCH 700000 202", "PUT 0 201"), 2},
		"three times":                   {3, home, emulator.UploadOptions{}, append(again(3), "PATCH 300000 202", "PUT 0 201"), 4},
		"the registry has forgotten it": {1, home, emulator.UploadOptions{Forgetful: true}, []string{"POST 0 202", "PUT 300000 0", "GET 0 404", "HEAD 0 404", "POST 0 202", "PUT 1000000 201"}, 2},
		"what broke off is written late": {1, home, emulator.UploadOptions{LateBytes: 100_000}, []string{
			"POST 0 202", "PUT 300000 0", "GET 0 204", "PATCH 800000 202", "PUT 0 400", "DELETE 0 204", "HEAD 0 404", "POST 0 202", "PUT 1000000 201",
		}, 3},
		"where the last PATCH alone stays": {1, "ghcr.io", emulator.UploadOptions{OnlyLastPatch: true}, []string{"POST 0 202", "PUT 300000 0", "DELETE 0 204", "HEAD 0 404", "POST 0 202", "PUT 1000000 201"}, 2},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := standAs(t, test.host, emulator.Options{Uploads: test.behave})
				r.Inject(emulator.Fault{Match: requests("PUT", emulator.KindUpload), Times: 1, CutRequestAt: cut})
				if test.cuts > 1 {
					r.Inject(emulator.Fault{Match: requests("PATCH", emulator.KindUpload), Times: test.cuts - 1, CutRequestAt: 200_000})
				}
				data, opened := layer(size), 0
				repo := image.Repository{Registry: test.host, Path: "app"}
				if _, err := c.PutBlob(t.Context(), repo, content(data), image.Repository{}, source(data, &opened), nil); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, steps(r.Gate)); diff != "" {
					t.Error(diff)
				}
				if opened != test.opened || !r.HasBlob("app", string(content(data).Digest)) {
					t.Errorf("the source was opened %d times; there: %v", opened, r.HasBlob("app", string(content(data).Digest)))
				}
			})
		})
	}
}

// TestUploadIsTakenUp: what an upload has left another goes on with, where the registry still has it, and takes no more of; one of which
// only the answer was lost sends nothing, and one that leads elsewhere is not asked for.
func TestUploadIsTakenUp(t *testing.T) {
	const size, cut = 1_000_000, 300_000
	for name, test := range map[string]struct {
		host   string
		behave emulator.UploadOptions
		change func(r *emulator.Registry, data []byte, left string) string // between the two
		want   []string
		opened int
	}{
		"it is there": {host: home, want: []string{"GET 0 204", "PATCH 700000 202", "PUT 0 201"}, opened: 1},
		"it is forgotten": {
			host: home, behave: emulator.UploadOptions{Forgetful: true}, want: []string{"GET 0 404", "HEAD 0 404", "POST 0 202", "PUT 1000000 201"}, opened: 1,
		},
		"its answer was lost": {
			host: home, behave: emulator.UploadOptions{Forgetful: true}, want: []string{"GET 0 404", "HEAD 0 200"},
			change: func(r *emulator.Registry, data []byte, left string) string { r.PutBlob("app", data); return left },
		},
		"it has other bytes": {
			host: home, want: []string{"GET 0 204", "PATCH 700000 202", "PUT 0 400", "DELETE 0 204", "HEAD 0 404", "POST 0 202", "PUT 1000000 201"}, opened: 2,
			change: func(_ *emulator.Registry, data []byte, left string) string { data[0]++; return left },
		},
		"it leads out of TLS": {
			host: home, want: []string{"HEAD 0 404", "POST 0 202", "PUT 1000000 201"}, opened: 1,
			change: func(_ *emulator.Registry, _ []byte, left string) string {
				return "http://203.0.113.9" + strings.TrimPrefix(left, "https://"+home)
			},
		},
		"where the last PATCH alone stays": {
			host: "ghcr.io", behave: emulator.UploadOptions{OnlyLastPatch: true}, want: []string{"POST 0 202", "PUT 1000000 201"}, opened: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := standAs(t, test.host, emulator.Options{Uploads: test.behave})
				data, opened, left := layer(size), 0, ""
				repo := image.Repository{Registry: test.host, Path: "app"}
				broken := errors.New("the source is gone")
				_, err := c.PutBlob(t.Context(), repo, content(data), image.Repository{}, func(int64) (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(bytes.NewReader(data[:cut]), iotest.ErrReader(broken))), nil
				}, &left)
				if !errors.Is(err, broken) || (left == "") != (test.host != home) {
					t.Fatalf("it ended with %v, and has left %q", err, left)
				}
				synctest.Wait() // the registry has seen its end
				if test.change != nil {
					left = test.change(r, data, left)
				}
				r.Reset()
				if _, err := c.PutBlob(t.Context(), repo, content(data), image.Repository{}, source(data, &opened), &left); err != nil || left != "" {
					t.Fatalf("%v, left %q", err, left)
				}
				if diff := cmp.Diff(test.want, steps(r.Gate)); diff != "" {
					t.Error(diff)
				}
				if opened != test.opened || !r.HasBlob("app", string(content(data).Digest)) {
					t.Errorf("the source was opened %d times; there: %v", opened, r.HasBlob("app", string(content(data).Digest)))
				}
			})
		})
	}
}

// TestUploadOutlastsAnOutage: a session is worth waiting for, also where it is not to be asked for a while: neither is it given up for one 503,
// nor by an upload that ends before the registry is back.
func TestUploadOutlastsAnOutage(t *testing.T) {
	const size, cut = 1_000_000, 300_000
	gets := requests("GET", emulator.KindUpload)
	for name, test := range map[string]struct {
		fault   emulator.Fault
		down    time.Duration // of all requests, from the break on
		uploads int
		want    []string
	}{
		"one 503":    {fault: emulator.Fault{Match: gets, Times: 1, Status: http.StatusServiceUnavailable}, uploads: 1, want: []string{"POST 0 202", "PUT 300000 0", "GET 0 503", "GET 0 204", "PATCH 700000 202", "PUT 0 201"}},
		"it is down": {down: 40 * time.Second, uploads: 2, want: []string{"GET 0 204", "PATCH 700000 202", "PUT 0 201"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := standAs(t, home, emulator.Options{})
				if test.fault.Match != nil {
					r.Inject(test.fault)
				}
				r.Inject(emulator.Fault{Match: requests("PUT", emulator.KindUpload), Times: 1, CutRequestAt: cut})
				up := func() {}
				if test.down > 0 {
					up = r.Inject(emulator.Fault{Match: gets, Reset: true})
				}
				data, opened, left := layer(size), 0, ""
				put := func() error {
					_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), &left)
					return err
				}
				if test.uploads > 1 {
					if err := put(); err == nil || left == "" {
						t.Fatalf("%v, left %q", err, left)
					}
					if err := put(); err == nil || left == "" { // it is left alone now
						t.Fatalf("%v, left %q", err, left)
					}
					time.Sleep(test.down) // of the bubble
					up()
					r.Reset()
				}
				if err := put(); err != nil || left != "" {
					t.Fatalf("%v, left %q", err, left)
				}
				if diff := cmp.Diff(test.want, steps(r.Gate)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestUploadCutTenTimes: more cuts than attempts, and each brings the upload further.
func TestUploadCutTenTimes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := standAs(t, home, emulator.Options{})
		r.Inject(emulator.Fault{Match: func(q *http.Request) bool { return q.ContentLength > 50_000 }, Times: 10, CutRequestAt: 50_000})
		data := layer(1_000_000)
		var asked []int64
		_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, func(offset int64) (io.ReadCloser, error) {
			asked = append(asked, offset)
			return io.NopCloser(bytes.NewReader(data[offset:])), nil
		}, nil)
		if err != nil || !r.HasBlob("app", string(content(data).Digest)) {
			t.Fatalf("PutBlob: %v", err)
		}
		want := []int64{0}
		for i := range int64(10) {
			want = append(want, 50_000*(i+1))
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSinglePost: a small blob goes with the POST once the registry has shown that it accepts them. One that does not is
// sent the bytes twice, once, unless its Locations give it away as the distribution project's. No small blob is asked for twice.
func TestSinglePost(t *testing.T) {
	apart := []string{"POST 0 202", "PUT 1000 201", "POST 0 202", "PUT 1001 201", "POST 0 202", "PUT 1002 201", "POST 0 202", "PUT 300000 201"}
	for name, test := range map[string]struct {
		host    string
		options emulator.UploadOptions
		want    []string
	}{
		"taken":         {home, emulator.UploadOptions{SinglePost: true, Plain: true}, []string{"POST 0 202", "PUT 1000 201", "POST with it 201", "POST with it 201", "POST 0 202", "PUT 300000 201"}},
		"not taken":     {home, emulator.UploadOptions{Plain: true}, []string{"POST 0 202", "PUT 1000 201", "POST with it 202", "PUT 1001 201", "POST 0 202", "PUT 1002 201", "POST 0 202", "PUT 300000 201"}},
		"known to fail": {image.DockerHub, emulator.UploadOptions{Plain: true}, apart},
		"distribution":  {home, emulator.UploadOptions{}, apart},
		"Azure":         {"a.azurecr.io", emulator.UploadOptions{SinglePost: true}, []string{"POST 0 202", "PUT 1000 201", "POST with it 201", "POST with it 201", "POST 0 202", "PUT 300000 201"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := emulator.New(emulator.Options{Uploads: test.options})
			c := client(t, emulator.Network{test.host: r, "registry-1.docker.io": r}, Options{})
			for _, size := range []int{1000, 1001, 1002, 300_000} {
				data, opened := layer(size), 0
				mounted, err := c.PutBlob(t.Context(), image.Repository{Registry: test.host, Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil)
				if err != nil || mounted || opened != 1 || !r.HasBlob("app", string(content(data).Digest)) {
					t.Errorf("%d bytes: %v, mounted %v, opened %d times", size, err, mounted, opened)
				}
			}
			got := steps(r.Gate)
			for i, q := range r.Requests() {
				if q.Method == http.MethodPost && strings.HasPrefix(q.Query, "digest=") {
					got[i] = fmt.Sprintf("POST with it %d", q.Status)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTokenEndsWithinAnUpload: the chunk after that is sent with a new one, and the upload goes on.
func TestTokenEndsWithinAnUpload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}, TTL: 2 * time.Minute}
		r := emulator.New(emulator.Options{Auth: auth})
		const host = "a.azurecr.io"
		c := client(t, emulator.Network{host: r}, Options{Keychain: signed(host, "ann", "secret")})
		r.Inject(emulator.Fault{Match: requests("PATCH", emulator.KindUpload), Delay: 40 * time.Second})
		data, opened := layer(60<<20), 0
		if _, err := c.PutBlob(t.Context(), image.Repository{Registry: host, Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil); err != nil {
			t.Fatal(err)
		}
		if kind(r.Gate, "", emulator.KindToken) < 2 || !r.HasBlob("app", string(content(data).Digest)) {
			t.Errorf("%v", lines(r.Gate))
		}
	})
}

// TestLocationOfAChunkElsewhere: what follows goes there without the credential.
func TestLocationOfAChunkElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := emulator.NewGate(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			w.WriteHeader(http.StatusCreated)
		}))
		r := emulator.New(bearerAndBasic()["basic"])
		const host = "a.azurecr.io"
		c := client(t, emulator.Network{host: r, other: store}, Options{Keychain: signed(host, "ann", "secret")})
		r.Inject(emulator.Fault{Match: requests("PATCH", emulator.KindUpload), Header: http.Header{"Location": {"https://" + other + "/up?x=1"}}})
		data, opened := layer(20<<20), 0
		if _, err := c.PutBlob(t.Context(), image.Repository{Registry: host, Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil); err != nil {
			t.Fatal(err)
		}
		if n, leaked := len(store.Requests()), store.Count(authorized); n == 0 || leaked != 0 {
			t.Errorf("the other host saw %d requests, %d with a credential", n, leaked)
		}
		if query := store.Requests()[n(store)-1].Query; !strings.HasPrefix(query, "x=1&digest=") {
			t.Errorf("the last query is %q", query)
		}
	})
}

func n(g *emulator.Gate) int { return len(g.Requests()) }

// TestRegistryThatLosesCount: where the answer to a chunk makes no sense the registry is asked.
func TestRegistryThatLosesCount(t *testing.T) {
	for _, says := range []string{"0-99999999", "0-0", "5-6"} {
		t.Run(says, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				const host = "a.azurecr.io"
				r, c := standAs(t, host, emulator.Options{})
				r.Inject(emulator.Fault{Match: requests("PATCH", emulator.KindUpload), Header: http.Header{"Range": {says}}})
				data, opened := layer(20<<20), 0
				_, err := c.PutBlob(t.Context(), image.Repository{Registry: host, Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil)
				if err != nil || !r.HasBlob("app", string(content(data).Digest)) {
					t.Errorf("error = %v", err)
				}
				if got := n(r.Gate); got > 8 {
					t.Errorf("%d requests", got)
				}
			})
		})
	}
}

func TestTableOfRegistries(t *testing.T) {
	cases := map[string]uploading{
		"myregistry.azurecr.io": {whole: 16 << 20, together: true}, "azurecr.io.example": {}, "europe-docker.pkg.dev": {unbroken: true, together: true},
		"gcr.io": {unbroken: true, together: true}, "eu.gcr.io": {unbroken: true, together: true}, "ghcr.io": {unbroken: true, separate: true},
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com": {unbroken: true, separate: true}, "s3.amazonaws.com": {},
		"123456789012.dkr-ecr-fips.us-east-1.on.aws": {unbroken: true, separate: true}, "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": {unbroken: true, separate: true},
		"public.ecr.aws": {unbroken: true, separate: true}, image.DockerHub: {separate: true},
		"registry.gitlab.com": {separate: true}, "quay.io": {}, "registry.example:5000": {},
	}
	for host, want := range cases {
		if got := uploadingOf(host); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
}
