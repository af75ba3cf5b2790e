package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// way is how a registry behaves, and with it everything has to work as with any other.
type way struct {
	name    string
	options emulator.Options
	faults  []emulator.Fault
	signIn  auth.Credential
}

// run runs f in a bubble for a way.
func (w way) run(t *testing.T, f func(t *testing.T, r *emulator.Registry, c *Client)) {
	t.Helper()
	t.Run(w.name, func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			r := emulator.New(w.options)
			for _, fault := range w.faults {
				r.Inject(fault)
			}
			network := emulator.Network{home: r, other: r}
			if w.options.Store != nil {
				network[other] = w.options.Store
			}
			f(t, r, client(t, network, Options{Keychain: as(w.signIn)}))
		})
	})
}

// tokenWays are how token servers answer.
func tokenWays() []way {
	users := map[string]string{"ann": "secret"}
	signed := auth.Credential{Username: "ann", Password: "secret"}
	with := func(edit func(*emulator.Auth)) emulator.Options {
		a := &emulator.Auth{Users: users}
		edit(a)
		return emulator.Options{Auth: a, Referrers: true}
	}
	slow := emulator.Fault{Match: requests("", emulator.KindToken), Delay: 20 * time.Second}
	return []way{
		{name: "token at Quay's path", options: with(func(a *emulator.Auth) { a.TokenPath = "/v2/auth" }), signIn: signed},
		{name: "token at Google's path", options: with(func(a *emulator.Auth) { a.TokenPath = "/v2/token" }), signIn: signed},
		{name: "token at another host", options: with(func(a *emulator.Auth) { a.Realm = "https://" + other + "/token" }), signIn: signed},
		{name: "token only as access_token", options: with(func(a *emulator.Auth) { a.TokenName = "access_token" }), signIn: signed},
		{name: "token only as token", options: with(func(a *emulator.Auth) { a.TokenName = "token" }), signIn: signed},
		{name: "no expires_in", options: with(func(a *emulator.Auth) { a.ExpiresIn = "none" }), signIn: signed},
		{name: "expires_in of zero", options: with(func(a *emulator.Auth) { a.ExpiresIn = "0" }), signIn: signed},
		{name: "expires_in below zero", options: with(func(a *emulator.Auth) { a.ExpiresIn = "-1" }), signIn: signed},
		{name: "expires_in as a string", options: with(func(a *emulator.Auth) { a.ExpiresIn = `"300"` }), signIn: signed},
		{name: "Negotiate beside Bearer", options: with(func(a *emulator.Auth) { a.Negotiate = true }), signIn: signed},
		{name: "Negotiate beside Basic", options: with(func(a *emulator.Auth) { a.Negotiate, a.Basic = true, true }), signIn: signed},
		{name: "Basic only", options: with(func(a *emulator.Auth) { a.Basic = true }), signIn: signed},
		{name: "challenge at /v2/ only, 401", options: with(func(a *emulator.Auth) { a.PingOnly = 401 }), signIn: signed},
		{name: "challenge at /v2/ only, 403", options: with(func(a *emulator.Auth) { a.PingOnly, a.Basic = 403, true }), signIn: signed},
		{name: "challenge at /v2/ only, 404", options: with(func(a *emulator.Auth) { a.PingOnly = 404 }), signIn: signed},
		{name: "token after 20 seconds", options: with(func(*emulator.Auth) {}), faults: []emulator.Fault{slow}, signIn: signed},
	}
}

// readingWays are how registries answer who reads.
func readingWays() []way {
	head := func(o emulator.HeadOptions) emulator.Options { return emulator.Options{Heads: o, Referrers: true} }
	refused := func(status int) emulator.Options {
		return emulator.Options{ReferrersAnswer: &emulator.Answer{Status: status, Body: "{}"}}
	}
	ways := []way{
		{name: "HEAD without Content-Type", options: head(emulator.HeadOptions{MediaType: "none"})},
		{name: "HEAD with application/json", options: head(emulator.HeadOptions{MediaType: "application/json"})},
		{name: "HEAD with text/plain", options: head(emulator.HeadOptions{MediaType: "text/plain; charset=utf-8"})},
		{name: "HEAD without digest", options: head(emulator.HeadOptions{NoDigest: true})},
		{name: "HEAD refused, 400", options: head(emulator.HeadOptions{Status: 400})},
		{name: "HEAD refused, 401", options: head(emulator.HeadOptions{Status: 401})},
		{name: "HEAD refused, 403", options: head(emulator.HeadOptions{Status: 403})},
		{name: "HEAD refused, 404", options: head(emulator.HeadOptions{Status: 404})},
		{name: "HEAD refused, 405", options: head(emulator.HeadOptions{Status: 405})},
		{name: "HEAD refused, 406", options: head(emulator.HeadOptions{Status: 406})},
		{name: "HEAD refused, 410", options: head(emulator.HeadOptions{Status: 410})},
		{name: "HEAD refused, 415", options: head(emulator.HeadOptions{Status: 415})},
		{name: "HEAD refused, 422", options: head(emulator.HeadOptions{Status: 422})},
		{name: "HEAD fails, 500", options: head(emulator.HeadOptions{Status: 500})},
		{name: "HEAD fails, 502", options: head(emulator.HeadOptions{Status: 502})},
		{name: "HEAD fails, 505", options: head(emulator.HeadOptions{Status: 505})},
		{name: "HEAD refused, 451", options: head(emulator.HeadOptions{Status: 451})},
		{name: "GET with application/json", options: emulator.Options{ManifestType: "application/json", Referrers: true}},
		{name: "GET with text/plain", options: emulator.Options{ManifestType: "text/plain", Referrers: true}},
		{name: "GET and HEAD with application/json", options: emulator.Options{ManifestType: "application/json", Heads: emulator.HeadOptions{MediaType: "application/json"}, Referrers: true}},
		{name: "gzip that was not asked for", options: emulator.Options{Coding: emulator.Gzip, Referrers: true}},
		{name: "deflate that was not asked for", options: emulator.Options{Coding: emulator.Deflate, Referrers: true}},
		{name: "bare deflate that was not asked for", options: emulator.Options{Coding: emulator.BareDeflate, Referrers: true}},
		{name: "blobs at a store", options: emulator.Options{Store: &emulator.Store{URL: "https://" + other}, Referrers: true}},
		{name: "blobs at a store with tokens of its own", options: emulator.Options{Store: &emulator.Store{URL: "https://" + other, Tokens: true}, Referrers: true}},
		{name: "Locations with escaped ampersands", options: emulator.Options{Escapes: true, Store: &emulator.Store{URL: "https://" + other}, Referrers: true}},
		{name: "referrers: a login page", options: emulator.Options{ReferrersAnswer: emulator.LoginPage()}},
		{name: "referrers: nothing", options: emulator.Options{ReferrersAnswer: &emulator.Answer{Status: 200}}},
		{name: "referrers: an empty object", options: emulator.Options{ReferrersAnswer: &emulator.Answer{Status: 200, Body: "{}"}}},
	}
	for _, status := range []int{401, 403, 404, 406, 410, 415} {
		ways = append(ways, way{name: fmt.Sprint("referrers refused, ", status), options: refused(status)})
	}
	return ways
}

// TestWaysOfReading reads an image with a signature, twice, whatever the ways of its registry.
func TestWaysOfReading(t *testing.T) {
	for _, w := range append(tokenWays(), readingWays()...) {
		w.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
			i := push(t, r, "app", "1")
			if _, err := r.PutReferrer("app", i.Digest, "application/signature", []byte("signed")); err != nil {
				t.Fatal(err)
			}
			root := image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest), Size: int64(len(i.Root().Body))}
			for range 2 {
				if got, err := c.Head(t.Context(), at("app").Tag("1")); err != nil || got != root {
					t.Errorf("Head = %v, %v; want %v", got, err, root)
				}
				m, err := c.Manifest(t.Context(), at("app").Tag("1"))
				if diff := cmp.Diff(image.Manifest{Descriptor: root, Raw: i.Root().Body}, m); err != nil || diff != "" {
					t.Errorf("Manifest: %v %s", err, diff)
				}
				for _, b := range i.Blobs {
					if got, err := readBlob(t.Context(), c, b.Data); err != nil || !bytes.Equal(got, b.Data) {
						t.Errorf("blob: %d bytes of %d, %v", len(got), len(b.Data), err)
					}
				}
				if tags, err := c.Tags(t.Context(), at("app"), everything); err != nil || !slices.Contains(tags, "1") {
					t.Errorf("Tags = %v, %v", tags, err)
				}
				if list, err := c.Referrers(t.Context(), at("app"), root.Digest); err != nil || len(list) != 1 {
					t.Errorf("Referrers = %v, %v", list, err)
				}
			}
		})
	}
}

func readBlob(ctx context.Context, c *Client, data []byte) ([]byte, error) {
	body, err := c.OpenBlob(ctx, at("app"), content(data), 0, nil)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(body)
	return got, errors.Join(err, body.Close())
}

// Where HEAD lies, tags that are asked for at once all come by GET, though one of them does not exist; and what is absent is so whatever HEAD
// says of it.
func TestHeadLiesToManyAtOnce(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{Heads: emulator.HeadOptions{Status: status}}, Options{})
				push(t, r, "app", "1")
				for range 3 {
					var group sync.WaitGroup
					for i := range 12 {
						tag := "1"
						if i%4 == 0 {
							tag = "none"
						}
						group.Go(func() {
							_, err := c.Head(t.Context(), at("app").Tag(tag))
							if absent := errors.Is(err, image.ErrAbsent); absent != (tag == "none") || err != nil && !absent {
								t.Errorf("%s: %v", tag, err)
							}
						})
					}
					group.Wait()
				}
			})
		})
	}
}

// TestHeadIsAskedOnce: a registry that refuses HEAD is sent no other, and where HEAD tells the digest alone a manifest is fetched once to find
// out what it is.
func TestHeadIsAskedOnce(t *testing.T) {
	for kindOf, w := range map[string]way{
		"HEAD": {name: "refused", options: emulator.Options{Heads: emulator.HeadOptions{Status: 405}}},
		"GET":  {name: "without Content-Type", options: emulator.Options{Heads: emulator.HeadOptions{MediaType: "none"}}},
	} {
		w.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
			push(t, r, "app", "1")
			for range 10 {
				if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
					t.Fatal(err)
				}
			}
			if n := kind(r.Gate, kindOf, emulator.KindManifest); n > 1 {
				t.Errorf("%d times %s", n, kindOf)
			}
		})
	}
}

// TestHeadFailsForATime: a registry that fails at HEAD and serves GET is sent no other HEAD, unless it serves HEAD too after the GET.
func TestHeadFailsForATime(t *testing.T) {
	for name, tt := range map[string]struct{ times, heads int }{
		"for ever":                     {0, 6},
		"as long as dray tries":        {5, 15},
		"once more":                    {6, 6},
		"less long than dray tries it": {4, 14},
		"and then has too much to do":  {-5, 15},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				push(t, r, "app", "1")
				r.Inject(emulator.Fault{Match: requests("HEAD", emulator.KindManifest), Status: 503, Times: max(tt.times, -tt.times)})
				if tt.times < 0 {
					r.Inject(emulator.Fault{Match: requests("HEAD", emulator.KindManifest), Status: 429, Times: 1})
				}
				for range 10 {
					if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
						t.Fatal(err)
					}
				}
				if n := kind(r.Gate, "HEAD", emulator.KindManifest); n != tt.heads {
					t.Errorf("%d HEADs, want %d", n, tt.heads)
				}
			})
		})
	}
}

// TestWaysOfListing lists tags and repositories, whatever the order, the pages and the Links.
func TestWaysOfListing(t *testing.T) {
	for _, w := range []struct {
		way
		fails string // a part of the error; empty for none
	}{
		{way: way{name: "in Debian's order", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Compare: emulator.PathOrder}}}},
		{way: way{name: "backwards", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Compare: emulator.ReverseOrder}}}},
		{way: way{name: "opaque tokens", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Opaque: true}}}},
		{way: way{name: "opaque tokens, absolute", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Opaque: true, Absolute: true}}}},
		{way: way{name: "absolute Links", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Absolute: true}}}},
		{way: way{name: "Links without a relation", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{NoRelation: true}}}},
		{way: way{name: "a Link to itself without a relation", options: emulator.Options{Lists: emulator.ListOptions{Itself: true}}}},
		{way: way{name: "n is clamped", options: emulator.Options{Lists: emulator.ListOptions{Clamp: 10}}}},
		{way: way{name: "Links with escaped ampersands", options: emulator.Options{Escapes: true, PageSize: 7, Lists: emulator.ListOptions{Opaque: true}}}},
		{way: way{name: "a circle", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Circle: true}}}, fails: "page"},
		{way: way{name: "an unreadable Link", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Link: `<https://%zz/v2/>; rel="next"`}}}, fails: "Link"},
		{way: way{name: "a Link that is none", options: emulator.Options{PageSize: 7, Lists: emulator.ListOptions{Link: `next page, please`}}}, fails: "Link"},
	} {
		var want []string
		for n := range 40 {
			want = append(want, fmt.Sprintf("v%d", n), fmt.Sprintf("V%d", n))
		}
		slices.Sort(want)
		judge := func(t *testing.T, got []string, err error) {
			t.Helper()
			switch {
			case w.fails != "" && err == nil:
				t.Errorf("no error, %d names", len(got))
			case w.fails != "":
				contains(t, err.Error(), w.fails)
			case err != nil:
				t.Error(err)
			default:
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		}
		tags, catalog := w.way, w.way
		tags.name, catalog.name = "tags "+w.name, "catalog "+w.name
		tags.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
			i := push(t, r, "app", want[0])
			for _, tag := range want {
				if err := r.PutTag("app", tag, i.Digest); err != nil {
					t.Fatal(err)
				}
			}
			got, err := c.Tags(t.Context(), at("app"), everything)
			judge(t, got, err)
			if n := kind(r.Gate, "", emulator.KindTags); n > 20 {
				t.Errorf("%d requests", n)
			}
		})
		want = []string{"team/a", "team/a-b", "team/a/b", "team/a/b-c", "team/a/b/c", "team/a-b/c", "team/b", "team/c/d", "team/c-d", "team/c.d"}
		slices.Sort(want)
		catalog.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
			for _, name := range append([]string{"team-x", "team-x/y", "teams", "zoo", "app"}, want...) {
				r.PutBlob(name, nil)
			}
			got, err := c.Catalog(t.Context(), at("team"), everything)
			judge(t, got, err)
			if n := kind(r.Gate, "", emulator.KindCatalog); n > 20 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestManyRepositories: more than a page of them, in Debian's order, in which the last of a page is not the greatest.
func TestManyRepositories(t *testing.T) {
	w := way{name: "1002", options: emulator.Options{Lists: emulator.ListOptions{Compare: emulator.PathOrder}}}
	w.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
		for n := range 1000 {
			r.PutBlob(fmt.Sprintf("team/a/%04d", n), nil)
		}
		for _, name := range []string{"team/a-x", "team/a-y"} {
			r.PutBlob(name, nil)
		}
		if got, err := c.Catalog(t.Context(), at("team"), everything); err != nil || len(got) != 1002 {
			t.Errorf("%d repositories, %v", len(got), err)
		}
	})
}

// TestWaysOfWriting pushes an image into a new repository, whatever was said of it before.
func TestWaysOfWriting(t *testing.T) {
	signed := auth.Credential{Username: "ann", Password: "secret"}
	users := &emulator.Auth{Users: map[string]string{"ann": "secret"}}
	quay := &emulator.Auth{Users: map[string]string{"ann": "secret"}, PushMakes: true, TokenPath: "/v2/auth"}
	missing := func(status int, code string) *emulator.Answer {
		return &emulator.Answer{Status: status, Body: `{"errors":[{"code":"` + code + `","message":"no"}]}`}
	}
	const mib = 1 << 20
	for _, w := range []struct {
		way
		size int // of the blob
		sent int // at most, of the blob's bytes
	}{
		{way: way{name: "Quay's 401", options: emulator.Options{Auth: quay}, signIn: signed}, size: 1000},
		{way: way{name: "Artifactory's 403", options: emulator.Options{Auth: users, Missing: missing(403, "DENIED")}, signIn: signed}, size: 1000},
		{way: way{name: "400 for what is not there", options: emulator.Options{Auth: users, Missing: missing(400, "NAME_INVALID")}, signIn: signed}, size: 1000},
		{way: way{name: "an answer that is lost", options: emulator.Options{Uploads: emulator.UploadOptions{LostAnswers: 1}}}, size: 3 * mib, sent: 3*mib + mib/3},
		{way: way{name: "two answers that are lost", options: emulator.Options{Uploads: emulator.UploadOptions{LostAnswers: 2}}}, size: 3 * mib, sent: 3*mib + mib/3},
		{
			way: way{
				name: "bodies cut at 1 MiB, and sessions forgotten", options: emulator.Options{Uploads: emulator.UploadOptions{Forgetful: true}},
				faults: []emulator.Fault{{Match: requests("", emulator.KindUpload), CutRequestAt: mib}},
			},
			size: 3 * mib, sent: 8 * mib,
		},
		{
			way: way{
				name: "a session that cannot be resumed", options: emulator.Options{Uploads: emulator.UploadOptions{ResumeFails: true}},
				faults: []emulator.Fault{{Match: requests("PUT", emulator.KindUpload), CutRequestAt: mib, Times: 1}},
			},
			size: 3 * mib, sent: 8 * mib,
		},
		{
			way: way{
				name: "a Range that is off by one", options: emulator.Options{Uploads: emulator.UploadOptions{RangeAhead: true}},
				faults: []emulator.Fault{{Match: requests("PUT", emulator.KindUpload), CutRequestAt: mib, Times: 1}},
			},
			size: 3 * mib, sent: 4*mib + mib/3,
		},
		{way: way{name: "413 above 1 MiB", options: emulator.Options{Uploads: emulator.UploadOptions{MaxBody: mib}}}, size: 5*mib + 7, sent: 30 * mib},
		{way: way{name: "413 above 1 MiB, of just that", options: emulator.Options{Uploads: emulator.UploadOptions{MaxBody: mib}}}, size: mib, sent: mib},
	} {
		w.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
			repo := at("team/new")
			_, before := c.Held(t.Context(), repo.Tag("1")) // a look at the target
			data := bytes.Repeat([]byte("01234567"), w.size/8+1)[:w.size]
			opened := 0
			if _, err := c.PutBlob(t.Context(), repo, content(data), image.Repository{}, source(data, &opened), nil); err != nil {
				t.Fatalf("PutBlob: %v; before: %v; %v", err, before, lines(r.Gate))
			}
			m := pointingAt(content(data))
			if err := c.PutManifest(t.Context(), repo.Tag("1"), m); err != nil {
				t.Fatalf("PutManifest: %v", err)
			}
			if got, err := c.Head(t.Context(), repo.Tag("1")); err != nil || got != m.Descriptor {
				t.Errorf("Head = %v, %v", got, err)
			}
			sent := int64(0)
			for _, q := range r.Requests() {
				if q.Kind == emulator.KindUpload {
					sent += q.BytesIn
				}
			}
			if w.sent > 0 && sent > int64(w.sent) {
				t.Errorf("%d bytes were sent of a blob of %d: %v", sent, w.size, lines(r.Gate))
			}
		})
	}
}

// pointingAt makes a manifest with one blob, which is its config as well.
func pointingAt(blob image.Descriptor) image.Manifest {
	part := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}`, blob.Digest, blob.Size)
	raw := []byte(`{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIManifest + `","config":` + part + `,"layers":[` + part + `]}`)
	d := content(raw)
	d.MediaType = image.MediaTypeOCIManifest
	return image.Manifest{Descriptor: d, Raw: raw}
}

// TestRefusedForGood: what a registry never takes is not sent again and again, and says so.
func TestRefusedForGood(t *testing.T) {
	for _, w := range []struct {
		way
		docker bool
		status int
		kind   string
	}{
		{way{name: "Docker's types at a registry for OCI's", options: emulator.Options{OCIOnly: true, LaxManifests: true}}, true, 415, emulator.KindManifest},
		{way{name: "a manifest at a pull-through cache", options: emulator.Options{ReadOnly: true}}, false, 405, emulator.KindManifest},
		{way{name: "a blob at a pull-through cache", options: emulator.Options{ReadOnly: true}}, false, 405, emulator.KindUpload},
	} {
		w.run(t, func(t *testing.T, r *emulator.Registry, c *Client) {
			var err error
			if w.kind == emulator.KindUpload {
				data, opened := []byte("blob"), 0
				_, err = c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
			} else {
				root := emulator.MultiArch(1, emulator.ImageOptions{Docker: w.docker}).Root()
				d := image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}
				err = c.PutManifest(t.Context(), at("app").Tag("1"), image.Manifest{Descriptor: d, Raw: root.Body})
			}
			if e := failure(t, err); e.Status != w.status || e.Temporary() || errors.Is(err, image.ErrAbsent) {
				t.Errorf("%v, temporary %t", err, e.Temporary())
			}
			if n := kind(r.Gate, "", w.kind); n > 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestSignedURLEnds: the URL of a store has ended when the download breaks; it goes on with another one, where it was.
func TestSignedURLEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &emulator.Store{URL: "https://" + other, Life: time.Minute}
		away := emulator.NewGate(store)
		r := emulator.New(emulator.Options{Store: store})
		c := client(t, emulator.Network{home: r, other: away}, Options{})
		data := bytes.Repeat([]byte("x"), 140_000)
		r.PutBlob("app", data)
		away.Inject(emulator.Fault{Times: 1, Trickle: 900 * time.Microsecond, CutAt: 70_000})
		got, err := readBlob(t.Context(), c, data)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
		}
		if n := kind(r.Gate, http.MethodGet, emulator.KindBlob); n != 2 {
			t.Errorf("the registry was asked %d times", n)
		}
		var sent int64
		for _, q := range away.Requests() {
			sent += q.BytesOut
		}
		if sent > int64(len(data))+1000 {
			t.Errorf("%d bytes were sent of %d", sent, len(data))
		}
	})
}

// TestPlainStore: an unconfigured registry of this machine redirects to a store without TLS, as one with MinIO behind it does.
func TestPlainStore(t *testing.T) {
	store := &emulator.Store{}
	behind, err := emulator.NewGate(store).Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(behind.Close)
	store.URL = behind.URL
	r := emulator.New(emulator.Options{Store: store})
	server, err := r.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	data := []byte("the blob")
	r.PutBlob("app", data)
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	body, err := c.OpenBlob(t.Context(), image.Repository{Registry: server.Host, Path: "app"}, content(data), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%q, %v", got, err)
	}
	if err := errors.Join(body.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}
