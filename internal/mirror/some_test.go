package mirror_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/tagfilter"
)

// A run for some tags looks at those of them that the job selects, and asks for nothing else.
func TestSyncSome(t *testing.T) {
	filter := func(spec tagfilter.Spec) tagfilter.Filter {
		f, err := tagfilter.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name  string
		job   func(*plan.Job)
		tags  []string // of x
		want  map[record.Status]int
		asked []string
	}{
		{"a pattern", nil, []string{"v1"}, map[record.Status]int{record.Imported: 1}, []string{"HEAD v1"}},
		{"a pattern that has others", nil, []string{"v1", "w1"}, map[record.Status]int{record.Imported: 1}, []string{"HEAD v1"}},
		{"nothing that it selects", nil, []string{"w1"}, map[record.Status]int{}, nil},
		{"what is named", func(j *plan.Job) { j.Tags = filter(tagfilter.Spec{Include: []string{"v1", "v2"}}) }, []string{"v2"}, map[record.Status]int{record.Imported: 1}, []string{"HEAD v2"}},
		{"what is gone", nil, []string{"v9"}, map[record.Status]int{record.Absent: 1}, []string{"HEAD v9"}},
		{"one image", func(j *plan.Job) { j.Source.Tag, j.Targets[0].Tag, j.Tags = "v1", "v1", tagfilter.Filter{} }, []string{"v1"}, map[record.Status]int{record.Imported: 1}, []string{"HEAD v1"}},
		{"another image", func(j *plan.Job) { j.Source.Tag, j.Targets[0].Tag, j.Tags = "v1", "v1", tagfilter.Filter{} }, []string{"v2"}, map[record.Status]int{}, nil},
		{
			"the newest", func(j *plan.Job) { j.Tags = filter(tagfilter.Spec{Newest: 1}) }, []string{"v3"},
			map[record.Status]int{record.Imported: 1}, []string{"GET tags", "HEAD v3"},
		},
		{"not the newest", func(j *plan.Job) { j.Tags = filter(tagfilter.Spec{Newest: 1}) }, []string{"v2"}, map[record.Status]int{}, []string{"GET tags"}},
		{
			"below a prefix", func(j *plan.Job) { j.Source.Path, j.Targets[0].Path, j.Repositories = "team", "team", []string{"*"} }, []string{"v1"},
			map[record.Status]int{record.Imported: 1}, []string{"HEAD v1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				j := job(t, "x", "x", []string{"v*"}, hostA, hostC)
				if c.job != nil {
					c.job(&j)
				}
				path := "x"
				if len(j.Repositories) > 0 {
					path = "team/x"
				}
				for i, tag := range []string{"v1", "v2", "v3", "w1"} {
					push(t, s.a, int64(i), path, tag)
				}
				var some []image.Reference
				for _, tag := range c.tags {
					some = append(some, at(hostA, path).Repository.Tag(tag))
				}
				r := s.mirror.SyncSome(t.Context(), j, nil, some)
				if d := cmp.Diff(c.want, statuses(r)); d != "" || r.Err != nil {
					t.Errorf("%v (-want +got):\n%s", r.Err, d)
				}
				var asked []string
				for _, q := range s.a.Requests() {
					switch {
					case q.Kind == "tags":
						asked = append(asked, "GET tags")
					case q.Kind == "manifest" && q.Method == "HEAD":
						asked = append(asked, "HEAD "+q.Reference)
					}
				}
				slices.Sort(asked)
				if d := cmp.Diff(c.asked, asked); d != "" {
					t.Errorf("requests to the source (-want +got):\n%s", d)
				}
			})
		})
	}
}

// Of the jobs that write to the same place, only those list their tags that may write the one which is looked at.
func TestSomeBesideOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		push(t, s.a, 2, "x", "v2")
		push(t, s.b, 3, "x", "v2")
		one := job(t, "one", "x", []string{"v*"}, hostA, hostC)
		others := []plan.Job{job(t, "same", "x", []string{"*2"}, hostB, hostC), job(t, "elsewhere", "y", []string{"*"}, hostB, hostC)}
		some := func(tag string) map[record.Status]int {
			s.b.Reset()
			return statuses(s.mirror.SyncSome(t.Context(), one, others, []image.Reference{at(hostA, "x").Repository.Tag(tag)}))
		}
		if got := some("v1"); got[record.Imported] != 1 || len(s.b.Requests()) > 0 {
			t.Errorf("%v, and %d requests for the others", got, len(s.b.Requests()))
		}
		if got := some("v2"); got[record.Refused] != 1 || len(s.b.Requests()) != 1 {
			t.Errorf("what another writes too: %v, and %d requests for the others", got, len(s.b.Requests()))
		}
	})
}
