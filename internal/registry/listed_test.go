package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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
	writes map[string]int
	broken bool
}

func (s *states) Change(_ context.Context, name string, change func([]byte, time.Time) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("broken")
	}
	if s.by == nil {
		s.by, s.writes = map[string][]byte{}, map[string]int{}
	}
	if state := change(s.by[name], time.Now()); state != nil {
		s.by[name] = state
		s.writes[name]++
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
				n = c.Listed(t.Context(), at("app"), image.NewTagList(tags), since).Len()
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
			if n, _, heads := process(time.Now()); !broken && (n != 50 || heads != 50) {
				t.Errorf("a week later: %d tags, %d HEADs, want one for each", n, heads)
			}
		})
	}
}

// A thousand repositories of one registry, each compared for the first time, do not all write that down for the registry.
func TestRegistryIsWrittenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := emulator.New(emulator.Options{Listing: emulator.ListingOptions{Kind: emulator.ZotListing}})
		kept := &states{}
		c := client(t, emulator.Network{home: r}, Options{Findings: kept})
		for i := range 20 {
			name := fmt.Sprintf("app-%d", i)
			tags := manyTags(t, r, name, 50)
			if _, err := c.Head(t.Context(), at(name).Tag("v1")); err != nil {
				t.Fatal(err)
			}
			if n := c.Listed(t.Context(), at(name), image.NewTagList(tags), time.Now()).Len(); n != 50 {
				t.Errorf("%s: %d tags", name, n)
			}
		}
		if n := kept.writes[findingsName+home]; n != 2 { // its kind, and that HEADs agree
			t.Errorf("%d writes", n)
		}
	})
}

// A listing that is switched off stays off: for another process that shares the store, and where the store does not answer.
func TestListingsStayOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		kept := &states{}
		of := func() *findings { return &findings{kept: kept, log: slog.New(slog.DiscardHandler)} }
		here, there := of(), of()
		off := time.Now().Add(offFor)
		switchOff := func(f *finding) bool { f.Off = off; return true }
		is := func(what string, f *findings, want time.Time) {
			t.Helper()
			if got := f.get(t.Context(), home).Off; !got.Equal(want) {
				t.Errorf("%s: off until %s, want %s", what, got, want)
			}
		}
		is("before", here, time.Time{})
		there.change(t.Context(), home, switchOff)
		is("there", there, off)
		time.Sleep(rereadAfter)
		is("a minute after another process", here, off)

		kept.by, kept.broken = nil, true
		here = of()
		is("a store that does not answer", here, time.Time{})
		kept.broken = false
		there = of()
		there.change(t.Context(), home, switchOff)
		time.Sleep(storeRests)
		is("a store that answers again", here, off)

		kept.by, kept.broken = nil, true
		there.change(t.Context(), home, switchOff)
		kept.broken = false
		time.Sleep(storeRests + rereadAfter)
		there.change(t.Context(), home, func(f *finding) bool { f.Checked = time.Now(); return true })
		is("a store that had not answered", there, off)
	})
}

// No change is lost, with a store or without.
func TestFindingsOfMany(t *testing.T) {
	const changes = 100
	for _, kept := range []Findings{nil, &states{}} {
		f := &findings{kept: kept, log: slog.New(slog.DiscardHandler)}
		var group sync.WaitGroup
		for range changes {
			group.Go(func() {
				f.change(t.Context(), "app", func(f *finding) bool { f.Size++; return true })
			})
		}
		group.Wait()
		if n := f.get(t.Context(), "app").Size; n != changes {
			t.Errorf("%d changes, want %d", n, changes)
		}
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
			kept := len(c.read.lists)
			before, checkedBefore := c.Listing(t.Context(), at("app"))
			n := c.Listed(t.Context(), at("app"), image.NewTagList(tags), since).Len()
			after, checked := c.Listing(t.Context(), at("app"))
			if (n == 0) != off || (before == "") != off || (after == "") != off || (kept == 0) != off {
				t.Errorf("off: %t: %d tags are listed, %d lists kept, %q and %q", off, n, kept, before, after)
			}
			if checkedBefore || checked == off {
				t.Errorf("off: %t: checked before: %t, and then: %t", off, checkedBefore, checked)
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
			c.Listed(t.Context(), at("app"), image.NewTagList(tags), since)
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
		read()
		time.Sleep(recentFor + time.Second)
		c.read.mu.Lock()
		if n := len(c.read.lists); n > 0 || c.read.size != 0 {
			t.Errorf("%d lists of %d bytes are kept that nobody takes", n, c.read.size)
		}
		c.read.size = maxKept
		c.read.mu.Unlock()
		if read(); c.read.take(at("app"), start) != nil {
			t.Error("a list is kept though there are too many")
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
				if n := c.Listed(t.Context(), repo, image.NewTagList(tags), time.Now()).Len(); (n == 0) != proxied {
					t.Errorf("proxied: %t, %d tags are listed", proxied, n)
				}
			}
			if n, _ := asked(r); proxied && n != 1 {
				t.Errorf("%d requests, want the project once", n)
			}
			// A project that does not answer now is asked again.
			time.Sleep(offFor + time.Minute)
			fails := r.Inject(emulator.Fault{Status: http.StatusInternalServerError, Match: func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/projects/project") }})
			if n := c.Listed(t.Context(), repo, image.NewTagList(tags), time.Now()).Len(); n != 0 {
				t.Errorf("proxied: %t, %d tags are listed while the project does not answer", proxied, n)
			}
			fails()
			time.Sleep(failedFor + time.Minute)
			if n := c.Listed(t.Context(), repo, image.NewTagList(tags), time.Now()).Len(); (n == 0) != proxied {
				t.Errorf("later: proxied: %t, %d tags are listed", proxied, n)
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
		held := c.Listed(t.Context(), image.Repository{Registry: azure, Path: "app"}, image.NewTagList(tags), time.Now())
		if n := len(other.Requests()); n > 0 || held.Len() != 29 || !strings.Contains(log.String(), "is not followed") {
			t.Errorf("%d requests elsewhere, %d tags: %v\n%s", n, held.Len(), held.Tags(), log.String())
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
		if n := c.Listed(t.Context(), image.Repository{Registry: kubernetes, Path: "app"}, image.NewTagList(tags), time.Now()).Len(); n != 50 {
			t.Errorf("%d tags", n)
		}
	})
}

// A registry that lists some repositories is asked for all, though others are absent or refused.
func TestRepositoriesThatAreNotListed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, kind := range []string{emulator.GoogleListing, emulator.ZotListing, emulator.QuayListing, emulator.GitLabListing} {
			for _, first := range []bool{false, true} {
				r, c := stand(t, emulator.Options{Listing: emulator.ListingOptions{Kind: kind}}, Options{})
				tags := manyTags(t, r, "app", 50)
				c.endpoint(at("app")).seen.Store(&kind)
				refused := r.Inject(emulator.Fault{Status: http.StatusForbidden, Match: func(r *http.Request) bool { return strings.Contains(r.URL.String(), "secret") }})
				list := func(path string) int {
					return c.Listed(t.Context(), at(path), image.NewTagList(tags), time.Now()).Len()
				}
				if first && list("app") != 50 {
					t.Errorf("%s: app is not listed", kind)
				}
				for _, path := range []string{"secret", "gone"} {
					for n := range 2 * unlistedMost {
						if path == "secret" && !first && kind != emulator.QuayListing {
							continue // it may be that it lists none
						}
						if list(fmt.Sprintf("%s%d", path, n)) != 0 {
							t.Errorf("%s: %s is listed", kind, path)
						}
					}
				}
				if n := list("app"); n != 50 {
					t.Errorf("%s, first: %t: %d tags are listed after others are not", kind, first, n)
				}
				refused()
			}
		}
	})
}

// One that refuses or fails all is left alone.
func TestRegistriesThatListNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError} {
			kind := emulator.ZotListing
			r, c := stand(t, emulator.Options{Listing: emulator.ListingOptions{Kind: kind}}, Options{})
			tags := manyTags(t, r, "app", 50)
			c.endpoint(at("app")).seen.Store(&kind)
			if status >= http.StatusInternalServerError && c.Listed(t.Context(), at("app"), image.NewTagList(tags), time.Now()).Len() != 50 {
				t.Error("app is not listed")
			}
			r.Reset()
			r.Inject(emulator.Fault{Status: status, Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "_zot") }})
			for n := range 2 * unlistedMost {
				for range 2 { // it is the repositories that count
					c.Listed(t.Context(), at(fmt.Sprintf("app%d", n)), image.NewTagList(tags), time.Now())
				}
			}
			if n, _ := asked(r); n != unlistedMost {
				t.Errorf("%d: %d listings are asked for, want %d", status, n, unlistedMost)
			}
		}
	})
}

// late is how the time of a mapping ends.
type late struct{}

func (late) Error() string   { return "timeout" }
func (late) Temporary() bool { return true }

// A listing that is too slow is not waited for each time; one whose caller left tells nothing.
func TestSlowListings(t *testing.T) {
	for name, c := range map[string]struct {
		trickles time.Duration // for each byte
		ends     error
		asks     bool
	}{
		"done late":       {trickles: 5 * time.Millisecond},
		"the time is up":  {trickles: time.Second, ends: late{}},
		"the caller left": {trickles: time.Second, ends: errors.New("stopped"), asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				kind := emulator.ZotListing
				r, client := stand(t, emulator.Options{Listing: emulator.ListingOptions{Kind: kind}}, Options{})
				tags := manyTags(t, r, "app", 50)
				client.endpoint(at("app")).seen.Store(&kind)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.ends != nil {
					time.AfterFunc(slowAfter+time.Second, func() { cancel(c.ends) })
				}
				slow := r.Inject(emulator.Fault{Trickle: c.trickles, Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "_zot") }})
				client.Listed(ctx, at("app"), image.NewTagList(tags), time.Now())
				slow()
				r.Reset()
				time.Sleep(slowFor - time.Minute - 2*slowAfter)
				client.Listed(t.Context(), at("app"), image.NewTagList(tags), time.Now())
				if n, _ := asked(r); (n > 0) != c.asks {
					t.Errorf("%d listings are asked for within %s", n, slowFor)
				}
			})
		})
	}
}

// Only a second listing that succeeds, whole, shows that the first was wrong.
func TestSecondListings(t *testing.T) {
	const tag = "v9" // of the last page
	other := string(content([]byte("other")).Digest)
	for name, c := range map[string]struct {
		wrong                    int // listings that are wrong
		deleted                  bool
		second                   emulator.Fault
		want                     int
		repositoryOff, hostIsOff bool
	}{
		"is wrong, too": {wrong: 2, hostIsOff: true},
		"is right":      {wrong: 1, repositoryOff: true},
		"fails":         {wrong: 1, second: emulator.Fault{Status: http.StatusInternalServerError}},
		"is refused":    {wrong: 1, second: emulator.Fault{Status: http.StatusTooManyRequests}},
		"has no such":   {deleted: true, want: 49},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				const pages = 3
				kind, listed := emulator.QuayListing, 0
				var r *emulator.Registry
				alter := func(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
					listed++
					for i := range tags {
						if tags[i].Name == tag && listed <= pages*c.wrong {
							tags[i].Digest = other
						}
					}
					if listed == pages && c.deleted {
						r.DeleteTag("app", tag)
					}
					return tags
				}
				var client *Client
				r, client = stand(t, emulator.Options{Listing: emulator.ListingOptions{Kind: kind, PageSize: 20, Alter: alter}}, Options{})
				tags := manyTags(t, r, "app", 50)
				client.endpoint(at("app")).seen.Store(&kind)
				client.Differs(t.Context(), at("app").Tag(tag))
				c.second.Match = func(q *http.Request) bool {
					return c.second.Status > 0 && listed == pages && strings.Contains(q.URL.Path, "/api/")
				}
				r.Inject(c.second)
				if n := client.Listed(t.Context(), at("app"), image.NewTagList(tags), time.Now()).Len(); n != c.want {
					t.Errorf("%d tags are listed, want %d", n, c.want)
				}
				host, repository := client.findings.get(t.Context(), home), client.findings.get(t.Context(), at("app").String())
				if host.Off.IsZero() == c.hostIsOff || repository.Off.IsZero() == c.repositoryOff {
					t.Errorf("off are the registry until %s, the repository until %s", host.Off, repository.Off)
				}
				if agreed := c.want > 0; repository.Checked.IsZero() == agreed {
					t.Errorf("the listing counts as right until %s", repository.Checked)
				}
			})
		})
	}
}
