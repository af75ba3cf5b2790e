package transfer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// contents are the kinds of images that have to arrive verbatim: each puts one into the source and returns its digest.
func contents() map[string]func(t *testing.T, s *stand) string {
	made := func(i emulator.Image) func(*testing.T, *stand) string {
		return func(t *testing.T, s *stand) string {
			t.Helper()
			s.push(t, i, "team/app", "v1")
			return i.Digest
		}
	}
	var many []string
	for n := range 60 {
		many = append(many, fmt.Sprintf("linux/arch%d", n))
	}
	return map[string]func(*testing.T, *stand) string{
		"single image":        made(emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{Layers: 3})),
		"index":               made(emulator.MultiArch(2, emulator.ImageOptions{Layers: 2})),
		"Docker schema 2":     made(emulator.SingleArch(3, "linux/amd64", emulator.ImageOptions{Docker: true})),
		"Docker list":         made(emulator.MultiArch(4, emulator.ImageOptions{Docker: true})),
		"attestations":        made(emulator.MultiArch(5, emulator.ImageOptions{Attestations: true})),
		"foreign layers":      made(emulator.MultiArch(6, emulator.ImageOptions{Platforms: []string{"windows/amd64"}, Foreign: true})),
		"Docker foreign":      made(emulator.MultiArch(7, emulator.ImageOptions{Platforms: []string{"windows/amd64"}, Foreign: true, Docker: true})),
		"60 manifests":        made(emulator.MultiArch(8, emulator.ImageOptions{Platforms: many, LayerSize: 16})),
		"no layers":           made(emulator.SingleArch(9, "linux/amd64", emulator.ImageOptions{Layers: -1})),
		"nested index":        nested,
		"chart":               chart,
		"empty blob and gaps": strange,
		"BuildKit's cache":    cache,
		"unknown entries":     unknown,
	}
}

// nested pushes an index that has an index and an image below it.
func nested(t *testing.T, s *stand) string {
	t.Helper()
	inner, single := emulator.MultiArch(20, emulator.ImageOptions{}), emulator.SingleArch(21, "linux/s390x", emulator.ImageOptions{})
	s.push(t, inner, "team/app", "inner")
	s.push(t, single, "team/app", "single")
	return s.put(t, image.MediaTypeOCIIndex, map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex,
		"manifests": []any{describeManifest(inner.Root()), describeManifest(single.Root())},
	})
}

// cache pushes an index of layers as BuildKit exports its cache.
func cache(t *testing.T, s *stand) string {
	t.Helper()
	return s.put(t, image.MediaTypeOCIIndex, map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": []any{
			s.blob("application/vnd.oci.image.layer.v1.tar+gzip", []byte("a layer")),
			s.blob("application/vnd.oci.image.layer.v1.tar+gzip", []byte("another")),
			s.blob("application/vnd.buildkit.cacheconfig.v0", []byte(`{"layers":[],"records":[]}`)),
		},
	})
}

// unknown pushes an index with entries whose media types do not tell what they are: blobs, one of which could be a manifest by its type,
// and a manifest.
func unknown(t *testing.T, s *stand) string {
	t.Helper()
	single := emulator.SingleArch(30, "linux/amd64", emulator.ImageOptions{})
	s.push(t, single, "team/app", "single")
	called := describeManifest(single.Root())
	called["mediaType"] = "application/vnd.acme.bundle.v1+json"
	return s.put(t, image.MediaTypeOCIIndex, map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": []any{
			s.blob("application/vnd.acme.weights", []byte("weights")),
			s.blob("application/vnd.acme.notes+json", []byte(`{"layers":[{"blob":"none"}]}`)),
			called,
		},
	})
}

// An entry whose media type looks like a blob's may be a manifest all the same: then all below it arrives.
func TestManifestThatLooksLikeABlob(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		single := emulator.SingleArch(30, "linux/amd64", emulator.ImageOptions{})
		s.push(t, single, "team/app", "single")
		entry := describeManifest(single.Root())
		entry["mediaType"] = "application/vnd.acme.weights"
		digest := s.put(t, image.MediaTypeOCIIndex, map[string]any{
			"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": []any{entry},
		})
		s.bring(t, order("team/app", "v1", digest))
		whole(t, s.target, "team/app", "v1", digest)
		verbatim(t, s, digest)
	})
}

// What an entry is said to be is a manifest or a blob, and where it is missing that is said of the source.
func TestMissingEntryOfAnIndex(t *testing.T) {
	for mediaType, part := range map[string]string{
		image.MediaTypeOCIManifest:                "manifest: GET manifest",
		"application/vnd.acme.notes+json":         "manifest: GET manifest",
		"application/vnd.buildkit.cacheconfig.v0": "blob: GET blob",
		"application/vnd.acme.weights":            "GET",
	} {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			body := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":4}]}`, mediaType, emulator.Sum([]byte("gone")))
			digest := emulator.Sum([]byte(body))
			lax := emulator.New(emulator.Options{LaxManifests: true})
			if _, err := lax.PutManifest("team/app", "v1", image.MediaTypeOCIIndex, []byte(body)); err != nil {
				t.Fatal(err)
			}
			s.source = lax
			s.renew(t)
			contains(t, s.try(t.Context(), order("team/app", "v1", digest)), "source "+sourceHost, part, "404")
			if got := s.target.Digest("team/app", "v1"); got != "" {
				t.Errorf("%s: the target holds %s", mediaType, got)
			}
		})
	}
}

// A target that does not say what it holds is given everything, with what refers to it.
func TestHiddenParts(t *testing.T) {
	for api, options := range both {
		t.Run(api, func(t *testing.T) {
			inBubble(t, options, func(t *testing.T, s *stand) {
				i := emulator.MultiArch(1, emulator.ImageOptions{})
				s.push(t, i, "team/app", "v1")
				signature, err := s.source.PutReferrer("team/app", i.Digest, "application/signature", []byte("signed"))
				if err != nil {
					t.Fatal(err)
				}
				for _, kind := range []string{emulator.KindManifest, emulator.KindBlob} {
					s.target.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodHead, kind), Status: http.StatusForbidden})
				}
				o := withAll(order("team/app", "v1", i.Digest))
				o.Fresh, o.Reason = false, diff.Hidden
				s.bring(t, o)
				whole(t, s.target, "team/app", "v1", i.Digest)
				whole(t, s.target, "team/app", signature, signature)
			})
		})
	}
}

// TestHiddenList: a target that answers oddly for what it lacks, and shows what it has, has no list of referrers yet. One that shows nothing may
// have a list, which is not replaced.
func TestHiddenList(t *testing.T) {
	for _, status := range []int{400, 403, 405, 406, 410, 451, 501} {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			i := emulator.MultiArch(1, emulator.ImageOptions{})
			s.push(t, i, "team/app", "v1")
			signature, err := s.source.PutReferrer("team/app", i.Digest, "application/signature", []byte("signed"))
			if err != nil {
				t.Fatal(err)
			}
			s.target = emulator.New(emulator.Options{Missing: &emulator.Answer{Status: status, Body: "{}"}})
			s.renew(t)
			o := withAll(order("team/app", "v1", i.Digest))
			o.Fresh, o.Reason = false, diff.Hidden
			s.bring(t, o)
			whole(t, s.target, "team/app", "v1", i.Digest)
			list := image.ReferrersTag(image.Digest(i.Digest))
			if listed, err := s.client.Referrers(t.Context(), at(targetHost, "team/app"), image.Digest(i.Digest)); err != nil || len(listed) != 1 || listed[0].Digest != image.Digest(signature) {
				t.Errorf("%d: the target lists %v, %v", status, listed, err)
			}

			held := s.target.Digest("team/app", list)
			other, err := s.source.PutReferrer("team/app", i.Digest, "application/signature", []byte("signed again"))
			if err != nil {
				t.Fatal(err)
			}
			s.renew(t)
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				s.target.Inject(emulator.Fault{Match: emulator.MatchKind(method, emulator.KindManifest), Status: status})
			}
			contains(t, s.try(t.Context(), o), targetHost, fmt.Sprint(status))
			if now := s.target.Digest("team/app", list); now != held {
				t.Errorf("%d: the list that could not be read is replaced, by one of %s", status, other)
			}
		})
	}
}

// TestTakenBlobs: a registry that names each blob that it takes, and accepts manifests without a look at their blobs, is asked for one of them. What it does not
// have is sent again if it was mounted, and otherwise the import fails before the tag is written.
func TestTakenBlobs(t *testing.T) {
	named := func(repository, digest string) string { return "/v2/" + repository + "/blobs/" + digest }
	for name, tt := range map[string]struct {
		uploads emulator.UploadOptions
		says    string // what the error has; empty for success
		heads   int
	}{
		"keeps them":                    {heads: 2},
		"keeps nothing":                 {uploads: emulator.UploadOptions{Drops: true}, says: "does not have it"},
		"keeps nothing of single POSTs": {uploads: emulator.UploadOptions{Drops: true, SinglePost: true}, says: "does not have it"},
		"mounts nothing":                {uploads: emulator.UploadOptions{FalseMounts: named}},
		"shows them late":               {uploads: emulator.UploadOptions{Late: true}, heads: 4},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				i := emulator.MultiArch(1, emulator.ImageOptions{Layers: 3})
				s.push(t, i, "team/app", "v1")
				s.push(t, i, "team/copy", "v1")
				s.target = emulator.New(emulator.Options{LaxManifests: true, Uploads: tt.uploads})
				s.renew(t)
				for _, path := range []string{"team/app", "team/copy"} {
					o := order(path, "v1", i.Digest)
					if tt.says == "" {
						s.bring(t, o)
						whole(t, s.target, path, "v1", i.Digest)
						continue
					}
					contains(t, s.try(t.Context(), o), "target "+targetHost, tt.says)
					if got := s.target.Digest(path, "v1"); got != "" {
						t.Errorf("%s: the tag holds %s", path, got)
					}
				}
				if heads := count(s.target, http.MethodHead, emulator.KindBlob); tt.heads > 0 && heads != tt.heads {
					t.Errorf("%d HEADs of blobs, want %d", heads, tt.heads)
				}
			})
		})
	}
}

// TestInlineData: content that a descriptor has inline is written to the target, and need not be at the source. What does not match the descriptor
// is not used.
func TestInlineData(t *testing.T) {
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	for name, tt := range map[string]struct {
		data   any
		absent bool // at the source
		fails  bool
	}{
		"of a blob that is not there":   {data: config, absent: true},
		"of a blob that is there":       {data: config},
		"wrong, of one that is there":   {data: bytes.ToUpper(config)},
		"wrong, of one that is not":     {data: bytes.ToUpper(config), absent: true, fails: true},
		"longer than its descriptor":    {data: append(config, ' '), absent: true, fails: true},
		"empty, of one that is not":     {data: "", absent: true, fails: true},
		"no base64, of one that is":     {data: "%%%"},
		"a number, of one that is":      {data: 1},
		"no base64, of one that is not": {data: "%%%", absent: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				s.source = emulator.New(emulator.Options{LaxManifests: true})
				s.renew(t)
				inline := map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": emulator.Sum(config), "size": len(config), "data": tt.data}
				if !tt.absent {
					s.source.PutBlob("team/app", config)
				}
				digest := s.put(t, image.MediaTypeOCIManifest, map[string]any{
					"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest, "config": inline, "layers": []any{s.blob("application/octet-stream", []byte("layer"))},
				})
				if tt.fails {
					contains(t, s.try(t.Context(), order("team/app", "v1", digest)), "source "+sourceHost, "404")
					if got := s.target.Digest("team/app", "v1"); got != "" {
						t.Errorf("the target holds %s", got)
					}
					return
				}
				offered := image.Descriptor{MediaType: image.MediaTypeOCIManifest, Digest: image.Digest(digest)}
				if _, err := s.engine.Resolve(t.Context(), at(sourceHost, "team/app").Digest(offered.Digest), offered, []image.Platform{{OS: "linux", Architecture: "amd64"}}); err != nil {
					t.Error(err)
				}
				s.bring(t, order("team/app", "v1", digest))
				whole(t, s.target, "team/app", "v1", digest)
			})
		})
	}
	t.Run("of a manifest", func(t *testing.T) {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			s.source = emulator.New(emulator.Options{LaxManifests: true})
			s.renew(t)
			i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
			s.push(t, i, "team/app", "one")
			child := i.Root()
			digest := s.put(t, image.MediaTypeOCIIndex, map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": []any{
				map[string]any{"mediaType": child.MediaType, "digest": child.Digest, "size": len(child.Body), "data": child.Body},
			}})
			s.source.DeleteManifest("team/app", child.Digest)
			if _, err := s.engine.Measure(t.Context(), order("team/app", "v1", digest)); err != nil {
				t.Error(err)
			}
			s.renew(t)
			s.bring(t, order("team/app", "v1", digest))
			whole(t, s.target, "team/app", "v1", digest)
		})
	})
}

// chart pushes an artifact as Helm does.
func chart(t *testing.T, s *stand) string {
	t.Helper()
	return s.put(t, image.MediaTypeOCIManifest, map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest,
		"config":      s.blob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"chart","version":"1.2.3"}`)),
		"layers":      []any{s.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart"))},
		"annotations": map[string]string{"org.opencontainers.image.title": "chart"},
	})
}

// strange pushes a manifest without a mediaType, in a layout of its own, with an empty layer and one that is there twice.
func strange(t *testing.T, s *stand) string {
	t.Helper()
	layer := s.blob("application/octet-stream", []byte("x"))
	body, err := json.MarshalIndent(map[string]any{
		"zzz": "unknown", "schemaVersion": 2, "config": s.blob("application/vnd.oci.empty.v1+json", []byte("{}")),
		"layers": []any{s.blob("application/octet-stream", nil), layer, layer},
	}, "\t", "   ")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := s.source.PutManifest("team/app", "v1", image.MediaTypeOCIManifest, append(body, "\n \n"...))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// blob puts a blob into the source and describes it.
func (s *stand) blob(mediaType string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": s.source.PutBlob("team/app", data), "size": len(data)}
}

// put puts a manifest into the source under the tag v1.
func (s *stand) put(t *testing.T, mediaType string, document map[string]any) string {
	t.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := s.source.PutManifest("team/app", "v1", mediaType, body)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func describeManifest(m emulator.Manifest) map[string]any {
	return map[string]any{"mediaType": m.MediaType, "digest": m.Digest, "size": len(m.Body)}
}

func TestContentArrivesVerbatim(t *testing.T) {
	for api, options := range both {
		for name, prepare := range contents() {
			t.Run(api+"/"+name, func(t *testing.T) {
				inBubble(t, options, func(t *testing.T, s *stand) {
					digest := prepare(t, s)
					s.bring(t, withAll(order("team/app", "v1", digest)))
					whole(t, s.target, "team/app", "v1", digest)
					verbatim(t, s, digest)
				})
			})
		}
	}
}

// TestForeignLayers: a layer that lies at a URL stays there, unless it is asked for; then the source's registry is asked first.
func TestForeignLayers(t *testing.T) {
	for wanted, held := range map[bool]bool{false: false, true: true} {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			foreign := s.blob("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("a layer of Windows"))
			foreign["urls"] = []string{"https://" + thirdHost + "/layer.tar.gz"}
			digest := s.put(t, image.MediaTypeDockerManifest, map[string]any{
				"schemaVersion": 2, "mediaType": image.MediaTypeDockerManifest,
				"config": s.blob("application/vnd.docker.container.image.v1+json", []byte("{}")), "layers": []any{foreign},
			})
			o := order("team/app", "v1", digest)
			o.ForeignLayers = wanted
			s.bring(t, o)
			if got := s.target.HasBlob("team/app", fmt.Sprint(foreign["digest"])); got != held {
				t.Errorf("foreignLayers %v: the target has it: %v", wanted, got)
			}
			verbatim(t, s, digest)
			if n := len(s.third.Requests()); n != 0 {
				t.Errorf("the URL was asked %d times", n)
			}
		})
	}
}

// verbatim compares the bytes and the media type of a manifest and of all below it.
func verbatim(t *testing.T, s *stand, digest string) {
	t.Helper()
	wantType, want, found := s.source.Manifest("team/app", digest)
	if !found { // an index may list blobs
		if !s.source.HasBlob("team/app", digest) || !s.target.HasBlob("team/app", digest) {
			t.Errorf("blob %s is missing", digest)
		}
		return
	}
	gotType, got, _ := s.target.Manifest("team/app", digest)
	if wantType != gotType || !bytes.Equal(want, got) {
		t.Errorf("%s is %s at the source and %s at the target, of other bytes", digest, wantType, gotType)
	}
	var document struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(want, &document); err != nil {
		t.Fatal(err)
	}
	for _, child := range document.Manifests {
		verbatim(t, s, child.Digest)
	}
}

func TestContentGoesThroughALayout(t *testing.T) {
	for name, prepare := range contents() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				digest := prepare(t, s)
				in := withAll(order("team/app", "v1", digest))
				in.Target = image.Repository{Path: t.TempDir()}.Tag("v1")
				s.bring(t, in)
				held, err := s.client.Head(t.Context(), in.Target)
				if err != nil || string(held.Digest) != digest {
					t.Fatalf("the layout holds %v, %v; want %s", held, err, digest)
				}
				s.renew(t)
				out := withAll(order("team/app", "v1", digest))
				out.Source = in.Target.WithDigest(image.Digest(digest))
				s.bring(t, out)
				whole(t, s.target, "team/app", "v1", digest)
				verbatim(t, s, digest)
			})
		})
	}
}

// Content of the other algorithm cannot be kept by the emulator, but by a layout.
func TestSHA512GoesFromLayoutToLayout(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		source, target := image.Repository{Path: t.TempDir()}, image.Repository{Path: t.TempDir()}
		long := func(data []byte) image.Descriptor {
			return image.Descriptor{Digest: image.Digest("sha512:" + fmt.Sprintf("%0128d", 0)).Algorithm().FromBytes(data), Size: int64(len(data))}
		}
		layer := []byte("a layer")
		d := long(layer)
		if _, err := s.client.PutBlob(t.Context(), source, d, image.Repository{}, func(int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(layer)), nil
		}, nil); err != nil {
			t.Fatal(err)
		}
		raw := fmt.Appendf(nil, `{"schemaVersion":2,"layers":[{"mediaType":"text/plain","digest":%q,"size":%d}]}`, d.Digest, d.Size)
		m := image.Manifest{Descriptor: long(raw), Raw: raw}
		m.MediaType = image.MediaTypeOCIManifest
		if err := s.client.PutManifest(t.Context(), source.Tag("v1"), m); err != nil {
			t.Fatal(err)
		}
		o := order("x", "v1", string(m.Digest))
		o.Source, o.Target = source.Tag("v1").WithDigest(m.Digest), target.Tag("v1")
		s.bring(t, o)
		got, err := s.client.Manifest(t.Context(), target.Tag("v1").WithDigest(m.Digest))
		if err != nil || !bytes.Equal(got.Raw, raw) {
			t.Errorf("the target has %q, %v", got.Raw, err)
		}
		if has, err := s.client.HasBlob(t.Context(), target, d); !has || err != nil {
			t.Errorf("HasBlob = %v, %v", has, err)
		}
	})
}

func TestSchema1IsRefused(t *testing.T) {
	inBubble(t, emulator.Options{LaxManifests: true}, func(t *testing.T, s *stand) {
		body := []byte(`{"schemaVersion":1,"name":"app","fsLayers":[]}`)
		for _, mediaType := range []string{image.MediaTypeDockerSchema1, image.MediaTypeDockerManifest} {
			digest, err := s.source.PutManifest("app", "v1", mediaType, body)
			if err != nil {
				t.Fatal(err)
			}
			s.renew(t)
			err = s.try(t.Context(), order("app", "v1", digest))
			contains(t, err, "Docker's schema 1")
			if refused, ok := errors.AsType[*mirror.RefusedError](err); !ok || refused.Reason != diff.Unsupported {
				t.Errorf("as %s: %v is no refusal for being unsupported", mediaType, err)
			}
		}
		offered := image.Descriptor{MediaType: image.MediaTypeDockerSigned1, Digest: image.Digest(emulator.Sum(body))}
		_, err := s.engine.Resolve(t.Context(), at(sourceHost, "app").Tag("v1"), offered, nil)
		contains(t, err, "Docker's schema 1")
		if got := s.target.Repositories(); len(got) > 0 || len(writes(s.target)) > 0 {
			t.Errorf("the target was given %v", got)
		}
	})
}

// TestSizeThatIsNone: what a manifest says of its blobs is the source's, so a size that cannot be is its fault; no blob is asked for.
func TestSizeThatIsNone(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"none": func(d map[string]any) { delete(d, "size") },
		"zero": func(d map[string]any) { d["size"] = 0 },
		"null": func(d map[string]any) { d["size"] = nil },
		"less": func(d map[string]any) { d["size"] = -1 },
	} {
		for _, place := range []string{"config", "layer", "foreign layer"} {
			t.Run(name+" of a "+place, func(t *testing.T) {
				inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
					config, layer := s.blob("application/vnd.oci.image.config.v1+json", []byte("{}")), s.blob("application/vnd.oci.image.layer.v1.tar", []byte("x"))
					switch place {
					case "config":
						change(config)
					case "foreign layer":
						layer["mediaType"], layer["urls"] = "application/vnd.oci.image.layer.nondistributable.v1.tar", []string{"http://192.0.2.9/x"}
						change(layer)
					default:
						change(layer)
					}
					digest := s.put(t, image.MediaTypeOCIManifest, map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest, "config": config, "layers": []any{layer}})
					_, err := s.engine.Import(t.Context(), order("team/app", "v1", digest), &meter{})
					side, ok := errors.AsType[*mirror.SideError](err)
					if !ok || side.Side != mirror.Source {
						t.Errorf("it is no fault of the source: %v", err)
					}
					contains(t, err, sourceHost+"/team/app:v1", "size")
					if n := count(s.target, "", ""); n != 0 {
						t.Errorf("the target was asked %d times", n)
					}
				})
			})
		}
	}
}

// TestIndexEntryWithoutSize arrives: a manifest is asked for by its digest, and its size is that of its answer.
func TestIndexEntryWithoutSize(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		child := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
		s.push(t, child, "team/app", "child")
		entry := describeManifest(child.Root())
		delete(entry, "size")
		digest := s.put(t, image.MediaTypeOCIIndex, map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": []any{entry}})
		s.bring(t, order("team/app", "v1", digest))
		whole(t, s.target, "team/app", "v1", digest)
	})
}

// TestFalseSizesInIndexes: a size that an index gives one of its manifests is that of the manifest. Only the source's own index may be without one,
// or false about an attestation, which nobody pulls.
func TestFalseSizesInIndexes(t *testing.T) {
	for name, tt := range map[string]struct {
		entry    int // 0 and 1 are images, 2 is the attestation of the first
		size     int64
		selected bool // the platforms are
		arrives  bool
	}{
		"none":                             {0, 0, false, true},
		"another":                          {1, 400, false, false},
		"of an attestation":                {2, 400, false, true},
		"none, platforms selected":         {0, 0, true, false},
		"another, platforms selected":      {0, 400, true, false},
		"of an attestation, selected":      {2, 400, true, false},
		"none of an attestation, selected": {2, 0, true, false},
	} {
		for _, there := range map[bool][]bool{false: {false}, true: {false, true}}[tt.selected] { // a target that has it all is not read for the source's own index
			t.Run(fmt.Sprintf("%s, there %t", name, there), func(t *testing.T) {
				inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
					i := emulator.MultiArch(1, emulator.ImageOptions{Attestations: true})
					s.push(t, i, "team/app", "whole")
					if there {
						if err := i.Push(s.target, "team/app", "whole"); err != nil {
							t.Fatal(err)
						}
					}
					var document map[string]any
					if err := json.Unmarshal(i.Root().Body, &document); err != nil {
						t.Fatal(err)
					}
					entries, _ := document["manifests"].([]any)
					changed, _ := entries[tt.entry].(map[string]any)
					changed["size"] = tt.size
					o := order("team/app", "v1", s.put(t, i.Root().MediaType, document))
					o.Fresh = !there
					if tt.selected {
						o.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}}
						offered := image.Descriptor{MediaType: i.Root().MediaType, Digest: o.Digest}
						selected, err := s.engine.Resolve(t.Context(), o.Source, offered, o.Platforms)
						if err != nil || selected == o.Digest {
							t.Fatalf("Resolve = %s, %v", selected, err)
						}
						o.Digest = selected
					}
					err := s.try(t.Context(), o)
					if tt.arrives {
						if err != nil || s.target.Digest("team/app", "v1") != string(o.Digest) {
							t.Errorf("import: %v", err)
						}
						return
					}
					contains(t, err, "bytes, "+fmt.Sprint(tt.size)+" were expected")
					if side, ok := errors.AsType[*mirror.SideError](err); !ok || side.Side != mirror.Source {
						t.Errorf("it is no fault of the source: %v", err)
					}
					if got := s.target.Digest("team/app", "v1"); got != "" {
						t.Errorf("the tag was written: %s", got)
					}
				})
			})
		}
	}
}

// TestTwoSizes: an image that gives one digest two sizes is refused.
func TestTwoSizes(t *testing.T) {
	layer := func(s *stand, size int) map[string]any {
		d := s.blob("application/vnd.oci.image.layer.v1.tar", []byte("x"))
		d["size"] = size
		return d
	}
	manifest := func(list ...any) map[string]any {
		return map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest, "layers": list}
	}
	index := func(list ...any) map[string]any {
		return map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": list}
	}
	child := func(t *testing.T, s *stand, m map[string]any) map[string]any {
		t.Helper()
		digest := s.put(t, image.MediaTypeOCIManifest, m)
		_, body, _ := s.source.Manifest("team/app", digest)
		return map[string]any{"mediaType": image.MediaTypeOCIManifest, "digest": digest, "size": len(body)}
	}
	for name, put := range map[string]func(t *testing.T, s *stand) map[string]any{
		"layers of one manifest": func(_ *testing.T, s *stand) map[string]any { return manifest(layer(s, 1), layer(s, 5)) },
		"layers of two manifests": func(t *testing.T, s *stand) map[string]any {
			first, second := child(t, s, manifest(layer(s, 1))), child(t, s, manifest(layer(s, 5)))
			late := func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, fmt.Sprint(second["digest"])) }
			s.source.Inject(emulator.Fault{Match: late, Delay: time.Second}) // the layer has arrived by then
			return index(first, second)
		},
		"manifests": func(t *testing.T, s *stand) map[string]any {
			first, second := child(t, s, manifest(layer(s, 1))), child(t, s, manifest(layer(s, 1)))
			second["size"] = 5
			return index(first, second)
		},
		"a manifest that is also a blob": func(t *testing.T, s *stand) map[string]any {
			first, second := child(t, s, manifest(layer(s, 1))), child(t, s, manifest(layer(s, 1)))
			second["size"], second["mediaType"] = 5, "application/vnd.oci.image.layer.v1.tar"
			_, body, _ := s.source.Manifest("team/app", "v1")
			s.source.PutBlob("team/app", body)
			return index(first, second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				document := put(t, s)
				digest := s.put(t, fmt.Sprint(document["mediaType"]), document)
				contains(t, s.try(t.Context(), order("team/app", "v1", digest)), "two sizes")
				if got := s.target.Digest("team/app", "v1"); got != "" {
					t.Errorf("the tag was written: %s", got)
				}
			})
		})
	}
}

// TestTypeOfAChild: a manifest goes to the target under the type that it names itself, whatever its index says.
func TestTypeOfAChild(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
		s.push(t, i, "team/app", "one")
		child := i.Root()
		digest := s.put(t, image.MediaTypeOCIIndex, map[string]any{"schemaVersion": 2, "mediaType": image.MediaTypeOCIIndex, "manifests": []any{
			map[string]any{"mediaType": image.MediaTypeDockerManifest, "digest": child.Digest, "size": len(child.Body)},
		}})
		s.bring(t, order("team/app", "v1", digest))
		if got, _, _ := s.target.Manifest("team/app", child.Digest); got != child.MediaType {
			t.Errorf("pushed as %q, it is %q", got, child.MediaType)
		}
	})
}
