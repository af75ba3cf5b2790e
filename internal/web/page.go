package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

//go:embed assets/*.html
var pageFiles embed.FS

//go:embed assets/style.css
var styleText []byte

//go:embed assets/page.js
var scriptText []byte

//go:embed assets/icon.svg
var iconText []byte

func newPages() *template.Template {
	return template.Must(template.New("").ParseFS(pageFiles, "assets/*.html"))
}

// screen is one of the status pages with its content. Each needs no script, and nothing from elsewhere.
type screen struct {
	// template is the whole page's, and data what it is made of.
	template string
	data     any
	// head is what pages have in common.
	head *head
	// parts are what changes while somebody looks, each an element with that id, which its template writes.
	parts []part
	// rows are the ids of those parts that are rows of the element "rows", in their order; nil for a page without.
	rows []string
}

// part is an element of a page that is replaced when its content changes.
type part struct {
	ID, Template string
	Data         any
}

// head is what all pages have.
type head struct {
	// Title is that of the browser's tab; Nav is the path of the page in the navigation that is shown.
	Title, Nav string
	// Here is the page's own address, and Events that of its changes; empty for a page that has none.
	Here, Events string
	Now          string
	Version      string
	Started      moment
	Loaded       moment
	Generation   int
	Viewer       viewer
	// Did says that something was done, in words.
	Did     string
	Notices notices
}

// notices are what everybody who looks has to know.
type notices struct {
	Stopping bool
	// Paused says since when all jobs are paused, by whom and why; empty if they are not.
	Paused     string
	Rejected   []string
	RejectedAt moment
	// Partly is set where only some files are rejected.
	Partly bool
	Away   moment
	Closed []record.ClosedRegistry
}

// Any reports whether there are some.
func (n notices) Any() bool {
	return n.Stopping || n.Paused != "" || len(n.Rejected) > 0 || n.Away.Exact != "" || len(n.Closed) > 0
}

// moment is a point in time: in words, and exactly. Future says how the words are made.
type moment struct {
	Words, Exact string
	Future       bool
}

func since(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{Words: ago(now.Sub(t)), Exact: t.UTC().Format(time.RFC3339)}
}

func till(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{Words: until(t.Sub(now)), Exact: t.UTC().Format(time.RFC3339), Future: true}
}

// errNoPage says that a path leads to no page.
var errNoPage = errors.New("there is no such page")

const (
	pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	jobPage    = "/jobs/"
)

// pageOfJob is the path of a job's page. A name keeps its slashes unless browsers would take parts of it for steps.
func pageOfJob(job string) string {
	if path.Clean("/"+job) != "/"+job {
		return jobPage + url.PathEscape(job)
	}
	steps := strings.Split(job, "/")
	for i, step := range steps {
		steps[i] = url.PathEscape(step)
	}
	return jobPage + strings.Join(steps, "/")
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	v := s.viewerOf(r)
	s.inTurn(w, r, func(ctx context.Context) error {
		status, err := s.snapshots.status(ctx)
		if err != nil {
			s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon does not answer", err.Error())
			return nil
		}
		shown, err := s.screenOf(ctx, r.URL, v, status, &memo{})
		switch {
		case errors.Is(err, errNoPage):
			s.problem(w, r, v, http.StatusNotFound, "There is no such page", "No job has that name; it may have left the config.")
		case errors.Is(err, errNoPlan):
			s.problem(w, r, v, http.StatusNotFound, "There is no such plan", noPlan)
		case err != nil:
			return err
		default:
			shown.head.Did = dids[r.URL.Query().Get("did")]
			s.show(w, http.StatusOK, shown)
		}
		return nil
	})
}

// screenOf returns the page at an address.
func (s *Server) screenOf(ctx context.Context, u *url.URL, v viewer, status *record.Snapshot, m *memo) (*screen, error) {
	switch {
	case u.Path == "/":
		return s.overview(status, u.Query(), v), nil
	case u.Path == "/budgets":
		return s.budgetsScreen(status, u.Query(), v), nil
	case u.Path == "/registries":
		return s.registriesScreen(status, v), nil
	case u.Path == "/config":
		return s.configScreen(status, v), nil
	case u.Path == "/signin":
		h := s.headOf(status, v, "", &url.URL{Path: "/"})
		h.Title, h.Events = "sign in", ""
		return &screen{template: "signin", data: h, head: h}, nil
	case strings.HasPrefix(u.Path, jobPage):
		return s.jobScreen(ctx, u, v, status, m)
	}
	return nil, errNoPage
}

// headOf returns what a page has in common with the others.
func (s *Server) headOf(status *record.Snapshot, v viewer, page string, here *url.URL) *head {
	h := &head{
		Title: title(status), Nav: page, Here: here.String(), Events: "/events?" + url.Values{"at": {here.String()}}.Encode(),
		Now: status.Now.UTC().Format(time.RFC3339), Version: status.Dray, Generation: status.Config.Generation,
		Started: since(status.Started, status.Now), Loaded: since(status.Config.Loaded, status.Now), Viewer: v,
		Notices: notices{
			Stopping: status.Stopping, RejectedAt: since(status.Config.RejectedAt, status.Now), Partly: status.Config.Partly,
		},
	}
	if l := status.Ledger; l != nil {
		h.Notices.Away = since(l.Since, status.Now)
	}
	if status.Paused != nil {
		h.Notices.Paused = strings.TrimPrefix(pauseText(status.Paused), "all are ")
	}
	for _, line := range status.Config.Rejected {
		h.Notices.Rejected = append(h.Notices.Rejected, clean(line))
	}
	for _, c := range status.Closed {
		h.Notices.Closed = append(h.Notices.Closed, record.ClosedRegistry{Registry: clean(c.Registry), Reason: clean(c.Reason)})
	}
	return h
}

// title is what a browser's tab shows: what needs a look first.
func title(s *record.Snapshot) string {
	switch {
	case len(s.Config.Rejected) > 0:
		return "config rejected"
	case s.Totals.Failing > 0:
		return fmt.Sprintf("%d failing", s.Totals.Failing)
	case s.Totals.Overdue > 0:
		return fmt.Sprintf("%d overdue", s.Totals.Overdue)
	case s.Totals.Running > 0:
		return fmt.Sprintf("%d running", s.Totals.Running)
	}
	return "all is well"
}

// show sends a page.
func (s *Server) show(w http.ResponseWriter, status int, shown *screen) {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, shown.template, shown.data); err != nil {
		fail(w, fmt.Errorf("write the status page: %w", err))
		return
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	send(w, status, typeHTML, b.Bytes())
}

// problem is a page that says why something is not possible.
type problem struct {
	*head
	Heading, Text string
}

func (s *Server) problem(w http.ResponseWriter, _ *http.Request, v viewer, status int, heading, text string) {
	h := &head{Title: strings.ToLower(heading), Viewer: v}
	s.show(w, status, &screen{template: "problem", head: h, data: problem{h, heading, clean(text)}})
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "text/css; charset=utf-8", styleText)
}

func serveScript(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "text/javascript; charset=utf-8", scriptText)
}

func serveIcon(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "image/svg+xml", iconText)
}
