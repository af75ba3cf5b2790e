package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

const token = "0123456789abcdef0123456789abcdef"

// reads and writes are all endpoints.
func reads() []string {
	return []string{"/", "/jobs/alpine", "/budgets", "/registries", "/config", "/signin", "/style.css", "/page.js", "/icon.svg", "/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/jobs", "/api/v1/history"}
}

func writes() []string { return []string{"/api/v1/jobs/alpine/sync", "/-/reload"} }

func well() *fake {
	d := fullDaemon()
	d.ready = nil
	return d
}

func metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "dray_build_info 1") })
}

// Every endpoint in every manner in which it can be asked.
func TestEveryEndpoint(t *testing.T) {
	large := strings.Repeat("a", maxBody+1)
	type manner struct {
		name    string
		method  string // empty for the endpoint's own
		body    func() io.Reader
		headers []string
		// read and write are the statuses of endpoints that are read and that change something; 0 for success.
		read, write int
	}
	manners := []manner{
		{name: "no token", write: 401},
		{name: "wrong token", headers: []string{"Authorization: Bearer " + token + "x"}, write: 401},
		{name: "part of the token", headers: []string{"Authorization: Bearer " + token[1:]}, write: 401},
		{name: "empty token", headers: []string{"Authorization: Bearer "}, write: 401},
		{name: "other scheme", headers: []string{"Authorization: Basic " + token}, write: 401},
		{name: "right token", headers: []string{"Authorization: Bearer " + token}},
		{name: "right token, small letters", headers: []string{"Authorization: bearer " + token}},
		{name: "other origin", headers: []string{"Authorization: Bearer " + token, "Origin: https://evil.example"}, write: 403},
		{name: "other origin without token", headers: []string{"Origin: https://evil.example"}, write: 403},
		{name: "null origin", headers: []string{"Authorization: Bearer " + token, "Origin: null"}, write: 403},
		{name: "cross-site fetch", headers: []string{"Authorization: Bearer " + token, "Sec-Fetch-Site: cross-site"}, write: 403},
		{name: "same-site fetch", headers: []string{"Authorization: Bearer " + token, "Sec-Fetch-Site: same-site"}, write: 403},
		{name: "same-origin fetch", headers: []string{"Authorization: Bearer " + token, "Sec-Fetch-Site: same-origin"}},
		{name: "rebound name", headers: []string{"Host: evil.example"}, read: 421, write: 421},
		{name: "rebound name and origin", headers: []string{"Host: evil.example", "Origin: http://evil.example"}, read: 421, write: 421},
		{name: "any name with the token", headers: []string{"Authorization: Bearer " + token, "Host: dray.corp.example"}},
		{name: "oversized body", headers: []string{"Authorization: Bearer " + token}, body: func() io.Reader { return strings.NewReader(large) }, read: 413, write: 413},
		{name: "oversized chunked body", headers: []string{"Authorization: Bearer " + token}, body: func() io.Reader { return io.MultiReader(strings.NewReader(large)) }, read: 413, write: 413},
		{name: "largest body", headers: []string{"Authorization: Bearer " + token}, body: func() io.Reader { return strings.NewReader(large[1:]) }},
		{name: "DELETE", method: "DELETE", headers: []string{"Authorization: Bearer " + token}, read: 405, write: 405},
		{name: "OPTIONS", method: "OPTIONS", headers: []string{"Authorization: Bearer " + token, "Origin: https://evil.example"}, read: 405, write: 405},
	}
	daemon := well()
	address := start(t, Options{Daemon: daemon, Metrics: metrics(), Token: token})
	check := func(t *testing.T, m manner, method, path string, want int) {
		t.Helper()
		if m.method != "" {
			method = m.method
		}
		var body io.Reader
		if m.body != nil {
			body = m.body()
		}
		before := daemon.changes()
		response, text := ask(t, method, "http://"+address+path, body, m.headers...)
		if want == 0 && response.StatusCode/100 != 2 || want != 0 && response.StatusCode != want {
			t.Errorf("%s %s is answered %d (%s), want %d", method, path, response.StatusCode, text, want)
		}
		if changed := daemon.changes() - before; changed != 0 && (want != 0 || method != "POST") || changed != 1 && want == 0 && method == "POST" {
			t.Errorf("%s %s made %d changes", method, path, changed)
		}
		checkAnswer(t, response, text)
	}
	for _, m := range manners {
		t.Run(m.name, func(t *testing.T) {
			for _, path := range reads() {
				check(t, m, "GET", path, m.read)
			}
			for _, path := range writes() {
				check(t, m, "POST", path, m.write)
			}
		})
	}
	t.Run("wrong method", func(t *testing.T) {
		for _, path := range reads() {
			check(t, manner{}, "POST", path, 405)
		}
		for _, path := range writes() {
			check(t, manner{headers: []string{"Authorization: Bearer " + token}}, "GET", path, 405)
		}
	})
}

// checkAnswer checks what holds of all answers.
func checkAnswer(t *testing.T, r *http.Response, text string) {
	t.Helper()
	if r.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") ||
		r.Header.Get("Access-Control-Allow-Origin") != "" || r.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
		t.Errorf("unsafe headers: %v", r.Header)
	}
	if r.StatusCode < 400 || r.StatusCode == 503 && r.Header.Get("Content-Type") == typeText {
		return
	}
	var f failure
	if err := json.Unmarshal([]byte(text), &f); err != nil || f.Error == "" || r.Header.Get("Content-Type") != typeJSON {
		t.Errorf("%q of type %s is no JSON error: %v", text, r.Header.Get("Content-Type"), err)
	}
	if strings.Contains(text, token) {
		t.Errorf("%q tells the token", text)
	}
	if allow := r.Header.Get("Allow"); (allow != "") != (r.StatusCode == 405) {
		t.Errorf("answer %d allows %q", r.StatusCode, allow)
	}
	if challenge := r.Header.Get("WWW-Authenticate"); (challenge != "") != (r.StatusCode == 401) {
		t.Errorf("answer %d asks for %q", r.StatusCode, challenge)
	}
}

func TestHead(t *testing.T) {
	address := start(t, Options{Daemon: well(), Metrics: metrics()})
	for _, path := range reads() {
		full, text := ask(t, "GET", "http://"+address+path, nil)
		head, nothing := ask(t, "HEAD", "http://"+address+path, nil)
		if head.StatusCode != full.StatusCode || nothing != "" || head.Header.Get("Content-Type") != full.Header.Get("Content-Type") || text == "" {
			t.Errorf("%s: HEAD gives %d %q, GET %d %.20q", path, head.StatusCode, nothing, full.StatusCode, text)
		}
	}
}

func TestNotFound(t *testing.T) {
	address := start(t, Options{Daemon: well()})
	for _, path := range []string{"/nothing", "//", "/metrics", "/api/v1/jobs/", "/api/v1/jobs/alpine", "/api/v1/jobs//sync", "/api/v1/jobs/%ff/sync", "/../healthz", "/healthz/", "/index.html"} {
		u := &url.URL{Scheme: "http", Host: address, Opaque: path}
		r := &http.Request{Method: "POST", URL: u, Host: address, Header: http.Header{}}
		response, err := http.DefaultTransport.RoundTrip(r.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 404 {
			t.Errorf("%s is answered %d", path, response.StatusCode)
		}
	}
}

// A server that is open to the network changes nothing without a token, and says so once.
func TestExposed(t *testing.T) {
	var log bytes.Buffer
	daemon := well()
	s := New(Options{Daemon: daemon, Metrics: metrics(), Address: "Dray.corp.example:8484", Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx := context.WithValue(t.Context(), policyKey{}, policyOf(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, s.options.Address))
	status := func(method, path, host, auth string) int {
		r := httptest.NewRequestWithContext(ctx, method, path, nil)
		r.Host = host
		r.Header.Set("Authorization", auth)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	tests := map[string]struct {
		method, path, host string
		want               int
	}{
		"reload":              {"POST", "/-/reload", "10.0.0.1:8484", 403},
		"sync":                {"POST", "/api/v1/jobs/alpine/sync", "dray.corp.example", 403},
		"status":              {"GET", "/api/v1/status", "10.0.0.1:8484", 200},
		"configured name":     {"GET", "/api/v1/status", "dray.corp.example:8484", 200},
		"service name":        {"GET", "/api/v1/status", "dray:8484", 200},
		"cluster name":        {"GET", "/", "dray.monitoring.svc", 200},
		"stranger":            {"GET", "/api/v1/status", "evil.example", 421},
		"stranger at page":    {"GET", "/", "evil.example", 421},
		"scraped by any name": {"GET", "/metrics", "dray7.corp.example", 200},
		"probed by any name":  {"GET", "/readyz", "dray7.corp.example", 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status(test.method, test.path, test.host, ""); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	if daemon.changes() != 0 {
		t.Error("something was changed")
	}
	s.exposed.Store(true)
	s.caution()
	s.SetToken("")
	if n := strings.Count(log.String(), "every POST but events is refused"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	s.SetToken(token)
	if got := status("POST", "/-/reload", "evil.example", "Bearer "+token); got != 200 {
		t.Errorf("with a token that came later: %d", got)
	}
	s.SetToken("another-token-of-32-characters..")
	if got := status("POST", "/-/reload", "10.0.0.1", "Bearer "+token); got != 401 {
		t.Errorf("with the token of before: %d", got)
	}
}

// The warning comes from a real listener beyond the loopback, and only from such.
func TestCaution(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:0": false, ":0": true} {
		for _, token := range []string{"", token} {
			var log bytes.Buffer
			listener, err := Listen(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			s := New(Options{Daemon: well(), Token: token, Log: slog.New(slog.NewTextHandler(&log, nil))})
			listener.Close() // Serve ends at once
			if err := s.Serve(listener); err == nil {
				t.Error("a closed listener is served")
			}
			if got := log.Len() > 0; got != (want && token == "") {
				t.Errorf("%s, token %q: the log is %q", address, token, log.String())
			}
		}
	}
}

func TestListenerPolicy(t *testing.T) {
	loopback, socket := listenerPolicy{}, policyOf(&net.UnixAddr{Name: "/run/dray.sock", Net: "unix"}, "unix:/run/dray.sock")
	open := policyOf(&net.TCPAddr{IP: net.IPv6zero}, "[::]:8484")
	named := policyOf(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, "dray.corp.example:8484")
	tests := []struct {
		host                          string
		loopback, open, named, socket bool
	}{
		{"127.0.0.1:8484", true, true, true, true},
		{"127.0.0.1", true, true, true, true},
		{"[::1]:8484", true, true, true, true},
		{"[::1]", true, true, true, true},
		{"[fe80::1%25eth0]:8484", true, true, true, true},
		{"192.0.2.1:8484", true, true, true, true},
		{"localhost:8484", true, true, true, true},
		{"LOCALHOST.", true, true, true, true},
		{"dray.localhost", true, true, true, true},
		{"", true, true, true, true},
		{"evil.example", false, false, false, true},
		{"evil.example:8484", false, false, false, true},
		{"127.0.0.1.evil.example", false, false, false, true},
		{"localhost.evil.example", false, false, false, true},
		{"evillocalhost", false, true, true, true}, // no dot: nobody can own it
		{"dray.corp.example:8484", false, false, true, true},
		{"DRAY.corp.example.", false, false, true, true},
		{"x.dray.corp.example", false, false, false, true},
		{"dray", false, true, true, true},
		{"dray.monitoring.svc", false, true, true, true},
		{"dray.internal", false, true, true, true},
		{"internal.example", false, false, false, true},
		{".", false, false, false, true},
		{"1.2.3.4.5", false, false, false, true},
	}
	for _, test := range tests {
		got := []bool{loopback.admits(test.host), open.admits(test.host), named.admits(test.host), socket.admits(test.host)}
		if d := cmp.Diff([]bool{test.loopback, test.open, test.named, test.socket}, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", test.host, d)
		}
	}
	for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 1, 2, 3), net.IPv6loopback} {
		if policyOf(&net.TCPAddr{IP: ip}, "").exposed {
			t.Errorf("%s counts as exposed", ip)
		}
	}
}

func TestReload(t *testing.T) {
	tests := map[string]struct {
		err    error
		status int
		body   string
	}{
		"taken over":  {nil, 200, `{"errors":[]}`},
		"rejected":    {errors.New("dray.yaml:1:2: a\ndray.yaml:3:4: <b>\n"), 422, `{"errors":["dray.yaml:1:2: a","dray.yaml:3:4: <b>"]}`},
		"one mistake": {errors.New(`read dray.yaml: "x"`), 422, `{"errors":["read dray.yaml: \"x\""]}`},
		"its timeout": {fmt.Errorf("sign in: %w", context.DeadlineExceeded), 422, `{"errors":["sign in: context deadline exceeded"]}`},
		"stopping":    {fmt.Errorf("reload: %w", ErrUnavailable), 503, `{"error":"reload: the daemon cannot do that now"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			address := start(t, Options{Daemon: &fake{reload: func(context.Context) error { return test.err }}})
			response, body := ask(t, "POST", "http://"+address+"/-/reload", nil)
			if response.StatusCode != test.status || strings.TrimSpace(body) != test.body {
				t.Errorf("got %d %s, want %d %s", response.StatusCode, body, test.status, test.body)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{Log: quiet(), Daemon: &fake{reload: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}})
			began, w := time.Now(), httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("POST", "http://127.0.0.1/-/reload", nil))
			if took := time.Since(began); w.Code != 503 || took != 20*time.Second {
				t.Errorf("%d after %v", w.Code, took)
			}
		})
	})
}

func TestSync(t *testing.T) {
	daemon := &fake{jobs: []string{"alpine", "library/alpine", "a//b/../c", `"quoted" <b>`, "größe/日本", "50%", "a%2Fb", "x/sync", "q?x=1#f"}}
	address := start(t, Options{Daemon: daemon})
	tests := map[string]struct {
		path, job string
		status    int
	}{
		"plain":            {"alpine", "alpine", 202},
		"slash":            {"library/alpine", "library/alpine", 202},
		"escaped slash":    {"library%2Falpine", "library/alpine", 202},
		"escaped, small":   {"library%2falpine", "library/alpine", 202},
		"odd slashes":      {"a//b/../c", "a//b/../c", 202},
		"quotes":           {"%22quoted%22%20%3Cb%3E", `"quoted" <b>`, 202},
		"unicode":          {"gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC", "größe/日本", 202},
		"percent":          {"50%25", "50%", 202},
		"escaped escape":   {"a%252Fb", "a%2Fb", 202},
		"ends like a path": {"x/sync", "x/sync", 202},
		"query characters": {"q%3Fx=1%23f", "q?x=1#f", 202},
		"unknown":          {"alpin", "alpin", 404},
		"stopping":         {"stopping", "", 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			daemon.synced = nil
			response, body := ask(t, "POST", "http://"+address+"/api/v1/jobs/"+test.path+"/sync", nil)
			if response.StatusCode != test.status {
				t.Fatalf("got %d %s", response.StatusCode, body)
			}
			if test.status == 503 {
				return
			}
			if test.status == 404 {
				want := `{"error":"there is no job \"alpin\"; did you mean \"alpine\" or \"library/alpine\"?","nearest":["alpine","library/alpine"]}`
				if strings.TrimSpace(body) != want {
					t.Errorf("got %s", body)
				}
				return
			}
			var got accepted
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Job != test.job {
				t.Errorf("got %s, %v", body, err)
			}
			if d := cmp.Diff([]string{test.job}, daemon.synced); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzJobPath(f *testing.F) {
	for _, seed := range []string{"alpine", "library/alpine", "a//b/../c", "%2F", "x/sync", "/", " ", "日本", "a?b#c", "\x00", ".", "..", "+", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, job string) {
		_, _, _ = jobOf(job)
		if got, action, ok := jobOf(jobPrefix + job + "/sync"); ok && action != "sync" || ok && !strings.Contains(job, "%") && got != job {
			t.Errorf("%q as it is gives %q", job, got)
		}
		u, err := url.ParseRequestURI(jobPath(job, "pause"))
		if err != nil {
			t.Fatalf("%q: %v", job, err)
		}
		got, action, ok := jobOf(u.EscapedPath())
		if wanted := job != "" && strings.ToValidUTF8(job, "") == job; ok != wanted || ok && (got != job || action != "pause") {
			t.Errorf("%q gives %q, %t", job, got, ok)
		}
	})
}

func TestHistory(t *testing.T) {
	var gotJob string
	var gotLimit int
	daemon := &fake{history: func(job string, limit int) ([]record.JobRun, error) {
		gotJob, gotLimit = job, limit
		if job == "broken" {
			return nil, errors.New("the store cannot be read")
		}
		return nil, nil
	}}
	address := start(t, Options{Daemon: daemon})
	tests := map[string]struct {
		query, job    string
		limit, status int
	}{
		"all":      {"", "", 50, 200},
		"one job":  {"?job=library/alpine&limit=3", "library/alpine", 3, 200},
		"most":     {"?limit=1000", "", 1000, 200},
		"too many": {"?limit=1001", "", 0, 400},
		"none":     {"?limit=0", "", 0, 400},
		"no count": {"?limit=x", "", 0, 400},
		"broken":   {"?job=broken", "broken", 50, 500},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			gotJob, gotLimit = "", 0
			response, body := ask(t, "GET", "http://"+address+"/api/v1/history"+test.query, nil)
			if response.StatusCode != test.status || gotJob != test.job || gotLimit != test.limit {
				t.Errorf("got %d %s for %q, %d", response.StatusCode, body, gotJob, gotLimit)
			}
			if want := `{"version":1,"runs":[]}`; test.status == 200 && strings.TrimSpace(body) != want {
				t.Errorf("got %s", body)
			}
		})
	}
}

func TestProbes(t *testing.T) {
	broken := errors.New("the config is rejected\nthe store cannot be written")
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Log: quiet(), Daemon: &fake{ready: func() error { return broken }, alive: hangs}})
		began := time.Now()
		for path, want := range map[string]string{"/readyz": broken.Error() + "\n", "/healthz": "context deadline exceeded\n"} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1"+path, nil))
			if w.Code != 503 || w.Body.String() != want {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
		}
		if took := time.Since(began); took != healthTimeout {
			t.Errorf("took %v", took)
		}
	})
}
