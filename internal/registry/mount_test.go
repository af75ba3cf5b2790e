package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// TestFalseMounts: a 201 that does not name the blob is checked with one HEAD, and the blob is sent if it is not there.
func TestFalseMounts(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 100_000)
	another := emulator.Sum([]byte("another"))
	sent := []string{"POST upload 201", "HEAD blob 404", "POST upload 202", "PUT upload 201"}
	cases := map[string]struct {
		location func(repository, digest string) string
		holds    bool // the repository has the blob all the same
		want     []string
	}{
		"no Location":               {func(string, string) string { return "" }, false, sent},
		"Location of another blob":  {func(repository, _ string) string { return "/v2/" + repository + "/blobs/" + another }, false, sent},
		"Location of a session":     {func(repository, d string) string { return "/v2/" + repository + "/blobs/uploads/1?mount=" + d }, false, sent},
		"Location that is no URL":   {func(string, string) string { return "http://[::1" }, false, sent},
		"no Location, but the blob": {func(string, string) string { return "" }, true, []string{"POST upload 201", "HEAD blob 200"}},
	}
	for name, tt := range cases {
		for _, from := range []image.Repository{{}, at("base")} {
			t.Run(name+" from "+from.Path, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r, c := stand(t, emulator.Options{Uploads: emulator.UploadOptions{FalseMounts: tt.location}}, Options{})
					if tt.holds {
						r.PutBlob("app", data)
					}
					opened := 0
					mounted, err := c.PutBlob(t.Context(), at("app"), content(data), from, source(data, &opened), nil)
					if err != nil || mounted != tt.holds || !r.HasBlob("app", string(content(data).Digest)) {
						t.Errorf("PutBlob = %t, %v", mounted, err)
					}
					if diff := cmp.Diff(tt.want, lines(r.Gate)); diff != "" {
						t.Error(diff)
					}
				})
			})
		}
	}
}

// TestFailingMounts: a blob whose mount fails is sent, and after two such outages the next one without a try to mount it, for an hour.
func TestFailingMounts(t *testing.T) {
	for _, status := range []int{200, 202, 204, 500, 501, 503, 520} {
		for _, from := range []image.Repository{{}, at("base")} {
			t.Run(fmt.Sprint(status, " from ", from.Path), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r, c := stand(t, emulator.Options{Uploads: emulator.UploadOptions{MountStatus: status}}, Options{})
					for n := range 3 {
						time.Sleep(outage)
						r.Reset()
						data, opened := bytes.Repeat([]byte{byte(n)}, 100_000), 0
						mounted, err := c.PutBlob(t.Context(), at("app"), content(data), from, source(data, &opened), nil)
						if err != nil || mounted || !r.HasBlob("app", string(content(data).Digest)) {
							t.Errorf("PutBlob = %t, %v", mounted, err)
						}
					}
					if diff := cmp.Diff([]string{"POST upload 202", "PUT upload 201"}, lines(r.Gate)); diff != "" {
						t.Error(diff)
					}
				})
			})
		}
	}
}

// TestMountsAfterAnOutage: mounts that fail in one outage, however many there are at once, or once in a while, end none.
func TestMountsAfterAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		for n := range 6 {
			fails := n%2 == 0
			if fails {
				r.Inject(emulator.Fault{Match: func(r *http.Request) bool { return r.URL.Query().Has("from") }, Status: 503, Times: 10})
			}
			var both sync.WaitGroup
			for i := range 2 {
				both.Go(func() {
					data := bytes.Repeat([]byte{byte(2*n + i)}, 100_000)
					if _, err := c.PutBlob(t.Context(), at("base"), content(data), image.Repository{}, source(data, new(int)), nil); err != nil {
						t.Error(err)
					}
					if mounted, err := c.PutBlob(t.Context(), at("app"), content(data), at("base"), source(data, new(int)), nil); err != nil || mounted == fails {
						t.Errorf("round %d: PutBlob = %t, %v", n, mounted, err)
					}
				})
			}
			both.Wait()
			time.Sleep(outage)
		}
	})
}

// TestFailingSinglePosts: where POSTs with a blob fail, blobs are sent without, after two outages at once; a registry that is down is asked a few times.
func TestFailingSinglePosts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		put := func(n byte) error {
			time.Sleep(outage)
			r.Reset()
			data := bytes.Repeat([]byte{n}, 1000)
			_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, new(int)), nil)
			return err
		}
		if err := put(0); err != nil {
			t.Fatal(err)
		}
		r.Inject(emulator.Fault{Match: func(r *http.Request) bool { return r.URL.Query().Has("digest") && r.Method == http.MethodPost }, Status: 500})
		for n := range byte(3) {
			if err := put(n + 1); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]string{"POST upload 202", "PUT upload 201"}, lines(r.Gate)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(traitLasts)
		r.Inject(emulator.Fault{Match: func(r *http.Request) bool { return r.Method == http.MethodPost }, Status: 500})
		if err := put(9); err == nil || len(lines(r.Gate)) != 6 {
			t.Errorf("%v after %q", err, lines(r.Gate))
		}
	})
}

// TestFalseSinglePost: the same holds for a 201 to a POST that brought the blob.
func TestFalseSinglePost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		first, second := []byte("first"), []byte("second")
		r, c := stand(t, emulator.Options{Uploads: emulator.UploadOptions{Plain: true}}, Options{})
		opened := 0
		for _, data := range [][]byte{first, second} {
			if _, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil); err != nil || !r.HasBlob("app", string(content(data).Digest)) {
				t.Errorf("PutBlob: %v", err)
			}
			r.Inject(emulator.Fault{
				Match:  func(q *http.Request) bool { return q.Method == http.MethodPost && q.URL.Query().Has("digest") },
				Status: http.StatusCreated, Header: http.Header{"Location": {"/v2/app/blobs/uploads/1"}},
			})
		}
		want := []string{"POST upload 202", "PUT upload 201", "POST upload 201", "HEAD blob 404", "POST upload 202", "PUT upload 201"}
		if diff := cmp.Diff(want, lines(r.Gate)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestMountedBefore: a blob that the registry said it has mounted, and that is to be brought again, is asked for and then sent.
func TestMountedBefore(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 1000)
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{Uploads: emulator.UploadOptions{FalseMounts: func(repository, digest string) string {
			return "/v2/" + repository + "/blobs/" + digest
		}}}, Options{})
		opened := 0
		put := func(want bool) {
			t.Helper()
			if mounted, err := c.PutBlob(t.Context(), at("app"), content(data), at("base"), source(data, &opened), nil); err != nil || mounted != want {
				t.Errorf("PutBlob = %t, %v; want %t", mounted, err, want)
			}
		}
		put(true)
		r.PutBlob("app", data)
		put(true) // it is there by now
		r.DeleteBlob("app", string(content(data).Digest))
		put(false)
		if !r.HasBlob("app", string(content(data).Digest)) {
			t.Error("the blob is not there")
		}
		put(true) // forgotten: it was sent since
		want := []string{"POST upload 201", "HEAD blob 200", "HEAD blob 404", "POST upload 202", "PUT upload 201", "POST upload 201"}
		if diff := cmp.Diff(want, lines(r.Gate)); diff != "" {
			t.Error(diff)
		}
	})
}
