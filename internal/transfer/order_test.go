package transfer_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// signed pushes an image with attestations, a signature by the referrers API, one of that signature, and one by cosign's tag.
func signed(t *testing.T, s *stand, seed int64, tag string) emulator.Image {
	t.Helper()
	i := emulator.MultiArch(seed, emulator.ImageOptions{Attestations: true})
	s.push(t, i, "team/app", tag)
	signature, err := s.source.PutReferrer("team/app", i.Digest, "application/vnd.example.signature", []byte("signature of "+tag))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.source.PutReferrer("team/app", signature, "application/vnd.example.witness", []byte("witness of "+tag)); err != nil {
		t.Fatal(err)
	}
	s.push(t, emulator.SingleArch(seed+100, "linux/amd64", emulator.ImageOptions{}), "team/app", cosignTag(i.Digest))
	return i
}

func cosignTag(digest string) string { return strings.Replace(digest, ":", "-", 1) + ".sig" }

// The order on the wire: at every PUT of a manifest all below it is there already, and the tag is the last of all.
func TestOrderOnTheWire(t *testing.T) {
	for api, options := range both {
		t.Run(api, func(t *testing.T) {
			inBubble(t, options, func(t *testing.T, s *stand) {
				i := signed(t, s, 1, "v1")
				s.bring(t, withAll(order("team/app", "v1", i.Digest)))
				var stages []string
				for _, q := range s.target.Requests() {
					if stage := stageOf(i, q); stage != "" && (len(stages) == 0 || stages[len(stages)-1] != stage) {
						stages = append(stages, stage)
					}
				}
				// Blobs and children of several platforms take turns; what the target checks for itself is their order.
				first := slices.Index(stages, "index")
				if first < 1 || slices.Contains(stages[first+1:], "child") || stages[0] != "blob" || stages[first-1] != "child" {
					t.Errorf("the index is put out of turn: %q", stages)
				}
				rest := slices.DeleteFunc(slices.Clone(stages[first:]), func(stage string) bool { return stage == "blob" })
				want := []string{"index", "referrer", "cosign", "referrer", "tag"} // what refers to a referrer comes last
				if diff := cmp.Diff(want, slices.Compact(rest)); diff != "" {
					t.Errorf("all stages: %q\n%s", stages, diff)
				}
			})
		})
	}
}

// stageOf names the part of an import that a write belongs to; empty for other requests.
func stageOf(i emulator.Image, q emulator.Request) string {
	switch {
	case q.Kind == emulator.KindUpload && q.Method == http.MethodPut:
		return "blob"
	case q.Kind != emulator.KindManifest || q.Method != http.MethodPut:
		return ""
	case q.Reference == "v1":
		return "tag"
	case q.Reference == i.Digest:
		return "index"
	case strings.HasSuffix(q.Reference, ".sig"):
		return "cosign"
	case slices.ContainsFunc(i.Manifests, func(m emulator.Manifest) bool { return m.Digest == q.Reference }):
		return "child"
	}
	return "referrer"
}

// hosts are the registries of which the k-th request fails.
var hosts = map[string]func(*stand) *emulator.Registry{
	"source": func(s *stand) *emulator.Registry { return s.source },
	"target": func(s *stand) *emulator.Registry { return s.target },
}

// Every request of an import is made to fail for good, one after the other: the tag stays what it was, or is what it is to be,
// and always whole; and the next import brings what is missing, with the same engine and with a new one.
func TestFailureAtEveryRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("fails some hundred times")
	}
	faults := map[string]emulator.Fault{
		"status": {Status: http.StatusInternalServerError}, "reset": {Reset: true}, "cut": {CutAt: 10, CutRequestAt: 10},
	}
	for side, of := range hosts {
		for kind, fault := range faults {
			for _, moved := range []bool{false, true} {
				name := side + "/" + kind + "/new"
				if moved {
					name = side + "/" + kind + "/moved"
				}
				t.Run(name, func(t *testing.T) {
					k := 0
					for reached := true; reached; k++ {
						inBubble(t, emulator.Options{Referrers: moved}, func(t *testing.T, s *stand) {
							reached = failureAt(t, s, of(s), fault, k, moved)
						})
						if t.Failed() {
							t.Fatalf("at request %d", k)
						}
					}
					if k < 10 {
						t.Errorf("the import has only %d requests there", k-1)
					}
				})
			}
		}
	}
}

// failureAt lets the k-th request to a registry fail, however often it is tried again, and tells whether the import came so far.
func failureAt(t *testing.T, s *stand, r *emulator.Registry, fault emulator.Fault, k int, moved bool) (reached bool) {
	t.Helper()
	i := signed(t, s, 1, "v1")
	o := withAll(order("team/app", "v1", i.Digest))
	old := ""
	if moved {
		before := emulator.MultiArch(50, emulator.ImageOptions{})
		if err := before.Push(s.target, "team/app", "v1"); err != nil {
			t.Fatal(err)
		}
		old, o.Fresh = before.Digest, false
	}
	victims := newVictim(k)
	fault.Match = victims.match
	remove := r.Inject(fault)
	err := s.try(t.Context(), o)
	remove()
	s.rest(t)
	tag := s.target.Digest("team/app", "v1")
	if err == nil && tag != i.Digest || tag != old && tag != i.Digest {
		t.Errorf("after %v the tag holds %q", err, tag)
	}
	if tag != "" {
		whole(t, s.target, "team/app", "v1", tag)
	}
	if tag == i.Digest { // then all that was ordered with it is there
		attachmentsThere(t, s, i)
	}
	again := []func(){func() {}, func() { s.renew(t) }}[k%2]
	again()
	s.bring(t, o)
	whole(t, s.target, "team/app", "v1", i.Digest)
	attachmentsThere(t, s, i)
	return victims.chosen()
}

// attachmentsThere checks that every referrer of the source, and its cosign tag, is at the target.
func attachmentsThere(t *testing.T, s *stand, i emulator.Image) {
	t.Helper()
	whole(t, s.target, "team/app", cosignTag(i.Digest), s.source.Digest("team/app", cosignTag(i.Digest)))
	signatures, err := s.client.Referrers(t.Context(), at(sourceHost, "team/app"), image.Digest(i.Digest))
	if err != nil || len(signatures) != 1 {
		t.Fatalf("the source lists %v, %v", signatures, err)
	}
	witnesses, err := s.client.Referrers(t.Context(), at(sourceHost, "team/app"), signatures[0].Digest)
	if err != nil || len(witnesses) != 1 {
		t.Fatalf("the source lists %v, %v", witnesses, err)
	}
	for _, r := range []image.Referrer{signatures[0], witnesses[0]} {
		whole(t, s.target, "team/app", string(r.Digest), string(r.Digest))
	}
}

// A failed try and the next one add up as one import does.
func TestMeterEndsEvenAfterRetries(t *testing.T) {
	for k := range 30 {
		inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
			i := signed(t, s, 1, "v1")
			victims := newVictim(k)
			remove := s.source.Inject(emulator.Fault{Match: victims.match, Status: http.StatusForbidden})
			m, o := &meter{}, withAll(order("team/app", "v1", i.Digest))
			_, err := s.engine.Import(t.Context(), o, m)
			remove()
			if err == nil && m.expected.Load() < i.Size() {
				t.Errorf("the meter expects %d bytes of an image of %d", m.expected.Load(), i.Size())
			}
			if err != nil {
				if m.moved.Load() > m.expected.Load() {
					t.Errorf("after %v: %d of %d bytes are moved", err, m.moved.Load(), m.expected.Load())
				}
				s.rest(t)
				if _, err := s.engine.Import(t.Context(), o, m); err != nil {
					t.Fatal(err)
				}
			}
			m.check(t)
		})
		if t.Failed() {
			t.Fatalf("at request %d of the source", k)
		}
	}
}

// Referrers fail at their source: the image is there, without a tag that promises more than there is.
func TestReferrersThatCannotBeAskedForHoldTheTagBack(t *testing.T) {
	inBubble(t, emulator.Options{Referrers: true}, func(t *testing.T, s *stand) {
		i := signed(t, s, 1, "v1")
		s.source.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindReferrers), Status: http.StatusServiceUnavailable})
		err := s.try(t.Context(), withAll(order("team/app", "v1", i.Digest)))
		contains(t, err, string(mirror.Source), "referrers", "503")
		if got := s.target.Digest("team/app", "v1"); got != "" {
			t.Errorf("the tag holds %s", got)
		}
	})
}
