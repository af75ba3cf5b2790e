package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// trickle writes a byte every five seconds.
func trickle(w io.Writer, q *http.Request) {
	for q.Context().Err() == nil {
		select {
		case <-q.Context().Done():
		case <-time.After(5 * time.Second):
			_, _ = w.Write([]byte(" "))
		}
	}
}

// challenging asks for a token of its own server and leaves the rest to next.
func challenging(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, "/v2/") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+home+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, q)
	})
}

// TestAnswerThatTrickles: an answer that brings a byte now and then is an error within a minute, as silence is.
func TestAnswerThatTrickles(t *testing.T) {
	digest := image.Digest(emulator.Sum([]byte("x")))
	calls := map[string]func(ctx context.Context, c *Client) error{
		"tags":      func(ctx context.Context, c *Client) error { _, err := c.Tags(ctx, at("app"), everything); return err },
		"manifest":  func(ctx context.Context, c *Client) error { _, err := c.Manifest(ctx, at("app").Tag("1")); return err },
		"referrers": func(ctx context.Context, c *Client) error { _, err := c.Referrers(ctx, at("app"), digest); return err },
		"blob": func(ctx context.Context, c *Client) error {
			body, err := c.OpenBlob(ctx, at("app"), image.Descriptor{Digest: digest, Size: 1000}, 0, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, body)
				err = errors.Join(err, body.Close())
			}
			return err
		},
	}
	for name, ask := range calls {
		for _, status := range []int{200, 404} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					server := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						w.WriteHeader(status)
						trickle(w, q)
					})
					c := client(t, emulator.Network{home: server}, Options{Retries: Retries{Attempts: 1}})
					var err error
					took := elapsed(func() { err = ask(t.Context(), c) })
					// Referrers asks for the fallback tag as well; a blob is resumed some times.
					if err == nil && status == 200 || took > 6*time.Minute {
						t.Errorf("%v after %v", err, took)
					}
				})
			})
		}
	}
}

// TestUploadThatTrickles: a registry that takes a byte now and then.
func TestUploadThatTrickles(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method != http.MethodPut {
				w.Header().Set("Location", "/v2/app/blobs/uploads/1")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			for n := 1; n > 0; {
				n, _ = q.Body.Read(make([]byte, 1))
				select {
				case <-q.Context().Done():
					return
				case <-time.After(5 * time.Second):
				}
			}
		})
		c := client(t, emulator.Network{home: server}, Options{Retries: Retries{Attempts: 1}})
		data, opened := make([]byte, 1000), 0
		var err error
		took := elapsed(func() {
			_, err = c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
		})
		if err == nil || took > 2*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestTokenServerThatExhausts: what a token server says is bounded in bytes and time, and a call that is given up does not wait for it.
func TestTokenServerThatExhausts(t *testing.T) {
	ways := map[string]http.HandlerFunc{
		"trickles":  func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(200); trickle(w, q) },
		"is silent": func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() },
		"keeps on": func(w http.ResponseWriter, q *http.Request) {
			for q.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 64<<10)); err != nil {
					return
				}
				select { // at a rate that is fast enough
				case <-q.Context().Done():
				case <-time.After(10 * time.Second):
				}
			}
		},
		"floods": func(w http.ResponseWriter, q *http.Request) { endless(200, nil, `{"token":"`).ServeHTTP(w, q) },
	}
	hosts := map[string]auth.Credential{
		"anonymous":      {},
		"identity token": {IdentityToken: "refresh"},
	}
	for what, way := range ways {
		for who, host := range hosts {
			t.Run(what+" "+who, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					c := client(t, emulator.Network{home: challenging(way)}, Options{Keychain: as(host)})
					var err error
					if took := elapsed(func() { _, err = c.Head(t.Context(), at("app").Tag("1")) }); err == nil || took > 6*time.Minute {
						t.Errorf("%v after %v", err, took)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					if took := elapsed(func() { _, err = c.Head(ctx, at("app2").Tag("1")) }); err == nil || took > 6*time.Second {
						t.Errorf("with a timeout of 5 s: %v after %v", err, took)
					}
				})
			})
		}
	}
}

// TestEndlessPages: a list is bounded as a whole, and not by its pages.
func TestEndlessPages(t *testing.T) {
	calls := map[string]func(c *Client) error{
		"tags":    func(c *Client) error { _, err := c.Tags(t.Context(), at("app"), everything); return err },
		"catalog": func(c *Client) error { _, err := c.Catalog(t.Context(), at("app"), everything); return err },
		"referrers": func(c *Client) error {
			_, err := c.Referrers(t.Context(), at("app"), image.Digest(emulator.Sum(nil)))
			return err
		},
	}
	for name, ask := range calls {
		t.Run(name, func(t *testing.T) {
			if raceDetector && name != "tags" {
				t.Skip("the race detector makes half a minute of each list")
			}
			if testing.Short() && name != "tags" {
				t.Skip("takes seconds")
			}
			var sent, pages atomic.Int64
			filler := strings.Repeat(" ", 8<<20)
			server := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				page := pages.Add(1)
				w.Header().Set("Link", fmt.Sprintf(`<%s?n=1000&last=%d>; rel="next"`, q.URL.Path, page))
				w.Header().Set("Content-Type", image.MediaTypeOCIIndex)
				n, _ := fmt.Fprintf(w, `{"tags":["v%08d"],"repositories":["app/v%08[1]d"],"schemaVersion":2,"mediaType":%q,"manifests":[]%s}`, page, image.MediaTypeOCIIndex, filler)
				sent.Add(int64(n))
			})
			c := client(t, emulator.Network{home: server}, Options{})
			if err := ask(c); err == nil || sent.Load() > maxListing+16<<20 {
				t.Errorf("%v after %d MiB", err, sent.Load()>>20)
			}
		})
	}
}

// TestHelperThatSaysTooMuch: what a credential helper says is bounded, and is never part of an error.
func TestHelperThatSaysTooMuch(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, script := range map[string]string{
		"floods":   "yes S3CRET\n",
		"fails":    "echo S3CRET; echo S3CRET >&2; exit 1\n",
		"is wrong": "echo S3CRET\n",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(dir+"/docker-credential-test", []byte("#!/bin/sh\n"+script), 0o700); err != nil {
				t.Fatal(err)
			}
			c := client(t, emulator.Network{}, Options{Keychain: auth.Keychain{Named: map[string]auth.Source{home: auth.Helper("test")}}})
			_, err := c.Head(t.Context(), at("app").Tag("1"))
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, err.Error(), "docker-credential-test")
			lacks(t, err.Error(), "S3CRET")
		})
	}
}
