package mirror_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/tagfilter"
)

// immutable is a job of whose tags those that match never move.
func immutable(t *testing.T, j plan.Job, patterns ...string) plan.Job {
	t.Helper()
	filter, err := tagfilter.Compile(tagfilter.Spec{Include: patterns})
	if err != nil {
		t.Fatal(err)
	}
	j.Immutable = filter
	return j
}

// asked are the requests for manifests, and for lists of tags, since the last call.
func asked(r *emulator.Registry) string {
	manifests, lists := 0, 0
	for _, q := range r.Requests() {
		switch {
		case strings.Contains(q.Path, "/manifests/"):
			manifests++
		case strings.Contains(q.Path, "/tags/list"):
			lists++
		}
	}
	r.Reset()
	return fmt.Sprintf("%d manifests, %d lists", manifests, lists)
}

// An immutable tag that the target has costs nothing but lists of tags, whatever has become of it at the source; one that the target has
// lost comes back.
func TestImmutableTagsAreNotLookedAt(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		for i := range 5 {
			push(t, s.a, int64(i), "x", fmt.Sprintf("v%d", i))
		}
		lost := push(t, s.a, 0, "x", "v0")
		push(t, s.a, 9, "x", "edge")
		j := immutable(t, job(t, "x", "x", []string{"*"}, hostA, hostB), "v*")
		j.Referrers = plan.Referrers{All: true}
		s.sync(t, j)

		asked(s.a)
		asked(s.b)
		push(t, s.a, 7, "x", "v1") // which nobody looks at
		want(t, s.sync(t, j), hostB+"/x:edge unchanged kept", hostB+"/x:v0 immutable kept", hostB+"/x:v1 immutable kept",
			hostB+"/x:v2 immutable kept", hostB+"/x:v3 immutable kept", hostB+"/x:v4 immutable kept")
		if got := asked(s.a) + "; " + asked(s.b); got != "1 manifests, 1 lists; 1 manifests, 1 lists" {
			t.Errorf("asked for %s", got)
		}

		s.b.DeleteTag("x", "v0")
		if got := s.sync(t, j)[1]; got != hostB+"/x:v0 absent imported" {
			t.Errorf("%s", got)
		}
		whole(t, s.b, "x", "v0", lost.Digest)
	})
}

// Of several targets only those are asked that lack the tag.
func TestImmutableTagsOfSeveralTargets(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		v1 := push(t, s.a, 1, "x", "v1")
		push(t, s.b, 1, "x", "v1")
		j := immutable(t, job(t, "x", "x", []string{"v1"}, hostA, hostB, hostC), "*")
		want(t, s.sync(t, j), hostB+"/x:v1 immutable kept", hostC+"/x:v1 absent imported")
		if got := asked(s.b); got != "0 manifests, 1 lists" {
			t.Errorf("asked for %s", got)
		}
		whole(t, s.c, "x", "v1", v1.Digest)
	})
}

// A target that does not list its tags is asked for each, and what is seen to have moved is refused.
func TestImmutableTagsWhereNoneAreListed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		push(t, s.b, 1, "x", "v1")
		push(t, s.a, 2, "x", "v2")
		before := push(t, s.b, 3, "x", "v2")
		push(t, s.a, 4, "x", "v3")
		s.b.Inject(emulator.Fault{Status: http.StatusForbidden, Match: func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/tags/list") }})
		j := immutable(t, job(t, "x", "x", []string{"*"}, hostA, hostB), "v*")
		want(t, s.sync(t, j), hostB+"/x:v1 unchanged kept", hostB+"/x:v2 moved refused", hostB+"/x:v3 absent imported")
		whole(t, s.b, "x", "v2", before.Digest)
	})
}

// Two jobs that write an immutable tag are refused as ever, though it is there.
func TestImmutableTagOfTwoWriters(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		push(t, s.b, 1, "x", "v1")
		push(t, s.c, 2, "x", "v1")
		one, two := immutable(t, job(t, "one", "x", []string{"*"}, hostA, hostB), "*"), job(t, "two", "x", []string{"*"}, hostC, hostB)
		want(t, s.sync(t, one, two), hostB+"/x:v1 two-writers refused", hostB+"/x:v1 two-writers refused")
	})
}

// What a target keeps under the tag of a list of referrers is looked at, as its registry may keep that list there.
func TestImmutableTagOfReferrers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		v1 := push(t, s.a, 1, "x", "v1")
		push(t, s.a, 1, "x", image.ReferrersTag(image.Digest(v1.Digest)))
		j := immutable(t, job(t, "x", "x", []string{"*"}, hostA, hostB), "*")
		s.sync(t, j)
		asked(s.b)
		want(t, s.sync(t, j), hostB+"/x:"+image.ReferrersTag(image.Digest(v1.Digest))+" unchanged kept", hostB+"/x:v1 immutable kept")
		if got := asked(s.b); got != "1 manifests, 1 lists" {
			t.Errorf("asked for %s", got)
		}
	})
}
