package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// TestServeConformance has the conformance suite of the OCI distribution spec pull and discover what dray serves. What the suite pushes is written
// into layouts.
func TestServeConformance(t *testing.T) {
	suite := fulltest.Program(t, "conformance", "it as .ci/run does")
	dir := t.TempDir()
	served := &url.URL{Scheme: "http", Host: serveTo(t, dir)}
	front := httptest.NewServer(&pushable{Handler: httputil.NewSingleHostReverseProxy(served), dir: dir, store: layout.New(), uploads: map[string][]byte{}})
	defer front.Close()
	c := exec.CommandContext(t.Context(), suite)
	c.Dir = t.TempDir()
	c.Env = []string{
		"OCI_REGISTRY=" + strings.TrimPrefix(front.URL, "http://"), "OCI_TLS=disabled", "OCI_REPO1=conformance/one", "OCI_REPO2=conformance/two", "OCI_VERSION=1.1",
		"OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		"OCI_API_BLOBS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_DIGEST_HEADER=true",
	}
	out, err := c.CombinedOutput()
	if passed := strings.Count(string(out), ": Pass\n"); err != nil || passed < 600 {
		t.Errorf("%v, and %d passed\n%s", err, passed, out)
	} else {
		t.Logf("%d passed", passed)
	}
}

// pushable is a registry that reads as another one does, and writes into layouts.
type pushable struct {
	http.Handler

	dir     string
	store   *layout.Store
	mu      sync.Mutex
	uploads map[string][]byte
}

// ServeHTTP implements http.Handler.
func (p *pushable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := strings.TrimPrefix(r.URL.Path, "/v2/")
	if name, reference, ok := strings.Cut(rest, "/manifests/"); ok && r.Method == http.MethodPut {
		p.manifest(w, r, name, reference)
	} else if name, id, ok := strings.Cut(rest, "/blobs/uploads/"); ok {
		p.upload(w, r, name, id)
	} else {
		p.Handler.ServeHTTP(w, r)
	}
}

func (p *pushable) manifest(w http.ResponseWriter, r *http.Request, name, reference string) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	repo := image.Repository{Path: filepath.Join(p.dir, name)}
	ref, d := repo.Tag(reference), image.DigestOf(raw, "")
	if strings.Contains(reference, ":") {
		d = image.DigestOf(raw, image.Digest(reference))
		ref = repo.Digest(image.Digest(reference))
	}
	m := image.Manifest{Descriptor: image.Descriptor{MediaType: r.Header.Get("Content-Type"), Digest: d, Size: int64(len(raw))}, Raw: raw}
	if err := p.store.PutManifest(r.Context(), ref, m); err != nil || ref.Digest != "" && ref.Digest != d {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	var doc struct{ Subject struct{ Digest string } }
	if json.Unmarshal(raw, &doc) == nil && doc.Subject.Digest != "" {
		w.Header().Set("OCI-Subject", doc.Subject.Digest)
	}
	created(w, r, d, "manifests")
}

func created(w http.ResponseWriter, r *http.Request, d image.Digest, kind string) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/"+kind+"/")
	w.Header().Set("Docker-Content-Digest", string(d))
	w.Header().Set("Location", path.Join("/v2", name, kind, string(d)))
	w.WriteHeader(http.StatusCreated)
}

func (p *pushable) upload(w http.ResponseWriter, r *http.Request, name, id string) {
	content := p.uploads[id]
	if id == "" {
		id = fmt.Sprint(len(p.uploads))
	}
	if begin, _, ok := strings.Cut(r.Header.Get("Content-Range"), "-"); ok && begin != fmt.Sprint(len(content)) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	content = append(content, body...)
	p.uploads[id] = content
	if d := image.Digest(r.URL.Query().Get("digest")); d != "" && r.Method != http.MethodGet {
		repo, open := image.Repository{Path: filepath.Join(p.dir, name)}, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		if err := p.store.PutBlob(r.Context(), repo, image.Descriptor{Digest: d, Size: int64(len(content))}, open); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		created(w, r, d, "blobs")
		return
	}
	w.Header().Set("Location", path.Join("/v2", name, "blobs", "uploads", id))
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(content)-1)))
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
