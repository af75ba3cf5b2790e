package mirror

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/tagfilter"
)

// feed is a list of tags that is being read. It is read as fast as it comes, however long its tags take, since registries do not keep their place
// in a list for long. Until its end it holds the letters of all selected tags, and a byte for each.
type feed struct {
	cancel context.CancelFunc
	// wake receives when there is something new.
	wake chan struct{}

	mu sync.Mutex
	// pages are the selected tags page by page, sorted and separated by spaces; none of them comes twice.
	pages []string
	last  string // the greatest tag so far
	// seen are all tags, once the order of the list does not show that a tag is new; nil before.
	seen  map[string]struct{}
	count *tagfilter.Counter
	sieve *sieve // until the end it is the reader's
	ended bool
	err   error

	taken int // pages that next has returned
}

// feed begins to list the tags of a repository that a job selects. It needs close.
func (m *Mirror) feed(ctx context.Context, job plan.Job, repo image.Repository) *feed {
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{cancel: cancel, wake: make(chan struct{}, 1), count: job.Tags.Counter(), sieve: newSieve(job, repo)}
	go func() { f.end(m.Pages.TagPages(ctx, repo, f.sieve.keep, f.add)) }()
	return f
}

// add adds a page.
func (f *feed) add(tags []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if f.seen == nil && len(tags) > 0 && tags[0] <= f.last {
		f.seen = map[string]struct{}{}
		for _, page := range f.pages {
			for tag := range strings.SplitSeq(page, " ") {
				f.seen[tag] = struct{}{}
			}
		}
	}
	if f.seen != nil {
		tags = slices.DeleteFunc(tags, func(tag string) bool {
			_, twice := f.seen[tag]
			f.seen[tag] = struct{}{}
			return twice
		})
	}
	for _, tag := range tags {
		f.count.Add(tag)
	}
	if len(tags) > 0 {
		f.last = max(f.last, tags[len(tags)-1])
		f.pages = append(f.pages, strings.Join(tags, " "))
		f.signal()
	}
}

func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended, f.err = true, err
	f.signal()
}

func (f *feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// close ends the list if it is still being read, and waits for that.
func (f *feed) close() {
	f.cancel()
	for f.waits(func() bool { return false }) {
	}
}

// waits waits until the list has ended or enough is true, and reports whether it has to be called again.
func (f *feed) waits(enough func() bool) bool {
	f.mu.Lock()
	waits := !f.ended && !enough()
	f.mu.Unlock()
	if waits {
		<-f.wake
	}
	return waits
}

// paged waits for the second page or the end of the list, and reports whether there is one.
func (f *feed) paged() bool {
	for f.waits(func() bool { return len(f.pages) > 1 }) {
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pages) > 1
}

// all returns the pages one after another as they come.
func (f *feed) all() iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for {
			for f.waits(func() bool { return len(f.pages) > f.taken }) {
			}
			f.mu.Lock()
			if f.taken == len(f.pages) {
				f.mu.Unlock()
				return
			}
			page := f.pages[f.taken]
			f.taken++
			f.mu.Unlock()
			if !yield(strings.Split(page, " ")) {
				return
			}
		}
	}
}

// list waits for the end of the list, and returns all its tags.
func (f *feed) list() image.TagList {
	for f.waits(func() bool { return false }) {
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tags := func(yield func(string) bool) {
		for _, page := range f.pages {
			for tag := range strings.SplitSeq(page, " ") {
				if !yield(tag) {
					return
				}
			}
		}
	}
	if f.seen == nil { // they came in order
		return image.CollectTags(tags)
	}
	return image.NewTagList(slices.Collect(tags))
}

// lacks returns, of a list that has ended, its error, the tags that the job names and that are not listed, and what it selects too little of.
func (f *feed) lacks() (absent []string, few error, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, nil, f.err
	}
	choice := f.count.Lacks()
	return choice.Absent, fewTags(choice.Short, f.sieve.instead(len(f.pages) == 0)), nil
}
