package serve

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// TestStats: answers are counted by kinds that no client chooses, with the bytes that were sent; an answer that is cut off is one of its own.
func TestStats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	sample, damaged := push(t, dir, "1", 5000), push(t, dir, "2", 100_000)
	path := layout.BlobPath(image.Repository{Path: dir}, image.Digest(digestOf(damaged.layer)))
	if err := os.WriteFile(path, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	scraped := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	s := newServer(t, Options{Layouts: []Layout{{Path: dir}}, Metrics: scraped})
	server := httptest.NewServer(s)
	defer server.Close()
	url := server.URL
	sent := 0
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/_catalog": 200, "/v2/app/tags/list": 200, "/v2/app/manifests/1": 200, "/v2/app/manifests/9": 404, "/v2/app/blobs/" + digestOf(sample.layer): 200,
		"/v2/app/referrers/" + digestOf(sample.index): 200, "/v2/app/chosen/1": 404, "/chosen": 404, "/metrics": 200, "/v2/a/manifests/b/manifests": 404,
	} {
		response, body := get(t, url+path)
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
		sent += len(body)
	}
	get(t, url+"/healthz")                                                     // is not counted
	_, body := get(t, url+"/v2/app/blobs/"+digestOf(sample.layer))             // is known to be right by now
	sent += len(body) + 100_000 - 64<<10                                       // all of the damaged blob but its end
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // it does not ask again
	response, err := fresh.Get(url + "/v2/app/blobs/" + digestOf(damaged.layer))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err == nil {
		t.Error("a damaged blob is served")
	}
	server.Close() // all is counted then
	got := s.Stats()
	want := map[Answered]int64{
		{"ping", 200}: 1, {"catalog", 200}: 1, {"tags", 200}: 1, {"manifest", 200}: 1, {"manifest", 404}: 1, {"blob", 200}: 2, {"referrers", 200}: 1, {"other", 404}: 3,
		{"other", 200}: 1, {"blob", 0}: 1,
	}
	if diff := cmp.Diff(want, got.Answers); diff != "" {
		t.Error(diff)
	}
	if got.Bytes != int64(sent) || got.Limit != 1024 || got.Connections > 2 {
		t.Errorf("%d bytes, want %d; %+v", got.Bytes, sent, got)
	}
}
