package registry

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// TestHub: Docker Hub's own API is asked only where the config says so, without a credential, for no more than it shows, and its host for nothing
// else. What it does not say, or says wrongly, is left to HEADs of the registry.
func TestHub(t *testing.T) {
	const tags = 1250
	other := string(content([]byte("other")).Digest)
	for name, c := range map[string]struct {
		off               bool
		alter             func([]emulator.ListedTag) []emulator.ListedTag
		status            int
		want, pages, next int // next are the pages of both runs
	}{
		"is used":  {want: 999, pages: 10, next: 20},
		"is off":   {off: true},
		"is short": {alter: func(all []emulator.ListedTag) []emulator.ListedTag { return all[:150] }, want: 149, pages: 2, next: 4},
		"names no digest": {alter: func(all []emulator.ListedTag) []emulator.ListedTag {
			for i := range all {
				if i%2 == 0 {
					all[i].Digest = ""
				}
			}
			return all
		}, want: 500, pages: 10, next: 20},
		"is late": {alter: func(all []emulator.ListedTag) []emulator.ListedTag {
			for i := range all {
				all[i].Digest = other
			}
			return all
		}, pages: 20, next: 20},
		"has had enough":   {status: http.StatusTooManyRequests, pages: 1, next: 1},
		"wants a password": {status: http.StatusUnauthorized, pages: 1, next: 1},
		"refuses":          {status: http.StatusForbidden, pages: 1, next: 1},
		"is down":          {status: http.StatusBadGateway, pages: 1, next: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				alter := func(_ string, all []emulator.ListedTag) []emulator.ListedTag {
					if c.alter == nil {
						return all
					}
					return c.alter(all)
				}
				api := emulator.New(emulator.Options{Listing: emulator.ListingOptions{Kind: emulator.HubListing, Alter: alter}})
				r := emulator.New(emulator.Options{})
				var wanted []string
				for _, at := range []*emulator.Registry{api, r} {
					wanted = manyTags(t, at, "library/app", tags)
				}
				if c.status > 0 {
					api.Inject(emulator.Fault{Status: c.status, Header: http.Header{"Www-Authenticate": {`Basic realm="hub"`}}, Match: func(*http.Request) bool { return true }})
				}
				named := auth.Static(auth.Credential{Username: "ann", Password: "s3cret"})
				client := client(t, emulator.Network{"registry-1.docker.io": r, "hub.docker.com": api}, Options{
					Hub: !c.off, Keychain: auth.Keychain{Named: map[string]auth.Source{image.DockerHub: named, "hub.docker.com": named}},
				})
				repo := image.Repository{Registry: image.DockerHub, Path: "library/app"}
				api.Reset()
				if n := client.Listed(t.Context(), repo, image.NewTagList(wanted), time.Now()).Len(); n != c.want {
					t.Errorf("%d tags are listed, want %d", n, c.want)
				}
				if n := len(api.Requests()); n != c.pages {
					t.Errorf("%d requests, want %d", n, c.pages)
				}
				client.Listed(t.Context(), repo, image.NewTagList(wanted), time.Now())
				if n := len(api.Requests()); n != c.next {
					t.Errorf("%d requests in two runs, want %d", n, c.next)
				}
				if slices.ContainsFunc(api.Requests(), func(q emulator.Request) bool { return q.Authorization }) {
					t.Error("a credential was sent to hub.docker.com")
				}
				if kind, _ := client.Listing(t.Context(), repo); (kind == hub) == (c.off || name == "is late") {
					t.Errorf("the listing is %q", kind)
				}
			})
		})
	}
	if path, _ := hubLister().place("app", 1); path != "" {
		t.Errorf("%s is asked for", path)
	}
}
