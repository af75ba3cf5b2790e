package registry

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// TestReferrersThatCannotBeAsked: there are signatures under the API, and none under the fallback tag. No failure of the API
// may look like an image without signatures, neither in the call that fails nor in the next for another digest.
func TestReferrersThatCannotBeAsked(t *testing.T) {
	faults := broken()
	faults["413"] = emulator.Fault{Status: 413}
	faults["a manifest"] = emulator.Fault{Status: 200, Body: `{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIManifest + `"}`}
	faults["a list that breaks off"] = emulator.Fault{CutAt: 30}
	faults["never answers"] = emulator.Fault{Delay: time.Hour, Reset: true}
	for what, fault := range faults {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{Referrers: true}, Options{})
				i := push(t, r, "app", "1")
				subjects := make([]image.Digest, 0, len(i.Manifests))
				for _, m := range i.Manifests {
					if _, err := r.PutReferrer("app", m.Digest, "application/signature", []byte(m.Digest)); err != nil {
						t.Fatal(err)
					}
					subjects = append(subjects, image.Digest(m.Digest))
				}
				fault.Match = requests("", emulator.KindReferrers)
				remove := r.Inject(fault)
				ask := func(d image.Digest) {
					if list, err := c.Referrers(t.Context(), at("app"), d); err == nil || errors.Is(err, image.ErrAbsent) {
						t.Errorf("Referrers = %v, %v; want an error that is not \"absent\"", list, err)
					}
				}
				var group sync.WaitGroup
				for n, d := range subjects {
					group.Go(func() {
						time.Sleep(time.Duration(n) * 1600 * time.Millisecond) // one asks while another falls back
						ask(d)
					})
				}
				group.Wait()
				for _, d := range subjects {
					ask(d)
				}
				remove()
				time.Sleep(apiMemory + time.Second)
				if list, err := c.Referrers(t.Context(), at("app"), subjects[0]); err != nil || len(list) != 1 {
					t.Errorf("the API is well again: %v, %v", list, err)
				}
			})
		})
	}
}

// TestReferrersWhileAnotherCallFallsBack: the first call has failed and asks for the fallback tag, slowly, while the second
// begins.
func TestReferrersWhileAnotherCallFallsBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{Referrers: true}, Options{})
		i := push(t, r, "app", "1")
		r.Inject(emulator.Fault{Match: requests("", emulator.KindReferrers), Status: 413})
		r.Inject(emulator.Fault{Match: requests("", emulator.KindManifest), Delay: time.Minute})
		var group sync.WaitGroup
		for n, m := range i.Manifests {
			group.Go(func() {
				time.Sleep(time.Duration(n) * time.Second)
				if list, err := c.Referrers(t.Context(), at("app"), image.Digest(m.Digest)); err == nil {
					t.Errorf("Referrers = %v without an error", list)
				}
			})
		}
		group.Wait()
	})
}

func TestReferrersWithoutTheAPI(t *testing.T) {
	faults := map[string]emulator.Fault{
		"a page": {Status: 200, Body: "<html>sign in to the wireless network</html>"}, "a typed page": {Status: 200, Body: "sign in", Header: http.Header{"Content-Type": {"text/html"}}},
	}
	for _, status := range []int{400, 401, 403, 404, 405, 406, 410, 415, 501} {
		faults[strconv.Itoa(status)] = emulator.Fault{Status: status}
	}
	for what, fault := range faults {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				i := push(t, r, "app", "1")
				signed, plain := i.Manifests[0].Digest, i.Manifests[1].Digest
				if _, err := r.PutReferrer("app", signed, "application/signature", []byte("signed")); err != nil {
					t.Fatal(err)
				}
				fault.Match = requests("", emulator.KindReferrers)
				r.Inject(fault)
				for range 3 {
					for digest, want := range map[string]int{signed: 1, plain: 0} {
						if list, err := c.Referrers(t.Context(), at("app"), image.Digest(digest)); err != nil || len(list) != want {
							t.Errorf("Referrers = %v, %v; want %d", list, err, want)
						}
					}
				}
				if n := kind(r.Gate, "", emulator.KindReferrers); n != 1 {
					t.Errorf("the API was asked %d times, want once", n)
				}
				r.Inject(emulator.Fault{Match: requests("", emulator.KindManifest), Status: 503})
				if list, err := c.Referrers(t.Context(), at("app"), image.Digest(signed)); err == nil || errors.Is(err, image.ErrAbsent) {
					t.Errorf("the fallback tag cannot be asked for: %v, %v", list, err)
				}
			})
		})
	}
}

// TestAbsent: what is not there is ErrAbsent or an empty answer, and nothing else is.
func TestAbsent(t *testing.T) {
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	missing := image.Digest(emulator.Sum([]byte("missing")))
	r, c := stand(t, emulator.Options{Referrers: true}, Options{})
	if err := i.Push(r, "app", "1"); err != nil {
		t.Fatal(err)
	}
	asked := map[string]func() error{
		"Head of a tag":         func() error { _, err := c.Head(t.Context(), at("app").Tag("none")); return err },
		"Head in no repository": func() error { _, err := c.Head(t.Context(), at("none").Tag("1")); return err },
		"Manifest":              func() error { _, err := c.Manifest(t.Context(), at("app").Digest(missing)); return err },
		"OpenBlob": func() error {
			_, err := c.OpenBlob(t.Context(), at("app"), image.Descriptor{Digest: missing, Size: 1}, 0, nil)
			return err
		},
		"Tags of no repository":       func() error { _, err := c.Tags(t.Context(), at("none"), everything); return err },
		"DigestTags of no repository": func() error { _, err := c.DigestTags(t.Context(), at("none")); return err },
	}
	for name, ask := range asked {
		t.Run(name, func(t *testing.T) {
			err := ask()
			if e := failure(t, err); !errors.Is(err, image.ErrAbsent) || e.Status != http.StatusNotFound {
				t.Errorf("error = %v", err)
			}
		})
	}
	r.Inject(emulator.Fault{Status: 404, Body: "<html>no such page</html>", Header: http.Header{"Content-Type": {"text/html"}}})
	_, err := c.Catalog(t.Context(), at("team"), everything)
	if err == nil || errors.Is(err, image.ErrAbsent) {
		t.Errorf("a registry without catalog: %v: its repositories are not absent", err)
	}
	contains(t, err.Error(), "answered 404 Not Found", "does not list its repositories")
	_, err = c.Head(t.Context(), at("app").Tag("1"))
	if !errors.Is(err, image.ErrAbsent) {
		t.Errorf("a bare 404: %v", err)
	}
}

func TestDigestTags(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		push(t, r, "app", "1")
		push(t, r, "app", "sha256-"+strings.Repeat("a", 64)+".sig")
		ask := func(want int) {
			t.Helper()
			for range 5 {
				if tags, err := c.DigestTags(t.Context(), at("app")); err != nil || len(tags) != 1 {
					t.Errorf("DigestTags = %v, %v", tags, err)
				}
			}
			if n := kind(r.Gate, "", emulator.KindTags); n != want {
				t.Errorf("listed %d times, want %d", n, want)
			}
		}
		ask(1)
		time.Sleep(recentFor)
		ask(2)
	})
}

// TestCatalogRefused: a sign-in that is wrong or missing is named, besides that many registries have no catalog.
func TestCatalogRefused(t *testing.T) {
	for _, name := range []string{"", "ann"} {
		options := Options{}
		if name != "" {
			options.Keychain = signed(home, name, "wr0ng")
		}
		_, c := stand(t, emulator.Options{Auth: &emulator.Auth{Users: map[string]string{"ann": "secret"}}}, options)
		_, err := c.Catalog(t.Context(), at("team"), everything)
		if e := failure(t, err); e.Status != http.StatusUnauthorized || errors.Is(err, image.ErrAbsent) {
			t.Errorf("error = %v", err)
		}
		contains(t, err.Error(), "the sign-in was refused", "does not list its repositories")
	}
}

// TestCatalogThatEndsEarly: a registry that has sent a page has a catalog.
func TestCatalogThatEndsEarly(t *testing.T) {
	r, c := stand(t, emulator.Options{}, Options{})
	r.Inject(emulator.Fault{Match: func(q *http.Request) bool { return q.URL.RawQuery == "n=1000" }, Body: `{"repositories":["team/a"]}`, Header: http.Header{"Link": {`</v2/_catalog?last=x>; rel="next"`}}})
	r.Inject(emulator.Fault{Match: func(q *http.Request) bool { return q.URL.RawQuery == "last=x" }, Status: 404})
	_, err := c.Catalog(t.Context(), at("team"), everything)
	if err == nil || errors.Is(err, image.ErrAbsent) {
		t.Errorf("a catalog without its second page: %v", err)
	}
	contains(t, err.Error(), "answered 404 Not Found")
	lacks(t, err.Error(), "does not list")
}
