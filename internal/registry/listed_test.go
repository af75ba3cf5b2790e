package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// states is a store of findings.
type states struct {
	mu     sync.Mutex
	by     map[string][]byte
	broken bool
}

func (s *states) Change(_ context.Context, name string, change func([]byte, time.Time) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("broken")
	}
	if s.by == nil {
		s.by = map[string][]byte{}
	}
	if state := change(s.by[name], time.Now()); state != nil {
		s.by[name] = state
	}
	return nil
}

// manyTags puts a small image under many tags, and returns these.
func manyTags(t *testing.T, r *emulator.Registry, repository string, n int) (tags []string) {
	t.Helper()
	i := push(t, r, repository, "latest")
	for n := range n {
		tags = append(tags, fmt.Sprintf("v%d", n))
		if err := r.PutTag(repository, tags[n], i.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return tags
}

// asked counts the requests for listings and for manifests.
func asked(r *emulator.Registry) (listings, heads int) {
	return r.Count(func(q emulator.Request) bool { return q.Kind == emulator.KindListing || q.Kind == emulator.KindTags }),
		r.Count(func(q emulator.Request) bool { return q.Kind == emulator.KindManifest })
}

// What is known of a registry's listing is known to the next process, too, and to none where the store is broken.
func TestFindingsLast(t *testing.T) {
	for _, broken := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			r := emulator.New(emulator.Options{Listing: emulator.ListingOptions{Kind: emulator.ZotListing}})
			tags := manyTags(t, r, "app", 50)
			kept := &states{broken: broken}
			process := func(since time.Time) (n, listings, heads int) {
				r.Reset()
				c := client(t, emulator.Network{home: r}, Options{Findings: kept})
				n = len(c.Listed(t.Context(), at("app"), tags, since))
				if _, err := c.Head(t.Context(), at("app").Tag("v1")); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				listings, heads = asked(r)
				return n, listings, heads - 1
			}
			for i, want := range [][3]int{{0, 0, 0}, {50, 1, firstSamples}, {50, 1, 0}} {
				if broken {
					want = [3]int{}
				}
				n, listings, heads := process(time.Now())
				if got := [3]int{n, listings, heads}; got != want {
					t.Errorf("process %d, broken: %t: %d tags, listings and HEADs, want %d", i, broken, got, want)
				}
			}
			time.Sleep(checkedFor + time.Minute)
			if n, _, heads := process(time.Now()); !broken && (n != 50 || heads != firstSamples) {
				t.Errorf("a day later: %d tags, %d HEADs", n, heads)
			}
			time.Sleep(sweepEvery)
			if n, _, _ := process(time.Now()); n != 0 {
				t.Errorf("a week later: %d tags, want a HEAD for each", n)
			}
		})
	}
}

func TestListingsAreSwitchedOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, off := range []bool{false, true} {
			r, c := stand(t, emulator.Options{Listing: emulator.ListingOptions{Kind: emulator.GoogleListing}}, Options{ByHead: map[string]bool{home: off}})
			tags := manyTags(t, r, "app", 50)
			since := time.Now()
			if _, err := c.Tags(t.Context(), at("app"), everything); err != nil {
				t.Fatal(err)
			}
			if n := len(c.Listed(t.Context(), at("app"), tags, since)); (n == 0) != off || (c.Listing(t.Context(), at("app")) == "") != off {
				t.Errorf("off: %t: %d tags are listed", off, n)
			}
		}
	})
}

// What a list of tags said before is not what a run may go by.
func TestListsThatWereReadBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{LaxManifests: true, Listing: emulator.ListingOptions{Kind: emulator.GoogleListing}}, Options{})
		tags := manyTags(t, r, "app", 50)
		read := func() {
			r.Reset()
			if _, err := c.Tags(t.Context(), at("app"), everything); err != nil {
				t.Fatal(err)
			}
		}
		lists := func(since time.Time) int {
			c.Listed(t.Context(), at("app"), tags, since)
			n, _ := asked(r)
			return n
		}
		start := time.Now()
		if read(); lists(start) != 1 || lists(start) != 2 {
			t.Error("a list is used once")
		}
		read()
		time.Sleep(time.Second)
		if lists(time.Now()) != 2 {
			t.Error("a list is used that was read before the run")
		}
		start = time.Now()
		read()
		raw := []byte(`{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIManifest + `"}`)
		m := image.Manifest{Descriptor: content(raw), Raw: raw}
		m.MediaType = image.MediaTypeOCIManifest
		if err := c.PutManifest(t.Context(), at("app").Tag("v1"), m); err != nil {
			t.Fatal(err)
		}
		if lists(start) != 2 {
			t.Error("a list is used that was read before a push")
		}
	})
}

// A project of Harbor that caches another registry lists what it has cached, which may be old.
func TestHarborsCachesAreAskedByHead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, proxied := range []bool{false, true} {
			r := emulator.New(emulator.Options{
				Auth:    &emulator.Auth{Service: "harbor-registry", Users: map[string]string{"robot": "secret"}},
				Listing: emulator.ListingOptions{Kind: emulator.HarborListing, Proxied: proxied},
			})
			c := client(t, emulator.Network{home: r}, Options{Keychain: signed(home, "robot", "secret")})
			tags := manyTags(t, r, "project/group/app", 50)
			repo := at("project/group/app")
			if _, err := c.Head(t.Context(), repo.Tag("v1")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if n := len(c.Listed(t.Context(), repo, tags, time.Now())); (n == 0) != proxied {
					t.Errorf("proxied: %t, %d tags are listed", proxied, n)
				}
			}
			if n, _ := asked(r); proxied && n != 2 {
				t.Errorf("%d requests, want a listing and the project once", n)
			}
		}
	})
}

// A listing whose next page is at another host ends there: no credential goes to it.
func TestListingsStayAtTheirHost(t *testing.T) {
	const azure, away = "my.azurecr.io", "192.0.2.9"
	inBubble(t, func(t *testing.T) {
		var log bytes.Buffer
		r := emulator.New(emulator.Options{
			Auth:    &emulator.Auth{TokenPath: "/oauth2/token", Users: map[string]string{"robot": "secret"}},
			Listing: emulator.ListingOptions{Kind: emulator.ACRListing, PageSize: 30, Link: `<https://` + away + `/acr/v1/app/_tags?last=v5>; rel="next"`},
		})
		other := emulator.New(emulator.Options{})
		keychain := auth.Keychain{Named: map[string]auth.Source{azure: auth.Static(auth.Credential{Username: "robot", Password: "secret"})}}
		c := client(t, emulator.Network{azure: r, away: other}, Options{Keychain: keychain, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		tags := manyTags(t, r, "app", 50)
		held := c.Listed(t.Context(), image.Repository{Registry: azure, Path: "app"}, tags, time.Now())
		if n := len(other.Requests()); n > 0 || len(held) != 29 || !strings.Contains(log.String(), "is not followed") {
			t.Errorf("%d requests elsewhere, %d tags: %v\n%s", n, len(held), slices.Sorted(maps.Keys(held)), log.String())
		}
	})
}

// registry.k8s.io redirects to a region, without the query.
func TestListingsBehindARedirect(t *testing.T) {
	const kubernetes, region = "registry.k8s.io", "europe-west1-docker.pkg.dev"
	inBubble(t, func(t *testing.T) {
		r := emulator.New(emulator.Options{Listing: emulator.ListingOptions{Kind: emulator.GoogleListing}})
		tags := manyTags(t, r, "k8s/images/app", 50)
		front := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "https://"+region+strings.Replace(req.URL.Path, "/v2/", "/v2/k8s/images/", 1), http.StatusTemporaryRedirect)
		})
		c := client(t, emulator.Network{kubernetes: front, region: r}, Options{})
		if n := len(c.Listed(t.Context(), image.Repository{Registry: kubernetes, Path: "app"}, tags, time.Now())); n != 50 {
			t.Errorf("%d tags", n)
		}
	})
}
