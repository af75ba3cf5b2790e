package mirror_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/tagfilter"
)

const oneDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// plain is a world in which every source has every tag, of one image; head is told of each question, and tells whether a target has it.
type plain struct {
	head     func(r image.Reference) (held bool)
	imported func(o mirror.Order)
	// refreshed is nil where nothing is done.
	refreshed func(ctx context.Context, o mirror.Order, m mirror.Meter) (mirror.Cost, error)
}

func (plain) Tags(context.Context, image.Repository, func(string) bool) ([]string, error) {
	return nil, nil
}
func (plain) Catalog(context.Context, image.Repository, func(string) bool) ([]string, error) {
	return nil, nil
}

func (p plain) Head(_ context.Context, r image.Reference) (image.Descriptor, error) {
	p.head(r)
	return image.Descriptor{Digest: oneDigest}, nil
}

func (p plain) Held(_ context.Context, r image.Reference) (image.Descriptor, error) {
	if !p.head(r) {
		return image.Descriptor{}, image.ErrAbsent
	}
	return image.Descriptor{Digest: oneDigest}, nil
}

func (plain) Name() string { return "copy" }

func (plain) Resolve(_ context.Context, _ image.Reference, o image.Descriptor, _ []image.Platform) (image.Digest, error) {
	return o.Digest, nil
}

func (plain) Resolved(context.Context, image.Digest, []image.Platform) (image.Digest, bool) {
	return "", false
}

func (plain) Manifest(context.Context, image.Reference) (image.Manifest, error) {
	return image.Manifest{}, image.ErrAbsent
}

func (plain) Given(context.Context, image.Reference) error { return nil }

func (plain) Fits(context.Context, mirror.Order) (bool, string)          { return true, "" }
func (plain) Measure(context.Context, mirror.Order) (mirror.Cost, error) { return mirror.Cost{}, nil }
func (p plain) Refresh(ctx context.Context, o mirror.Order, m mirror.Meter) (mirror.Cost, error) {
	if p.refreshed == nil {
		return mirror.Cost{}, nil
	}
	return p.refreshed(ctx, o, m)
}

func (p plain) Import(_ context.Context, o mirror.Order, _ mirror.Meter) (mirror.Receipt, error) {
	p.imported(o)
	return mirror.Receipt{Digest: o.Digest}, nil
}

func (p plain) mirror() *mirror.Mirror {
	return &mirror.Mirror{Observer: p, Manifests: p, Engines: []mirror.Engine{p}, Watcher: silent{}, Log: slog.New(slog.DiscardHandler)}
}

func plainJob(t *testing.T, name string, priority int, tags ...string) plan.Job {
	t.Helper()
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: tags})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Job{
		Name: name, Priority: priority, Tags: filter, Source: at("source", name), Targets: []image.Reference{at("target", name)},
		Referrers: plan.Referrers{All: true}, Timeout: time.Hour,
	}
}

// An urgent job that is slow to be observed goes before one that is not urgent, also where another urgent job has nothing to import.
func TestSlowUrgentJobGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var late atomic.Int64
		p := plain{
			head: func(r image.Reference) bool {
				if r.Path == "slow" {
					time.Sleep(5 * time.Second)
				}
				return r.Path == "same"
			},
			imported: func(o mirror.Order) {
				if o.Job == "late" && time.Since(start) < 5*time.Second {
					t.Errorf("%s is imported after %s", o.Job, time.Since(start))
				}
				late.Add(1)
			},
		}
		p.mirror().Sync(t.Context(), []plan.Job{plainJob(t, "same", 5, "1"), plainJob(t, "slow", 5, "1", "2"), plainJob(t, "late", 0, "1", "2")})
		if n := late.Load(); n != 4 {
			t.Errorf("%d imports", n)
		}
	})
}

// A job of 200,000 tags, half of which are there, takes no goroutine for each of them, and less than a kilobyte.
func TestManyTags(t *testing.T) {
	fulltest.Long(t)
	n := 40_000
	if fulltest.AllRounds() {
		n = 200_000
	}
	tags := make([]string, 0, n)
	for i := range n {
		tags = append(tags, fmt.Sprintf("v%06d", i))
	}
	job := plainJob(t, "big", 0, tags...)
	var goroutines, calls, heap atomic.Int64
	look := func() {
		goroutines.Store(max(goroutines.Load(), int64(runtime.NumGoroutine())))
		if calls.Add(1)%int64(n/2) == 0 {
			heap.Store(max(heap.Load(), heapNow()))
		}
	}
	before := heapNow()
	p := plain{
		head:     func(r image.Reference) bool { look(); return r.Tag < tags[n/2] },
		imported: func(mirror.Order) { look() },
	}
	r := p.mirror().Sync(t.Context(), []plan.Job{job})[0]
	if c := statuses(r); c[record.Kept] != n/2 || c[record.Imported] != n/2 {
		t.Errorf("%v", c)
	}
	if most := goroutines.Load(); most > 100 {
		t.Errorf("%d goroutines at once", most)
	}
	if each := (heap.Load() - before) / int64(n); each > 1000 {
		t.Errorf("%d bytes for each tag", each)
	}
	t.Logf("%d goroutines, %d MB", goroutines.Load(), (heap.Load()-before)>>20)
}

// A tag that is kept takes nothing once that is decided, if only counted: 100,000 take less than a hundred bytes each, with their names, and the
// counts are those of a run that has an outcome for each.
func TestKeptTagsAreCounted(t *testing.T) {
	fulltest.Long(t)
	const n = 100_000
	tags := make([]string, 0, n)
	for i := range n {
		tags = append(tags, fmt.Sprintf("v%06d", i))
	}
	job := plainJob(t, "big", 0, tags...)
	var calls, heap atomic.Int64
	before := heapNow()
	m := plain{head: func(image.Reference) bool {
		if calls.Add(1) == 2*n-1000 {
			heap.Store(heapNow())
		}
		return true
	}}.mirror()
	m.CountKept = true
	r := m.Sync(t.Context(), []plan.Job{job})[0]
	repo := func(host string) image.Repository {
		return image.Repository{Registry: at(host, "big").Registry, Path: at(host, "big").Path}
	}
	want := []mirror.Kept{{Source: repo("source"), Target: repo("target"), Reason: diff.Unchanged, Count: n}}
	if r.Err != nil || len(r.Outcomes) != 0 || !slices.Equal(r.Kept, want) || r.Counts().Keep != n {
		t.Errorf("%v, %d outcomes, %v", r.Err, len(r.Outcomes), r.Kept)
	}
	if each := (heap.Load() - before) / n; each > 100 {
		t.Errorf("%d bytes for each tag", each)
	}
	t.Logf("%d bytes for each tag", (heap.Load()-before)/n)
}

func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A thousand jobs that wait for one registry take no goroutine for each of their tags, and none for each job; those of another registry go on.
func TestManyJobsTakeFewGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var jobs []plan.Job
		for i := range 1000 {
			jobs = append(jobs, plainJob(t, fmt.Sprintf("job%d", i), 0, "1", "2", "3", "4", "5", "6", "7", "8"))
		}
		for i := range 3 {
			job := plainJob(t, fmt.Sprintf("other%d", i), 0, "1")
			job.Targets[0].Registry = "elsewhere"
			jobs = slices.Insert(jobs, i*400, job) // also behind those that take all slots
		}
		start := time.Now()
		var most, others atomic.Int64
		p := plain{head: func(r image.Reference) bool {
			if r.Registry == "elsewhere" {
				others.Add(1)
			} else if r.Registry == at("target", "x").Registry {
				time.Sleep(time.Minute)
			}
			most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			return true
		}}
		time.AfterFunc(time.Second, func() {
			if others.Load() != 3 {
				t.Errorf("after a second %d of another registry's tags have been looked at", others.Load())
			}
		})
		for _, r := range p.mirror().Sync(t.Context(), jobs) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		if n := most.Load(); n > 3000 {
			t.Errorf("%d goroutines", n)
		}
		t.Logf("%d goroutines, %s", most.Load(), time.Since(start))
	})
}
