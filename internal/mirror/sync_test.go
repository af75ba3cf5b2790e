package mirror_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// want compares lines.
func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// fault makes requests for one tag of a path fail.
func fault(r *emulator.Registry, method, tag string, f emulator.Fault) (remove func()) {
	f.Match = func(q *http.Request) bool {
		return (method == "" || q.Method == method) && strings.HasSuffix(q.URL.Path, "/manifests/"+tag)
	}
	return r.Inject(f)
}

func TestSyncBringsWhatChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		fresh, same, moved, before := push(t, s.a, 1, "x", "fresh"), push(t, s.a, 2, "x", "same"), push(t, s.a, 3, "x", "moved"), push(t, s.b, 4, "x", "moved")
		push(t, s.b, 2, "x", "same")
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)

		planned := s.mirror.Plan(t.Context(), []plan.Job{j})
		want(t, lines(planned), hostB+"/x:fresh absent import", hostB+"/x:moved moved import", hostB+"/x:same unchanged kept")
		if out := planned[0].Outcomes[1]; string(out.Was) != before.Digest || string(out.Digest) != moved.Digest || out.Pulls != 3 || out.Bytes != moved.Size() {
			t.Errorf("planned: %+v", out)
		}
		if writes(s.a)+writes(s.b) > 0 {
			t.Error("planning writes")
		}
		want(t, s.sync(t, j), hostB+"/x:fresh absent imported", hostB+"/x:moved moved imported", hostB+"/x:same unchanged kept")
		for tag, i := range map[string]emulator.Image{"fresh": fresh, "same": same, "moved": moved} {
			whole(t, s.b, "x", tag, i.Digest)
		}
	})
}

func TestMovedTagsCanBeRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		old := push(t, s.b, 2, "x", "v1")
		push(t, s.a, 3, "x", "v2")
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		j.RefuseMoved = true
		want(t, s.sync(t, j), hostB+"/x:v1 moved refused", hostB+"/x:v2 absent imported")
		whole(t, s.b, "x", "v1", old.Digest)
	})
}

func TestMissingPlatformIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		j := job(t, "x", "x", []string{"*"}, hostA, hostB)
		j.Platforms = []image.Platform{{OS: "linux", Architecture: "s390x"}}
		want(t, s.sync(t, j), hostB+"/x:v1 platform-missing refused")
		if detail := s.records.list[0].Detail; !strings.Contains(detail, "linux/amd64, linux/arm64") {
			t.Errorf("detail = %q", detail)
		}
		if got := s.b.Repositories(); len(got) > 0 {
			t.Errorf("the target has %v", got)
		}
		j.Platforms[0].Architecture = "arm64"
		want(t, s.sync(t, j), hostB+"/x:v1 absent imported")
		want(t, s.sync(t, j), hostB+"/x:v1 unchanged kept")
	})
}

// Two jobs turn out to write one tag: neither does, whichever stands first; all else arrives.
func TestTwoWritersAreBothRefused(t *testing.T) {
	for name, swap := range map[string]bool{"one order": false, "the other": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				push(t, s.a, 1, "x", "v1")
				push(t, s.a, 2, "x", "v2")
				push(t, s.c, 3, "x", "v2")
				push(t, s.c, 4, "x", "v3")
				jobs := []plan.Job{job(t, "one", "x", []string{"v*"}, hostA, hostB), job(t, "two", "x", []string{"*"}, hostC, hostB)}
				expect := []string{hostB + "/x:v1 absent imported", hostB + "/x:v2 two-writers refused", hostB + "/x:v2 two-writers refused", hostB + "/x:v3 absent imported"}
				if swap {
					slices.Reverse(jobs)
					expect = []string{expect[1], expect[3], expect[0], expect[1]}
				}
				want(t, s.sync(t, jobs...), expect...)
				whole(t, s.b, "x", "v2", "")
				for _, out := range s.records.list {
					if out.Status == record.Refused && (!strings.Contains(out.Detail, `"one"`) || !strings.Contains(out.Detail, `"two"`)) {
						t.Errorf("detail = %q", out.Detail)
					}
				}
			})
		})
	}
}

func TestMissingLiteralFailsAtItsSide(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		want(t, s.sync(t, job(t, "x", "x", []string{"v1", "v2"}, hostA, hostB)), hostB+"/x:v1 absent imported", hostB+"/x:v2 absent-at-source absent")
		for _, out := range s.records.list {
			if out.Status == record.Absent && (sideOf(out.Err) != mirror.Source || !strings.Contains(out.Err.Error(), hostA+"/x:v2")) {
				t.Errorf("error = %v", out.Err)
			}
		}
		if count(s.a, "", emulator.KindTags) > 0 {
			t.Error("tags are listed for literals")
		}
	})
}

// A registry is down: what has nothing to do with it arrives.
func TestOneRegistryDown(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		i := push(t, s.a, 1, "x", "v1")
		push(t, s.c, 2, "y", "v1")
		s.c.Inject(emulator.Fault{Reset: true})
		results := s.sync(t,
			job(t, "both", "x", []string{"v1"}, hostA, hostB, hostC),
			job(t, "from", "y", []string{"*"}, hostC, hostB),
			job(t, "literal", "y", []string{"v1"}, hostC, hostD))
		want(t, results, hostB+"/x:v1 absent imported", hostC+"/x:v1 unobserved failed", "from failed", hostD+"/y:v1 unobserved failed")
		whole(t, s.b, "x", "v1", i.Digest)
		for _, out := range s.records.list {
			side := map[string]mirror.Side{"both": mirror.Target, "literal": mirror.Source}[out.Job]
			if out.Status == record.Failed && sideOf(out.Err) != side {
				t.Errorf("%s: error = %v", out.Job, out.Err)
			}
		}
	})
}

// A target that cannot be asked is not taken for one that lacks the tag.
func TestErrorIsNeverAbsent(t *testing.T) {
	for _, status := range []int{401, 429, 500, 502, 503} {
		inBubble(t, func(t *testing.T, s *stand) {
			push(t, s.a, 1, "x", "v1")
			ok := push(t, s.a, 2, "x", "v2")
			old := push(t, s.b, 3, "x", "v1")
			remove := fault(s.b, http.MethodHead, "v1", emulator.Fault{Status: status})
			want(t, s.sync(t, job(t, "x", "x", []string{"*"}, hostA, hostB)), hostB+"/x:v1 unobserved failed", hostB+"/x:v2 absent imported")
			remove()
			whole(t, s.b, "x", "v1", old.Digest)
			whole(t, s.b, "x", "v2", ok.Digest)
			if got := s.b.Count(func(q emulator.Request) bool { return q.Method == http.MethodPut && q.Reference == "v1" }); got > 0 {
				t.Errorf("after %d the tag was written", status)
			}
		})
	}
}

// A target that does not say whether it has a tag is given it, unless what is there may not be moved; a source has to say.
func TestHiddenTag(t *testing.T) {
	for _, status := range []int{400, 403, 405, 406, 410, 451, 501} {
		inBubble(t, func(t *testing.T, s *stand) {
			fresh := push(t, s.a, 1, "x", "v1")
			hide := func(q *http.Request) bool {
				return (q.Method == http.MethodHead || q.Method == http.MethodGet) && (strings.Contains(q.URL.Path, "/manifests/") || strings.Contains(q.URL.Path, "/blobs/sha"))
			}
			remove := s.b.Inject(emulator.Fault{Status: status, Match: hide})
			j := job(t, "x", "x", []string{"*"}, hostA, hostB)
			refusing := j
			refusing.RefuseMoved = true
			want(t, s.sync(t, refusing), hostB+"/x:v1 hidden refused")
			if detail := s.records.list[0].Detail; !strings.Contains(detail, "moved: refuse") || writes(s.b) > 0 {
				t.Errorf("%q, and %d writes", detail, writes(s.b))
			}
			want(t, lines(s.mirror.Plan(t.Context(), []plan.Job{j})), hostB+"/x:v1 hidden import")
			want(t, s.sync(t, j), hostB+"/x:v1 hidden imported")
			remove()
			whole(t, s.b, "x", "v1", fresh.Digest)
			want(t, s.sync(t, j), hostB+"/x:v1 unchanged kept")

			s.b.Inject(emulator.Fault{Status: status, Match: hide})
			s.b.Inject(emulator.Fault{Status: http.StatusForbidden, Body: `{"errors":[{"code":"DENIED","message":"no push for you"}]}`, Match: func(q *http.Request) bool { return q.Method != http.MethodHead && q.Method != http.MethodGet }})
			push(t, s.a, 2, "x", "v1")
			want(t, s.sync(t, j), hostB+"/x:v1 hidden failed")
			if err := s.records.list[len(s.records.list)-1].Err; sideOf(err) != mirror.Target || !strings.Contains(err.Error(), "no push for you") {
				t.Errorf("error = %v", err)
			}

			s.a.Inject(emulator.Fault{Status: status, Match: hide})
			want(t, s.sync(t, j), hostB+"/x:v1 unobserved failed")
		})
	}
}

// TestUnprovedPush: a target that neither names what it takes nor lets it be read shows nothing. It is not tried again, and the error says what to do.
func TestUnprovedPush(t *testing.T) {
	for _, status := range []int{403, 406, 410, 451, 501} {
		inBubble(t, func(t *testing.T, s *stand) {
			s.b = emulator.New(emulator.Options{QuietPuts: true})
			s.renew(t)
			if err := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{}).Push(s.a, "x", "v1"); err != nil {
				t.Fatal(err)
			}
			s.b.Inject(emulator.Fault{Status: status, Match: func(q *http.Request) bool {
				return (q.Method == http.MethodHead || q.Method == http.MethodGet) && strings.Contains(q.URL.Path, "/manifests/")
			}})
			j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
			j.Retries = 20
			want(t, s.sync(t, j), hostB+"/x:v1 hidden failed")
			text := fmt.Sprint(s.records.list[0].Err)
			if sideOf(s.records.list[0].Err) != mirror.Target || !strings.Contains(text, hostB+" answered "+fmt.Sprint(status)) || !strings.Contains(text, "let the account read there") {
				t.Error(text)
			}
			if n := count(s.b, http.MethodPut, emulator.KindManifest); n != 1 {
				t.Errorf("%d: the manifest is sent %d times", status, n)
			}
		})
	}
}

// TestAbsentByCode: a registry that says "unknown" with another status than 404 says that the tag is not there, to GET alone if HEAD has no body.
func TestAbsentByCode(t *testing.T) {
	for _, status := range []int{406, 410, 451, 501} {
		inBubble(t, func(t *testing.T, s *stand) {
			unknown := emulator.Options{Missing: &emulator.Answer{Status: status, Body: `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}`}}
			s.a, s.b = emulator.New(unknown), emulator.New(unknown)
			s.renew(t)
			fresh := push(t, s.a, 1, "x", "v1")
			j := job(t, "x", "x", []string{"v1", "v2"}, hostA, hostB)
			j.RefuseMoved = true
			want(t, s.sync(t, j), hostB+"/x:v1 absent imported", hostB+"/x:v2 absent-at-source absent")
			whole(t, s.b, "x", "v1", fresh.Digest)
			want(t, s.sync(t, j), hostB+"/x:v1 unchanged kept", hostB+"/x:v2 absent-at-source absent")
		})
	}
}

func TestUnlistableTagsFailTheJob(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		push(t, s.a, 2, "y", "v1")
		s.a.Inject(emulator.Fault{Status: 500, Match: func(q *http.Request) bool { return q.URL.Path == "/v2/x/tags/list" }})
		jobs := []plan.Job{job(t, "x", "x", []string{"*"}, hostA, hostB), job(t, "y", "y", []string{"*"}, hostA, hostB)}
		want(t, s.sync(t, jobs...), "x failed", hostB+"/y:v1 absent imported")
		err := s.mirror.Plan(t.Context(), jobs)[0].Err
		if sideOf(err) != mirror.Source || !strings.Contains(err.Error(), "list tags") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestRepositoriesByGlob(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		for n, path := range []string{"team/app-1", "team/app-2", "team/other", "team/app/deep", "elsewhere/app-1"} {
			push(t, s.a, int64(n), path, "v1")
		}
		j := job(t, "team", "team", []string{"*"}, hostA, hostB, hostC)
		j.Targets[1].Path = "copy"
		j.Repositories = []string{"app-*", "app-1", "other"}
		var expect []string
		for _, target := range []string{hostB + "/team", hostC + "/copy"} {
			for _, name := range []string{"app-1", "app-2", "other"} {
				expect = append(expect, target+"/"+name+":v1 absent imported")
			}
		}
		want(t, s.sync(t, j), expect...)
		whole(t, s.c, "copy/app-2", "v1", s.a.Digest("team/app-2", "v1"))
		j.Repositories = []string{"none-*"}
		want(t, s.sync(t, j), hostB+"/team nothing-chosen nothing-chosen", hostC+"/copy nothing-chosen nothing-chosen")
	})
}

func TestOneImageByDigestAndThroughALayout(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		i := push(t, s.a, 1, "x", "v1")
		dir := image.Repository{Path: t.TempDir() + "/stage"}
		out := plan.Job{Name: "out", Timeout: time.Minute, Source: at(hostA, "x").Repository.Digest(image.Digest(i.Digest)), Targets: []image.Reference{dir.Tag("edge")}}
		want(t, s.sync(t, out), dir.String()+":edge absent imported")
		want(t, s.sync(t, out), dir.String()+":edge unchanged kept")
		in := job(t, "in", "x", []string{"*"}, hostA, hostB)
		in.Source = image.Reference{Repository: dir}
		want(t, s.sync(t, in), hostB+"/x:edge absent imported")
		whole(t, s.b, "x", "edge", i.Digest)
	})
}

// A second run asks what there is, and nothing else: HEADs and tag lists.
func TestSecondSyncOnlyAsks(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		for n, tag := range []string{"v1", "v2", "v3"} {
			push(t, s.a, int64(n), "x", tag)
		}
		j := job(t, "x", "x", []string{"*"}, hostA, hostB, hostC)
		j.Referrers = plan.Referrers{All: true}
		s.sync(t, j)
		s.renew(t)
		s.a.Reset()
		s.b.Reset()
		s.c.Reset()
		for _, line := range s.sync(t, j) {
			if !strings.HasSuffix(line, "unchanged kept") {
				t.Error(line)
			}
		}
		for name, r := range map[string]*emulator.Registry{"source": s.a, "target": s.b, "other target": s.c} {
			heads, lists := count(r, http.MethodHead, emulator.KindManifest), count(r, http.MethodGet, emulator.KindTags)
			if heads != 3 || (name == "source") != (lists == 1) || heads+lists != count(r, "", "") {
				t.Errorf("%s: %d HEADs, %d lists, %d requests", name, heads, lists, count(r, "", ""))
			}
		}
	})
}

// The tag moves at the source between the observation and the import: what was planned arrives.
func TestSourceIsPinned(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		planned := push(t, s.a, 1, "x", "v1")
		later := push(t, s.a, 2, "x", "other")
		moved := false
		s.a.Inject(emulator.Fault{Match: func(q *http.Request) bool {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/") && !moved {
				moved = true
				if err := s.a.PutTag("x", "v1", later.Digest); err != nil {
					t.Error(err)
				}
			}
			return false
		}})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		want(t, s.sync(t, j), hostB+"/x:v1 absent imported")
		whole(t, s.b, "x", "v1", planned.Digest)
		if !moved {
			t.Error("the tag did not move in between")
		}
		want(t, s.sync(t, j), hostB+"/x:v1 moved imported")
		whole(t, s.b, "x", "v1", later.Digest)
	})
}
