package transfer_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/mirror"
)

// fill puts repositories that share layers into the source, and returns an order for each.
func (s *stand) fill(t *testing.T, repositories, tags int) (orders []mirror.Order, unique map[string]bool) {
	t.Helper()
	unique = map[string]bool{}
	for tagged := range (emulator.Corpus{Repositories: repositories, Tags: tags, SharedLayers: 4}).Images() {
		s.push(t, tagged.Image, tagged.Repository, tagged.Tag)
		orders = append(orders, order(tagged.Repository, tagged.Tag, tagged.Image.Digest))
		for _, b := range tagged.Image.Blobs {
			unique[b.Digest] = true
		}
	}
	return orders, unique
}

// bringAll makes all imports at once.
func (s *stand) bringAll(t *testing.T, orders []mirror.Order) {
	t.Helper()
	var group sync.WaitGroup
	for _, o := range orders {
		group.Go(func() {
			m := &meter{}
			if _, err := s.engine.Import(t.Context(), o, m); err != nil {
				t.Errorf("import of %s: %v", o.Source, err)
			}
			m.check(t)
		})
	}
	group.Wait()
}

func TestEachBlobIsFetchedOnce(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		orders, unique := s.fill(t, 10, 2)
		s.bringAll(t, orders)
		fetched := map[string]int{}
		for _, q := range s.source.Requests() {
			if q.Kind == emulator.KindBlob && q.Method == http.MethodGet {
				fetched[q.Reference]++
			}
		}
		for digest := range unique {
			if fetched[digest] != 1 {
				t.Errorf("blob %s is fetched %d times", digest, fetched[digest])
			}
		}
		if uploaded := count(s.target, http.MethodPut, emulator.KindUpload); uploaded != len(unique) {
			t.Errorf("%d uploads of %d blobs", uploaded, len(unique))
		}
		if heads := count(s.target, http.MethodHead, emulator.KindBlob); heads > 2 { // for one that was sent, and one that was mounted
			t.Errorf("fresh repositories are asked %d times for what they have", heads)
		}
		for _, o := range orders {
			whole(t, s.target, o.Target.Path, o.Target.Tag, string(o.Digest))
		}

		s.target.Reset()
		s.source.Reset()
		s.bringAll(t, orders)
		if got := count(s.target, "", ""); got != len(orders) || count(s.target, http.MethodPut, emulator.KindManifest) != got {
			t.Errorf("again, %d requests for %d tags: %v", got, len(orders), writes(s.target))
		}
		if got := count(s.source, "", ""); got > 0 {
			t.Errorf("again, %d requests to the source", got)
		}
	})
}

// One blob for two registries at once is read at the source once, and then at the first target.
func TestSeveralTargetsSpareTheSource(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{Layers: 3})
		s.push(t, i, "team/app", "v1")
		here, there := order("team/app", "v1", i.Digest), order("team/app", "v1", i.Digest)
		there.Target.Registry = thirdHost
		s.bringAll(t, []mirror.Order{here, there})
		whole(t, s.target, "team/app", "v1", i.Digest)
		whole(t, s.third, "team/app", "v1", i.Digest)
		if got := count(s.source, http.MethodGet, emulator.KindBlob); got != len(i.Blobs) {
			t.Errorf("%d blobs are fetched %d times", len(i.Blobs), got)
		}
		if got := count(s.source, http.MethodGet, emulator.KindManifest); got != len(i.Manifests) {
			t.Errorf("%d manifests are fetched %d times", len(i.Manifests), got)
		}
	})
}

// A registry that hangs in the middle of an upload does not keep the others from the blob.
func TestHangingTargetHoldsUpNoOther(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{Layers: 3})
		s.push(t, i, "team/app", "v1")
		s.target.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindUpload), Hang: true})
		here, there := order("team/app", "v1", i.Digest), order("team/app", "v1", i.Digest)
		there.Target.Registry = thirdHost
		var group sync.WaitGroup
		group.Go(func() {
			if s.try(t.Context(), here) == nil {
				t.Error("an import to a registry that hangs succeeds")
			}
		})
		time.Sleep(time.Second)
		started := time.Now()
		s.bring(t, there)
		if d := time.Since(started); d > 20*time.Second {
			t.Errorf("the import next to it took %s", d)
		}
		whole(t, s.third, "team/app", "v1", i.Digest)
		group.Wait()
	})
}

// What another target has been given is read at the source where that target has it no longer, or hangs.
func TestCopyAtAnotherTargetIsAFavourOnly(t *testing.T) {
	for name, spoil := range map[string]func(s *stand, i emulator.Image){
		"gone": func(s *stand, i emulator.Image) {
			for _, b := range i.Blobs {
				s.target.DeleteBlob("team/app", b.Digest)
			}
		},
		"hanging": func(s *stand, _ emulator.Image) {
			s.target.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindBlob), Hang: true})
		},
		"corrupt": func(s *stand, _ emulator.Image) {
			s.target.Inject(emulator.Fault{Match: emulator.MatchKind("", emulator.KindBlob), FlipByte: 5})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				i := emulator.MultiArch(1, emulator.ImageOptions{Layers: 3})
				s.push(t, i, "team/app", "v1")
				s.bring(t, order("team/app", "v1", i.Digest))
				spoil(s, i)
				there := order("team/app", "v1", i.Digest)
				there.Target.Registry = thirdHost
				started := time.Now()
				s.bring(t, there)
				if d := time.Since(started); d > 20*time.Second {
					t.Errorf("it took %s", d)
				}
				whole(t, s.third, "team/app", "v1", i.Digest)
			})
		})
	}
}

// A mount that is answered 202 has opened a session: the blob goes up in that one.
func TestRefusedMountUploadsInItsSession(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		base := []emulator.Layer{emulator.NewLayer(1, 5000)}
		first, second := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{Base: base}), emulator.SingleArch(2, "linux/amd64", emulator.ImageOptions{Base: base})
		s.push(t, first, "one", "v1")
		s.push(t, second, "two", "v1")
		s.bring(t, order("one", "v1", first.Digest))
		s.target.DeleteBlob("one", base[0].Digest)
		s.target.Reset()
		receipt := s.bring(t, order("two", "v1", second.Digest))
		whole(t, s.target, "two", "v1", second.Digest)
		posts, puts := count(s.target, http.MethodPost, emulator.KindUpload), count(s.target, http.MethodPut, emulator.KindUpload)
		if posts != len(second.Blobs) || puts != len(second.Blobs) || receipt.Mounted != 0 || receipt.Bytes != second.Size() {
			t.Errorf("%d POSTs and %d PUTs for %d blobs, receipt %+v", posts, puts, len(second.Blobs), receipt)
		}
	})
}

// A registry says that it has mounted every blob, and has none: the same import sends them, as does one beside it that relied on the first.
func TestFalseMountsHealWithinTheImport(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		s.target = emulator.New(emulator.Options{Uploads: emulator.UploadOptions{FalseMounts: func(repository, digest string) string {
			return "/v2/" + repository + "/blobs/" + digest
		}}})
		s.renew(t)
		base := []emulator.Layer{emulator.NewLayer(1, 5000)}
		var orders []mirror.Order
		for n := range 3 {
			i := emulator.SingleArch(int64(n), "linux/amd64", emulator.ImageOptions{Base: base})
			tag := fmt.Sprintf("v%d", n)
			s.push(t, i, "team/app", tag)
			orders = append(orders, order("team/app", tag, i.Digest))
		}
		s.bringAll(t, orders)
		for _, o := range orders {
			whole(t, s.target, "team/app", o.Target.Tag, string(o.Digest))
		}
	})
}

func TestMountsAreCounted(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{Layers: 3})
		s.push(t, i, "one", "v1")
		s.push(t, i, "two", "v1")
		if got := s.bring(t, order("one", "v1", i.Digest)).Cost; got != (mirror.Cost{Pulls: 1, Bytes: i.Size()}) {
			t.Errorf("cost of the first: %+v", got)
		}
		if got := s.bring(t, order("two", "v1", i.Digest)).Cost; got != (mirror.Cost{Mounted: i.Size()}) {
			t.Errorf("cost of the second: %+v", got)
		}
	})
}

// The registry has collected what was remembered to be there: it refuses the manifest, and the same import heals that, as often
// as it happens and for all imports that it happens to.
func TestWrongMemoryHealsWithinTheImport(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		base := []emulator.Layer{emulator.NewLayer(1, 5000)}
		for round := range 3 {
			var orders []mirror.Order
			for n := range 4 {
				i := emulator.SingleArch(int64(10*round+n), "linux/amd64", emulator.ImageOptions{Base: base})
				tag := fmt.Sprintf("v%d-%d", round, n)
				s.push(t, i, "team/app", tag)
				orders = append(orders, order("team/app", tag, i.Digest))
			}
			s.target.Reset()
			s.bringAll(t, orders)
			for _, o := range orders {
				whole(t, s.target, "team/app", o.Target.Tag, string(o.Digest))
			}
			refused := s.target.Count(func(q emulator.Request) bool { return q.Status == http.StatusBadRequest })
			if (round > 0) != (refused > 0) {
				t.Errorf("in round %d the target refused %d manifests", round, refused)
			}
			s.target.DeleteBlob("team/app", base[0].Digest)
		}
	})
}

// A tag elsewhere in the target repository holds the digest: nothing but the tag is written, and nothing asked of the source.
func TestHeldElsewhereIsOnlyTagged(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{})
		s.push(t, i, "team/app", "v1")
		if err := i.Push(s.target, "team/app", "stable"); err != nil {
			t.Fatal(err)
		}
		o := order("team/app", "v1", i.Digest)
		o.Fresh, o.HeldAs = false, "stable"
		s.bring(t, o)
		whole(t, s.target, "team/app", "v1", i.Digest)
		if got := writes(s.target); len(got) != 1 || count(s.source, "", "") != 0 {
			t.Errorf("writes %v, %d requests to the source", got, count(s.source, "", ""))
		}
		s.renew(t)
		s.target.DeleteManifest("team/app", i.Digest) // between the observation and the import
		s.bring(t, o)
		whole(t, s.target, "team/app", "v1", i.Digest)
	})
}

// A repository that holds other images is asked before anything is sent to it.
func TestWhatIsThereIsNotSentAgain(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{Layers: 2})
		s.push(t, i, "team/app", "v1")
		if err := i.Push(s.target, "team/app", "old"); err != nil {
			t.Fatal(err)
		}
		s.target.DeleteManifest("team/app", i.Digest)
		o := order("team/app", "v1", i.Digest)
		o.Fresh = false
		receipt := s.bring(t, o)
		if got := writes(s.target); len(got) != 1 || receipt.Bytes != 0 || count(s.source, "", emulator.KindBlob) > 0 {
			t.Errorf("writes %v, receipt %+v", got, receipt)
		}
		whole(t, s.target, "team/app", "v1", i.Digest)
	})
}

// Ten tags of one new image are brought at once: each manifest below it is written once, and none is written while another import does
// so for the first time, whatever tag or repository it is for. docker-registry otherwise tells some that it is not there.
func TestEachManifestIsWrittenFirstByOne(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(7, emulator.ImageOptions{})
		remove := s.target.Inject(emulator.Fault{Delay: 20 * time.Millisecond}) // so that imports are beside one another
		defer remove()
		var orders []mirror.Order
		for n := range 10 {
			tag := fmt.Sprintf("v%d", n)
			for _, repository := range []string{"one", "two"} {
				s.push(t, i, repository, tag)
				orders = append(orders, order(repository, tag, i.Digest))
			}
		}
		s.target.Reset()
		s.bringAll(t, orders)
		written, first := map[string]int{}, map[string]time.Time{}
		roots := 0
		for _, q := range s.target.Requests() {
			if q.Kind != emulator.KindManifest || q.Method != http.MethodPut {
				continue
			}
			if q.Status != http.StatusCreated {
				t.Errorf("%s %s is answered %d", q.Repository, q.Reference, q.Status)
			}
			written[q.Repository+" "+q.Reference]++
			digest := q.Reference
			if strings.HasPrefix(digest, "v") {
				roots++
				digest = i.Digest
			}
			if at, ok := first[digest]; !ok {
				first[digest] = q.At
			} else if q.At.Sub(at) < 20*time.Millisecond {
				t.Errorf("%s %s is written %s after the first write of it began", q.Repository, q.Reference, q.At.Sub(at))
			}
		}
		for what, n := range written {
			if n != 1 {
				t.Errorf("%s is written %d times", what, n)
			}
		}
		if roots != 20 {
			t.Errorf("%d tags of 20 are written", roots)
		}
	})
}
