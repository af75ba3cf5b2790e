package main

import (
	"container/list"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
)

const (
	// maxTags is how many tags of targets are remembered for the status page, of all jobs together: some 10 MB.
	maxTags = 50_000
	// tagRuns is how many of the saved runs of a job are searched for what they imported.
	tagRuns = 200
)

// tagMemory remembers what runs have seen of the tags at targets. It asks no registry for anything.
type tagMemory struct {
	most int

	mu    sync.Mutex
	jobs  map[string]*jobTags
	total int
	// order has the names of jobs with tags, first that of which something was noted last.
	order *list.List
}

// jobTags are those of one job, by the targets' names.
type jobTags struct {
	tags map[string]tagState
	// names are sorted; nil once there are others.
	names []string
	// more is set if there was no room for all.
	more bool
	// place is the job's in the order; nil without tags.
	place *list.Element
	// searched is the end of the last run when the saved runs were searched.
	searched time.Time
}

// tagState is what is known of a tag. Times are in seconds since 1970, 0 for none.
type tagState struct {
	digest           image.Digest
	imported, looked int64
}

// hold notes that the tag holds a digest, which was imported if it is no other than before.
func (s *tagState) hold(digest image.Digest) {
	if s.digest != digest {
		s.digest, s.imported = digest, 0
	}
}

func newTagMemory(most int) *tagMemory {
	return &tagMemory{most: most, jobs: map[string]*jobTags{}, order: list.New()}
}

// follow notes what a run of a job sees.
func (m *tagMemory) follow(job string, watch mirror.Watcher) mirror.Watcher {
	return tagWatcher{watch, m, job}
}

type tagWatcher struct {
	mirror.Watcher
	memory *tagMemory
	job    string
}

// End implements mirror.Watcher.
func (w tagWatcher) End(out mirror.Outcome) {
	w.memory.note(w.job, &out, time.Now())
	w.Watcher.End(out)
}

// note keeps what an outcome says of the tag at the target.
func (m *tagMemory) note(job string, out *mirror.Outcome, now time.Time) {
	if out.Target.Tag == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(job, out.Target.WithDigest("").String(), func(s *tagState) bool {
		switch {
		case out.Status == record.Imported:
			s.digest, s.imported = out.Digest, now.Unix()
		case out.Status == record.Kept && out.Digest != "":
			s.hold(out.Digest)
		case out.Status == record.Kept: // immutable: the target has it
		case out.Was != "":
			s.hold(out.Was)
		default:
			return false
		}
		if !out.Unverified {
			s.looked = now.Unix()
		}
		return true
	})
}

// put changes what is known of a tag, unless change reports that it knows nothing. Where there is no room, the job of which the longest nothing
// was noted is forgotten.
func (m *tagMemory) put(job, target string, change func(*tagState) bool) {
	j := m.of(job)
	if j.place != nil {
		m.order.MoveToFront(j.place)
	}
	s, known := j.tags[target]
	if !change(&s) {
		return
	}
	if !known {
		if m.total >= m.most && !m.forgetOldest(job) {
			j.more = true
			return
		}
		if j.place == nil {
			j.place = m.order.PushFront(job)
		}
		m.total++
		j.names = nil
	}
	j.tags[target] = s
}

func (m *tagMemory) of(job string) *jobTags {
	j := m.jobs[job]
	if j == nil {
		j = &jobTags{tags: map[string]tagState{}}
		m.jobs[job] = j
	}
	return j
}

// forgetOldest forgets the tags of a job other than one, and reports whether there was such a job.
func (m *tagMemory) forgetOldest(but string) bool {
	oldest := m.order.Back()
	if oldest == nil || oldest.Value == but {
		return false
	}
	name := m.order.Remove(oldest).(string) //nolint:forcetypeassert // the order has names
	m.total -= len(m.jobs[name].tags)
	m.jobs[name] = &jobTags{tags: map[string]tagState{}, more: true}
	return true
}

// keep forgets all jobs but those of a config.
func (m *tagMemory) keep(known func(job string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, j := range m.jobs {
		if !known(name) {
			m.total -= len(j.tags)
			if j.place != nil {
				m.order.Remove(j.place)
			}
			delete(m.jobs, name)
		}
	}
}

// search adds what saved runs have imported, unless that was done since the job's last run ended.
func (m *tagMemory) search(ctx context.Context, memory *store.Store, status *record.JobStatus) error {
	if memory == nil || status.Last == nil {
		return nil
	}
	m.mu.Lock()
	done := m.of(status.Job).searched.Equal(status.Last.Ended)
	m.mu.Unlock()
	if done {
		return nil
	}
	runs, err := memory.History(ctx, store.HistoryQuery{Job: status.Job, Limit: tagRuns})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range slices.Backward(runs) {
		run := &runs[i]
		for _, a := range run.Actions {
			if a.Outcome != record.Imported {
				continue
			}
			m.put(status.Job, a.Target, func(s *tagState) bool {
				digest, ended := image.Digest(a.Digest), run.Ended.Unix()
				if s.looked <= ended {
					s.hold(digest)
					s.looked = ended
				}
				if s.digest == digest {
					s.imported = max(s.imported, ended)
				}
				return true
			})
		}
		if run.More > 0 {
			m.of(status.Job).more = true
		}
	}
	m.of(status.Job).searched = status.Last.Ended
	return nil
}

// list returns some of the tags of a job that have a text in their names, sorted.
func (m *tagMemory) list(job, text string, from, most int) record.Tags {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[job]
	if j == nil {
		return record.Tags{}
	}
	if j.names == nil {
		j.names = make([]string, 0, len(j.tags))
		for name := range j.tags {
			j.names = append(j.names, name)
		}
		slices.SortFunc(j.names, image.CompareTags)
	}
	all := record.Tags{More: j.more}
	for _, name := range j.names {
		if text != "" && !strings.Contains(name, text) {
			continue
		}
		if all.Whole++; all.Whole <= from || all.Whole-from > most {
			continue
		}
		s := j.tags[name]
		all.List = append(all.List, record.Tag{Target: name, Digest: string(s.digest), Imported: unixTime(s.imported), Looked: unixTime(s.looked)})
	}
	return all
}

// unixTime returns a time from seconds since 1970; zero for 0.
func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
