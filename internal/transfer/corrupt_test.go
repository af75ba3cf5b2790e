package transfer_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// A blob that is not what its digest says never arrives, whatever is wrong with it; the error names the source and the blob;
// once the source is healed so is the import.
func TestCorruptBlobs(t *testing.T) {
	faults := map[string]emulator.Fault{
		"first byte": {FlipByte: 1},
		"last byte":  {FlipByte: 0},
		"cut":        {CutAt: 100},
		"longer":     {Status: http.StatusOK, Body: strings.Repeat("x", 5000)},
		"shorter":    {Status: http.StatusOK, Body: "x"},
		"empty":      {Status: http.StatusOK},
	}
	for name, fault := range faults {
		for _, once := range []bool{false, true} {
			t.Run(name+map[bool]string{false: "/always", true: "/once"}[once], func(t *testing.T) {
				inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
					i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{Layers: 2, LayerSize: 3000})
					s.push(t, i, "team/app", "v1")
					spoilt := i.Blobs[1]
					if name == "last byte" {
						fault.FlipByte = int64(len(spoilt.Data))
					}
					if once {
						fault.Times = 1
					}
					fault.Match = func(r *http.Request) bool {
						return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, spoilt.Digest)
					}
					remove := s.source.Inject(fault)
					o := order("team/app", "v1", i.Digest)
					err := s.try(t.Context(), o)
					remove()
					if err == nil && (once || name == "cut") { // a download that breaks off goes on where it was
						whole(t, s.target, "team/app", "v1", i.Digest)
						return
					}
					contains(t, err, string(mirror.Source), spoilt.Digest, sourceHost)
					if side, ok := errors.AsType[*mirror.SideError](err); !ok || side.Side != mirror.Source {
						t.Errorf("error = %v", err)
					}
					if s.target.HasBlob("team/app", spoilt.Digest) || len(s.target.Tags("team/app")) > 0 {
						t.Error("the target has been given the blob, or a tag")
					}
					s.rest(t)
					s.bring(t, o)
					whole(t, s.target, "team/app", "v1", i.Digest)
				})
			})
		}
	}
}

// The same where the spoilt bytes go into a layout, which has nobody else to check them.
func TestCorruptBlobDoesNotGetIntoALayout(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
		s.push(t, i, "team/app", "v1")
		remove := s.source.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodGet, emulator.KindBlob), FlipByte: 7})
		o := order("team/app", "v1", i.Digest)
		o.Target = image.Repository{Path: t.TempDir()}.Tag("v1")
		err := s.try(t.Context(), o)
		remove()
		if !errors.Is(err, image.ErrCorrupt) {
			t.Errorf("error = %v", err)
		}
		if _, err := s.client.Head(t.Context(), o.Target); !errors.Is(err, image.ErrAbsent) {
			t.Errorf("the layout: %v", err)
		}
		s.bring(t, o)
	})
}

// What is not what was planned does not arrive: here the index with fewer platforms comes out as another.
func TestOtherThanPlannedIsRefused(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{})
		s.push(t, i, "team/app", "v1")
		o := order("team/app", "v1", i.Digest)
		o.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}}
		err := s.try(t.Context(), o)
		contains(t, err, string(mirror.Source), "the plan has "+i.Digest)
		if len(writes(s.target)) > 0 {
			t.Errorf("writes: %v", writes(s.target))
		}
	})
}

// A manifest of other bytes than planned is refused at the source.
func TestCorruptManifest(t *testing.T) {
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	for _, m := range i.Manifests {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			s.push(t, i, "team/app", "v1")
			remove := s.source.Inject(emulator.Fault{FlipByte: 30, Match: func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, m.Digest)
			}})
			err := s.try(t.Context(), order("team/app", "v1", i.Digest))
			remove()
			contains(t, err, string(mirror.Source), m.Digest)
			if len(s.target.Tags("team/app")) > 0 {
				t.Fatal("the tag is written")
			}
			s.bring(t, order("team/app", "v1", i.Digest))
			whole(t, s.target, "team/app", "v1", i.Digest)
		})
	}
}
