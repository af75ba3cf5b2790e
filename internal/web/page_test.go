package web

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

func TestPages(t *testing.T) {
	daemon := fullDaemon()
	address := start(t, Options{Daemon: daemon, Details: fakeDetails{}})
	for file, path := range map[string]string{
		"overview.html": "/", "grouped.html": "/?group=target&q=a&state=failing&sort=-next&registry=docker.io", "job.html": "/jobs/alpine", "budgets.html": "/budgets",
		"registries.html": "/registries", "config.html": "/config", "signin.html": "/signin", "tags.html": "/jobs/alpine?show=tags&q=3.10", "plan.html": "/jobs/alpine?show=plan&plan=PLAN1&page=2", "nojob.html": "/jobs/none",
	} {
		response, page := ask(t, "GET", "http://"+address+path, nil)
		page = secretForm.ReplaceAllString(page, "${1}FORM")
		golden(t, file, page)
		if kind := response.Header.Get("Content-Type"); kind != typeHTML {
			t.Errorf("%s: type %s", path, kind)
		}
		harmless(t, page)
		wellFormed(t, page)
	}
	_, search := ask(t, "GET", "http://"+address+"/?q=%22%3E%3Cscript%3E&state=%22%3E&registry=%3Cscript%3E&sort=%22&page=x", nil)
	if !strings.Contains(search, "No job is like that.") {
		t.Errorf("got\n%s", search)
	}
	harmless(t, search)
	wellFormed(t, search)
	_, page := ask(t, "GET", "http://"+address+pageOfJob(hostile), nil)
	harmless(t, page)
	wellFormed(t, page)
}

// secretForm is what differs from process to process.
var secretForm = regexp.MustCompile(`(name="form" value=")[^"]*`)

// harmless checks that a page has nothing of others in it that acts, and leads nowhere else.
func harmless(t *testing.T, page string) {
	t.Helper()
	page = strings.Replace(page, `<script src="/page.js" defer="defer"></script>`, "", 1)
	for _, bad := range []string{"<script", "<b>no", "</pre>\n日", "style=", "onload", "javascript:", "\x1b", "\u202e"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it:\n%s", bad, page)
		}
	}
	for _, link := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if (!strings.HasPrefix(link[1], "/") || strings.HasPrefix(link[1], "//")) && link[1] != "#main" {
			t.Errorf("the page leads elsewhere: %s", link[1])
		}
	}
}

func TestPartlyRejected(t *testing.T) {
	daemon := newStage(full)
	daemon.then(func(s *record.Snapshot) { s.Config.Partly = true })
	_, page := ask(t, "GET", "http://"+start(t, Options{Daemon: daemon})+"/config", nil)
	if !strings.Contains(page, "Some files of the config have mistakes") || strings.Contains(page, "The config is rejected") {
		t.Errorf("got\n%s", page)
	}
	wellFormed(t, page)
}

func TestEmptyPage(t *testing.T) {
	address := start(t, Options{Daemon: &fake{}})
	_, page := ask(t, "GET", "http://"+address+"/", nil)
	if !strings.Contains(page, "There are no jobs") || !strings.Contains(page, "<title>dray: all is well</title>") || strings.Contains(page, "rejected") {
		t.Errorf("got\n%s", page)
	}
	wellFormed(t, page)
}

// wellFormed checks that every element is closed.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	closed := regexp.MustCompile(`<((?:meta|link|img|input)\b[^>]*)>`).ReplaceAllString(page, "<$1/>")
	d := xml.NewDecoder(strings.NewReader(closed))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, page)
		}
	}
}

func TestOrder(t *testing.T) {
	s := full()
	complete(&s)
	var got []string
	for _, j := range (listing{}).chosen(s.Jobs) {
		got = append(got, j.Job)
	}
	want := []string{"failing", hostile, "alpine", "observing", "library/hello-world", "deferred", "idle", "paused"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTitle(t *testing.T) {
	for want, s := range map[string]record.Snapshot{
		"config rejected": {Config: record.Config{Rejected: []string{"x"}}, Totals: record.Totals{Failing: 1}},
		"2 failing":       {Totals: record.Totals{Failing: 2, Overdue: 1}},
		"1 overdue":       {Totals: record.Totals{Overdue: 1, Running: 1}},
		"3 running":       {Totals: record.Totals{Running: 3}},
		"all is well":     {},
	} {
		if got := title(&s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "now", 0: "now", time.Second: "in 1 second", 119 * time.Second: "in 119 seconds", 2 * time.Minute: "in 2 minutes",
		119 * time.Minute: "in 119 minutes", 2 * time.Hour: "in 2 hours", 47 * time.Hour: "in 47 hours", 48 * time.Hour: "in 2 days", 24000 * time.Hour: "in 1\u202f000 days",
	} {
		if got := until(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := ago(-time.Second); got != "just now" {
		t.Errorf("got %q", got)
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1_250_000: "1.2 MB", 120_000_000_000: "120 GB", 999_999: "1 MB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{-1000: "-1\u202f000", 999: "999", 1234567: "1\u202f234\u202f567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestUnknownJob(t *testing.T) {
	e := &UnknownJobError{Job: "a", Nearest: []string{"b", "c", "d"}}
	if got := e.Error(); got != `there is no job "a"; did you mean "b", "c" or "d"?` {
		t.Error(got)
	}
}
