package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// askAll calls each method once against a registry that holds the image at app:1 and checks what it returns.
func askAll(t *testing.T, r *emulator.Registry, c *Client, i emulator.Image) {
	t.Helper()
	ctx, root := t.Context(), i.Root()
	wantRoot := image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}
	head, err := c.Head(ctx, at("app").Tag("1"))
	if err != nil || head != wantRoot {
		t.Errorf("Head = %v, %v; want %v", head, err, wantRoot)
	}
	m, err := c.Manifest(ctx, at("app").Tag("1"))
	if diff := cmp.Diff(image.Manifest{Descriptor: wantRoot, Raw: root.Body}, m); err != nil || diff != "" {
		t.Errorf("Manifest: %v %s", err, diff)
	}
	blob := i.Blobs[0]
	d := content(blob.Data)
	body, err := c.OpenBlob(ctx, at("app"), d, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, blob.Data) {
		t.Errorf("OpenBlob gave %d bytes, %v; want %d", len(got), err, len(blob.Data))
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	for repository, want := range map[string]bool{"app": true, "empty": false} {
		if has, err := c.HasBlob(ctx, at(repository), d); err != nil || has != want {
			t.Errorf("HasBlob in %s = %v, %v; want %v", repository, has, err, want)
		}
	}
	copied := at("team/copy")
	for _, b := range i.Blobs {
		opened := 0
		if mounted, err := c.PutBlob(ctx, copied, content(b.Data), image.Repository{}, source(b.Data, &opened), nil); err != nil || mounted || opened != 1 {
			t.Fatalf("PutBlob = %v, %v, opened %d times", mounted, err, opened)
		}
	}
	for _, m := range i.Manifests {
		put := image.Manifest{Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: image.Digest(m.Digest), Size: int64(len(m.Body))}, Raw: m.Body}
		if err := c.PutManifest(ctx, copied.Digest(put.Digest), put); err != nil {
			t.Fatalf("PutManifest by digest: %v", err)
		}
		if m.Digest == root.Digest {
			if err := c.PutManifest(ctx, copied.Tag("new"), put); err != nil {
				t.Fatalf("PutManifest by tag: %v", err)
			}
		}
	}
	if err := r.Whole("team/copy", "new"); err != nil || r.Digest("team/copy", "new") != root.Digest {
		t.Errorf("what was pushed is not whole: %v", err)
	}
	tags, err := c.Tags(ctx, at("app"), everything)
	if diff := cmp.Diff(r.Tags("app"), tags); err != nil || diff != "" {
		t.Errorf("Tags: %v %s", err, diff)
	}
	names, err := c.Catalog(ctx, at("team"), everything)
	if diff := cmp.Diff([]string{"team/copy", "team/one", "team/two"}, names); err != nil || diff != "" {
		t.Errorf("Catalog: %v %s", err, diff)
	}
	list, err := c.Referrers(ctx, at("app"), image.Digest(root.Digest))
	var kinds []string
	for _, referrer := range list {
		kinds = append(kinds, referrer.ArtifactType)
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"application/sbom", "application/signature"}, kinds); err != nil || diff != "" {
		t.Errorf("Referrers: %v %s", err, diff)
	}
}

func TestEveryRequest(t *testing.T) {
	users := map[string]string{"ann": "secret"}
	ann := signed(home, "ann", "secret")
	cases := []struct {
		name      string
		behaviour emulator.Options
		keychain  auth.Keychain
		hosts     map[string]Host
	}{
		{"open", emulator.Options{Referrers: true}, auth.Keychain{}, nil},
		{"open, without the referrers API", emulator.Options{}, auth.Keychain{}, nil},
		{"in pages of two", emulator.Options{Referrers: true, PageSize: 2}, auth.Keychain{}, nil},
		{"bearer", emulator.Options{Referrers: true, Auth: &emulator.Auth{Users: users}}, ann, nil},
		{"bearer, in pages of two, without the referrers API", emulator.Options{PageSize: 2, Auth: &emulator.Auth{Users: users}}, ann, nil},
		{"bearer, anonymous pull", emulator.Options{Referrers: true, Auth: &emulator.Auth{Users: users, AnonymousPull: true}}, ann, nil},
		{"basic", emulator.Options{Referrers: true, Auth: &emulator.Auth{Users: users, Basic: true}}, ann, nil},
		{"one request at a time", emulator.Options{Referrers: true, Auth: &emulator.Auth{Users: users}}, ann, oneAtATime},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, test.behaviour, Options{Hosts: test.hosts, Keychain: test.keychain, UserAgent: "dray/test"})
				i := push(t, r, "app", "1")
				for n := range 7 {
					if err := r.PutTag("app", fmt.Sprintf("v%d", n), i.Digest); err != nil {
						t.Fatal(err)
					}
				}
				push(t, r, "team/one", "1")
				push(t, r, "team/two", "1")
				push(t, r, "teams/not", "1")
				for _, artifact := range []string{"application/signature", "application/sbom"} {
					if _, err := r.PutReferrer("app", i.Digest, artifact, []byte(artifact)); err != nil {
						t.Fatal(err)
					}
				}
				took := elapsed(func() { askAll(t, r, c, i) })
				if took > time.Second {
					t.Errorf("took %v without any fault", took)
				}
			})
		})
	}
}

func TestAnonymousPull(t *testing.T) {
	r, c := stand(t, emulator.Options{Auth: &emulator.Auth{AnonymousPull: true}}, Options{})
	i := push(t, r, "app", "1")
	if head, err := c.Head(t.Context(), at("app").Tag("1")); err != nil || string(head.Digest) != i.Digest {
		t.Errorf("Head = %v, %v", head, err)
	}
	opened := 0
	_, err := c.PutBlob(t.Context(), at("app"), content([]byte("new")), image.Repository{}, source([]byte("new"), &opened), nil)
	if e := failure(t, err); e.Status != http.StatusUnauthorized || opened != 0 {
		t.Errorf("an anonymous upload: %v, opened %d times", err, opened)
	}
	if errors.Is(err, image.ErrAbsent) {
		t.Error("refused is not absent")
	}
}

// TestWrongPassword also shows that a refusal gives its slot among the requests in flight back: there is but one.
func TestWrongPassword(t *testing.T) {
	for name, basic := range map[string]bool{"bearer": false, "basic": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				auth := &emulator.Auth{Basic: basic, Users: map[string]string{"ann": "secret"}}
				r, c := stand(t, emulator.Options{Auth: auth}, Options{Hosts: oneAtATime, Keychain: signed(home, "ann", "wr0ng")})
				push(t, r, "app", "1")
				took := elapsed(func() {
					for range 5 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
						_, err := c.Head(ctx, at("app").Tag("1"))
						cancel()
						e := failure(t, err)
						if e.Status != http.StatusUnauthorized || e.Temporary() || errors.Is(err, image.ErrAbsent) {
							t.Errorf("error = %v, temporary %v", err, e.Temporary())
						}
						contains(t, err.Error(), home, "401", "registries."+home, "docker login")
						lacks(t, err.Error(), "wr0ng", "?", "http:", "https:")
					}
				})
				if took > time.Second {
					t.Errorf("took %v: a wrong password is not tried again", took)
				}
				if n := kind(r.Gate, "", emulator.KindToken); !basic && n != 1 {
					t.Errorf("%d token requests for five refusals, want 1: registries lock accounts", n)
				}
			})
		})
	}
}

func TestTokenIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}, TTL: 2 * time.Minute}
		r, c := stand(t, emulator.Options{Auth: auth}, Options{Keychain: signed(home, "ann", "secret")})
		push(t, r, "app", "1")
		for range 10 {
			if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Second)
		}
		if n := kind(r.Gate, "", emulator.KindToken); n < 4 || n > 9 {
			t.Errorf("%d tokens in 500 s of 120 s each", n)
		}
		// The token ends while the request is paused: it is renewed as well.
		r.Inject(emulator.Fault{Match: requests("HEAD", emulator.KindManifest), Times: 4, Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"30"}}})
		if _, err := c.Head(t.Context(), at("app").Tag("1")); err != nil {
			t.Errorf("after pauses longer than the token lives: %v", err)
		}
	})
}

func TestHeadThatSaysTooLittle(t *testing.T) {
	refused := func(status int) emulator.Fault {
		return emulator.Fault{Match: requests("HEAD", emulator.KindManifest), Status: status}
	}
	cases := []struct {
		name  string
		fault emulator.Fault
		want  []string
	}{
		{"HEAD refused with 405", refused(http.StatusMethodNotAllowed), []string{"HEAD manifest 405", "GET manifest 200"}},
		{"HEAD refused with 501", refused(http.StatusNotImplemented), []string{"HEAD manifest 501", "GET manifest 200"}},
		{
			"no digest", emulator.Fault{Match: requests("", emulator.KindManifest), Header: http.Header{"Docker-Content-Digest": nil}},
			[]string{"HEAD manifest 200", "GET manifest 200"},
		},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{})
			i := push(t, r, "app", "1")
			r.Inject(test.fault)
			head, err := c.Head(t.Context(), at("app").Tag("1"))
			want := image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest), Size: int64(len(i.Root().Body))}
			if err != nil || head != want {
				t.Errorf("Head = %v, %v; want %v", head, err, want)
			}
			if diff := cmp.Diff(test.want, lines(r.Gate)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongContent(t *testing.T) {
	r, c := stand(t, emulator.Options{}, Options{})
	i := push(t, r, "app", "1")
	pinned := at("app").Digest(image.Digest(i.Digest))
	remove := r.Inject(emulator.Fault{Match: requests("", emulator.KindManifest), Header: http.Header{"Docker-Content-Digest": {emulator.Sum(nil)}}})
	if _, err := c.Head(t.Context(), pinned); !errors.Is(err, image.ErrCorrupt) {
		t.Errorf("HEAD names another digest: %v", err)
	}
	remove()
	r.Inject(emulator.Fault{Match: requests("GET", emulator.KindManifest), FlipByte: 5})
	_, err := c.Manifest(t.Context(), pinned)
	if err == nil || errors.Is(err, image.ErrAbsent) || failure(t, err).Temporary() {
		t.Errorf("GET of other bytes: %v", err)
	}
}

func TestLayouts(t *testing.T) {
	c := client(t, emulator.Network{}, Options{})
	r := emulator.New(emulator.Options{})
	i := push(t, r, "app", "1")
	repo := image.Repository{Path: t.TempDir()}
	if account, err := c.SignIn(t.Context(), repo); account != "" || err != nil {
		t.Errorf("SignIn = %q, %v", account, err)
	}
	for _, b := range i.Blobs {
		opened := 0
		if _, err := c.PutBlob(t.Context(), repo, content(b.Data), image.Repository{}, source(b.Data, &opened), nil); err != nil {
			t.Fatal(err)
		}
		if has, err := c.HasBlob(t.Context(), repo, content(b.Data)); err != nil || !has {
			t.Errorf("HasBlob = %v, %v", has, err)
		}
	}
	for _, m := range i.Manifests {
		d := image.Descriptor{MediaType: m.MediaType, Digest: image.Digest(m.Digest), Size: int64(len(m.Body))}
		if err := c.PutManifest(t.Context(), repo.Tag("t"), image.Manifest{Descriptor: d, Raw: m.Body}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := c.Manifest(t.Context(), repo.Tag("t"))
	if err != nil || string(m.Digest) != i.Digest {
		t.Errorf("Manifest = %v, %v", m.Digest, err)
	}
	if head, err := c.Head(t.Context(), repo.Tag("t")); err != nil || string(head.Digest) != i.Digest {
		t.Errorf("Head = %v, %v", head, err)
	}
	if tags, err := c.Tags(t.Context(), repo, everything); err != nil || !slices.Equal(tags, []string{"t"}) {
		t.Errorf("Tags = %v, %v", tags, err)
	}
	if list, err := c.Referrers(t.Context(), repo, m.Digest); err != nil || len(list) != 0 {
		t.Errorf("Referrers = %v, %v", list, err)
	}
}
