package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

//go:embed assets/page.html
var pageText string

//go:embed assets/style.css
var styleText []byte

//go:embed assets/icon.svg
var iconText []byte

// page is the status page. It needs no script, and nothing from elsewhere.
type page struct{ template *template.Template }

func newPage() *page { return &page{template.Must(template.New("page").Parse(pageText))} }

const (
	// maxRows is how many jobs the page shows: those that need a look come first, and nobody reads more.
	maxRows = 200
	// liveRefresh and idleRefresh are how soon the page comes again, in seconds, while something runs and else.
	liveRefresh = 5
	idleRefresh = 20
)

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	s.withStatus(w, r, func(status *record.Snapshot) {
		var b bytes.Buffer
		if err := s.page.template.Execute(&b, viewOf(status, r.URL.Query())); err != nil {
			fail(w, fmt.Errorf("write the status page: %w", err))
			return
		}
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		send(w, http.StatusOK, typeHTML, b.Bytes())
	})
}

func (p *page) serveStyle(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "text/css; charset=utf-8", styleText)
}

func (p *page) serveIcon(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "image/svg+xml", iconText)
}

// view is the page's content, as text.
type view struct {
	Title, Version, Loaded string
	Started                moment
	Stopping               bool
	Generation             int
	Rejected               []string
	RejectedAt             moment
	Closed                 []record.ClosedRegistry
	// Search is what names are to have in them.
	Search string
	// Refresh is in seconds, 0 for never; Toggle leads to the page with it on or off.
	Refresh int
	Toggle  string
	Figures []figure
	Rows    []row
	// Hidden says how many jobs are not shown.
	Hidden string
}

// figure is a number with what it counts.
type figure struct {
	Number, Noun string
	// Tone is how to colour it: "bad", "busy" or nothing.
	Tone string
}

// moment is a point in time: in words, and exactly.
type moment struct{ Words, Exact string }

func since(t, now time.Time) moment { return momentOf(t, ago(now.Sub(t))) }
func till(t, now time.Time) moment  { return momentOf(t, until(t.Sub(now))) }

func momentOf(t time.Time, words string) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{Words: words, Exact: t.UTC().Format(time.RFC3339)}
}

func viewOf(s *record.Snapshot, query url.Values) view {
	v := view{
		Version: s.Dray, Stopping: s.Stopping, Generation: s.Config.Generation,
		Started: since(s.Started, s.Now), Loaded: since(s.Config.Loaded, s.Now).Words,
		RejectedAt: since(s.Config.RejectedAt, s.Now), Search: clean(query.Get("q")),
	}
	for _, line := range s.Config.Rejected {
		v.Rejected = append(v.Rejected, clean(line))
	}
	for _, c := range s.Closed {
		v.Closed = append(v.Closed, record.ClosedRegistry{Registry: clean(c.Registry), Reason: clean(c.Reason)})
	}
	v.Title, v.Figures = title(s), figures(s.Totals)
	v.refresh(s, query)
	jobs := chosen(s.Jobs, v.Search)
	shown := jobs[:min(len(jobs), maxRows)]
	if more := len(jobs) - len(shown); more > 0 {
		v.Hidden = number(int64(more), "more job") + ", none of which needs a look before these: search for a name, or ask for all at "
	}
	for _, j := range shown {
		v.Rows = append(v.Rows, rowOf(j, s.Now))
	}
	return v
}

// refresh decides how soon the page comes again.
func (v *view) refresh(s *record.Snapshot, query url.Values) {
	other := url.Values{}
	if v.Search != "" {
		other.Set("q", v.Search)
	}
	if query.Get("refresh") == "off" {
		v.Toggle = "/?" + other.Encode()
		return
	}
	other.Set("refresh", "off")
	v.Toggle, v.Refresh = "/?"+other.Encode(), idleRefresh
	if s.Totals.Running > 0 {
		v.Refresh = liveRefresh
	}
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

func figures(t record.Totals) []figure {
	noun := "jobs"
	if t.Jobs == 1 {
		noun = "job"
	}
	list := []figure{
		{Number: grouped(int64(t.Jobs)), Noun: noun},
		{Number: grouped(int64(t.Failing)), Noun: "failing"},
		{Number: grouped(int64(t.Overdue)), Noun: "overdue"},
		{Number: fmt.Sprintf("%d/%d", t.Running, t.Parallel), Noun: "running"},
		{Number: grouped(int64(t.Waiting)), Noun: "waiting"},
		{Number: grouped(int64(t.Deferred)), Noun: "deferred"},
	}
	for i, n := range []int{0, t.Failing, t.Overdue} {
		if n > 0 {
			list[i].Tone = "bad"
		}
	}
	if t.Running > 0 {
		list[3].Tone = "busy"
	}
	return list
}

// chosen returns the jobs that have a text in their names: the failing first, then those without a success for too long, the running,
// and the others in the order in which they are due.
func chosen(jobs []record.JobStatus, search string) []*record.JobStatus {
	search = strings.ToLower(search)
	var list []*record.JobStatus
	for i := range jobs {
		if strings.Contains(strings.ToLower(jobs[i].Job), search) {
			list = append(list, &jobs[i])
		}
	}
	slices.SortStableFunc(list, (*record.JobStatus).Compare)
	return list
}
