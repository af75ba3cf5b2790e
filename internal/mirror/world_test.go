package mirror_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// world puts random images under random tags into the registries, and makes random jobs between them.
func (s *stand) world(t *testing.T, random *rand.Rand) []plan.Job {
	t.Helper()
	hosts := map[string]*emulator.Registry{hostA: s.a, hostB: s.b, hostC: s.c, hostD: s.d}
	names := []string{hostA, hostB, hostC, hostD}
	tags := []string{"v1", "v2", "v3", "edge", "old"}
	for _, host := range names {
		for _, path := range []string{"x", "y/z"} {
			for _, tag := range tags {
				if random.IntN(2) == 0 {
					s.stock(t, hosts[host], random, path, tag)
				}
			}
		}
	}
	// What one job writes no other reads: a chain of jobs needs a run for each link.
	var jobs []plan.Job
	for n := range 1 + random.IntN(5) {
		patterns := [][]string{{"*"}, {"v*"}, {"v1", "edge"}, {"/v[12]/", "old"}}[random.IntN(4)]
		j := job(t, fmt.Sprintf("job-%d", n), []string{"x", "y/z"}[random.IntN(2)], patterns, names[random.IntN(2)], names[2:][:1+random.IntN(2)]...)
		j.RefuseMoved = random.IntN(4) == 0
		if random.IntN(3) == 0 {
			j.Platforms = []image.Platform{{OS: "linux", Architecture: []string{"amd64", "arm64", "s390x"}[random.IntN(3)]}}
		}
		if random.IntN(2) == 0 {
			j.Referrers = plan.Referrers{All: true}
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// stock puts one of a few images under a tag: some registries then have the same, some another, some none.
func (s *stand) stock(t *testing.T, r *emulator.Registry, random *rand.Rand, path, tag string) {
	t.Helper()
	seed := random.Int64N(4)
	options := emulator.ImageOptions{LayerSize: 64, Attestations: seed%2 == 0, Docker: seed == 3}
	i := emulator.MultiArch(seed, options)
	if random.IntN(4) == 0 {
		i = emulator.SingleArch(seed, "linux/amd64", options)
	}
	if err := i.Push(r, path, tag); err != nil {
		t.Fatal(err)
	}
	if random.IntN(3) == 0 {
		if _, err := r.PutReferrer(path, i.Digest, "application/vnd.example.signature", []byte(tag)); err != nil {
			t.Fatal(err)
		}
	}
}

// After a sync nothing is left to do but what is refused or unavailable, every tag is whole, and a second sync writes nothing.
func TestAfterSyncOnlyKeepsAreLeft(t *testing.T) {
	statuses := map[record.Status]int{}
	worlds := fulltest.Rounds(60, 60)
	for seed := range worlds {
		inBubble(t, func(t *testing.T, s *stand) {
			random := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a world that can be made again
			jobs := s.world(t, random)
			first := s.mirror.Sync(t.Context(), jobs)
			settled(t, jobs, first)
			for _, r := range first {
				for _, out := range r.Outcomes {
					statuses[out.Status]++
					if out.Status == record.Imported {
						s.arrived(t, out)
					}
				}
			}
			if random.IntN(2) == 0 {
				s.renew(t)
			}
			s.c.Reset()
			s.d.Reset()
			for _, r := range s.mirror.Plan(t.Context(), jobs) {
				for _, out := range r.Outcomes {
					if out.Op == diff.Import && !out.Status.Failure() {
						t.Errorf("still to do: %+v", out)
					}
				}
			}
			settled(t, jobs, s.mirror.Sync(t.Context(), jobs))
			if n := writes(s.c) + writes(s.d); n > 0 {
				t.Errorf("a second sync writes %d times", n)
			}
		})
		if t.Failed() {
			t.Fatalf("in the world of seed %d", seed)
		}
	}
	for _, status := range []record.Status{record.Kept, record.Imported, record.Refused, record.Absent, record.NothingChosen} {
		if statuses[status] < 5 && worlds >= 60 {
			t.Errorf("only %d outcomes are %s: the worlds are too tame", statuses[status], status)
		}
	}
}

// arrived checks an imported tag at its target.
func (s *stand) arrived(t *testing.T, out mirror.Outcome) {
	t.Helper()
	r := map[string]*emulator.Registry{hostC: s.c, hostD: s.d}[out.Target.Registry]
	whole(t, r, out.Target.Path, out.Target.Tag, string(out.Digest))
}
