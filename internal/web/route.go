package web

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// endpoint is what a path leads to.
type endpoint struct {
	// changes is set where it answers POST, and not GET and HEAD.
	changes bool
	// probe is set where an exposed server answers under any name.
	probe bool
	// event is set where the sender proves itself by the request, under any name, and the body is read.
	event bool
	// form is set where it answers a form of a page, and reads the body.
	form  bool
	serve func(w http.ResponseWriter, r *http.Request)
}

func (e endpoint) methods() []string {
	switch {
	case e.event: // a sender of CloudEvents may ask before it sends
		return []string{http.MethodPost, http.MethodOptions}
	case e.changes || e.form:
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodHead}
}

// find returns what the path of a request leads to. It takes paths as they are: a name with "//" or ".." is one, and no way elsewhere.
func (s *Server) find(u *url.URL) (endpoint, bool) {
	switch u.Path {
	case "/", "/budgets", "/registries", "/config", "/signin":
		return endpoint{serve: s.servePage}, true
	case "/style.css":
		return endpoint{serve: serveStyle}, true
	case "/page.js":
		return endpoint{serve: serveScript}, true
	case "/icon.svg":
		return endpoint{serve: serveIcon}, true
	case "/events":
		return endpoint{serve: s.serveEvents}, true
	case "/healthz":
		return endpoint{probe: true, serve: s.serveHealth}, true
	case "/readyz":
		return endpoint{probe: true, serve: s.serveReadiness}, true
	case "/metrics":
		return endpoint{probe: true, serve: s.serveMetrics}, s.options.Metrics != nil
	case "/api/v1/status":
		return endpoint{serve: s.serveStatus}, true
	case "/api/v1/jobs":
		return endpoint{serve: s.serveJobs}, true
	case "/api/v1/history":
		return endpoint{serve: s.serveHistory}, true
	case "/api/v1/openapi.json":
		return endpoint{serve: serveOpenAPI}, true
	case "/api/v1/pause":
		return endpoint{changes: true, serve: func(w http.ResponseWriter, r *http.Request) { s.servePause(w, r, "") }}, true
	case "/api/v1/resume":
		return endpoint{changes: true, serve: func(w http.ResponseWriter, r *http.Request) { s.serveResume(w, r, "") }}, true
	case "/-/reload":
		return endpoint{changes: true, serve: s.serveReload}, true
	}
	if s.options.Events != nil && strings.HasPrefix(u.Path, "/hook/") {
		return endpoint{event: true, serve: s.options.Events.ServeHTTP}, true
	}
	if strings.HasPrefix(u.Path, jobPage) && len(u.Path) > len(jobPage) {
		return endpoint{serve: s.servePage}, true
	}
	if do, ok := s.formAt(u.Path); ok {
		return endpoint{form: true, serve: func(w http.ResponseWriter, r *http.Request) { s.serveForm(w, r, do) }}, true
	}
	if id, approve, ok := planAt(u.EscapedPath()); ok && approve {
		return endpoint{changes: true, serve: func(w http.ResponseWriter, r *http.Request) { s.serveApproval(w, r, id) }}, true
	} else if ok {
		return endpoint{serve: func(w http.ResponseWriter, r *http.Request) { s.servePlanStatus(w, r, id) }}, true
	}
	if job, action, ok := jobOf(u.EscapedPath()); ok {
		serve, known := map[string]func(http.ResponseWriter, *http.Request, string){"sync": s.serveSync, "pause": s.servePause, "resume": s.serveResume, "plan": s.servePlan}[action]
		return endpoint{changes: true, serve: func(w http.ResponseWriter, r *http.Request) { serve(w, r, job) }}, known
	}
	return endpoint{}, false
}

const (
	apiPrefix = "/api/v1/"
	jobPrefix = apiPrefix + "jobs/"
)

// jobOf returns the job that a path as it was sent names, and what is to be done with it. A slash in the name may be escaped or not.
func jobOf(path string) (job, action string, ok bool) {
	rest, ok := strings.CutPrefix(path, jobPrefix)
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", "", false
	}
	job, err := url.PathUnescape(rest[:i])
	return job, rest[i+1:], err == nil && job != "" && utf8.ValidString(job)
}

// jobPath is the path that asks for something to be done with a job.
func jobPath(job, action string) string { return jobPrefix + url.PathEscape(job) + "/" + action }

// ServeHTTP refuses what is not to be answered, the cheapest reason first. Nothing of a body is read before.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	e, found := s.find(r.URL)
	p := policyFor(r)
	switch {
	case !s.meant(r, p, e):
		refuse(w, http.StatusMisdirectedRequest, "this server is not asked as "+withoutPort(r.Host)+": use its address, or, in a reverse proxy, send that as the Host")
	case !found:
		refuse(w, http.StatusNotFound, "there is no "+r.URL.Path+" here")
	case !slices.Contains(e.methods(), r.Method):
		methods := strings.Join(e.methods(), ", ")
		w.Header().Set("Allow", methods)
		refuse(w, http.StatusMethodNotAllowed, r.URL.Path+" answers "+methods+" only")
	case e.changes && !s.permitted(w, r, p):
	case !e.event && !e.form && !emptied(w, r):
	default:
		e.serve(w, r)
	}
}

// meant tells whether a request names this server in a way that no stranger can have arranged.
func (s *Server) meant(r *http.Request, p listenerPolicy, e endpoint) bool {
	return p.admits(r.Host) || p.exposed && e.probe || e.event || s.proven(r)
}

// permitted tells whether a request may change something, and answers it where it may not.
func (s *Server) permitted(w http.ResponseWriter, r *http.Request, p listenerPolicy) bool {
	if err := s.origins.Check(r); err != nil {
		refuse(w, http.StatusForbidden, "refused: the request comes from another site's page")
		return false
	}
	switch {
	case s.trusts(r, p):
		return true
	case s.token.Load() == nil:
		refuse(w, http.StatusForbidden, "refused: everybody in the network could ask for this, so it needs a token: set server.token")
		return false
	case r.Header.Get("Authorization") == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="dray"`)
		refuse(w, http.StatusUnauthorized, "a token is needed: Authorization: Bearer, and what server.token has")
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="dray", error="invalid_token"`)
		refuse(w, http.StatusUnauthorized, "the token is wrong")
	}
	return false
}

// trusts tells whether whoever asks may change something.
func (s *Server) trusts(r *http.Request, p listenerPolicy) bool {
	if s.token.Load() == nil {
		return !p.exposed
	}
	return s.proven(r)
}

// emptied discards the body, so that the connection can be reused. It answers where that is too much.
func emptied(w http.ResponseWriter, r *http.Request) bool {
	var err error
	if r.ContentLength > maxBody {
		err = &http.MaxBytesError{Limit: maxBody}
	} else if r.ContentLength != 0 {
		_, err = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
	}
	if err == nil {
		return true
	}
	w.Header().Set("Connection", "close")
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refuse(w, http.StatusRequestEntityTooLarge, "the body is too large, and none is needed")
	} else {
		refuse(w, http.StatusRequestTimeout, "the body did not come")
	}
	return false
}
