package transfer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// laughs puts indexes into the source that lie in one another: each lists the one below it so many times. It returns the outermost.
func laughs(t *testing.T, s *stand, wide, deep int) string {
	t.Helper()
	inner := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
	s.push(t, inner, "team/app", "v1")
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, inner.Root().MediaType, inner.Digest, len(inner.Root().Body))
	digest := inner.Digest
	for range deep {
		body := `{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIIndex + `","manifests":[` + strings.Repeat(entry+",", wide-1) + entry + "]}"
		var err error
		if digest, err = s.source.PutManifest("team/app", "v1", image.MediaTypeOCIIndex, []byte(body)); err != nil {
			t.Fatal(err)
		}
		entry = fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, image.MediaTypeOCIIndex, digest, len(body))
	}
	return digest
}

// A few small indexes with a billion paths through them: each is visited once, by a plan, by an import, and for what refers to them.
func TestEachManifestIsVisitedOnce(t *testing.T) {
	inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
		digest := laughs(t, s, 500, 6)
		if cost := s.measure(t, order("team/app", "v1", digest)); cost.Pulls != 7 {
			t.Errorf("the plan has %d pulls", cost.Pulls)
		}
		s.renew(t)
		s.source.Reset()
		s.bring(t, withAll(order("team/app", "v1", digest)))
		whole(t, s.target, "team/app", "v1", digest)
		if got := count(s.source, http.MethodGet, emulator.KindManifest); got != 7 {
			t.Errorf("%d manifests are fetched", got)
		}
		if got := count(s.source, "", emulator.KindReferrers); got != 7 {
			t.Errorf("%d manifests are asked for what refers to them", got)
		}
	})
}

func TestIndexesThatLieTooDeep(t *testing.T) {
	for name, try := range map[string]func(t *testing.T, s *stand, digest string) error{
		"plan": func(t *testing.T, s *stand, digest string) error {
			t.Helper()
			_, err := s.engine.Measure(t.Context(), order("team/app", "v1", digest))
			return err
		},
		"import": func(t *testing.T, s *stand, digest string) error {
			t.Helper()
			return s.try(t.Context(), order("team/app", "v1", digest))
		},
		"passing failure": func(t *testing.T, s *stand, digest string) error {
			t.Helper()
			s.source.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindBlob), Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"86400"}}})
			return s.try(t.Context(), order("team/app", "v1", laughs(t, s, 8, image.MaxNesting)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				err := try(t, s, laughs(t, s, 8, image.MaxNesting+1))
				if name == "passing failure" {
					contains(t, err, "source "+sourceHost, "429")
				} else {
					contains(t, err, "source "+sourceHost, "more than 32 deep")
				}
				if got := writes(s.target); len(got) > 20 {
					t.Errorf("%d writes: %v", len(got), got)
				}
			})
		})
	}
}

// More manifests than any image has are refused, before all of them are fetched.
func TestTooManyManifests(t *testing.T) {
	fulltest.Long(t)
	inBubble(t, emulator.Options{LaxManifests: true}, func(t *testing.T, s *stand) {
		var entries []string
		for list := range 2 {
			var children []string
			for n := range 6000 {
				body := fmt.Sprintf(`{"schemaVersion":2,"layers":[],"n":"%d %d"}`, list, n)
				digest, err := s.source.PutManifest("team/app", "v0", image.MediaTypeOCIManifest, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				children = append(children, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, image.MediaTypeOCIManifest, digest, len(body)))
			}
			body := `{"schemaVersion":2,"manifests":[` + strings.Join(children, ",") + "]}"
			digest, err := s.source.PutManifest("team/app", "v0", image.MediaTypeOCIIndex, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, image.MediaTypeOCIIndex, digest, len(body)))
		}
		digest, err := s.source.PutManifest("team/app", "v1", image.MediaTypeOCIIndex, []byte(`{"schemaVersion":2,"manifests":[`+strings.Join(entries, ",")+"]}"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.engine.Measure(t.Context(), order("team/app", "v1", digest))
		contains(t, err, "source "+sourceHost, "more than 10000 manifests")
		contains(t, s.try(t.Context(), order("team/app", "v1", digest)), "source "+sourceHost, "more than 10000 manifests")
	})
}
