package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// signedIn is home with a password and another host, both behind gates.
func signedIn(t *testing.T, behaviour emulator.Options, elsewhere http.Handler) (r *emulator.Registry, away *emulator.Gate, c *Client) {
	t.Helper()
	r, away = emulator.New(behaviour), emulator.NewGate(elsewhere)
	c = client(t, emulator.Network{home: r, other: away}, Options{Keychain: signed(home, "ann", "secret")})
	return r, away, c
}

func bearerAndBasic() map[string]emulator.Options {
	users := map[string]string{"ann": "secret"}
	return map[string]emulator.Options{
		"bearer": {Referrers: true, Auth: &emulator.Auth{Users: users}},
		"basic":  {Referrers: true, Auth: &emulator.Auth{Users: users, Basic: true}},
	}
}

func authorized(r emulator.Request) bool { return r.Authorization }

// TestLinkToAnotherHost: the next page of a list lies where the first did, or nowhere.
func TestLinkToAnotherHost(t *testing.T) {
	for name, behaviour := range bearerAndBasic() {
		t.Run(name, func(t *testing.T) {
			r, away, c := signedIn(t, behaviour, answer(200, nil, `{"name":"app","tags":["stolen"]}`))
			i := push(t, r, "app", "1")
			r.Inject(emulator.Fault{
				Match:  func(q *http.Request) bool { return q.Header.Get("Authorization") != "" },
				Header: http.Header{"Link": {`<https://` + other + `/v2/app/tags/list?last=1>; rel="next"`}},
			})
			if tags, err := c.Tags(t.Context(), at("app"), everything); err == nil {
				t.Errorf("Tags = %v", tags)
			} else {
				e := failure(t, err)
				contains(t, err.Error(), "GET tag list: "+home+": its Link leads to another host", other)
				if e.Temporary() || e.Code() != "failed" {
					t.Errorf("temporary %v, code %q", e.Temporary(), e.Code())
				}
			}
			if list, err := c.Referrers(t.Context(), at("app"), image.Digest(i.Digest)); err == nil {
				t.Errorf("Referrers = %v", list)
			}
			if n := len(away.Requests()); n != 0 {
				t.Errorf("the other host saw %d requests: %v", n, lines(away))
			}
		})
	}
}

// TestLinkToTheSameHost: absolute ones occur; one without TLS is a proxy's mistake, and is followed with TLS.
func TestLinkToTheSameHost(t *testing.T) {
	for _, link := range []string{"https://" + home + "/v2/app/tags/list?last=1", "http://" + home + "/v2/app/tags/list?last=1", "/v2/app/tags/list?last=1", "list?last=1"} {
		t.Run(link, func(t *testing.T) {
			var clear []string
			r := emulator.New(bearerAndBasic()["basic"])
			watched := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.TLS == nil {
					clear = append(clear, q.URL.Path)
				}
				r.ServeHTTP(w, q)
			})
			c := client(t, emulator.Network{home: watched}, Options{Keychain: signed(home, "ann", "secret")})
			i := push(t, r, "app", "1")
			if err := r.PutTag("app", "2", i.Digest); err != nil {
				t.Fatal(err)
			}
			r.Inject(emulator.Fault{Match: func(q *http.Request) bool { return q.URL.RawQuery == "" }, Header: http.Header{"Link": {`<` + link + `>; rel="next"`}}})
			if tags, err := c.Tags(t.Context(), at("app"), everything); err != nil || len(tags) != 2 {
				t.Errorf("Tags = %v, %v", tags, err)
			}
			if len(clear) != 0 {
				t.Errorf("without TLS: %v", clear)
			}
		})
	}
}

// TestRedirectOfABlob: blobs often lie at a store elsewhere, whose signed URLs say enough; the credential stays at home.
func TestRedirectOfABlob(t *testing.T) {
	data := []byte("the blob")
	for name, behaviour := range bearerAndBasic() {
		t.Run(name, func(t *testing.T) {
			r, away, c := signedIn(t, behaviour, answer(200, nil, string(data)))
			r.PutBlob("app", data)
			blob := requests("GET", emulator.KindBlob)
			r.Inject(emulator.Fault{
				Match:  func(q *http.Request) bool { return blob(q) && q.Header.Get("Authorization") != "" },
				Status: 307, Header: http.Header{"Location": {"https://" + other + "/store/x?X-Amz-Signature=S3CRET"}},
			})
			body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %q, %v", got, err)
			}
			if err := body.Close(); err != nil {
				t.Error(err)
			}
			if n, leaked := len(away.Requests()), away.Count(authorized); n != 1 || leaked != 0 {
				t.Errorf("the other host saw %d requests, %d with a credential", n, leaked)
			}
		})
	}
}

// TestUploadElsewhere: a Location at another host gets the bytes and no credential, even when it asks for one.
func TestUploadElsewhere(t *testing.T) {
	challenge := http.Header{"Www-Authenticate": {`Basic realm="x"`, `Bearer realm="https://` + other + `/token",service="x"`}}
	stores := map[string]struct {
		handler http.Handler
		fails   bool
	}{
		"that takes it":               {answer(201, nil, ""), false},
		"that asks for a credential":  {answer(401, challenge, ""), true},
		"that refuses it with a body": {answer(403, nil, "https://"+other+"/up?_state=S3CRET is not for you"), true},
	}
	for what, store := range stores {
		for name, behaviour := range bearerAndBasic() {
			t.Run(name+" "+what, func(t *testing.T) {
				drained := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					_, _ = io.Copy(io.Discard, q.Body)
					store.handler.ServeHTTP(w, q)
				})
				r, away, c := signedIn(t, behaviour, drained)
				r.Inject(emulator.Fault{
					Match:  func(q *http.Request) bool { return q.Method == "POST" && q.Header.Get("Authorization") != "" },
					Header: http.Header{"Location": {"https://" + other + "/up?_state=S3CRET"}},
				})
				data, opened := []byte("new"), 0
				_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
				if (err != nil) != store.fails {
					t.Errorf("PutBlob: %v", err)
				}
				if err != nil {
					lacks(t, err.Error(), "S3CRET", "secret", "_state")
					contains(t, err.Error(), "blob upload")
				}
				if n, leaked := kind(away, "PUT", emulator.KindOther), away.Count(authorized); n == 0 || leaked != 0 {
					t.Errorf("the other host saw %v, %d with a credential", lines(away), leaked)
				}
			})
		}
	}
}

// TestRealm: a password goes to the token server that the registry names, but never without TLS.
func TestRealm(t *testing.T) {
	cases := []struct {
		name, realm string
		refused     bool
	}{
		{"at home", "https://" + home + "/token", false},
		{"relative", "/token", false},
		{"at another host", "https://" + other + "/token", false},
		{"at another host without TLS", "http://" + other + "/token?x=S3CRET", true},
		{"at home without TLS", "http://" + home + "/token", true},
		{"at this machine", "https://127.0.0.1/token", true},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}, Realm: test.realm}
			r := emulator.New(emulator.Options{Auth: auth})
			away := emulator.NewGate(r)
			c := client(t, emulator.Network{home: r, other: away, "127.0.0.1": away}, Options{Keychain: signed(home, "ann", "secret")})
			push(t, r, "app", "1")
			_, err := c.Head(t.Context(), at("app").Tag("1"))
			if !test.refused {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := failure(t, err)
			contains(t, err.Error(), home, "not allowed")
			lacks(t, err.Error(), "S3CRET", "secret")
			tokens := kind(r.Gate, "", emulator.KindToken) + len(away.Requests())
			if tokens != 0 || e.Temporary() {
				t.Errorf("%d token requests, temporary %v", tokens, e.Temporary())
			}
		})
	}
}

// TestSecretsInErrors: recorded bodies and what else could carry a secret into a log.
func TestSecretsInErrors(t *testing.T) {
	const limit = `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit as 'acme': dckr_jti_9Lg3-DN__PcJ-x=. You may increase the limit by upgrading. https://www.docker.com/increase-rate-limit"}]}`
	cases := []struct {
		name  string
		fault emulator.Fault
		wants []string
	}{
		{"Docker Hub's 429", emulator.Fault{Status: 429, Body: limit}, []string{"429", "TOOMANYREQUESTS", "pull rate limit as [redacted]", "increase-rate-limit"}},
		{"the same as text", emulator.Fault{Status: 429, Body: "toomanyrequests: as 'acme': dckr_jti_9Lg3-DN__PcJ-x=."}, []string{"429"}},
		{"a redirect without TLS", emulator.Fault{Status: 307, Header: http.Header{"Location": {"http://" + other + "/x?sig=S3CRET"}}}, []string{"not allowed"}},
		{"a redirect to no host", emulator.Fault{Status: 307, Header: http.Header{"Location": {"https://192.0.2.9/x?sig=S3CRET"}}}, []string{"GET blob", "192.0.2.9", "no such host"}},
		{"a redirect with a user", emulator.Fault{Status: 307, Header: http.Header{"Location": {"http://ann:S3CRET@" + other + "/x"}}}, []string{"not allowed"}},
		{"a broken Location", emulator.Fault{Status: 307, Header: http.Header{"Location": {"https://" + other + "/%zz?sig=S3CRET"}}}, nil},
		{"a store that says no", emulator.Fault{Status: 307, Header: http.Header{"Location": {"https://" + other + "/x?sig=S3CRET"}}}, []string{"GET blob", other, "403"}},
		{"an echo of the header", emulator.Fault{Status: 400, Body: "bad header: Authorization: Basic YW5uOlMzQ1JFVA=="}, []string{"400", "[redacted]"}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				data := []byte("blob")
				r := emulator.New(emulator.Options{})
				away := answer(403, nil, "<Error><Resource>https://"+other+"/x?sig=S3CRET</Resource></Error>")
				c := client(t, emulator.Network{home: r, other: away}, Options{})
				r.PutBlob("app", data)
				test.fault.Match = requests("GET", emulator.KindBlob)
				r.Inject(test.fault)
				_, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
				if err == nil {
					t.Fatal("no error")
				}
				contains(t, err.Error(), test.wants...)
				lacks(t, err.Error(), "S3CRET", "dckr_jti", "acme", "YW5u")
			})
		})
	}
}

// endless answers with a head and then one letter for ever.
func endless(status int, header http.Header, head string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		if q.Method == http.MethodHead {
			return
		}
		_, _ = io.WriteString(w, head)
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for q.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
}

func TestEndlessAnswers(t *testing.T) {
	fulltest.Long(t)
	digest := image.Digest(emulator.Sum(nil))
	asked := map[string]func(ctx context.Context, c *Client) error{
		"tags":      func(ctx context.Context, c *Client) error { _, err := c.Tags(ctx, at("app"), everything); return err },
		"referrers": func(ctx context.Context, c *Client) error { _, err := c.Referrers(ctx, at("app"), digest); return err },
		"catalog": func(ctx context.Context, c *Client) error {
			_, err := c.Catalog(ctx, at("app"), everything)
			return err
		},
		"manifest": func(ctx context.Context, c *Client) error { _, err := c.Manifest(ctx, at("app").Tag("1")); return err },
		"head":     func(ctx context.Context, c *Client) error { _, err := c.Head(ctx, at("app").Tag("1")); return err },
	}
	servers := map[string]http.Handler{
		"200": endless(200, nil, `{"name":"app","tags":["`),
		"400": endless(400, nil, "no: "),
		"401": endless(401, http.Header{"Www-Authenticate": {`Basic realm="x"`}}, "no: "),
		"307": endless(307, http.Header{"Location": {"https://" + home + "/v2/again"}}, "go on: "),
	}
	for name, ask := range asked {
		for what, server := range servers {
			t.Run(fmt.Sprint(name, " ", what), func(t *testing.T) {
				c := client(t, emulator.Network{home: server}, Options{Hosts: oneAtATime})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				for range 2 { // twice: the first gives its slot back
					if err := ask(ctx, c); err == nil || ctx.Err() != nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "\n") {
						t.Fatalf("error = %.700v", err)
					}
				}
			})
		}
	}
}
