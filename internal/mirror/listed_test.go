package mirror_test

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/tagfilter"
	"github.com/draysync/dray/internal/transfer"
)

// listingStand is a source and a target that list tags with digests, with a mirror between them.
type listingStand struct {
	tags                   int
	source, target         *emulator.Registry
	sourceHost, targetHost string
	client                 *registry.Client
	mirror                 *mirror.Mirror
	log                    bytes.Buffer
}

// listingKind is a kind of registry with such a listing.
type listingKind struct {
	name string
	// host is a pattern of a name at which it is known; empty for an address.
	host string
	auth func(host string) *emulator.Auth
	// most is how many requests 1,000 unchanged tags may take at a side.
	most int
}

// tokens is a token server; without a name for the service it is the registry's own, and everybody may pull.
func tokens(path, service string, users map[string]string) func(host string) *emulator.Auth {
	return func(host string) *emulator.Auth {
		return &emulator.Auth{TokenPath: path, Service: cmp.Or(service, host), Users: users, AnonymousPull: service == ""}
	}
}

func listingKinds() []listingKind {
	users := map[string]string{"robot": "secret"}
	return []listingKind{
		{name: emulator.GoogleListing, host: "%s-docker.pkg.dev", most: 1},
		{name: emulator.ACRListing, host: "%s.azurecr.io", auth: tokens("/oauth2/token", "acr", users), most: 1},
		{name: emulator.GitLabListing, auth: tokens("/jwt/auth", "container_registry", users), most: 1},
		{name: emulator.HarborListing, auth: tokens("/service/token", "harbor-registry", users), most: 10},
		{name: emulator.QuayListing, auth: tokens("/v2/auth", "", users), most: 10},
		{name: emulator.ZotListing, most: 1},
	}
}

// newListingStand makes two registries of a kind that hold the same tags. Only what the source lists is altered.
func newListingStand(t *testing.T, kind listingKind, tags int, options emulator.ListingOptions) *listingStand {
	t.Helper()
	s := &listingStand{tags: tags, sourceHost: "192.0.2.1", targetHost: "192.0.2.2"}
	if kind.host != "" {
		s.sourceHost, s.targetHost = fmt.Sprintf(kind.host, "a"), fmt.Sprintf(kind.host, "b")
	}
	named := map[string]auth.Source{}
	make := func(host string) *emulator.Registry {
		options.Kind = kind.name
		o := emulator.Options{Referrers: true, LaxManifests: true, Listing: options}
		if kind.auth != nil {
			o.Auth = kind.auth(host)
		}
		if o.Auth != nil && len(o.Auth.Users) > 0 {
			named[host] = auth.Static(auth.Credential{Username: "robot", Password: o.Auth.Users["robot"]})
		}
		if host == s.targetHost {
			o.Listing.Alter, o.Listing.Cached = nil, false
		}
		r := emulator.New(o)
		for i := range tags {
			tiny(t, r, fmt.Sprintf("v%d", i), i)
		}
		return r
	}
	s.source, s.target = make(s.sourceHost), make(s.targetHost)
	network := emulator.Network{s.sourceHost: s.source, s.targetHost: s.target}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	client, err := registry.New(registry.Options{
		Retries: registry.Retries{Attempts: 2}, Keychain: auth.Keychain{Named: named}, Log: log,
		Wrap: func(string, http.RoundTripper) http.RoundTripper { return network },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	s.client = client
	engine := transfer.New(transfer.Options{Source: client, Artifacts: client, Target: client, Presence: client, Log: log})
	s.mirror = &mirror.Mirror{Observer: client, Pages: client, Listings: client, Manifests: engine, Engines: []mirror.Engine{engine}, Watcher: &records{}, Log: log}
	return s
}

const listedPath = "library/app"

// tiny puts a manifest into a registry that says nothing but a number.
func tiny(t *testing.T, r *emulator.Registry, tag string, number int) {
	t.Helper()
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"annotations":{"number":"%d"}}`, image.MediaTypeOCIManifest, number)
	if _, err := r.PutManifest(listedPath, tag, image.MediaTypeOCIManifest, body); err != nil {
		t.Fatal(err)
	}
}

// job mirrors tags of the repository.
func (s *listingStand) job(t *testing.T, tags ...string) plan.Job {
	t.Helper()
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: tags})
	if err != nil {
		t.Fatal(err)
	}
	repo := func(host string) image.Reference { return at(host, listedPath) }
	return plan.Job{Name: "listed", Source: repo(s.sourceHost), Targets: []image.Reference{repo(s.targetHost)}, Tags: filter, Timeout: time.Hour}
}

// sync runs a job, and returns what was not kept, and how many requests it took at source and target, without those for tokens.
func (s *listingStand) sync(t *testing.T, j plan.Job) (changed []string, source, target int) {
	t.Helper()
	s.source.Reset()
	s.target.Reset()
	results := s.mirror.Sync(t.Context(), []plan.Job{j})
	settled(t, []plan.Job{j}, results)
	for _, line := range lines(results) {
		if !strings.HasSuffix(line, " unchanged kept") {
			changed = append(changed, strings.TrimPrefix(line, s.targetHost+"/"+listedPath+":"))
		}
	}
	count := func(r *emulator.Registry) int {
		return r.Count(func(q emulator.Request) bool { return q.Kind != emulator.KindToken })
	}
	return changed, count(s.source), count(s.target)
}

// heads counts the HEADs of the last run.
func (s *listingStand) heads() int {
	return count(s.source, "HEAD", emulator.KindManifest) + count(s.target, "HEAD", emulator.KindManifest)
}

// literals are the names of all tags.
func (s *listingStand) literals() []string {
	names := make([]string, s.tags)
	for i := range names {
		names[i] = fmt.Sprintf("v%d", i)
	}
	return names
}

// differently are kinds whose pages are read in different ways.
func differently() []string {
	return []string{emulator.GoogleListing, emulator.GitLabListing, emulator.QuayListing}
}

// inListings runs f for each kind, or those named, in a bubble of fake time, once it is known which kind both sides are.
func inListings(t *testing.T, tags int, options emulator.ListingOptions, f func(t *testing.T, s *listingStand, kind listingKind), kinds ...string) {
	t.Helper()
	for _, kind := range listingKinds() {
		if len(kinds) > 0 && !slices.Contains(kinds, kind.name) {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newListingStand(t, kind, tags, options)
				if changed, _, _ := s.sync(t, s.job(t, "v0", "v1")); len(changed) > 0 {
					t.Fatalf("at first: %v", changed)
				}
				f(t, s, kind)
			})
		})
	}
}

func TestUnchangedTagsCostAListing(t *testing.T) {
	fulltest.Long(t)
	inListings(t, 1000, emulator.ListingOptions{}, func(t *testing.T, s *listingStand, kind listingKind) {
		j := s.job(t, s.literals()...)
		changed, source, target := s.sync(t, j)
		if most := kind.most + 5; len(changed) > 0 || source > most || target > most {
			t.Errorf("the first time, with some tags compared: %v changed, %d and %d requests, want at most %d", changed, source, target, most)
		}
		changed, source, target = s.sync(t, j)
		if len(changed) > 0 || source > kind.most || target > kind.most {
			t.Errorf("%v changed, %d and %d requests, want at most %d", changed, source, target, kind.most)
		}
		changed, source, target = s.sync(t, s.job(t, "v*"))
		if len(changed) > 0 || source > kind.most+1 || target > kind.most {
			t.Errorf("by a pattern: %v changed, %d and %d requests, want at most %d and a list", changed, source, target, kind.most)
		}
		if changed, source, target = s.sync(t, s.job(t, "v1", "v2", "v3")); len(changed) > 0 || source != 3 || target != 3 {
			t.Errorf("three tags: %v changed, %d and %d requests, want a HEAD for each", changed, source, target)
		}
	})
}

func TestListingsShowWhatChanged(t *testing.T) {
	inListings(t, 120, emulator.ListingOptions{}, func(t *testing.T, s *listingStand, kind listingKind) {
		j := s.job(t, "v*", "latest")
		s.sync(t, j)
		moved, fresh := push(t, s.source, 1, listedPath, "v7"), push(t, s.source, 2, listedPath, "v1000")
		s.target.DeleteTag(listedPath, "v9") // its image stays
		s.target.DeleteTag(listedPath, "v0")
		s.source.DeleteTag(listedPath, "v0")
		tiny(t, s.target, "v11", 12) // somebody has moved it there
		changed, source, target := s.sync(t, j)
		want(t, changed, "latest absent-at-source absent", "v7 moved imported", "v9 absent imported", "v11 moved imported", "v1000 absent imported")
		if most := 60; source > most || target > most {
			t.Errorf("%d and %d requests, want at most %d", source, target, most)
		}
		whole(t, s.target, listedPath, "v7", moved.Digest)
		whole(t, s.target, listedPath, "v1000", fresh.Digest)
		for _, tag := range []string{"v9", "v11"} {
			if got, want := s.target.Digest(listedPath, tag), s.source.Digest(listedPath, tag); got != want {
				t.Errorf("%s holds %s, want %s", tag, got, want)
			}
		}
		if changed, source, target = s.sync(t, j); len(changed) != 1 || source > kind.most+2 || target > kind.most+1 {
			t.Errorf("once more: %v changed, %d and %d requests", changed, source, target)
		}
	})
}

// shifted lists each tag with the digest of another.
func shifted(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
	other := slices.Clone(tags)
	for i := range tags {
		other[i].Digest = tags[(i+1)%len(tags)].Digest
	}
	return other
}

func TestListingThatIsWrongIsNotUsed(t *testing.T) {
	inListings(t, 60, emulator.ListingOptions{Alter: shifted}, func(t *testing.T, s *listingStand, kind listingKind) {
		for i := range s.tags { // so that what is listed of the source is what the target has
			tiny(t, s.target, fmt.Sprintf("v%d", i), (i+1)%s.tags)
		}
		s.log.Reset()
		j := s.job(t, s.literals()...)
		planned := s.mirror.Plan(t.Context(), []plan.Job{j})
		moved := 0
		for _, out := range planned[0].Outcomes {
			if out.Reason == diff.Moved && string(out.Digest) == s.source.Digest(listedPath, out.Source.Tag) {
				moved++
			}
		}
		if moved != s.tags {
			t.Errorf("%d tags have moved, want all", moved)
		}
		if n := strings.Count(s.log.String(), "listing is wrong"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, s.log.String())
		}
		lists := func() int {
			return count(s.source, "GET", emulator.KindTags) + count(s.source, "GET", emulator.KindListing)
		}
		for _, asks := range []bool{false, false, true} {
			s.source.Reset()
			s.mirror.Plan(t.Context(), []plan.Job{j})
			if n := lists(); n > 0 != asks {
				t.Errorf("%d lists are asked for at %s", n, time.Now())
			}
			time.Sleep(12*time.Hour + time.Minute)
		}
	})
}

func TestListingThatGoesWrongIsFoundOut(t *testing.T) {
	wrong := false
	stale := func(repository string, tags []emulator.ListedTag) []emulator.ListedTag {
		if wrong {
			return shifted(repository, tags)
		}
		return tags
	}
	inListings(t, 120, emulator.ListingOptions{Alter: stale}, func(t *testing.T, s *listingStand, _ listingKind) {
		defer func() { wrong = false }()
		j := s.job(t, s.literals()...)
		s.sync(t, j)
		wrong = true // it says that all have moved: HEADs tell the truth
		if changed, _, _ := s.sync(t, j); len(changed) > 0 {
			t.Fatalf("%v changed", changed)
		}
		time.Sleep(time.Hour)
		if changed, _, _ := s.sync(t, j); len(changed) > 0 || !strings.Contains(s.log.String(), "listing is wrong") {
			t.Errorf("%v changed, log:\n%s", changed, s.log.String())
		}
	})
}

// What a listing leaves out or says in two ways is asked for by HEAD.
func TestListingsThatSayLessThanTheyMight(t *testing.T) {
	for name, tt := range map[string]struct {
		alter func(string, []emulator.ListedTag) []emulator.ListedTag
		heads int
	}{
		"no digests": {func(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
			for i := range tags[:50] {
				tags[i].Digest = ""
			}
			return tags
		}, 50},
		"broken digests": {func(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
			for i := range tags[:50] {
				tags[i].Digest = strings.ToUpper(tags[i].Digest)[:20]
			}
			return tags
		}, 50},
		"tags that only HEAD knows": {func(_ string, tags []emulator.ListedTag) []emulator.ListedTag { return tags[50:] }, 50},
		"ghosts": {func(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
			return append(tags, emulator.ListedTag{Name: "w1", Digest: tags[0].Digest}, emulator.ListedTag{Name: "V1", Digest: tags[0].Digest})
		}, 0},
		"duplicates": {func(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
			return append(tags, emulator.ListedTag{Name: tags[3].Name, Digest: tags[4].Digest}, tags[5])
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inListings(t, 120, emulator.ListingOptions{Alter: tt.alter}, func(t *testing.T, s *listingStand, _ listingKind) {
				j := s.job(t, s.literals()...)
				s.sync(t, j)
				changed, _, _ := s.sync(t, j)
				if n := s.heads(); len(changed) > 0 || n != tt.heads {
					t.Errorf("%v changed, %d HEADs, want %d", changed, n, tt.heads)
				}
			}, differently()...)
		})
	}
}

// A listing that fails costs a request, and then none for a while.
func TestListingsThatFail(t *testing.T) {
	fulltest.Long(t)
	for name, fault := range map[string]emulator.Fault{
		"hangs":         {Hang: true},
		"dribbles":      {Trickle: 5 * time.Second},
		"is a web page": {Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>Sign in</html>"},
		"is no list":    {Status: http.StatusOK, Body: `{"error": 1}`},
		"is cut":        {CutAt: 700},
		"is refused":    {Status: http.StatusForbidden},
		"is not there":  {Status: http.StatusNotFound},
		"is too much":   {Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"900"}}},
		"fails":         {Status: http.StatusInternalServerError},
		"leads away":    {Status: http.StatusFound, Header: http.Header{"Location": {"https://192.0.2.9/list"}}},
	} {
		t.Run(name, func(t *testing.T) {
			inListings(t, 60, emulator.ListingOptions{}, func(t *testing.T, s *listingStand, _ listingKind) {
				j := s.job(t, s.literals()...)
				fault.Match = func(r *http.Request) bool {
					return r.Method == http.MethodGet && !strings.Contains(r.URL.Path, "token")
				}
				remove := s.source.Inject(fault)
				for _, asks := range []int{1, 0} {
					if changed, source, _ := s.sync(t, j); len(changed) > 0 || source != s.tags+asks {
						t.Errorf("%v changed, %d requests, want %d and %d", changed, source, s.tags, asks)
					}
				}
				remove()
				time.Sleep(7 * time.Hour)
				if changed, source, _ := s.sync(t, j); len(changed) > 0 || source > 20 {
					t.Errorf("later: %v changed, %d requests", changed, source)
				}
			}, emulator.GoogleListing, emulator.QuayListing)
		})
	}
}

// A listing that is wrong about a single tag is found out within a week.
func TestListingThatIsWrongAboutOneTag(t *testing.T) {
	old := ""
	stale := func(_ string, tags []emulator.ListedTag) []emulator.ListedTag {
		for i := range tags {
			if old != "" && tags[i].Name == "v7" {
				tags[i].Digest = old
			}
		}
		return tags
	}
	inListings(t, 60, emulator.ListingOptions{Alter: stale}, func(t *testing.T, s *listingStand, _ listingKind) {
		defer func() { old = "" }()
		j := s.job(t, s.literals()...)
		s.sync(t, j)
		old = s.source.Digest(listedPath, "v7")
		tiny(t, s.source, "v7", 1000)
		time.Sleep(8 * 24 * time.Hour)
		changed, _, _ := s.sync(t, j)
		want(t, changed, "v7 moved imported")
		if !strings.Contains(s.log.String(), "listing is wrong") {
			t.Errorf("log:\n%s", s.log.String())
		}
	}, differently()...)
}

// A cache looks at the registry behind it only if it is asked for a tag, and lists what it found then.
func TestListingsOfCaches(t *testing.T) {
	inListings(t, 60, emulator.ListingOptions{Cached: true}, func(t *testing.T, s *listingStand, _ listingKind) {
		tiny(t, s.source, "latest", 60)
		j := s.job(t, append(s.literals(), "latest")...)
		s.sync(t, j)
		s.sync(t, j)
		number := 1000
		for _, step := range []struct {
			after time.Duration
			moved []string
		}{
			{25 * time.Hour, []string{"latest", "v5"}}, // found by a sample
			{time.Hour, []string{"v6"}},                // no listing is used for a day,
			{25 * time.Hour, []string{"latest", "v7"}},
			{6 * 24 * time.Hour, []string{"v8"}}, // and then for a week
		} {
			time.Sleep(step.after)
			var moves []string
			for _, tag := range step.moved {
				number++
				tiny(t, s.source, tag, number)
				moves = append(moves, tag+" moved imported")
			}
			changed, _, _ := s.sync(t, j)
			want(t, changed, moves...)
		}
	}, emulator.GoogleListing, emulator.ZotListing)
}

// A run for some tags follows an event that says that they have moved: a listing that is late does not hide it.
func TestRunsForSomeTagsUseNoListing(t *testing.T) {
	inListings(t, 60, emulator.ListingOptions{Cached: true}, func(t *testing.T, s *listingStand, _ listingKind) {
		j := s.job(t, s.literals()...)
		s.sync(t, j)
		s.sync(t, j)
		tiny(t, s.source, "v5", 1000)
		var some []image.Reference
		for _, tag := range s.literals() {
			some = append(some, j.Source.Repository.Tag(tag))
		}
		result := s.mirror.SyncSome(t.Context(), j, nil, some)
		moved := 0
		for _, out := range result.Outcomes {
			if out.Reason == diff.Moved {
				moved++
			}
		}
		if moved != 1 {
			t.Errorf("%d tags have moved, want 1", moved)
		}
	}, emulator.ZotListing)
}
