package registry

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// TestEchoedSecrets: registries and the proxies before them repeat what they were sent, whole or encoded.
func TestEchoedSecrets(t *testing.T) {
	const password, token, refresh, signature = "PASS/w0rd+1234", "BEARER.TOKEN-1234", "REFRESH-TOKEN-1234", "SIGNATURE-1234"
	pair := base64.StdEncoding.EncodeToString([]byte("ann:" + password))
	wrapped := func(text string) string { return `{"errors":[{"code":"DENIED","message":"` + text + `"}]}` }
	cases := map[string]struct {
		tokens bool // whether the token server says it
		status int
		body   string
		host   auth.Credential
		header http.Header
	}{
		"password":        {true, 401, wrapped("invalid password '" + password + "'"), auth.Credential{Username: "ann", Password: password}, nil},
		"pair":            {true, 400, "cannot parse " + pair, auth.Credential{Username: "ann", Password: password}, nil},
		"code":            {true, 400, `{"errors":[{"code":"` + password + `","message":"x"}]}`, auth.Credential{Username: "ann", Password: password}, nil},
		"refresh token":   {true, 400, "no such token: " + refresh, auth.Credential{IdentityToken: refresh}, nil},
		"in a URL":        {true, 400, "refresh_token=" + refresh + "&x=1", auth.Credential{IdentityToken: refresh}, nil},
		"bearer":          {false, 403, "token " + token + " may not do that", auth.Credential{}, nil},
		"bearer, wrapped": {false, 403, wrapped("token " + token), auth.Credential{}, nil},
		"bearer, base64":  {false, 403, base64.StdEncoding.EncodeToString([]byte(token)), auth.Credential{}, nil},
		"refresh, later":  {false, 403, "made from " + refresh, auth.Credential{IdentityToken: refresh}, nil},
		"password, later": {false, 403, "you are " + password, auth.Credential{Username: "ann", Password: password}, nil},
		"relative URL":    {false, 403, "no: GET /store/x?X-Amz-Signature=" + signature + "&sig=" + signature, auth.Credential{}, nil},
		"S3": {false, 403, `<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><AWSAccessKeyId>` + signature +
			"</AWSAccessKeyId><SignatureProvided>" + signature + "</SignatureProvided></Error>", auth.Credential{}, nil},
		"S3, cut off":    {false, 403, "<Error><AWSAccessKeyId>" + signature + "</AWSAccessKeyId><StringToSign>" + signature, auth.Credential{}, nil},
		"lost Location":  {false, 307, "", auth.Credential{}, http.Header{"Location": {"/%zz?X-Amz-Signature=" + signature}}},
		"signed, spread": {false, 307, "", auth.Credential{}, http.Header{"Location": {"/elsewhere?X-Amz-Signature=" + signature + "&X-Amz-Credential=AKIA1234/2026"}}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			server := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				say := func() {
					for key, values := range test.header {
						w.Header()[key] = values
					}
					w.WriteHeader(test.status)
					_, _ = io.WriteString(w, test.body)
				}
				switch {
				case q.URL.Path == "/token" && test.tokens:
					say()
				case q.URL.Path == "/token":
					_, _ = io.WriteString(w, `{"token":"`+token+`"}`)
				case q.URL.Path == "/elsewhere":
					w.WriteHeader(http.StatusForbidden)
					_, _ = fmt.Fprintf(w, "%s by AKIA1234 is over", signature)
				case q.Header.Get("Authorization") == "":
					w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+home+`/token",service="x",scope="repository:app:pull"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					say()
				}
			})
			c := client(t, emulator.Network{home: server}, Options{Keychain: as(test.host)})
			_, err := c.OpenBlob(t.Context(), at("app"), content([]byte("x")), 0, nil)
			if err == nil {
				t.Fatal("no error")
			}
			lacks(t, err.Error(), password, pair, token, refresh, signature, "AKIA1234", base64.StdEncoding.EncodeToString([]byte(token)))
			lacks(t, failure(t, err).Code(), strings.ToLower(password))
		})
	}
}

// TestTokenRequestElsewhere: a credential follows no redirect of a token server to another host or out of TLS; without one it may be followed.
func TestTokenRequestElsewhere(t *testing.T) {
	hosts := map[string]auth.Credential{
		"identity token":   {IdentityToken: "S3CRET"},
		"password":         {Username: "ann", Password: "S3CRET"},
		"password by POST": {Username: "ann", Password: "S3CRET"},
		"anonymous":        {},
	}
	for who, host := range hosts {
		for _, status := range []int{301, 302, 307, 308} {
			for _, to := range []string{"https://" + other + "/x", "http://" + other + "/x", "http://" + home + ":80/x"} {
				t.Run(fmt.Sprint(who, " ", status, " ", to), func(t *testing.T) {
					reached := []string{}
					away := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						body, _ := io.ReadAll(q.Body)
						reached = append(reached, q.Method+" "+q.URL.String()+" "+q.Header.Get("Authorization")+" "+string(body))
						_, _ = io.WriteString(w, `{"token":"t"}`)
					})
					server := challenging(func(w http.ResponseWriter, q *http.Request) {
						if who == "password by POST" && q.Method == http.MethodGet {
							w.WriteHeader(http.StatusMethodNotAllowed)
							return
						}
						w.Header().Set("Location", to)
						w.WriteHeader(status)
					})
					c := client(t, emulator.Network{home: server, other: away, home + ":80": away}, Options{Keychain: as(host)})
					_, err := c.Head(t.Context(), at("app").Tag("1"))
					if err == nil {
						t.Fatal("no error") // the registry takes no token
					}
					if who != "anonymous" {
						contains(t, err.Error(), home, "redirected", "not allowed")
						if e := failure(t, err); e.Temporary() || len(reached) > 0 {
							t.Errorf("temporary %v, reached %q", e.Temporary(), reached)
						}
					}
					lacks(t, strings.Join(reached, "\n")+err.Error(), "S3CRET", "Basic")
				})
			}
		}
	}
}

// TestUploadLedAstray: no answer to any step of an upload leads its bytes out of TLS, or to an address that the guards refuse.
func TestUploadLedAstray(t *testing.T) {
	data := make([]byte, 300_000) // more than is sent with a POST
	for _, to := range []string{"http://" + other + "/up?_state=S3CRET", "https://127.0.0.1/up?_state=S3CRET", "https://[fe80::1]/up", "http://127.0.0.1:1/up"} {
		for _, step := range []string{"POST", "PATCH", "GET"} {
			t.Run(step+" "+to, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					asked := 0
					away := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; w.WriteHeader(http.StatusCreated) })
					r := emulator.New(emulator.Options{Uploads: emulator.UploadOptions{MaxBody: 250_000, MinChunk: 1}})
					c := client(t, emulator.Network{home: r, other: away, "127.0.0.1": away, "127.0.0.1:1": away, "[fe80::1]": away}, Options{})
					if step == "GET" { // after a break
						r.Inject(emulator.Fault{Match: requests("PUT", emulator.KindUpload), CutRequestAt: 70_000, Times: 1})
						r.Inject(emulator.Fault{Match: requests("PUT", emulator.KindUpload), Reset: true, Times: 1})
					}
					if step == "PATCH" {
						r = emulator.New(emulator.Options{Uploads: emulator.UploadOptions{MaxBody: 2 << 20}})
						data = make([]byte, 5<<20)
						c = client(t, emulator.Network{home: r, other: away, "127.0.0.1": away, "127.0.0.1:1": away, "[fe80::1]": away}, Options{})
					}
					r.Inject(emulator.Fault{Match: requests(step, emulator.KindUpload), Header: http.Header{"Location": {to}}})
					opened := 0
					_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
					if err == nil || asked > 0 {
						t.Fatalf("%v, %d requests elsewhere, %v", err, asked, lines(r.Gate))
					}
					contains(t, err.Error(), "leads to", "not allowed")
					lacks(t, err.Error(), "S3CRET")
					if n := kind(r.Gate, step, emulator.KindUpload); n == 0 {
						t.Errorf("no %s: %v", step, lines(r.Gate))
					}
				})
			})
		}
	}
}
