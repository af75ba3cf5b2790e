package mirror_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// lists are what registries list; the rest is plain.
type lists struct {
	plain
	tags, catalog []string
}

func kept(names []string, keep func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !keep(name) })
}

func (l lists) Tags(_ context.Context, _ image.Repository, keep func(string) bool) ([]string, error) {
	return kept(l.tags, keep), nil
}

func (l lists) Catalog(_ context.Context, _ image.Repository, keep func(string) bool) ([]string, error) {
	return kept(l.catalog, keep), nil
}

// Of a long list only what can be chosen is kept; where that is too much, the job says which repository has it and what to narrow, and
// asks for no tag.
func TestTooManyNames(t *testing.T) {
	fulltest.Long(t)
	long := strings.Repeat("v", 128)
	repositories := make([]string, 0, 600)
	for i := range 600 {
		repositories = append(repositories, fmt.Sprintf("r%d", i))
	}
	literals := make([]string, 0, 1000)
	for i := range 1000 {
		literals = append(literals, fmt.Sprintf("%s%04d", long[4:], i))
	}
	for name, tt := range map[string]struct {
		include      []string
		repositories []string
		tags         []string
		catalog      []string
		want         string // of the error; empty for none
	}{
		"dropped":            {include: []string{"a*"}, tags: append(slices.Repeat([]string{long}, 500_000), "a1")},
		"tags":               {include: []string{"*"}, tags: slices.Repeat([]string{long}, 500_000), want: "source source/big: more than 64 MiB of names are chosen: narrow `tags` of the mapping"},
		"tags of many":       {include: literals, repositories: repositories, want: "source source/big/r466: more than 64 MiB of names are chosen: narrow `tags` of the mapping"},
		"repositories":       {include: []string{"a"}, repositories: []string{"*"}, catalog: slices.Repeat([]string{"big/" + long}, 500_000), want: "source source/big: more than 64 MiB of names are chosen: narrow `repositories` of the mapping"},
		"other repositories": {include: []string{"a"}, repositories: []string{"a*"}, catalog: append(slices.Repeat([]string{"big/" + long}, 500_000), "big/ab")},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			l := lists{plain{head: func(image.Reference) bool { asked.Add(1); return true }}, tt.tags, tt.catalog}
			m := l.mirror()
			m.Observer = l
			job := plainJob(t, "big", 0, tt.include...)
			job.Repositories = tt.repositories
			r := m.SyncOne(t.Context(), job, nil)
			if tt.want == "" && (r.Err != nil || statuses(r)[record.Kept] != 1) {
				t.Errorf("%v %v", r.Err, statuses(r))
			}
			if tt.want != "" && (r.Err == nil || r.Err.Error() != tt.want || asked.Load() > 0) {
				t.Errorf("%v, after %d questions", r.Err, asked.Load())
			}
		})
	}
}
