package web

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

// post sends a form as a browser does, and returns the answer without following it.
func post(t *testing.T, address, path string, form url.Values, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response
}

// formIn returns what the forms of the start page carry for a browser with these headers.
func formIn(t *testing.T, address string, headers ...string) string {
	t.Helper()
	_, page := ask(t, "GET", "http://"+address+"/signin", nil, headers...)
	if m := regexp.MustCompile(`name="form" value="([^"]*)"`).FindStringSubmatch(page); m != nil {
		return m[1]
	}
	_, page = ask(t, "GET", "http://"+address+"/", nil, headers...)
	m := regexp.MustCompile(`name="form" value="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no form in\n%s", page)
	}
	return m[1]
}

// What a form asks for is done for this server's own pages only, and said in the log.
func TestForms(t *testing.T) {
	var log bytes.Buffer
	daemon := well()
	daemon.jobs = append(daemon.jobs, "failing", hostile)
	daemon.history = func(job string, limit int) ([]record.JobRun, error) {
		return []record.JobRun{{Run: record.Run{Counts: record.Counts{Failed: 2}}, Actions: []record.Action{{Source: "r/a:1", Outcome: record.Failed}, {Source: "r/a:2", Outcome: record.Absent}, {Source: "r/a:3", Outcome: record.Imported}}}}, nil
	}
	address := start(t, Options{Daemon: daemon, Log: slog.New(slog.NewTextHandler(&log, nil))})
	form := formIn(t, address)
	for name, test := range map[string]struct {
		path    string
		values  url.Values
		headers []string
		status  int
		to      string
		changes int
	}{
		"sync":                {"/do/sync", url.Values{"job": {"alpine"}, "back": {"/jobs/alpine?runs=more"}}, nil, 303, "/jobs/alpine?did=sync&runs=more", 1},
		"sync tags":           {"/do/sync", url.Values{"job": {"alpine"}, "tag": {" 3.2  3.3 "}}, nil, 303, "/?did=sync", 1},
		"sync a tag not its":  {"/do/sync", url.Values{"job": {"alpine"}, "tag": {"v9"}}, nil, 422, "", 0},
		"sync nothing":        {"/do/sync", url.Values{"job": {"none"}}, nil, 404, "", 0},
		"stopping":            {"/do/sync", url.Values{"job": {"stopping"}}, nil, 503, "", 0},
		"retry":               {"/do/retry", url.Values{"job": {"alpine"}}, nil, 303, "/?did=retry", 1},
		"retry all":           {"/do/retry", nil, nil, 303, "/?did=retry", 2},
		"reload":              {"/do/reload", url.Values{"back": {"/config"}}, nil, 303, "/config?did=reload", 1},
		"pause":               {"/do/pause", url.Values{"job": {"alpine"}, "reason": {"a night\x1b off"}}, nil, 303, "/?did=pause", 0},
		"plan":                {"/do/plan", url.Values{"job": {"alpine"}, "back": {"/"}}, nil, 303, "/jobs/alpine?did=plan&plan=PLAN1&show=plan", 1},
		"plan nothing":        {"/do/plan", url.Values{"job": {"none"}}, nil, 404, "", 0},
		"plan, stopping":      {"/do/plan", url.Values{"job": {"stopping"}}, nil, 503, "", 0},
		"plan elsewhere":      {"/do/plan", url.Values{"form": {"x"}, "job": {"alpine"}}, nil, 403, "", 0},
		"approve":             {"/do/approve", url.Values{"plan": {"PLAN1"}}, nil, 303, "/jobs/alpine?did=approve", 1},
		"approve stale":       {"/do/approve", url.Values{"plan": {"STALE"}}, nil, 409, "", 0},
		"approve nothing":     {"/do/approve", url.Values{"plan": {"PLAN9"}}, nil, 404, "", 0},
		"approve elsewhere":   {"/do/approve", url.Values{"plan": {"PLAN1"}}, []string{"Sec-Fetch-Site: cross-site"}, 403, "", 0},
		"pause all":           {"/do/pause", nil, nil, 303, "/?did=pause", 0},
		"resume":              {"/do/resume", url.Values{"job": {"alpine"}}, nil, 303, "/?did=resume", 0},
		"pause nothing":       {"/do/pause", url.Values{"job": {"none"}}, nil, 404, "", 0},
		"pause elsewhere":     {"/do/pause", url.Values{"form": {"x"}}, nil, 403, "", 0},
		"no token to sign in": {"/do/signin", url.Values{"token": {token}}, nil, 403, "", 0},
		"back elsewhere":      {"/do/reload", url.Values{"back": {"//evil.example/"}}, nil, 303, "/?did=reload", 1},
		"back to elsewhere":   {"/do/reload", url.Values{"back": {"https://evil.example/"}}, nil, 303, "/?did=reload", 1},
		"back by slashes":     {"/do/reload", url.Values{"back": {"////evil.example"}}, nil, 303, "/?did=reload", 1},
		"back to a form":      {"/do/reload", url.Values{"back": {"/do/reload"}}, nil, 303, "/?did=reload", 1},
		"back to a slash":     {"/do/reload", url.Values{"back": {`/\evil.example`}}, nil, 303, "/%5Cevil.example?did=reload", 1},
		"no form value":       {"/do/reload", url.Values{"form": {""}}, nil, 403, "", 0},
		"other form value":    {"/do/reload", url.Values{"form": {form + "x"}}, nil, 403, "", 0},
		"another site":        {"/do/reload", nil, []string{"Sec-Fetch-Site: cross-site"}, 403, "", 0},
		"a subdomain":         {"/do/reload", nil, []string{"Sec-Fetch-Site: same-site"}, 403, "", 0},
		"another origin":      {"/do/reload", nil, []string{"Sec-Fetch-Site: ", "Origin: http://evil.example"}, 403, "", 0},
		"too large":           {"/do/reload", url.Values{"job": {strings.Repeat("x", maxBody)}}, nil, 400, "", 0},
		"rebound":             {"/do/reload", nil, []string{"Host: evil.example"}, 303, "/?did=reload", 1}, // the header is not the Host
	} {
		t.Run(name, func(t *testing.T) {
			values := url.Values{"form": {form}}
			for key, value := range test.values {
				values[key] = value
			}
			before := daemon.changes()
			response := post(t, address, test.path, values, test.headers...)
			if to := response.Header.Get("Location"); response.StatusCode != test.status || to != test.to {
				t.Errorf("answer %d to %q, want %d to %q", response.StatusCode, to, test.status, test.to)
			}
			if changed := daemon.changes() - before; changed != test.changes {
				t.Errorf("%d changes, want %d", changed, test.changes)
			}
		})
	}
	for _, line := range []string{
		`msg="asked on the status page" job=alpine tag="3.2 3.3" op=sync client=127.0.0.1 reason=loopback`, `op=retry`, `op=reload client=127.0.0.1`, `job=alpine op=plan client=127.0.0.1`, `request=PLAN1 op=approve client=127.0.0.1`,
	} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log has no %s:\n%s", line, log.String())
		}
	}
}

// Where there is a token, a browser shows it once and has a session, which ends when it signs out, when the token changes and after its time.
func TestSession(t *testing.T) {
	daemon := well()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := serve(t, Options{Daemon: daemon, Token: token, Log: slog.New(slog.NewTextHandler(&log, nil))}, listener)
	address := listener.Addr().String()
	anonymous := formIn(t, address)
	reload := func(form string, headers ...string) int {
		t.Helper()
		return post(t, address, "/do/reload", url.Values{"form": {form}}, headers...).StatusCode
	}
	if got := reload(anonymous); got != 401 {
		t.Errorf("without a session: %d", got)
	}
	if got := reload(anonymous, "Cookie: dray_session=guess"); got != 401 {
		t.Errorf("with a guessed one: %d", got)
	}
	if got := post(t, address, "/do/signin", url.Values{"form": {anonymous}, "token": {token + "x"}}); got.StatusCode != 401 || len(got.Cookies()) != 0 {
		t.Errorf("a wrong token: %d with %v", got.StatusCode, got.Cookies())
	}
	if got := post(t, address, "/do/signin", url.Values{"token": {token}}); got.StatusCode != 403 {
		t.Errorf("signed in by another site's form: %d", got.StatusCode)
	}
	signIn := func() string {
		t.Helper()
		response := post(t, address, "/do/signin", url.Values{"form": {anonymous}, "token": {" " + token + "\n"}})
		if response.StatusCode != 303 || len(response.Cookies()) != 1 {
			t.Fatalf("signing in: %d with %v", response.StatusCode, response.Cookies())
		}
		c := response.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Secure || c.MaxAge != 12*60*60 || strings.Contains(c.Value, token) {
			t.Errorf("the cookie %v", c)
		}
		return "Cookie: dray_session=" + c.Value
	}
	cookie := signIn()
	form := formIn(t, address, cookie)
	if form == anonymous {
		t.Error("the forms of a session are those of anybody")
	}
	if got := reload(anonymous, cookie); got != 403 {
		t.Errorf("a form of before: %d", got)
	}
	if got := reload(form, cookie); got != 303 || daemon.reloads.Load() != 1 {
		t.Errorf("with a session: %d, %d reloads", got, daemon.reloads.Load())
	}
	if got := reload(form); got != 403 {
		t.Errorf("its form without the cookie: %d", got)
	}
	// The cookie is for forms alone.
	if response, _ := ask(t, "POST", "http://"+address+"/-/reload", nil, cookie); response.StatusCode != 401 {
		t.Errorf("the API takes the cookie: %d", response.StatusCode)
	}
	response := post(t, address, "/do/signout", url.Values{"form": {form}}, cookie)
	if c := response.Cookies(); response.StatusCode != 303 || len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("signing out: %d with %v", response.StatusCode, c)
	}
	if got := reload(form, cookie); got != 403 {
		t.Errorf("after signing out: %d", got)
	}
	cookie = signIn()
	form = formIn(t, address, cookie)
	s.SetToken(token + token)
	if got := reload(form, cookie); got == 303 {
		t.Error("a session holds although the token has changed")
	}
	if strings.Contains(log.String(), token) || !strings.Contains(log.String(), `op="sign in, with a wrong token"`) {
		t.Errorf("the log:\n%s", log.String())
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s, now, hash := newSessions(), time.Now(), [32]byte{1}
	first := s.begin(hash, now)
	if !s.holds(first, hash, now.Add(sessionLasts-1)) || s.holds(first, hash, now.Add(sessionLasts)) || s.holds(first, [32]byte{2}, now) || s.holds("", hash, now) {
		t.Error("a session holds when it should not, or does not when it should")
	}
	for range maxSessions {
		s.begin(hash, now)
	}
	if len(s.list) != maxSessions || s.holds(first, hash, now) {
		t.Errorf("there are %d sessions", len(s.list))
	}
}

// Over the network nothing can be done without a token, and the page says so.
func TestFormExposed(t *testing.T) {
	daemon := well()
	s := New(Options{Daemon: daemon, Log: quiet()})
	r, w := exposedRequest(t, "POST", "/do/reload", "form="+url.QueryEscape(s.sessions.form("")))
	s.ServeHTTP(w, r)
	if w.Code != 403 || daemon.changes() != 0 || !strings.Contains(w.Body.String(), "unless server.token is set") {
		t.Errorf("answer %d, %d changes:\n%s", w.Code, daemon.changes(), w.Body)
	}
}

func TestFormFailure(t *testing.T) {
	daemon := well()
	daemon.reload = func(context.Context) error { return errors.New("dray.yaml:3:1: <b>unknown</b> key") }
	address := start(t, Options{Daemon: daemon})
	response, page := ask(t, "POST", "http://"+address+"/do/reload", strings.NewReader(url.Values{"form": {formIn(t, address)}}.Encode()), "Content-Type: application/x-www-form-urlencoded")
	if response.StatusCode != 422 || !strings.Contains(page, "dray.yaml:3:1: &lt;b&gt;unknown&lt;/b&gt; key") {
		t.Errorf("answer %d:\n%s", response.StatusCode, page)
	}
	harmless(t, page)
	wellFormed(t, page)
}

// The log says how whoever asked has come, and that is not the loopback for all who have not signed in.
func TestAsked(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{Daemon: well(), Token: token, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for name, test := range map[string]struct {
		policy listenerPolicy
		viewer viewer
		header string
		want   string
	}{
		"loopback":  {want: "reason=loopback"},
		"socket":    {policy: listenerPolicy{socket: true}, want: "reason=socket"},
		"network":   {policy: listenerPolicy{exposed: true}, want: "reason=network"},
		"token":     {policy: listenerPolicy{exposed: true}, header: "Bearer " + token, want: "reason=token"},
		"signed in": {policy: listenerPolicy{exposed: true}, viewer: viewer{SignedIn: true}, want: `reason="signed in"`},
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), policyKey{}, test.policy), http.MethodPost, "/do/reload", nil)
			r.Header.Set("Authorization", test.header)
			s.asked(r, test.viewer, "reload")
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("no %s in %s", test.want, log.String())
			}
		})
	}
}

// A job that leaves the config while all that fail are retried keeps none of the others from it.
func TestRetryAllWithoutOne(t *testing.T) {
	daemon := well()
	daemon.status = func(context.Context) (record.Snapshot, error) {
		return record.Snapshot{Jobs: []record.JobStatus{{Job: "gone", State: record.JobIdle, Failures: 1}, {Job: "alpine", State: record.JobIdle, Failures: 2}}}, nil
	}
	address := start(t, Options{Daemon: daemon})
	response := post(t, address, "/do/retry", url.Values{"form": {formIn(t, address)}})
	if n := daemon.changes(); response.StatusCode != http.StatusSeeOther || n != 1 {
		t.Errorf("answer %d, %d changes", response.StatusCode, n)
	}
}
