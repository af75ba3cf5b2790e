package registry

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

const loginPage = "<!doctype html><title>Sign in</title><form action=/login></form>"

// TestStorageThatRefuses: what the host refuses to which a registry has led is not blamed on the account, which is never sent there.
func TestStorageThatRefuses(t *testing.T) {
	data := []byte("layer")
	for _, status := range []int{401, 403} {
		for name, header := range map[string]http.Header{"no challenge": nil, "Basic": {"Www-Authenticate": {`Basic realm="store"`}}} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					behaviour := emulator.Options{Auth: &emulator.Auth{Users: map[string]string{"ann": "secret"}}, Store: &emulator.Store{URL: "https://" + other}}
					r, away, c := signedIn(t, behaviour, answer(status, header, ""))
					r.PutBlob("app", data)
					_, err := readBlob(t.Context(), c, data)
					contains(t, fmt.Sprint(err), other+" refuses the link that the registry gave", "storage of "+home)
					lacks(t, fmt.Sprint(err), "no credential is configured", "this account")
					if n := away.Count(authorized); n > 0 {
						t.Errorf("%d requests with a credential", n)
					}
				})
			})
		}
		t.Run(fmt.Sprint(status, " upload"), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				begins := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.Method == http.MethodPost {
						w.Header().Set("Location", "https://"+other+"/up/1?signature=abc")
						w.WriteHeader(http.StatusAccepted)
						return
					}
					http.NotFound(w, req)
				})
				c := client(t, emulator.Network{home: emulator.NewGate(begins), other: emulator.NewGate(answer(status, nil, ""))}, Options{})
				opened := 0
				_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
				contains(t, fmt.Sprint(err), other+" refuses the upload to which "+home+" has led")
				lacks(t, fmt.Sprint(err), "this account", "abc")
			})
		})
	}
}

// TestRedirectToASignIn names where a registry has redirected to, without the query.
func TestRedirectToASignIn(t *testing.T) {
	for name, c := range map[string]struct {
		login http.Handler
		want  string
	}{
		"a page":        {answer(200, http.Header{"Content-Type": {"text/html"}}, loginPage), "but a web page"},
		"no such page":  {answer(404, nil, ""), home + " redirected to " + other + "/login"},
		"out of order":  {answer(500, nil, ""), home + " redirected to " + other + "/login"},
		"another login": {answer(403, nil, ""), other + " refuses the link that the registry gave"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				to := answer(302, http.Header{"Location": {"https://" + other + "/login?from=s3cret"}}, "")
				client := client(t, emulator.Network{home: emulator.NewGate(to), other: emulator.NewGate(c.login)}, Options{})
				_, err := client.Manifest(t.Context(), at("app").Tag("1"))
				contains(t, fmt.Sprint(err), c.want)
				lacks(t, fmt.Sprint(err), "s3cret")
			})
		})
	}
}

// TestPageInPlaceOfARegistry: a sign-in that is answered with a web page is none.
func TestPageInPlaceOfARegistry(t *testing.T) {
	c := client(t, emulator.Network{home: answer(200, nil, "<html>sign in</html>")}, Options{})
	if _, err := c.SignIn(t.Context(), at("app")); err == nil {
		t.Error("no error")
	} else {
		contains(t, err.Error(), "it is no registry that answers at /v2/, but a web page")
	}
}

// TestPageInPlaceOfContent: a web page is reported as such, and what only looks like one is content.
func TestPageInPlaceOfContent(t *testing.T) {
	page := []byte(loginPage)
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	for name, c := range map[string]struct {
		want image.Descriptor
		fine bool
	}{
		"a blob of another size":   {content([]byte("layer")), false},
		"a blob of the same size":  {content(bytes.Repeat([]byte("l"), len(page))), false},
		"a blob of a greater size": {content(bytes.Repeat([]byte("l"), 2*maxPage)), false},
		"a blob that is a page":    {content(page), true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				client := client(t, emulator.Network{home: emulator.NewGate(answer(200, html, loginPage))}, Options{})
				body, err := client.OpenBlob(t.Context(), at("app"), c.want, 0, nil)
				if err == nil {
					_ = body.Close()
				}
				if c.fine != (err == nil) || !c.fine && (!strings.Contains(err.Error(), "it sent no blob, but a web page") || !errors.Is(err, image.ErrCorrupt)) {
					t.Errorf("error = %v", err)
				}
			})
		})
	}
	t.Run("a manifest", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			client := client(t, emulator.Network{home: emulator.NewGate(answer(200, html, loginPage))}, Options{})
			_, err := client.Manifest(t.Context(), at("app").Digest(content([]byte("m")).Digest))
			contains(t, fmt.Sprint(err), "it sent no manifest, but a web page")
		})
	})
}
