package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// about makes a manifest that refers to another.
func about(t *testing.T, subject image.Descriptor, n int) image.Manifest {
	t.Helper()
	empty := content([]byte("{}"))
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": image.MediaTypeOCIManifest, "artifactType": "application/signature",
		"config": empty, "layers": []image.Descriptor{empty}, "subject": subject, "annotations": map[string]string{"n": fmt.Sprint(n)},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := content(raw)
	d.MediaType = image.MediaTypeOCIManifest
	return image.Manifest{Descriptor: d, Raw: raw}
}

// TestFallbackTagUnderLoad: a registry without the referrers API that answers some requests with 503. Who writes a fallback tag must not
// wait for a slot that is held by others who wait for him. It runs in no bubble, as a hang would end one.
func TestFallbackTagUnderLoad(t *testing.T) {
	for _, concurrency := range []int{1, 2, 0} {
		for _, refused := range []string{"GET", "PUT", ""} {
			t.Run(fmt.Sprint(concurrency, " ", refused), func(t *testing.T) {
				host := Host{Concurrency: concurrency}
				r, c := stand(t, emulator.Options{LaxManifests: true}, Options{Hosts: map[string]Host{home: host}, Retries: Retries{First: time.Millisecond, Max: 2 * time.Millisecond, Attempts: 50}})
				i := push(t, r, "app", "1")
				r.Inject(emulator.Fault{Match: requests(refused, emulator.KindManifest), Status: 503, Times: 30, Delay: time.Millisecond})
				const referrers = 20
				answers := make(chan error, referrers)
				for n := range referrers {
					root := i.Manifests[n%len(i.Manifests)]
					m := about(t, image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}, n)
					go func() { answers <- c.PutManifest(t.Context(), at("app").Digest(m.Digest), m) }()
				}
				for range referrers {
					select {
					case err := <-answers:
						if err != nil {
							t.Error(err)
						}
					case <-time.After(2 * time.Minute):
						t.Fatal("it hangs")
					}
				}
				found := 0
				for _, m := range i.Manifests {
					list, err := c.Referrers(t.Context(), at("app"), image.Digest(m.Digest))
					if err != nil {
						t.Error(err)
					}
					found += len(list)
				}
				if found != referrers {
					t.Errorf("%d of %d referrers are listed", found, referrers)
				}
			})
		}
	}
}

// TestImageInThePlaceOfAList: a tag that holds an image, as OpenShift names them, is not moved for a list of referrers.
func TestImageInThePlaceOfAList(t *testing.T) {
	for name, i := range map[string]emulator.Image{"an index": emulator.MultiArch(1, emulator.ImageOptions{}), "an image": emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})} {
		t.Run(name, func(t *testing.T) {
			r, c := stand(t, emulator.Options{LaxManifests: true}, Options{})
			if err := i.Push(r, "app", "1"); err != nil {
				t.Fatal(err)
			}
			tag := image.ReferrersTag(image.Digest(i.Digest))
			if err := r.PutTag("app", tag, i.Digest); err != nil {
				t.Fatal(err)
			}
			m := about(t, image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest), Size: int64(len(i.Root().Body))}, 1)
			err := c.PutManifest(t.Context(), at("app").Digest(m.Digest), m)
			if e := failure(t, err); e.Temporary() {
				t.Errorf("temporary: %v", err)
			}
			contains(t, err.Error(), tag, "holds an image", "referrers: false")
			if got := r.Digest("app", tag); got != i.Digest {
				t.Errorf("the tag was moved to %s", got)
			}
		})
	}
}

// TestTypes: what a manifest is, its document says before its header does.
func TestTypes(t *testing.T) {
	for _, c := range []struct{ raw, header, want string }{
		{`{"mediaType":"` + image.MediaTypeDockerList + `","manifests":[]}`, image.MediaTypeOCIIndex, image.MediaTypeDockerList},
		{`{"manifests":[]}`, "application/json", image.MediaTypeOCIIndex},
		{`{"manifests":[]}`, image.MediaTypeOCIManifest, image.MediaTypeOCIIndex},
		{`{"config":{"mediaType":"application/vnd.docker.container.image.v1+json"},"layers":[]}`, "", image.MediaTypeDockerManifest},
		{`{"config":{},"layers":[]}`, "text/plain; charset=utf-8", image.MediaTypeOCIManifest},
		{`{"config":{},"layers":[]}`, image.MediaTypeOCIManifest + "; charset=utf-8", image.MediaTypeOCIManifest},
		{`{"schemaVersion":1,"fsLayers":[],"signatures":[]}`, "application/json", image.MediaTypeDockerSigned1},
		{`{"schemaVersion":1,"fsLayers":[]}`, image.MediaTypeDockerSchema1, image.MediaTypeDockerSchema1},
		{`{"of":"somebody"}`, "application/vnd.example.thing+json", "application/vnd.example.thing+json"},
		{`{"of":"nobody"}`, "application/json", ""},
		{`<html>`, "text/html", ""},
		{`null`, image.MediaTypeOCIManifest, ""},
	} {
		if got := typeOf([]byte(c.raw), c.header); got != c.want {
			t.Errorf("%s as %s is %q, want %q", c.raw, c.header, got, c.want)
		}
	}
}

// TestFallbackTagWithoutTagList: the referrers of a registry that neither has the API nor lets tags be listed are found at the fallback tag, and the list is
// asked for once.
func TestFallbackTagWithoutTagList(t *testing.T) {
	for _, status := range []int{401, 403, 405, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r, c := stand(t, emulator.Options{LaxManifests: true}, Options{Retries: Retries{First: time.Millisecond, Max: time.Millisecond, Attempts: 2}})
			i := push(t, r, "app", "1")
			r.Inject(emulator.Fault{Match: requests("GET", emulator.KindTags), Status: status})
			if _, err := r.PutReferrer("app", i.Digest, "application/signature", []byte("signed")); err != nil {
				t.Fatal(err)
			}
			before := len(r.Requests())
			for range 3 {
				if list, err := c.Referrers(t.Context(), at("app"), image.Digest(i.Digest)); err != nil || len(list) != 1 {
					t.Errorf("%v, %v", list, err)
				}
				for _, child := range i.Manifests {
					if child.Digest == i.Digest {
						continue
					}
					if list, err := c.Referrers(t.Context(), at("app"), image.Digest(child.Digest)); err != nil || len(list) != 0 {
						t.Errorf("of a manifest without any: %v, %v", list, err)
					}
				}
			}
			lists := 0
			for _, asked := range r.Requests()[before:] {
				if asked.Kind == emulator.KindTags {
					lists++
				}
			}
			if status < 500 && lists > 1 {
				t.Errorf("tags were asked for %d times", lists)
			}
			r.Inject(emulator.Fault{Match: requests("HEAD", emulator.KindManifest), Status: 503})
			if list, err := c.Referrers(t.Context(), at("app"), image.Digest(i.Digest)); err == nil {
				t.Errorf("where nothing can be asked: %v", list)
			}
		})
	}
}

// TestReferrersNow: a list of tags that was read before a signature came hides it neither from who looks for signatures, nor then from who copies it.
func TestReferrersNow(t *testing.T) {
	r, c := stand(t, emulator.Options{LaxManifests: true}, Options{})
	i := push(t, r, "app", "1")
	found := func(list func(context.Context, image.Repository, image.Digest) ([]image.Referrer, error), want int) {
		t.Helper()
		if list, err := list(t.Context(), at("app"), image.Digest(i.Digest)); err != nil || len(list) != want {
			t.Errorf("%v, %v, want %d", list, err, want)
		}
	}
	found(c.Referrers, 0)
	found(c.ReferrersNow, 0)
	if _, err := r.PutReferrer("app", i.Digest, "application/signature", []byte("signed")); err != nil {
		t.Fatal(err)
	}
	found(c.Referrers, 0) // for a minute
	found(c.ReferrersNow, 1)
	found(c.Referrers, 1)
}
