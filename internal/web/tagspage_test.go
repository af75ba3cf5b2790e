package web

import (
	"strings"
	"testing"
)

// The tags of a job are on pages of a bounded size, however many there are, and where none is known the page says so.
func TestTags(t *testing.T) {
	address := start(t, Options{Daemon: newStage(world(12)), Details: fakeDetails{}})
	for path, want := range map[string]string{
		"/jobs/alpine?show=tags":                             "1 to 100 of 10\u202f250 tags",
		"/jobs/alpine?page=103&show=tags":                    "10\u202f201 to 10\u202f250 of 10\u202f250 tags",
		"/jobs/alpine?page=99999999999&show=tags":            "10\u202f201 to 10\u202f250 of 10\u202f250 tags",
		"/jobs/alpine?page=-1&q=3.1024&show=tags":            "mirror/alpine:3.1024</th>",
		"/jobs/alpine?q=nothing&show=tags":                   "No tag that is known is like that.",
		"/jobs/alpine?q=%22%3E%3Cscript%3E&show=tags":        "No tag that is known is like that.",
		"/jobs/library/image-00007?show=tags":                "Nothing is known of them",
		"/jobs/alpine":                                       `<a href="/jobs/alpine?show=tags">Tags at the target</a>`,
		"/jobs/alpine?show=tags&page=2&run=1&runs=more&q=3.": `href="/jobs/alpine?page=3&amp;q=3.&amp;show=tags"`,
	} {
		response, page := ask(t, "GET", "http://"+address+path, nil)
		if response.StatusCode != 200 || !strings.Contains(page, want) || len(page) > 200_000 {
			t.Errorf("%s: %d, %d bytes, without %q:\n%s", path, response.StatusCode, len(page), want, page)
		}
		harmless(t, page)
		wellFormed(t, page)
	}
	if response, _ := ask(t, "GET", "http://"+address+"/jobs/none?show=tags", nil); response.StatusCode != 404 {
		t.Errorf("a job that is not there: %d", response.StatusCode)
	}
	_, page := ask(t, "GET", "http://"+start(t, Options{Daemon: newStage(full)})+"/jobs/alpine?show=tags", nil)
	if !strings.Contains(page, "what runs of this replica have seen") || !strings.Contains(page, "Nothing is known of them") {
		t.Errorf("without details:\n%s", page)
	}
}
