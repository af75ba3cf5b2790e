package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/image"
)

// password is what Quay gives a robot account: a JSON Web Token. The zero time is one without an end.
func password(ends time.Time, n int) string {
	claims := fmt.Sprintf(`{"n":%d}`, n)
	if !ends.IsZero() {
		claims = fmt.Sprintf(`{"n":%d,"exp":%d}`, n, ends.Unix())
	}
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
}

// TestRobot signs in as a robot account through ten hours, in which its token moves to another each hour, and counts the passwords that Quay gives.
func TestRobot(t *testing.T) {
	for name, c := range map[string]struct {
		life  time.Duration // of a password
		says  bool          // the password says it
		given int
		newer bool   // the registry has the newer way only
		page  string // its answer at the older way; empty for 404
	}{
		"an hour":             {life: time.Hour, says: true, given: 11},
		"an hour, silent":     {life: time.Hour, given: 11},
		"ten minutes":         {life: 10 * time.Minute, says: true, given: 120},
		"longer than it says": {life: 100 * time.Hour, says: true, given: 11},

		"exchanged, an hour":         {life: time.Hour, says: true, given: 11, newer: true},
		"exchanged, an hour, silent": {life: time.Hour, given: 11, newer: true},
		"exchanged, ten minutes":     {life: 10 * time.Minute, given: 120, newer: true},

		"exchanged, behind a web page":      {life: time.Hour, given: 11, newer: true, page: "<!doctype html><title>Quay</title>"},
		"exchanged, behind a long web page": {life: time.Hour, given: 11, newer: true, page: strings.Repeat("<p>", maxToken)},
		"exchanged, behind an empty page":   {life: time.Hour, given: 11, newer: true, page: "\n"},
		"exchanged, behind another object":  {life: time.Hour, given: 11, newer: true, page: `{"status":"ok"}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "token")
				subject, good, given := "", map[string]time.Time{}, 0
				c2 := clientOf(t, func(req *http.Request) (*http.Response, error) {
					user, pass, _ := req.BasicAuth()
					switch {
					case req.URL.Path == robotPath && c.page != "":
						return said(req, 200, nil, c.page), nil
					case req.URL.Path == robotPath && c.newer:
						return said(req, 404, nil, ""), nil
					case req.URL.Path == exchangePath && c.newer && exchanges(t, req, subject):
						given++
						ends := time.Now().Add(c.life)
						text := fmt.Sprint("opaque", given)
						if c.says {
							text = password(ends, given)
						}
						good[text] = ends
						return said(req, 200, nil, fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, text, int(c.life.Seconds()))), nil
					case req.URL.Path == robotPath && req.Method == http.MethodGet && user == "acme+mirror" && pass == subject:
						given++
						ends := time.Now().Add(c.life)
						said1 := time.Time{}
						if c.says {
							said1 = ends
						}
						text := password(said1, given)
						good[text] = ends
						return said(req, 200, nil, `{"token":"`+text+`"}`), nil
					case req.URL.Path == "/token" && user == "acme+mirror" && time.Now().Before(good[pass]):
						return said(req, 200, nil, `{"token":"t`+pass+`","expires_in":60}`), nil
					case strings.HasPrefix(req.URL.Path, "/v2/") && strings.HasPrefix(req.Header.Get("Authorization"), "Bearer t"):
						return said(req, 200, nil, ""), nil
					case strings.HasPrefix(req.URL.Path, "/v2/"):
						return challenged(req, "https://"+ours+"/token"), nil
					}
					return said(req, 401, nil, ""), nil
				}, func(ctx context.Context) (Credential, time.Time, error) {
					return Robot("acme+mirror", path)(ctx, image.Repository{})
				}, false)
				for minute := range 600 {
					if minute%60 == 0 {
						subject = fmt.Sprintf("subject.of.%d", minute)
						write(t, path, subject+"\n", 0o600)
					}
					if err := look(t, c2, "acme/app"); err != nil {
						t.Fatalf("after %d minutes: %v", minute, err)
					}
					time.Sleep(time.Minute)
				}
				if given != c.given {
					t.Errorf("%d passwords in ten hours, want %d", given, c.given)
				}
			})
		})
	}
}

// exchanges reports whether a request exchanges a token for a password of acme+mirror, as RFC 8693 has it.
func exchanges(t *testing.T, req *http.Request, token string) bool {
	t.Helper()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Error(err)
	}
	form, err := url.ParseQuery(string(body))
	return err == nil && req.Method == http.MethodPost && req.Header.Get("Authorization") == "" && req.URL.RawQuery == "" && maps.EqualFunc(form, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "resource": {"urn:quay:robot:acme+mirror"},
		"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}, slices.Equal)
}

// TestRobotRefused: each counterpart leads to an error that says what to do, without the token, and is asked once a minute at most.
func TestRobotRefused(t *testing.T) {
	const token = "subject.of.secret"
	for name, c := range map[string]struct {
		file   string
		answer func(req *http.Request) *http.Response
		want   []string
		asked  int // by 20 requests at once
	}{
		"refused":    {token, func(r *http.Request) *http.Response { return said(r, 401, nil, "no "+token) }, []string{"401", "acme+mirror", "issuer"}, 1},
		"forbidden":  {token, func(r *http.Request) *http.Response { return said(r, 403, nil, "") }, []string{"403", "issuer"}, 1},
		"older Quay": {token, func(r *http.Request) *http.Response { return said(r, 404, nil, "<html>") }, []string{"404", "3.13"}, 2},
		"exchange refused": {token, func(r *http.Request) *http.Response {
			if r.URL.Path == robotPath {
				return said(r, 405, nil, "")
			}
			return said(r, 400, nil, `{"error":"invalid_grant","error_description":"no `+token+`"}`)
		}, []string{"400", "acme+mirror", "issuer"}, 2},
		"exchange sends to another": {token, func(r *http.Request) *http.Response {
			if r.URL.Path == robotPath {
				return said(r, 404, nil, "")
			}
			return said(r, 307, http.Header{"Location": {"https://other.example/"}}, "")
		}, []string{"other.example", "not allowed"}, 2},
		"down":         {token, func(r *http.Request) *http.Response { return said(r, 502, nil, "") }, []string{"502"}, 2},
		"an HTML page": {token, func(r *http.Request) *http.Response { return said(r, 200, nil, "<html>"+token) }, []string{"not a JSON object", "3.13"}, 2},
		"an HTML page, then unknown": {token, func(r *http.Request) *http.Response {
			if r.URL.Path == robotPath {
				return said(r, 200, nil, "<html>"+token)
			}
			return said(r, 404, nil, "")
		}, []string{"404", "3.13"}, 2},
		"an HTML page, then refused": {token, func(r *http.Request) *http.Response {
			if r.URL.Path == robotPath {
				return said(r, 200, nil, "<html>"+token)
			}
			return said(r, 401, nil, "")
		}, []string{"401", "issuer"}, 2},
		"broken off": {token, func(r *http.Request) *http.Response {
			if r.URL.Path == robotPath {
				return said(r, 200, nil, `{"token":"e30`)
			}
			t.Errorf("%s was asked", r.URL.Path)
			return said(r, 404, nil, "")
		}, []string{"sign in", "broke off"}, 2},
		"broken off by the connection": {token, func(r *http.Request) *http.Response {
			if r.URL.Path == robotPath {
				resp := said(r, 200, nil, "")
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"token":"e30"`), iotest.ErrReader(io.ErrUnexpectedEOF)))
				return resp
			}
			t.Errorf("%s was asked", r.URL.Path)
			return said(r, 404, nil, "")
		}, []string{"broke off"}, 2},
		"no password": {token, func(r *http.Request) *http.Response { return said(r, 200, nil, "{}") }, []string{"neither"}, 2},
		"endless":     {token, func(r *http.Request) *http.Response { return said(r, 200, nil, strings.Repeat("x", maxToken+1)) }, []string{"sign in", "too long"}, 2},
		"to another": {token, func(r *http.Request) *http.Response {
			return said(r, 302, http.Header{"Location": {"https://other.example/"}}, "")
		}, []string{"other.example", "not allowed"}, 1},
		"an empty file":   {" \n", nil, []string{"there is no token in"}, 0},
		"lines in a file": {"a\nb", nil, []string{"there is no token in"}, 0},
		"no file":         {"", nil, []string{"no such file"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "token")
				if c.file != "" {
					write(t, path, c.file, 0o600)
				}
				asked := 0
				client := clientOf(t, func(req *http.Request) (*http.Response, error) {
					if req.URL.Path == robotPath || req.URL.Path == exchangePath {
						asked++
						return c.answer(req), nil
					}
					t.Errorf("%s %s was asked", req.Method, req.URL)
					return said(req, 401, nil, ""), nil
				}, func(ctx context.Context) (Credential, time.Time, error) {
					return Robot("acme+mirror", path)(ctx, image.Repository{})
				}, false)
				for range 20 {
					err := look(t, client, "acme/app")
					if err == nil {
						t.Fatal("no error")
					}
					for _, want := range c.want {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("%v\nlacks %q", err, want)
						}
					}
					if strings.Contains(err.Error(), token) {
						t.Errorf("%v\nhas the token", err)
					}
					if strings.HasPrefix(name, "broken off") && strings.Contains(err.Error(), "3.13") {
						t.Errorf("%v\nsays more than half an answer does", err)
					}
				}
				if asked != c.asked {
					t.Errorf("asked %d times, want %d", asked, c.asked)
				}
			})
		})
	}
}
