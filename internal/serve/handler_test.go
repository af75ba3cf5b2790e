package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// put writes a blob into the layout dir and returns its descriptor, as JSON has it.
func put(t testing.TB, dir, mediaType, text string) string {
	t.Helper()
	d := image.Descriptor{Digest: image.DigestOf([]byte(text), ""), Size: int64(len(text))}
	err := layout.New().PutBlob(t.Context(), image.Repository{Path: dir}, d, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return descriptor(mediaType, text)
}

func descriptor(mediaType, text string) string {
	return fmt.Sprintf(`"mediaType":%q,"digest":%q,"size":%d`, mediaType, image.DigestOf([]byte(text), ""), len(text))
}

// tag writes a manifest into the layout dir, with a tag unless that is empty.
func tag(t testing.TB, dir, name, mediaType, text string) image.Digest {
	t.Helper()
	d := image.Descriptor{MediaType: mediaType, Digest: image.DigestOf([]byte(text), ""), Size: int64(len(text))}
	ref := image.Reference{Repository: image.Repository{Path: dir}, Tag: name}
	if name == "" {
		ref.Digest = d.Digest
	}
	if err := layout.New().PutManifest(t.Context(), ref, image.Manifest{Descriptor: d, Raw: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

const layerType = "application/vnd.oci.image.layer.v1.tar+gzip"

// sample is an image in a layout.
type sample struct {
	layer, config, manifest, index string
}

// push writes an image with a tag: an index of one manifest, which does not say its own media type, with a layer of size bytes.
func push(t testing.TB, dir, name string, size int) sample {
	t.Helper()
	s := sample{layer: strings.Repeat(name+" is a layer\n", size/12+1)[:size], config: `{"architecture":"amd64","os":"linux","x":"` + name + `"}`}
	s.manifest = `{"schemaVersion":2,"config":{` + put(t, dir, "application/vnd.oci.image.config.v1+json", s.config) + `},"layers":[{` + put(t, dir, layerType, s.layer) + `}]}`
	tag(t, dir, "", image.MediaTypeOCIManifest, s.manifest)
	s.index = `{"schemaVersion":2,"manifests":[{` + descriptor(image.MediaTypeOCIManifest, s.manifest) + `}]}`
	tag(t, dir, name, image.MediaTypeOCIIndex, s.index)
	return s
}

func digestOf(text string) string { return string(image.DigestOf([]byte(text), "")) }

// rename makes an entry of index.json have another name, as other programs write it.
func rename(t testing.TB, dir, from, to string) {
	t.Helper()
	path := filepath.Join(dir, "index.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, bytes.ReplaceAll(raw, fmt.Appendf(nil, "%q:%q", "org.opencontainers.image.ref.name", from), fmt.Appendf(nil, "%q:%q", "io.containerd.image.name", to)))
}

// replace replaces a file as a whole.
func replace(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func newServer(t testing.TB, options Options) *Server {
	t.Helper()
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return New(options)
}

// listening serves on the loopback and returns the URL.
func listening(t testing.TB, options Options) string {
	t.Helper()
	server := httptest.NewServer(newServer(t, options))
	t.Cleanup(server.Close)
	return server.URL
}

// ask sends a request with header lines "Name: value".
func ask(t testing.TB, method, url string, lines ...string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	r.Header.Add("Accept-Encoding", "identity")
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// Accept, as clients send it.
const (
	containerdAccept = "Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, " +
		"application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
)

func podmanAccept() []string {
	var lines []string
	for _, kind := range []string{
		image.MediaTypeDockerManifest, image.MediaTypeDockerSigned1, image.MediaTypeDockerSchema1, image.MediaTypeDockerList, image.MediaTypeOCIIndex, image.MediaTypeOCIManifest,
	} {
		lines = append(lines, "Accept: "+kind)
	}
	return lines
}

// TestClients sends what clients were recorded to send, in their order (containerd 1.6, podman 4.3 and skopeo 1.9, crane 0.22, regctl 0.11).
func TestClients(t *testing.T) {
	root := t.TempDir()
	s := push(t, filepath.Join(root, "docker.io", "library", "alpine"), "3.20", 300_000)
	url := listening(t, Options{Layouts: []Layout{{Path: root}}})
	index, manifest, config, layer := digestOf(s.index), digestOf(s.manifest), digestOf(s.config), digestOf(s.layer)
	octets := "application/octet-stream"
	type call struct {
		method, path string
		lines        []string
		status       int
		mediaType    string
		body         string
		digest       string
	}
	const name, mirrored = "/v2/docker.io/library/alpine", "/v2/library/alpine"
	only := func(kind string) []string { return []string{"Accept: " + kind + ", */*"} }
	tests := map[string][]call{
		"containerd": {
			{"HEAD", name + "/manifests/3.20", []string{containerdAccept}, 200, image.MediaTypeOCIIndex, "", index},
			{"GET", name + "/manifests/" + index, only(image.MediaTypeOCIIndex), 200, image.MediaTypeOCIIndex, s.index, index},
			{"GET", name + "/manifests/" + manifest, only(image.MediaTypeOCIManifest), 200, image.MediaTypeOCIManifest, s.manifest, manifest},
			{"GET", name + "/blobs/" + config, only("application/vnd.oci.image.config.v1+json"), 200, octets, s.config, config},
			{"GET", name + "/blobs/" + layer, only(layerType), 200, octets, s.layer, layer},
			{"GET", name + "/blobs/" + layer, append(only(layerType), "Range: bytes=150007-"), 206, octets, s.layer[150007:], layer},
			{"HEAD", name + "/manifests/3.20", []string{containerdAccept}, 200, image.MediaTypeOCIIndex, "", index},
		},
		"containerd with a mirror": {
			{"HEAD", mirrored + "/manifests/3.20?ns=docker.io", []string{containerdAccept}, 200, image.MediaTypeOCIIndex, "", index},
			{"GET", mirrored + "/manifests/" + index + "?ns=docker.io", only(image.MediaTypeOCIIndex), 200, image.MediaTypeOCIIndex, s.index, index},
			{"GET", mirrored + "/blobs/" + config + "?ns=docker.io", only("x/y"), 200, octets, s.config, config},
			{"HEAD", mirrored + "/manifests/3.20?ns=quay.io", []string{containerdAccept}, 404, "application/json", "", ""},
		},
		"containerd with a mirror that has a path": {
			{"HEAD", name + "/manifests/3.20?ns=docker.io", []string{containerdAccept}, 200, image.MediaTypeOCIIndex, "", index},
		},
		"podman": {
			{"GET", "/v2/", nil, 200, "application/json", "{}\n", ""},
			{"GET", name + "/manifests/3.20", podmanAccept(), 200, image.MediaTypeOCIIndex, s.index, index},
			{"GET", name + "/manifests/" + manifest, podmanAccept(), 200, image.MediaTypeOCIManifest, s.manifest, manifest},
			{"GET", name + "/blobs/" + layer, nil, 200, octets, s.layer, layer},
			{"GET", name + "/blobs/" + config, nil, 200, octets, s.config, config},
		},
		"a client that accepts something else": {
			{"GET", name + "/manifests/3.20", []string{"Accept: " + image.MediaTypeDockerManifest}, 200, image.MediaTypeOCIIndex, s.index, index},
		},
		"crane": {
			{"GET", "/v2/", nil, 200, "application/json", "{}\n", ""},
			{"GET", name + "/manifests/3.20", []string{containerdAccept}, 200, image.MediaTypeOCIIndex, s.index, index},
			{"GET", name + "/manifests/" + manifest, []string{containerdAccept}, 200, image.MediaTypeOCIManifest, s.manifest, manifest},
			{"GET", name + "/blobs/" + config, nil, 200, octets, s.config, config},
		},
		"regctl": {
			{"GET", name + "/manifests/3.20", podmanAccept(), 200, image.MediaTypeOCIIndex, s.index, index},
			{"GET", name + "/blobs/" + layer, nil, 200, octets, s.layer, layer},
			{"GET", name + "/blobs/" + layer, []string{"Range: bytes=150007-299999"}, 206, octets, s.layer[150007:], layer},
		},
		"a manifest as a blob": {
			{"GET", name + "/blobs/" + manifest, nil, 200, octets, s.manifest, manifest},
		},
	}
	for client, calls := range tests {
		t.Run(client, func(t *testing.T) {
			for _, c := range calls {
				response, body, err := ask(t, c.method, url+c.path, c.lines...)
				if err != nil {
					t.Fatal(err)
				}
				got := call{c.method, c.path, c.lines, response.StatusCode, response.Header.Get("Content-Type"), body, response.Header.Get("Docker-Content-Digest")}
				if diff := cmp.Diff(c, got, cmp.AllowUnexported(call{})); diff != "" {
					t.Error(diff)
				}
				if response.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" || response.Header.Get("Content-Encoding") != "" {
					t.Errorf("%s: %v", c.path, response.Header)
				}
				if c.method == "HEAD" && c.status == 200 && response.ContentLength != int64(len(s.index)) {
					t.Errorf("%s: %d bytes are announced", c.path, response.ContentLength)
				}
				if c.status == 206 && response.Header.Get("Content-Range") != "bytes 150007-299999/300000" {
					t.Errorf("%s: Content-Range %s", c.path, response.Header.Get("Content-Range"))
				}
			}
		})
	}
}

// TestAnswers are the answers to all else that can be asked.
func TestAnswers(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "team", "app")
	s := push(t, dir, "1", 1000)
	push(t, dir, "2", 1000)
	absent := digestOf("absent")
	blob := "/v2/team/app/blobs/" + digestOf(s.layer)
	tests := []struct {
		method, path string
		lines        string
		status       int
		want         string // a part of the body, or a header line
	}{
		{"GET", "/v2", "", 200, "{}"},
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/", "", 404, `"code":"UNSUPPORTED"`},
		{"GET", "/v2/team/app", "", 404, `"code":"UNSUPPORTED"`},
		{"GET", "/v2/team/app/manifests/3", "", 404, `"code":"MANIFEST_UNKNOWN"`},
		{"GET", "/v2/team/app/manifests/.INVALID", "", 404, `"code":"MANIFEST_UNKNOWN"`},
		{"GET", "/v2/team/app/manifests/" + absent, "", 404, `"code":"MANIFEST_UNKNOWN"`},
		{"GET", "/v2/team/app/manifests/" + digestOf(s.config), "", 404, `"code":"MANIFEST_UNKNOWN"`},
		{"GET", "/v2/team/app/manifests/sha256:12", "", 400, `"code":"DIGEST_INVALID"`},
		{"GET", "/v2/team/app/blobs/" + absent, "", 404, `"code":"BLOB_UNKNOWN"`},
		{"GET", "/v2/team/app/blobs/sha256:../../index.json", "", 404, `"code":"UNSUPPORTED"`},
		{"GET", "/v2/team/app/blobs/sha256:..%2f..%2findex.json", "", 404, `"code":"UNSUPPORTED"`},
		{"GET", "/v2/team/app/blobs/index.json", "", 400, `"code":"DIGEST_INVALID"`},
		{"GET", "/v2/team/other/manifests/1", "", 404, `"code":"NAME_UNKNOWN"`},
		{"GET", "/v2/team/other/blobs/" + absent, "", 404, `"code":"NAME_UNKNOWN"`},
		{"GET", "/v2/team/tags/list", "", 404, `"code":"NAME_UNKNOWN"`},
		{"GET", "/v2/team/other/referrers/" + absent, "", 200, `"manifests":[]`}, // 404 would say that there is no such API
		{"GET", "/v2/../team/app/tags/list", "", 400, `"code":"NAME_INVALID"`},
		{"GET", "/v2/Team/app/tags/list", "", 400, `"code":"NAME_INVALID"`},
		{"GET", "/v2/team/app/tags/other", "", 404, `"code":"UNSUPPORTED"`},
		{"GET", "/v2/team/app/tags/list", "", 200, `{"name":"team/app","tags":["1","2"]}`},
		{"GET", "/v2/team/app/tags/list?n=0", "", 200, `{"name":"team/app","tags":[]}`},
		{"GET", "/v2/team/app/tags/list?n=1", "", 200, `Link: </v2/team/app/tags/list?last=1&n=1>; rel="next"`},
		{"GET", "/v2/team/app/tags/list?n=1&last=1", "", 200, `"tags":["2"]}`},
		{"GET", "/v2/team/app/tags/list?last=17", "", 200, `"tags":["2"]}`},
		{"GET", "/v2/team/app/tags/list?last=2", "", 200, `"tags":[]}`},
		{"GET", "/v2/team/app/tags/list?n=-1", "", 400, `"code":"PAGINATION_NUMBER_INVALID"`},
		{"GET", "/v2/_catalog", "", 200, `{"repositories":["team/app"]}`},
		{"GET", "/v2/team/app/referrers/" + absent, "", 200, `"manifests":[]`},
		{"GET", "/v2/team/app/referrers/x", "", 400, `"code":"DIGEST_INVALID"`},
		{"GET", blob, "Range: bytes=-3", 206, "Content-Range: bytes 997-999/1000"},
		{"GET", blob, "Range: bytes=2-5", 206, "Content-Range: bytes 2-5/1000"},
		{"GET", blob, "Range: bytes=1000-", 416, "Content-Range: bytes */1000"},
		{"GET", blob, `If-None-Match: "` + digestOf(s.layer) + `"`, 304, ""},
		{"HEAD", blob, "", 200, "Content-Length: 1000"},
		{"HEAD", blob, "", 200, "Accept-Ranges: bytes"},
		{"GET", "/v2/team/app/manifests/1", `If-None-Match: "` + digestOf(s.index) + `"`, 304, ""},
		{"GET", "/v2/team/app/manifests/1", "", 200, `Etag: "` + digestOf(s.index) + `"`},
		{"HEAD", "/v2/team/app/manifests/3", "", 404, "Content-Type: application/json"},
	}
	for _, method := range []string{"PUT", "POST", "PATCH", "DELETE", "OPTIONS"} {
		for _, path := range []string{"/v2/team/app/manifests/1", "/v2/team/app/blobs/uploads/", blob, "/v2/x/blobs/uploads/?mount=" + absent} {
			tests = append(tests, struct {
				method, path string
				lines        string
				status       int
				want         string
			}{method, path, "", 405, "Allow: GET, HEAD"})
		}
	}
	// One that asks anew for each, so that each is answered from what nobody has read before.
	for _, test := range tests {
		server := newServer(t, Options{Layouts: []Layout{{Path: root}}})
		r := httptest.NewRequestWithContext(t.Context(), test.method, "/", nil)
		r.RequestURI = test.path
		u, err := r.URL.Parse("http://x" + strings.ReplaceAll(test.path, "..", "%2e%2e"))
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		if name, value, ok := strings.Cut(test.lines, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		var all strings.Builder
		_ = w.Result().Header.Write(&all)
		all.WriteString(w.Body.String())
		if w.Code != test.status || !strings.Contains(strings.ReplaceAll(all.String(), "\r\n", "\n"), test.want) {
			t.Errorf("%s %s %s: %d\n%s", test.method, test.path, test.lines, w.Code, all.String())
		}
		if w.Code >= 400 && w.Code != 416 && test.method != "HEAD" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %s", test.method, test.path, w.Body)
		}
	}
}

// get sends a GET, with the credential that the URL has.
func get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}
