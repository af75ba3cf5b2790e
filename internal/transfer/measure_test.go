package transfer_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/transfer"
)

func (s *stand) measure(t *testing.T, o mirror.Order) mirror.Cost {
	t.Helper()
	cost, err := s.engine.Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return cost
}

// What is measured is what the import then takes, for every kind of content; measuring writes nothing.
func TestMeasureTellsTheCost(t *testing.T) {
	for name, prepare := range contents() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
				o := order("team/app", "v1", prepare(t, s))
				measured := s.measure(t, o)
				if got := count(s.target, "", ""); got > 0 || len(writes(s.source)) > 0 {
					t.Errorf("%d requests to the target, writes at the source %v", got, writes(s.source))
				}
				if again := s.measure(t, o); again.Pulls != 0 || again.Bytes != 0 {
					t.Errorf("measured again: %+v", again)
				}
				s.renew(t)
				if diff := cmp.Diff(s.bring(t, o).Cost, measured); diff != "" {
					t.Error("taken -, measured +\n" + diff)
				}
			})
		})
	}
}

func TestMeasureOfSelectedPlatforms(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{Attestations: true})
		s.push(t, i, "team/app", "v1")
		o := order("team/app", "v1", i.Digest)
		o.Platforms = []image.Platform{{OS: "linux", Architecture: "arm64"}}
		measured := s.measure(t, o)
		if measured.Pulls != 3 || measured.Bytes == 0 || measured.Bytes >= i.Size() {
			t.Errorf("cost %+v of an image of %d bytes", measured, i.Size())
		}
		o.Platforms = []image.Platform{{OS: "plan9", Architecture: "amd64"}}
		if _, err := s.engine.Measure(t.Context(), o); err == nil {
			t.Error("a platform that is not offered can be measured")
		}
	})
}

// Of a registry that counts an index is fetched where none of about its length is known in its repository; others are guessed by it, and
// the import has it at hand. Nothing else is fetched, nor anything for what the target repository holds.
func TestMeasureCostsNothing(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{})
		if err := i.Push(s.third, "team/app", "v1"); err != nil {
			t.Fatal(err)
		}
		o := order("team/app", "v1", i.Digest)
		o.Source.Registry = thirdHost
		if got := s.measure(t, o); got != (mirror.Cost{Pulls: 2, Unknown: true}) {
			t.Errorf("cost at a metered registry: %+v", got)
		}
		for tag, tt := range map[string]struct {
			image emulator.Image
			want  mirror.Cost
		}{
			"v2":   {emulator.MultiArch(2, emulator.ImageOptions{}), mirror.Cost{Pulls: 3, Unknown: true, About: true}},
			"more": {emulator.MultiArch(3, emulator.ImageOptions{Attestations: true}), mirror.Cost{Pulls: 4, Unknown: true}}, // longer than what is known, so it is fetched
			"one":  {emulator.SingleArch(4, "linux/amd64", emulator.ImageOptions{}), mirror.Cost{Pulls: 1, Unknown: true}},
		} {
			if err := tt.image.Push(s.third, "team/app", tag); err != nil {
				t.Fatal(err)
			}
			other := order("team/app", tag, tt.image.Digest)
			other.Source.Registry = thirdHost
			root := tt.image.Root()
			offered := image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}
			if _, err := s.engine.Resolve(t.Context(), other.Source, offered, nil); err != nil {
				t.Fatal(err)
			}
			if got := s.measure(t, other); got != tt.want {
				t.Errorf("cost of %s: %+v, want %+v", tag, got, tt.want)
			}
			if tag == "more" {
				continue
			}
			tt.want.Pulls, tt.want.About = 0, false
			if got := s.measure(t, other); got != tt.want {
				t.Errorf("cost of %s again: %+v", tag, got)
			}
		}
		o.HeldAs = "stable"
		if got := s.measure(t, o); got != (mirror.Cost{}) {
			t.Errorf("cost of what is held: %+v", got)
		}
		if got := count(s.third, "GET", ""); got != 2 {
			t.Errorf("the metered registry gave %d manifests", got)
		}
	})
}

// To keep some platforms the index has to be fetched; its children need not be, and are counted only.
func TestMeasureOfAMeteredIndexFetchesNoChild(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		i := emulator.MultiArch(1, emulator.ImageOptions{})
		if err := i.Push(s.third, "team/app", "v1"); err != nil {
			t.Fatal(err)
		}
		o := order("team/app", "v1", i.Digest)
		o.Source.Registry = thirdHost
		o.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}}
		offered := image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest)}
		if _, err := s.engine.Resolve(t.Context(), o.Source, offered, o.Platforms); err != nil {
			t.Fatal(err)
		}
		if got := s.measure(t, o); got != (mirror.Cost{Pulls: 1, Unknown: true}) {
			t.Errorf("cost: %+v, want the one child that is wanted", got)
		}
		if got := count(s.third, "GET", ""); got != 1 {
			t.Errorf("%d manifests were fetched, want the index alone", got)
		}
	})
}

// A blob of several imports into one repository is counted once.
func TestMeasureCountsSharedBlobsOnce(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		orders, _ := s.fill(t, 1, 5)
		sum := int64(0)
		for _, o := range orders {
			sum += s.measure(t, o).Bytes
		}
		s.renew(t)
		taken := int64(0)
		for _, o := range orders {
			taken += s.bring(t, o).Bytes
		}
		if sum != taken {
			t.Errorf("measured %d bytes, taken %d", sum, taken)
		}
	})
}

// An index that only the registry has is guessed by one that costs nothing elsewhere, also where it is measured before that one.
func TestMeasureAsksWhereItIsFreeFirst(t *testing.T) {
	inBubble(t, emulator.Options{}, func(t *testing.T, s *stand) {
		client := s.client
		s.engine = transfer.New(transfer.Options{
			Source: client, Artifacts: client, Target: client, Presence: client, Log: slog.New(slog.DiscardHandler),
			Metered: func(registry string) bool { return registry == thirdHost },
			Free: func(ctx context.Context, r image.Reference) (image.Manifest, bool) {
				m, err := client.Manifest(ctx, at(sourceHost, r.Path).Digest(r.Digest))
				return m, err == nil
			},
		})
		var orders []mirror.Order
		for n, tag := range []string{"alone", "v1", "v2"} {
			i := emulator.MultiArch(int64(n), emulator.ImageOptions{})
			for _, r := range []*emulator.Registry{s.third, s.source}[:1+min(n, 1)] {
				if err := i.Push(r, "team/app", tag); err != nil {
					t.Fatal(err)
				}
			}
			o := order("team/app", tag, i.Digest)
			o.Source.Registry = thirdHost
			offered := image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest), Size: int64(len(i.Root().Body))}
			if _, err := s.engine.Resolve(t.Context(), o.Source, offered, nil); err != nil {
				t.Fatal(err)
			}
			orders = append(orders, o)
		}
		if got, want := s.measure(t, orders[0]), (mirror.Cost{Pulls: 3, Unknown: true, About: true}); got != want {
			t.Errorf("cost: %+v, want %+v", got, want)
		}
		if got := count(s.third, "GET", ""); got != 0 {
			t.Errorf("%d manifests were fetched where they count", got)
		}
		if got := s.measure(t, orders[2]); got.Pulls != 0 || got.Unknown {
			t.Errorf("cost of what is free: %+v", got)
		}
	})
}
