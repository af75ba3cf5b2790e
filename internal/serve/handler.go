package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// Codes of errors (OCI distribution spec, "Error Codes"); unavailable is that of distribution.
const (
	blobUnknown     = "BLOB_UNKNOWN"
	digestInvalid   = "DIGEST_INVALID"
	manifestUnknown = "MANIFEST_UNKNOWN"
	nameInvalid     = "NAME_INVALID"
	nameUnknown     = "NAME_UNKNOWN"
	numberInvalid   = "PAGINATION_NUMBER_INVALID"
	unauthorized    = "UNAUTHORIZED"
	unavailable     = "UNAVAILABLE"
	unsupported     = "UNSUPPORTED"
)

// refusal is an error with its code and status.
type refusal struct {
	status int
	code   string
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, code, format string, args ...any) error {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

const (
	prefix      = "/v2/"
	metricsPath = "/metrics"
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(inner http.ResponseWriter, r *http.Request) {
	w := newWriter(inner, s.limits.Write)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 { // it is not read, and the connection ends
		w.Header().Set("Connection", "close")
		_ = w.control.SetReadDeadline(time.Now().Add(s.limits.ReadHeader)) // else the end of the connection takes its time
	}
	if r.URL.Path == "/healthz" {
		_, _ = io.WriteString(w, "ok\n") // the client may be gone
		return
	}
	defer s.stats.count(r.URL.Path, w)
	err := s.admit(w, r)
	switch {
	case err == nil && r.URL.Path == metricsPath:
		s.options.Metrics.ServeHTTP(w, r)
	case err == nil:
		err = s.route(w, r)
	}
	if err == nil || r.Context().Err() != nil {
		return
	}
	why, ok := errors.AsType[*refusal](err)
	if !ok {
		s.warn(r.URL.Path, err)
		why = &refusal{http.StatusServiceUnavailable, unavailable, "the layout cannot be read now"}
		w.Header().Set("Retry-After", "5")
	}
	w.answer(why.status, "application/json", document(map[string]any{"errors": []any{map[string]string{"code": why.code, "message": why.text}}}))
}

// admit refuses who may not ask, and what is not answered at all.
func (s *Server) admit(w *writer, r *http.Request) error {
	isMetrics := s.options.Metrics != nil && r.URL.Path == metricsPath
	if r.URL.Path != "/v2" && !isMetrics && !strings.HasPrefix(r.URL.Path, prefix) {
		return refuse(http.StatusNotFound, unsupported, "this is a registry: its paths begin with /v2/")
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if s.options.Users != nil && !s.options.Users.admits(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="dray", charset="UTF-8"`)
		return refuse(http.StatusUnauthorized, unauthorized, "a name and a password are needed")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return refuse(http.StatusMethodNotAllowed, unsupported, "this registry is read-only")
	}
	return nil
}

// route answers a path.
func (s *Server) route(w *writer, r *http.Request) error {
	rest := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v2"), "/")
	switch rest {
	case "":
		w.answer(http.StatusOK, "application/json", []byte("{}\n"))
		return nil
	case "_catalog":
		return s.catalog(w, r)
	}
	rest, last := path.Split(rest)
	name, what := path.Split(strings.TrimSuffix(rest, "/"))
	serve, ok := map[string]func(w *writer, r *http.Request, repo repository, last string) error{
		"manifests": s.manifest, "blobs": s.blob, "referrers": s.referrers, "tags": s.tags,
	}[what]
	if !ok || what == "tags" && last != "list" {
		return refuse(http.StatusNotFound, unsupported, "there is no %s here", r.URL.Path)
	}
	name = strings.TrimSuffix(name, "/")
	if !image.ValidPath(name) {
		return refuse(http.StatusBadRequest, nameInvalid, "%q is no name of a repository", name)
	}
	if name, ok = s.meant(name, r.URL.Query().Get("ns")); !ok {
		return refuse(http.StatusNotFound, nameUnknown, "nothing of the registry %q is here", r.URL.Query().Get("ns"))
	}
	repo, err := s.find(r.Context(), name)
	if errors.Is(err, image.ErrAbsent) && what == "referrers" {
		repo, err = repository{View: &layout.View{}}, nil // 404 would say that there is no such API
	}
	if errors.Is(err, image.ErrAbsent) {
		return refuse(http.StatusNotFound, nameUnknown, "there is no repository %s", name)
	}
	if err != nil {
		return err
	}
	return serve(w, r, repo, last)
}

// meant returns the name that a repository of another registry has here. A client whose mirror has a path may have added it already.
func (s *Server) meant(name, ns string) (string, bool) {
	if ns == "" {
		return name, true
	}
	host, err := image.CanonicalHost(ns)
	if err != nil {
		return "", false
	}
	below, ok := s.options.Mirrors[host]
	if !ok {
		below, _, _ = strings.Cut(host, ":")
	}
	if below != "" && !strings.HasPrefix(name, below+"/") {
		name = below + "/" + name
	}
	return name, image.ValidPath(name)
}

func (s *Server) manifest(w *writer, r *http.Request, repo repository, last string) error {
	d := image.Digest(last)
	if strings.Contains(last, ":") {
		if d.Validate() != nil {
			return refuse(http.StatusBadRequest, digestInvalid, "%q is no digest", last)
		}
	} else if d = repo.Find(repo.full, last); d == "" {
		return refuse(http.StatusNotFound, manifestUnknown, "there is no tag %q", last)
	}
	m, err := repo.Manifest(d)
	if err != nil {
		return s.absent(repo, d, manifestUnknown, err)
	}
	w.Header().Set("Content-Type", m.MediaType)
	w.identify(d)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.Raw))
	return nil
}

func (s *Server) blob(w *writer, r *http.Request, repo repository, last string) error {
	d := image.Digest(last)
	if d.Validate() != nil {
		return refuse(http.StatusBadRequest, digestInvalid, "%q is no digest", last)
	}
	content, err := s.store.Open(repo.dir, d)
	if err != nil {
		return s.absent(repo, d, blobUnknown, err)
	}
	defer content.Close()
	whole := r.Method == http.MethodGet
	for _, name := range []string{"Range", "If-Match", "If-None-Match"} {
		whole = whole && r.Header.Get(name) == ""
	}
	if r.Method == http.MethodGet && !whole {
		if err := content.Prove(r.Context()); err != nil {
			return s.absent(repo, d, blobUnknown, err)
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.identify(d)
	if !whole || content.Proven() {
		http.ServeContent(w, r, "", time.Time{}, content)
		return nil
	}
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Length", strconv.FormatInt(content.Size(), 10))
	if err := content.SendTo(w); err != nil {
		if errors.Is(err, image.ErrCorrupt) {
			_ = s.absent(repo, d, blobUnknown, err)
		}
		w.status = 0
		panic(http.ErrAbortHandler) // the status is sent: all that is left to say is that the answer is not whole
	}
	return nil
}

// absent returns the error of content that cannot be served. What is damaged is as good as absent.
func (s *Server) absent(repo repository, d image.Digest, code string, err error) error {
	switch {
	case errors.Is(err, image.ErrCorrupt):
		s.warn(repo.dir+" "+string(d), err)
	case !errors.Is(err, image.ErrAbsent):
		return err
	}
	return refuse(http.StatusNotFound, code, "there is no %s", d)
}

func (s *Server) referrers(w *writer, r *http.Request, repo repository, last string) error {
	d := image.Digest(last)
	if d.Validate() != nil {
		return refuse(http.StatusBadRequest, digestInvalid, "%q is no digest", last)
	}
	wanted := r.URL.Query().Get("artifactType")
	raw, err := repo.Referrers(r.Context(), d, wanted)
	if err != nil {
		return err
	}
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.answer(http.StatusOK, image.MediaTypeOCIIndex, raw)
	return nil
}

func (s *Server) tags(w *writer, r *http.Request, repo repository, _ string) error {
	tags, _ := repo.Tags(repo.full)
	page, err := s.page(w, r, tags)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, prefix), "/tags/list")
	w.answer(http.StatusOK, "application/json", document(map[string]any{"name": name, "tags": page}))
	return nil
}

func (s *Server) catalog(w *writer, r *http.Request) error {
	names, err := s.names(r.Context())
	if err != nil {
		return err
	}
	page, err := s.page(w, r, names)
	if err != nil {
		return err
	}
	w.answer(http.StatusOK, "application/json", document(map[string]any{"repositories": page}))
	return nil
}

// page returns the entries after "last", at most "n" of them, and says where the next ones are (OCI distribution spec, "Content Discovery").
func (s *Server) page(w *writer, r *http.Request, all []string) ([]string, error) {
	query := r.URL.Query()
	most := s.limits.List
	if query.Has("n") {
		n, err := strconv.Atoi(query.Get("n"))
		if err != nil || n < 0 {
			return nil, refuse(http.StatusBadRequest, numberInvalid, "n is %q: it is a number from 0", query.Get("n"))
		}
		most = min(n, most)
	}
	if last := query.Get("last"); last != "" {
		all = all[sort.Search(len(all), func(i int) bool { return all[i] > last }):]
	}
	if most == 0 || len(all) == 0 {
		return []string{}, nil
	}
	if len(all) <= most {
		return all, nil
	}
	next := url.Values{"n": {strconv.Itoa(most)}, "last": {all[most-1]}}
	if ns := query.Get("ns"); ns != "" {
		next.Set("ns", ns)
	}
	w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, (&url.URL{Path: r.URL.Path}).EscapedPath(), next.Encode()))
	return slices.Clone(all[:most]), nil
}

func document(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte(`{}`) // maps, lists and texts always can
	}
	return append(raw, '\n')
}
