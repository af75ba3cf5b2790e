package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// mirrorStand is a registry with an image, and a mirror of it below a path.
type mirrorStand struct {
	home, mirror *emulator.Registry
	client       *Client
	image        emulator.Image
}

func newMirrorStand(t *testing.T, mirrored bool) mirrorStand {
	t.Helper()
	s := mirrorStand{home: emulator.New(emulator.Options{}), mirror: emulator.New(emulator.Options{})}
	s.image = push(t, s.home, "app", "1")
	if mirrored {
		if err := s.image.Push(s.mirror, "cache/app", "1"); err != nil {
			t.Fatal(err)
		}
	}
	s.home.Reset()
	s.mirror.Reset()
	s.client = client(t, emulator.Network{home: s.home, other: s.mirror}, Options{
		Mirrors: map[string][]string{home: {other + "/cache"}}, Keychain: signed(home, "ann", "s3cret"),
	})
	return s
}

// read fetches the manifest and the first blob, and returns where they came from; wrong bytes are asked for again, as an engine does.
func (s mirrorStand) read(t *testing.T) (manifest, blob string) {
	t.Helper()
	root := s.image.Root()
	m, err := s.client.Manifest(t.Context(), at("app").Digest(image.Digest(root.Digest)))
	if err != nil || !bytes.Equal(m.Raw, root.Body) || m.MediaType != root.MediaType {
		t.Fatalf("manifest: %v %v", m.Descriptor, err)
	}
	data := s.image.Blobs[0].Data
	for range 2 {
		blob = home
		before := s.mirror.Count(blobs)
		body, err := s.client.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		_ = body.Close() // it was read
		if err == nil && bytes.Equal(got, data) {
			if s.mirror.Count(blobs) > before && s.home.Count(blobs) == 0 {
				blob = other
			}
			return m.Via, blob
		}
		if err == nil {
			s.client.Doubt(content(data).Digest)
		}
	}
	t.Fatal("no blob")
	return "", ""
}

func blobs(r emulator.Request) bool {
	return r.Method == http.MethodGet && r.Kind == emulator.KindBlob && r.Status < 300
}

// TestMirror has content come from a mirror by digest where that is right, and from the registry where it is not.
func TestMirror(t *testing.T) {
	t.Parallel()
	manifests := emulator.MatchKind("", emulator.KindManifest)
	for _, c := range []struct {
		name           string
		empty          bool
		fault          emulator.Fault
		manifest, blob string // from where; the registry itself is no Via
		rests          bool
	}{
		{name: "has all", manifest: other, blob: other},
		{name: "has nothing", empty: true, blob: home},
		{name: "fails", fault: emulator.Fault{Status: http.StatusInternalServerError}, blob: home, rests: true},
		{name: "refuses", fault: emulator.Fault{Status: http.StatusForbidden}, blob: home, rests: true},
		{name: "hangs", fault: emulator.Fault{Hang: true}, blob: home, rests: true},
		{name: "breaks off", fault: emulator.Fault{Reset: true}, blob: home, rests: true},
		{name: "wants pauses", fault: emulator.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"600"}}}, blob: home, rests: true},
		{name: "gives another manifest", fault: emulator.Fault{Match: manifests, FlipByte: 3}, blob: home, rests: true},
		{
			name: "gives another media type", manifest: other, blob: other, // the document says what it is
			fault: emulator.Fault{Match: manifests, Header: http.Header{"Content-Type": {"application/vnd.oci.image.manifest.v1+json"}}},
		},
		{name: "gives another blob", fault: emulator.Fault{Match: emulator.MatchKind("", emulator.KindBlob), FlipByte: 3}, manifest: other, blob: home},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				s := newMirrorStand(t, !c.empty)
				s.mirror.Inject(c.fault)
				if manifest, blob := s.read(t); manifest != c.manifest || blob != c.blob {
					t.Errorf("the manifest came from %q, the blob from %q; want %q and %q", manifest, blob, c.manifest, c.blob)
				}
				asked := s.mirror.Count(func(r emulator.Request) bool { return true })
				s.read(t)
				if again := s.mirror.Count(func(r emulator.Request) bool { return true }); c.rests != (again == asked) {
					t.Errorf("the mirror was asked %d times, then %d more", asked, again-asked)
				}
				time.Sleep(11 * time.Minute)
				if s.read(t); s.mirror.Count(func(r emulator.Request) bool { return true }) <= asked {
					t.Error("the mirror is never asked again")
				}
			})
		})
	}
}

// TestMirrorIsNoTruth asks nothing of a mirror but manifests and blobs by digest, and shows it no credential of the registry.
func TestMirrorIsNoTruth(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		s := newMirrorStand(t, true)
		s.read(t)
		if _, err := s.client.Head(t.Context(), at("app").Tag("1")); err != nil {
			t.Error(err)
		}
		if _, err := s.client.Tags(t.Context(), at("app"), everything); err != nil {
			t.Error(err)
		}
		if _, err := s.client.Manifest(t.Context(), at("app").Tag("1")); err != nil {
			t.Error(err)
		}
		if _, err := s.client.Manifest(t.Context(), at("gone").Tag("1")); !errors.Is(err, image.ErrAbsent) {
			t.Error(err)
		}
		for _, r := range s.mirror.Requests() {
			if r.Authorization || r.Method != http.MethodGet || !strings.HasPrefix(r.Reference, "sha256:") || r.Repository != "cache/app" {
				t.Errorf("%+v", r)
			}
		}
		if n := s.home.Count(func(r emulator.Request) bool { return r.Kind == emulator.KindManifest && r.Method == http.MethodGet }); n != 2 {
			t.Errorf("the registry gave %d manifests, want the two tags", n)
		}
	})
}

// TestMirrorServesAgain: a mirror that served a blob well is asked for it again; only failures count.
func TestMirrorServesAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		s := newMirrorStand(t, true)
		data := s.image.Blobs[0].Data
		for range 5 {
			body, err := s.client.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			_ = body.Close() // it was read
		}
		if mirror, registry := s.mirror.Count(blobs), s.home.Count(blobs); mirror != 5 || registry != 0 {
			t.Errorf("five good downloads: the mirror gave %d, the registry %d", mirror, registry)
		}
		s.mirror.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindBlob), CutAt: 10})
		body, err := s.client.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(body); err == nil {
			t.Error("a body that was cut is whole")
		}
		_ = body.Close() // it broke off
		if manifest, blob := s.read(t); manifest != other || blob != home {
			t.Errorf("after a failure the manifest comes from %q and the blob from %q", manifest, blob)
		}
	})
}

// TestMirrorThatNobodyWaitsFor: a read that its caller ends says nothing of the mirror.
func TestMirrorThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		s := newMirrorStand(t, true)
		defer s.mirror.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindBlob), Trickle: 10 * time.Second})()
		ctx, cancel := context.WithCancel(t.Context())
		body, err := s.client.OpenBlob(ctx, at("app"), content(s.image.Blobs[0].Data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cancel)
		if _, err := io.ReadAll(body); err == nil {
			t.Error("a body that was cancelled is whole")
		}
		_ = body.Close() // it was cancelled
		if _, doubted := s.client.mirrors.doubted.Get(mirroredBlob{image.Digest(s.image.Blobs[0].Digest), other}); doubted {
			t.Error("the mirror is doubted")
		}
	})
}

// TestMirrorPaths names the repository at a mirror.
func TestMirrorPaths(t *testing.T) {
	t.Parallel()
	c := client(t, emulator.Network{}, Options{Mirrors: map[string][]string{
		image.DockerHub: {"mirror.gcr.io", "public.ecr.aws/docker/library", "cache.example.com/hub"},
		"ghcr.io":       {"cache.example.com/library"},
	}})
	for _, k := range []struct {
		repo image.Repository
		want string
	}{
		{image.Repository{Registry: image.DockerHub, Path: "library/nginx"}, "mirror.gcr.io/library/nginx public.ecr.aws/docker/library/nginx cache.example.com/hub/library/nginx"},
		{image.Repository{Registry: image.DockerHub, Path: "grafana/grafana"}, "mirror.gcr.io/grafana/grafana cache.example.com/hub/grafana/grafana"},
		{image.Repository{Registry: "ghcr.io", Path: "acme/x"}, "cache.example.com/library/acme/x"},
		{image.Repository{Registry: "quay.io", Path: "acme/x"}, ""},
	} {
		var got []string
		for _, repo := range c.mirrored(k.repo) {
			got = append(got, repo.String())
		}
		if text := strings.Join(got, " "); text != k.want {
			t.Errorf("%s: %q, want %q", k.repo, text, k.want)
		}
	}
}
