package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// paged is a plain world that lists tags page by page; between is called before each page but the first.
type paged struct {
	plain
	pages   [][]string
	between func(page int) error
}

func (p paged) TagPages(_ context.Context, _ image.Repository, keep func(string) bool, each func([]string)) error {
	for i, page := range p.pages {
		if i > 0 && p.between != nil {
			if err := p.between(i); err != nil {
				return err
			}
		}
		each(slices.DeleteFunc(slices.Clone(page), func(tag string) bool { return !keep(tag) }))
	}
	return nil
}

func (p paged) Tags(ctx context.Context, repo image.Repository, keep func(string) bool) (all []string, err error) {
	err = p.TagPages(ctx, repo, keep, func(page []string) { all = append(all, page...) })
	slices.Sort(all)
	return slices.Compact(all), err
}

func (p paged) mirror() *mirror.Mirror {
	m := p.plain.mirror()
	m.Observer, m.Pages = p, p
	return m
}

// pagesOf are so many pages of a thousand tags each.
func pagesOf(n int) [][]string {
	pages := make([][]string, n)
	for i := range pages {
		for k := range 1000 {
			pages[i] = append(pages[i], fmt.Sprintf("v%07d", i*1000+k))
		}
	}
	return pages
}

// Tags are imported while their list is still being read, unless the filter needs all of them, or another job may write them as well.
func TestImportsBeginWhileTheListIsRead(t *testing.T) {
	first := func(p *paged) (imported *atomic.Int64) {
		imported = &atomic.Int64{}
		p.head = func(r image.Reference) bool { return r.Registry == at("source", "x").Registry }
		p.imported = func(mirror.Order) { imported.Add(1) }
		return imported
	}
	newest, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"v*"}, Newest: 3, Sort: "numeric"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		alter    func(*plan.Job)
		others   bool
		early    int64 // imports while the list is read
		imported int64
	}{
		{"a pattern", func(*plan.Job) {}, false, 3000, 4000},
		{"the newest", func(j *plan.Job) { j.Tags = newest }, false, 0, 0},
		{"two writers", func(*plan.Job) {}, true, 0, 4000},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := paged{pages: pagesOf(4)}
				var early atomic.Int64
				imported := first(&p)
				p.between = func(page int) error {
					time.Sleep(time.Second)
					if page == 3 {
						early.Store(imported.Load())
					}
					return nil
				}
				p.pages[3][0] = "latest" // no number, and not in order
				job := plainJob(t, "x", 0, "*")
				test.alter(&job)
				var others []plan.Job
				if test.others {
					other := plainJob(t, "y", 0, "nothing*")
					other.Targets = job.Targets
					others = append(others, other)
				}
				r := p.mirror().SyncOne(t.Context(), job, others)
				if early.Load() != test.early || test.imported > 0 && imported.Load() != test.imported || r.Err != nil {
					t.Errorf("%d of %d imports while the list was read, want %d; %v", early.Load(), imported.Load(), test.early, r.Err)
				}
				if !slices.IsSortedFunc(r.Outcomes, func(a, b mirror.Outcome) int { return diff.Compare(a.Action, b.Action) }) {
					t.Error("the outcomes are not sorted")
				}
			})
		})
	}
}

// A tag that several pages have is asked for once, whatever their order, and one that the job names and no page has is asked for, too.
func TestPagesThatRepeatTags(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	p := paged{
		plain: plain{head: func(r image.Reference) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[r.Tag]++
			return true
		}},
		pages: [][]string{{"b", "d", "b"}, {"e", "f"}, {"d", "a", "f"}, {"a", "g"}, {}, {"c"}},
	}
	r := p.mirror().Sync(t.Context(), []plan.Job{plainJob(t, "x", 0, "?", "named")})[0]
	if c := statuses(r); c[record.Kept] != 8 || len(r.Outcomes) != 8 {
		t.Errorf("%v", c)
	}
	for tag, n := range asked {
		if n != 2 || !strings.Contains("abcdefg named", tag) {
			t.Errorf("%s was asked for %d times", tag, n)
		}
	}
}

// What a list has said until it fails is imported; the job fails all the same.
func TestListsThatBreakOff(t *testing.T) {
	p := paged{
		plain: plain{head: func(r image.Reference) bool { return false }, imported: func(mirror.Order) {}},
		pages: pagesOf(4), between: func(page int) error {
			if page == 3 {
				return errors.New("broken")
			}
			return nil
		},
	}
	r := p.mirror().Sync(t.Context(), []plan.Job{plainJob(t, "x", 0, "v*")})[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "list tags: broken") || statuses(r)[record.Imported] != 3000 {
		t.Errorf("%v, %v", r.Err, statuses(r))
	}
	if causes := mirror.Causes(r); len(causes) != 1 || causes[0].Count != 1 {
		t.Errorf("%+v", causes)
	}
}

// A filter that selects too little of a long list says so.
func TestPagesWithTooLittle(t *testing.T) {
	p := paged{plain: plain{head: func(image.Reference) bool { return true }}, pages: pagesOf(3)}
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"v*9"}, Min: new(301)})
	if err != nil {
		t.Fatal(err)
	}
	job := plainJob(t, "x", 0, "v*")
	job.Tags = filter
	r := p.mirror().Sync(t.Context(), []plan.Job{job})[0]
	if c := statuses(r); c[record.Kept] != 300 || c[record.NothingChosen] != 1 {
		t.Errorf("%v, %v", r.Err, c)
	}
}

// 100,000 kept tags take, with their names, less than 150 bytes each while they are looked at, and no goroutine.
func TestMemoryOfALongList(t *testing.T) {
	fulltest.Long(t)
	const n = 100
	var calls, heap atomic.Int64
	before := heapNow()
	p := paged{pages: make([][]string, n)}
	p.head = func(image.Reference) bool {
		if calls.Add(1) == 2*(n-2)*1000 {
			heap.Store(heapNow() - before)
		}
		return true
	}
	m := p.mirror()
	m.Pages, m.CountKept = made{p}, true
	r := m.Sync(t.Context(), []plan.Job{plainJob(t, "big", 0, "v*")})[0]
	if r.Err != nil || r.Counts().Keep != n*1000 {
		t.Errorf("%v, %+v", r.Err, r.Counts())
	}
	if each := heap.Load() / (n * 1000); each > 150 {
		t.Errorf("%d bytes for each tag", each)
	}
	t.Logf("%d bytes for each tag", heap.Load()/(n*1000))
}

// made makes the tags of each page when it is read.
type made struct{ paged }

func (m made) TagPages(_ context.Context, _ image.Repository, keep func(string) bool, each func([]string)) error {
	for i := range m.pages {
		var page []string
		for k := range 1000 {
			page = append(page, fmt.Sprintf("v%07d", i*1000+k))
		}
		each(page)
	}
	return nil
}

// A run for some tags of a long list asks for these only, and lists nothing.
func TestSomeOfALongList(t *testing.T) {
	var asked atomic.Int64
	p := paged{plain: plain{head: func(image.Reference) bool { asked.Add(1); return true }}, pages: pagesOf(3)}
	p.between = func(int) error { t.Error("tags are listed"); return nil }
	r := p.mirror().SyncSome(t.Context(), plainJob(t, "x", 0, "v*"), nil, []image.Reference{at("source", "x").Repository.Tag("v0002000")})
	if r.Err != nil || asked.Load() != 2 || len(r.Outcomes) != 1 {
		t.Errorf("%v, %d requests, %d outcomes", r.Err, asked.Load(), len(r.Outcomes))
	}
}
