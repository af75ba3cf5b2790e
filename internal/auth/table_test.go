package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/wire"
)

// scripted answers requests as a registry with its token server does, and writes down what it was sent.
type scripted struct {
	host       string
	challenges []string
	status     int    // of the challenge; 0 for 401
	answer     string // of the token server
	accepts    string // the credential that is taken
	lost       string // a path at which there is nothing
	ping       string // the challenge at /v2/; empty for none
	postOnly   bool   // the token server
	refuses    string // what it says to a form, with 400; empty if it takes it
	sent       []string
}

// RoundTrip implements http.RoundTripper.
func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	line := req.Method + " " + req.URL.Host + req.URL.Path
	if req.URL.RawQuery != "" {
		query, _ := url.QueryUnescape(req.URL.RawQuery)
		line += "?" + query
	}
	if a := req.Header.Get("Authorization"); a != "" {
		line += " as " + plain(a)
	}
	if req.Body != nil && req.Method == http.MethodPost {
		raw, _ := io.ReadAll(req.Body)
		form, _ := url.QueryUnescape(string(raw))
		line += " with " + form
	}
	s.sent = append(s.sent, line)
	answer := func(status int, body string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}
	}
	switch {
	case s.ping != "" && req.URL.Host == s.host && req.URL.Path == "/v2/" && req.Header.Get("Authorization") != s.accepts:
		refusal := answer(http.StatusUnauthorized, "")
		refusal.Header.Set("WWW-Authenticate", s.ping)
		return refusal, nil
	case s.postOnly && req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/token"):
		return answer(http.StatusMethodNotAllowed, ""), nil
	case s.refuses != "" && req.Method == http.MethodPost:
		return answer(http.StatusBadRequest, s.refuses), nil
	case req.URL.Host != s.host || !strings.HasPrefix(req.URL.Path, "/v2/app/"):
		return answer(http.StatusOK, s.answer), nil
	case s.lost != "" && req.URL.Path == s.lost:
		return answer(http.StatusNotFound, ""), nil
	case s.accepts != "" && req.Header.Get("Authorization") == s.accepts:
		return answer(http.StatusOK, "{}"), nil
	}
	refusal := answer(max(s.status, http.StatusUnauthorized), `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	refusal.Header["Www-Authenticate"] = s.challenges
	return refusal, nil
}

// plain makes Basic readable.
func plain(authorization string) string {
	scheme, rest, _ := strings.Cut(authorization, " ")
	if raw, err := base64.StdEncoding.DecodeString(rest); err == nil && scheme == "Basic" {
		return scheme + " " + string(raw)
	}
	return authorization
}

// ask sends one HEAD to the registry, and returns what went over the wire and the error.
func ask(t *testing.T, s *scripted, c Credential) ([]string, error) {
	t.Helper()
	return askTimes(t, s, c, 1)
}

// pause is so long that a token that lasts for a second has ended.
func pause() { time.Sleep(2 * time.Second) }

// askTimes sends several, and returns the last error.
func askTimes(t *testing.T, s *scripted, c Credential, times int) ([]string, error) {
	t.Helper()
	var err error
	synctest.Test(t, func(t *testing.T) {
		carrier, failure := wire.New(wire.Options{
			Name: s.host, API: s.host, Start: 4, Most: 16, Retries: wire.Retries{Attempts: 1}, Log: slog.New(slog.DiscardHandler),
			Wrap: func(string, http.RoundTripper) http.RoundTripper { return s },
		})
		if failure != nil {
			t.Fatal(failure)
		}
		find := func(context.Context) (Credential, time.Time, error) { return c, time.Time{}, nil }
		client := New(carrier, find, false, slog.New(slog.DiscardHandler))
		for n := range times {
			if n > 0 {
				pause()
			}
			req, failure := http.NewRequestWithContext(t.Context(), http.MethodHead, "https://"+s.host+"/v2/app/manifests/1", nil)
			if failure != nil {
				t.Fatal(failure)
			}
			var resp *http.Response
			if resp, err = client.Do(req, wire.Call{Operation: "HEAD manifest"}, Pull("app")); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
	return s.sent, err
}

const (
	ours  = "192.0.2.1" // documentation (RFC 5737)
	their = "192.0.2.2"
)

// TestWaysToSignIn is what registries ask for and answer, in forms that they are known to use or that the specs allow, each with what is sent.
// The realms' hosts are addresses here, as nothing looks them up.
func TestWaysToSignIn(t *testing.T) {
	ann := Credential{Username: "ann", Password: "p:w"}
	identity := Credential{Username: "00000000-0000-0000-0000-000000000000", IdentityToken: "refresh"}
	head := "HEAD " + ours + "/v2/app/manifests/1"
	asNobody, asked := []string{head}, []string{head, "GET " + ours + "/v2/"}
	basic := []string{head, head + " as Basic ann:p:w"}
	get := func(place, query string) []string {
		return []string{head, "GET " + place + "?" + query + " as Basic ann:p:w", head + " as Bearer t0k"}
	}
	anonymous := func(place, query string) []string {
		return []string{head, "GET " + place + "?" + query, head + " as Bearer t0k"}
	}
	const scope = "scope=repository:app:pull"
	const answer = `{"token":"t0k"}`
	cases := []struct {
		name       string
		challenges []string
		answer     string
		credential Credential
		want       []string
		says       string // what the error has; empty for success
	}{
		{"Docker Hub", []string{`Bearer realm="https://192.0.2.2/token",service="registry.docker.io",scope="repository:app:pull"`}, `{"token":"t0k","access_token":"t0k","expires_in":300,"issued_at":"2026-11-01T00:00:00Z"}`, ann, get(their+"/token", "account=ann&"+scope+"&service=registry.docker.io"), ""},
		{"Docker Hub, by nobody", []string{`Bearer realm="https://192.0.2.2/token",service="registry.docker.io",scope="repository:app:pull"`}, answer, Credential{}, anonymous(their+"/token", scope+"&service=registry.docker.io"), ""},
		{"Quay: the realm lies below /v2/", []string{`Bearer realm="https://192.0.2.1/v2/auth",service="quay.io",scope="repository:app:pull"`}, answer, ann, get(ours+"/v2/auth", "account=ann&"+scope+"&service=quay.io"), ""},
		{"Google: the realm lies below /v2/, no scope", []string{`Bearer realm="https://192.0.2.1/v2/token",service="gcr.io"`}, answer, ann, get(ours+"/v2/token", "account=ann&"+scope+"&service=gcr.io"), ""},
		{"two Bearer, the first without TLS", []string{`Bearer realm="http://192.0.2.2/token",service="old"`, `Bearer realm="https://192.0.2.1/token",service="new"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=new"), ""},
		{"GHCR", []string{`Bearer realm="https://192.0.2.1/token",service="ghcr.io",scope="repository:app:pull"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=ghcr.io"), ""},
		{"GitLab", []string{`Bearer realm="https://192.0.2.2/jwt/auth",service="container_registry",scope="repository:app:pull",error="invalid_token"`}, answer, ann, get(their+"/jwt/auth", "account=ann&"+scope+"&service=container_registry"), ""},
		{"Harbor", []string{`Bearer realm="https://192.0.2.1/service/token",service="harbor-registry",scope="repository:app:pull"`}, `{"token":"t0k","access_token":"","expires_in":1800,"issued_at":"2026-11-01T00:00:00Z"}`, ann, get(ours+"/service/token", "account=ann&"+scope+"&service=harbor-registry"), ""},
		{"Azure, by Entra", []string{`Bearer realm="https://192.0.2.1/oauth2/token",service="192.0.2.1",scope="repository:app:pull",error="invalid_token"`}, `{"access_token":"t0k"}`, identity, []string{head, "POST 192.0.2.1/oauth2/token with client_id=dray&grant_type=refresh_token&refresh_token=refresh&scope=repository:app:pull&service=192.0.2.1", head + " as Bearer t0k"}, ""},
		{"Amazon ECR", []string{`Basic realm="https://192.0.2.1/",service="ecr.amazonaws.com"`}, "", ann, basic, ""},
		{"Nexus", []string{`BASIC realm="Sonatype Nexus Repository Manager"`}, "", ann, basic, ""},
		{"Artifactory, basic", []string{`Basic realm="Artifactory Realm"`}, "", ann, basic, ""},
		{"Artifactory, both in one", []string{`Bearer realm="https://192.0.2.1/artifactory/api/docker/virtual/v2/token",service="192.0.2.1", Basic realm="Artifactory Realm"`}, answer, ann, get(ours+"/artifactory/api/docker/virtual/v2/token", "account=ann&"+scope+"&service=192.0.2.1"), ""},
		{"basic without a realm", []string{"Basic"}, "", ann, basic, ""},
		{"basic with a charset", []string{`Basic realm="x", charset="UTF-8"`}, "", ann, basic, ""},
		{"basic before bearer", []string{`Basic realm="x", Bearer realm="https://192.0.2.1/token",service="s"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"Negotiate beside bearer, in two headers", []string{"Negotiate", `Bearer realm="https://192.0.2.1/token",service="s"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"Negotiate with a token68, in one", []string{`Negotiate oYG2MIGzoAMKAQChCwYJKoZIgvcSAQICooGeBIGbYIGY==, Bearer realm="https://192.0.2.1/token",service="s"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"NTLM and basic", []string{"NTLM", `Basic realm="corp"`}, "", ann, basic, ""},
		{"Digest and basic", []string{`Digest realm="x", qop="auth,auth-int", nonce="abc==", opaque="def"`, `Basic realm="x"`}, "", ann, basic, ""},
		{"bearer in lower case", []string{`bearer Realm="https://192.0.2.1/token",Service="s"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"a comma in a value", []string{`Bearer realm="https://192.0.2.1/token",service="a, b",scope="repository:app:pull"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=a, b"), ""},
		{"a quote in a value", []string{`Bearer realm="https://192.0.2.1/token",service="say \"hi\""`}, answer, ann, get(ours+"/token", "account=ann&"+scope+`&service=say "hi"`), ""},
		{"blanks around everything", []string{`Bearer   realm = "https://192.0.2.1/token" , service = "s" ,scope="repository:app:pull"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"no quotes", []string{`Bearer realm=https://192.0.2.1/token,service=s`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"a realm with a query", []string{`Bearer realm="https://192.0.2.1/token?tenant=7",service="s"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s&tenant=7"), ""},
		{"a relative realm", []string{`Bearer realm="/token",service="s"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&service=s"), ""},
		{"no service", []string{`Bearer realm="https://192.0.2.1/token"`}, answer, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"more actions than asked for", []string{`Bearer realm="https://192.0.2.1/token",service="s",scope="repository:app:pull,push"`}, answer, ann, get(ours+"/token", "account=ann&scope=repository:app:pull,push&service=s"), ""},
		{"a path that a proxy rewrites", []string{`Bearer realm="https://192.0.2.1/token",service="s",scope="repository:remote/app:pull"`}, answer, ann, get(ours+"/token", "account=ann&scope=repository:remote/app:pull&service=s"), ""},
		{"two scopes", []string{`Bearer realm="https://192.0.2.1/token",service="s",scope="repository:app:pull repository:base:pull"`}, answer, ann, get(ours+"/token", "account=ann&"+scope+"&scope=repository:base:pull&service=s"), ""},
		{"a life as a text", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"token":"t0k","expires_in":"300"}`, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"a life of nothing", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"token":"t0k","expires_in":0}`, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"a life of a fraction", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"access_token":"t0k","token":null,"expires_in":299.5}`, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"a life that is no number", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"token":"t0k","expires_in":"soon"}`, ann, get(ours+"/token", "account=ann&"+scope)[:2], `the field "expires_in"`},
		{"fields in other cases", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"Token":"t0k","Expires_In":300}`, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"two tokens", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"access_token":"another","token":"t0k"}`, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"a realm with blanks", []string{`Bearer realm=" https://192.0.2.1/token "`}, answer, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"a realm in other quotes", []string{`Bearer realm='https://192.0.2.1/token'`}, answer, ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"no token", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"result":"ok"}`, ann, get(ours+"/token", "account=ann&"+scope)[:2], `neither the field "token" nor "access_token"`},
		{"a token that is an object", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"token":{"raw":"t0k"}}`, ann, get(ours+"/token", "account=ann&"+scope)[:2], `the field "token"`},
		{"a token with a line break", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"token":"t\r\nX-Evil: 1"}`, ann, get(ours+"/token", "account=ann&"+scope)[:2], `the field "token"`},
		{"a page in place of a token", []string{`Bearer realm="https://192.0.2.1/token"`}, `<html>sign in</html>`, ann, get(ours+"/token", "account=ann&"+scope)[:2], "not a JSON object, but a web page"},
		{"a text in place of a token", []string{`Bearer realm="https://192.0.2.1/token"`}, `"account suspended"`, ann, get(ours+"/token", "account=ann&"+scope)[:2], "not a JSON object, but account suspended"},
		{"a token alone", []string{`Bearer realm="https://192.0.2.1/token"`}, ` "0paque-t0k"`, ann, get(ours+"/token", "account=ann&"+scope)[:2], "not a JSON object"},
		{"a token in a list", []string{`Bearer realm="https://192.0.2.1/token"`}, `["0paque-t0k", 300]`, ann, get(ours+"/token", "account=ann&"+scope)[:2], "not a JSON object"},
		{"something behind the token", []string{`Bearer realm="https://192.0.2.1/token"`}, answer + "<!-- proxy -->", ann, get(ours+"/token", "account=ann&"+scope), ""},
		{"nothing in place of a token", []string{`Bearer realm="https://192.0.2.1/token"`}, ` `, ann, get(ours+"/token", "account=ann&"+scope)[:2], "the token answer is empty"},
		{"an error in place of a token", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"errors":[{"code":"DENIED","message":"suspended"}]}`, ann, get(ours+"/token", "account=ann&"+scope)[:2], "it says: DENIED suspended"},
		{"an error of OAuth in place of a token", []string{`Bearer realm="https://192.0.2.1/token"`}, `{"error":"invalid_grant","error_description":"no such user"}`, ann, get(ours+"/token", "account=ann&"+scope)[:2], "it says: invalid_grant no such user"},
		{"basic by nobody", []string{`Basic realm="x"`}, "", Credential{}, asNobody, "no credential is configured for " + ours},
		{"an identity token where only basic is known", []string{`Basic realm="x"`}, "", identity, asNobody, "the sign-in was refused"},
		{"no challenge at all", nil, "", Credential{}, asked, "no credential is configured for " + ours},
		{"only what nobody knows", []string{"Negotiate", `Signature keyId="x"`}, "", ann, asked, "no credential was sent"},
		{"no challenge at all for ann", nil, "", ann, asked, "a proxy may have removed it"},
		{"a realm without TLS", []string{`Bearer realm="http://192.0.2.2/token"`}, answer, ann, asNobody, "not allowed"},
		{"a realm at this machine", []string{`Bearer realm="https://127.0.0.1:8500/token"`}, answer, ann, asNobody, "not allowed"},
		{"a realm where clouds give credentials", []string{`Bearer realm="https://169.254.169.254/latest"`}, answer, ann, asNobody, "not allowed"},
		{"a realm that is no URL", []string{`Bearer realm="https://%zz"`}, answer, ann, asNobody, "not a URL"},
	}
	if len(cases) < 40 {
		t.Errorf("%d cases", len(cases))
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			accepts := "Bearer t0k"
			if len(test.want) == 2 && strings.Contains(test.want[1], " as Basic") && strings.HasPrefix(test.want[1], "HEAD") {
				accepts = "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:p:w"))
			}
			sent, err := ask(t, &scripted{host: ours, challenges: test.challenges, answer: test.answer, accepts: accepts}, test.credential)
			if diff := cmp.Diff(test.want, sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			switch {
			case test.says == "" && err != nil, test.says != "" && err == nil:
				t.Errorf("error = %v, want one with %q", err, test.says)
			case err != nil && !strings.Contains(err.Error(), test.says):
				t.Errorf("error = %v, want %q in it", err, test.says)
			case err != nil && (strings.Contains(err.Error(), "p:w") || strings.Contains(err.Error(), "refresh") || strings.Contains(err.Error(), "0paque")):
				t.Errorf("a secret in %v", err)
			}
		})
	}
}

// TestChallengeAtPing: a registry names the way to sign in at /v2/ only, as Docker asks there first. One that does not take the credential there is
// read as before.
func TestChallengeAtPing(t *testing.T) {
	ann := Credential{Username: "ann", Password: "p:w"}
	head, ping, token := "HEAD "+ours+"/v2/app/manifests/1", "GET "+ours+"/v2/", "GET "+ours+"/token?account=ann"
	bearer := []string{head, ping, token + "&service=s as Basic ann:p:w", ping + " as Bearer t0k", token + "&scope=repository:app:pull&service=s as Basic ann:p:w", head + " as Bearer t0k"}
	nobody := "GET " + ours + "/token?"
	for _, test := range []struct {
		name, ping, accepts string
		status              int
		credential          Credential
		want                []string
		says                string
	}{
		{"tokens, 401", `Bearer realm="/token",service="s"`, "Bearer t0k", 401, ann, bearer, ""},
		{"tokens, 403", `Bearer realm="/token",service="s"`, "Bearer t0k", 403, ann, bearer, ""},
		{"tokens, 405", `Bearer realm="/token",service="s"`, "Bearer t0k", 405, ann, []string{head}, "405"},
		{"tokens, 404", `Bearer realm="/token",service="s"`, "Bearer t0k", 404, ann, bearer, ""},
		{"tokens for nobody", `Bearer realm="/token",service="s"`, "Bearer t0k", 401, Credential{}, []string{head, ping, nobody + "service=s", ping + " as Bearer t0k", nobody + "scope=repository:app:pull&service=s", head + " as Bearer t0k"}, ""},
		{"passwords", `Basic realm="r"`, "Basic YW5uOnA6dw==", 404, ann, []string{head, ping, ping + " as Basic ann:p:w", head + " as Basic ann:p:w"}, ""},
		{"a wrong password", `Basic realm="r"`, "Basic another", 404, ann, []string{head, ping, ping + " as Basic ann:p:w"}, "404"},
		{"nobody, and nothing there", `Basic realm="r"`, "Basic another", 404, Credential{}, []string{head}, "404"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sent, err := ask(t, &scripted{host: ours, status: test.status, answer: `{"token":"t0k"}`, accepts: test.accepts, ping: test.ping}, test.credential)
			if diff := cmp.Diff(test.want, sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error = %v, want %q in it", err, test.says)
			}
		})
	}
}

// TestBasicBesideBearer: where there is no token server at the realm, the password itself serves, if the registry takes it as well.
func TestBasicBesideBearer(t *testing.T) {
	ann := Credential{Username: "ann", Password: "p:w"}
	for accepts, good := range map[string]bool{"Basic YW5uOnA6dw==": true, "Basic another": false} {
		for _, postOnly := range []bool{false, true} { // nor does it get a form then
			s := &scripted{
				host: ours, challenges: []string{`Bearer realm="https://192.0.2.1/v2/app/token",service="s"`, `Basic realm="r"`}, status: http.StatusUnauthorized,
				accepts: accepts, lost: "/v2/app/token", postOnly: postOnly, refuses: "no",
			}
			sent, err := ask(t, s, ann)
			if (err == nil) != good || len(sent) != 3 || !strings.HasSuffix(sent[2], "as Basic ann:p:w") {
				t.Errorf("%v, %v", sent, err)
			}
		}
	}
}

// TestTokenByPostOnly: a token server that does not take GET gets the password in a form.
func TestTokenByPostOnly(t *testing.T) {
	head, token := "HEAD "+ours+"/v2/app/manifests/1", their+"/token"
	nobody := "GET " + token + "?scope=repository:app:pull&service=s"
	get := "GET " + token + "?account=ann&scope=repository:app:pull&service=s as Basic ann:p:w"
	post := "POST " + token + " with client_id=dray&grant_type=password&password=p:w&scope=repository:app:pull&service=s&username=ann"
	for _, test := range []struct {
		name       string
		credential Credential
		want       []string
	}{
		{"ann", Credential{Username: "ann", Password: "p:w"}, []string{head, get, post, head + " as Bearer t0k", post, head + " as Bearer t0k"}},
		{"nobody", Credential{}, []string{head, nobody, nobody}},
	} {
		s := &scripted{host: ours, challenges: []string{`Bearer realm="https://` + token + `",service="s"`}, answer: `{"access_token":"t0k","expires_in":1}`, accepts: "Bearer t0k", postOnly: true}
		sent, err := askTimes(t, s, test.credential, 2)
		if diff := cmp.Diff(test.want, sent); diff != "" || (err == nil) != (test.credential.Password != "") {
			t.Errorf("%s: error %v, sent (-want +got):\n%s", test.name, err, diff)
		}
	}
}

// TestFormIsRefused: a refusal as OAuth 2 makes it, by 400, says what to check, and is not asked for again soon.
func TestFormIsRefused(t *testing.T) {
	head := "HEAD " + ours + "/v2/app/manifests/1"
	for name, credential := range map[string]Credential{"password": {Username: "ann", Password: "p:w"}, "identity token": {IdentityToken: "refresh"}} {
		s := &scripted{host: ours, challenges: []string{`Bearer realm="https://` + their + `/token"`}, postOnly: true, refuses: `{"error":"invalid_grant"}`}
		sent, err := askTimes(t, s, credential, 5)
		posts := 0
		for _, line := range sent {
			if strings.HasPrefix(line, "POST ") {
				posts++
			}
		}
		if posts != 1 || sent[0] != head || err == nil || !strings.Contains(err.Error(), "the sign-in was refused") || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s: %v after %q", name, err, sent)
		}
	}
}

// TestTokensThatWearOut: a token that served and is refused at once is replaced; where the next is refused as well, none is asked for again soon.
func TestTokensThatWearOut(t *testing.T) {
	for _, uses := range []int{1, 2, 3, 1000} {
		synctest.Test(t, func(t *testing.T) {
			tokens, used := 0, map[string]int{}
			carrier, err := wire.New(wire.Options{
				Name: ours, API: ours, Start: 4, Most: 16, Retries: wire.Retries{Attempts: 1}, Log: slog.New(slog.DiscardHandler),
				Wrap: func(string, http.RoundTripper) http.RoundTripper {
					return roundTrip(func(req *http.Request) (*http.Response, error) {
						resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}
						a := req.Header.Get("Authorization")
						switch {
						case req.URL.Path == "/token":
							tokens++
							resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"token":"t%d"}`, tokens)))
						case a == "" || used[a] == uses || strings.HasSuffix(req.URL.Path, "/closed"):
							resp.StatusCode = http.StatusUnauthorized
							if a == "" || uses%2 == 0 { // some say it once
								resp.Header.Set("WWW-Authenticate", `Bearer realm="/token"`)
							}
						default:
							used[a]++
						}
						return resp, nil
					})
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			client := New(carrier, func(context.Context) (Credential, time.Time, error) { return Credential{}, time.Time{}, nil }, false, slog.New(slog.DiscardHandler))
			head := func(tag string) error {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodHead, "https://"+ours+"/v2/app/manifests/"+tag, nil)
				_, err := client.Do(req, wire.Call{Operation: "HEAD manifest", Read: func(*http.Response) error { return nil }}, Pull("app"))
				return err
			}
			for range 8 {
				if err := head("1"); err != nil {
					t.Errorf("%d uses: %v", uses, err)
				}
			}
			before := tokens
			for range 20 {
				if head("closed") == nil {
					t.Error("no error")
				}
			}
			if tokens > before+1 {
				t.Errorf("%d uses: %d tokens for what is closed", uses, tokens-before)
			}
		})
	}
}

// TestForbiddenForLackOfScope: 403 with a challenge names what the token lacks (RFC 6750, 3.1).
func TestForbiddenForLackOfScope(t *testing.T) {
	s := &scripted{host: ours, status: http.StatusForbidden, answer: `{"token":"t0k"}`, accepts: "Bearer t0k", challenges: []string{`Bearer realm="https://192.0.2.1/token",scope="repository:app:metadata_read",error="insufficient_scope"`}}
	sent, err := ask(t, s, Credential{})
	if err != nil || len(sent) != 3 || !strings.Contains(sent[1], "scope=repository:app:pull,metadata_read") {
		t.Errorf("%v, %v", sent, err)
	}
}

// TestChallengeInARefusal: to who does not sign in, a registry says 403 or 404 and how to.
func TestChallengeInARefusal(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		for challenge, accepts := range map[string]string{`Bearer realm="https://192.0.2.1/token"`: "Bearer t0k", `Basic realm="x"`: "Basic YW5uOnA6dw=="} {
			s := &scripted{host: ours, status: status, answer: `{"token":"t0k"}`, accepts: accepts, challenges: []string{challenge}}
			if sent, err := ask(t, s, Credential{Username: "ann", Password: "p:w"}); err != nil || len(sent) > 3 {
				t.Errorf("%d %s: %v, %v", status, challenge, sent, err)
			}
		}
	}
}

// TestChallengesWithoutEnd: a header of a megabyte, of which each piece looks like the beginning of something, costs no time.
func TestChallengesWithoutEnd(t *testing.T) {
	for _, piece := range []string{`a"`, `a@`, `a,`, "a ", `"`} {
		start := time.Now()
		parseChallenges([]string{strings.Repeat(piece, 1<<19), strings.Repeat(piece, 1<<19)})
		if took := time.Since(start); took > 30*time.Second { // the square of it would be minutes
			t.Errorf("%q: %v", piece, took)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example/token",service="a, b",scope="repository:x:pull"`)
	f.Add(`Negotiate abc==, Basic realm="x", charset="UTF-8"`)
	f.Add(`Digest qop="auth,auth-int", nonce="\"\\"`)
	f.Add(`Bearer realm="unterminated`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, c := range parseChallenges([]string{value}) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q of %q", c.scheme, value)
			}
			for name, param := range c.params {
				if name == "" || name != strings.ToLower(name) || len(param) > len(value) {
					t.Errorf("%q=%q of %q", name, param, value)
				}
			}
			// What is written as the RFC has it is read as it was.
			text := c.scheme
			for name, param := range c.params {
				text += fmt.Sprintf(` %s="%s"`, name, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(param))
				again := parseChallenges([]string{text})
				if len(again) != 1 || again[0].scheme != c.scheme || again[0].params[name] != param {
					t.Errorf("%q is read as %+v", text, again)
				}
				break
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add([]byte(`{"token":"x","expires_in":300}`))
	f.Add([]byte(`{"access_token":"x","expires_in":"1e309"}`))
	f.Add([]byte(`{"token":"x","expires_in":1e-10}`))
	f.Add([]byte(`{"token":1}`))
	f.Add([]byte(`[]`))
	born := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parseToken(raw, born)
		if (got == nil) == (err == nil) {
			t.Fatalf("%v, %v", got, err)
		}
		if err != nil {
			return
		}
		if life := got.ends.Sub(born); life <= 0 || life > longLife || got.text == "" || strings.ContainsAny(got.text, "\r\n \x00") {
			t.Errorf("%q gives %q for %v", raw, got.text, life)
		}
		if !got.fresh(born) || got.fresh(got.ends) {
			t.Errorf("%q: fresh when it ends", raw)
		}
	})
}
