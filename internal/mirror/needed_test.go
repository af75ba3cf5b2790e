package mirror_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// TestErrorAboutPartNamesImage breaks what lies below tags, at either side: each line says which tag needs it, also where several
// tags need the same, which is asked for once.
func TestErrorAboutPartNamesImage(t *testing.T) {
	child := func(method string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == method && strings.Contains(r.URL.Path, "/manifests/sha256:")
		}
	}
	cases := map[string]struct {
		breaks func(s *stand, i emulator.Image)
		host   string
		// timeout is that of a try; 0 for plenty.
		timeout time.Duration
	}{
		"a child that the source lacks": {host: hostA, breaks: func(s *stand, i emulator.Image) { s.a.DeleteManifest("x", i.Manifests[0].Digest) }},
		"a blob that the source lacks":  {host: hostA, breaks: func(s *stand, i emulator.Image) { s.a.DeleteBlob("x", i.Blobs[0].Digest) }},
		"a child that the target refuses": {host: hostB, breaks: func(s *stand, _ emulator.Image) {
			s.b.Inject(emulator.Fault{Match: child(http.MethodPut), Status: http.StatusForbidden})
		}},
		"a blob that the target refuses": {host: hostB, breaks: func(s *stand, _ emulator.Image) {
			s.b.Inject(emulator.Fault{Match: emulator.MatchKind(http.MethodPost, emulator.KindUpload), Status: http.StatusForbidden})
		}},
		"a child that does not come in time": {host: hostA, timeout: 5 * time.Second, breaks: func(s *stand, _ emulator.Image) {
			s.a.Inject(emulator.Fault{Match: child(http.MethodGet), Hang: true})
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				i := push(t, s.a, 1, "x", "one")
				push(t, s.a, 1, "x", "two")
				c.breaks(s, i)
				j := job(t, "x", "x", []string{"*"}, hostA, hostB)
				j.Retries = 1
				if c.timeout > 0 {
					j.Timeout = c.timeout
				}
				s.sync(t, j)
				for _, out := range s.records.list {
					tag := c.host + "/x:" + out.Target.Tag
					if out.Err == nil || !strings.Contains(out.Err.Error(), "sha256:") && c.timeout == 0 {
						t.Fatalf("outcome %+v", out)
					}
					if !strings.Contains(out.Err.Error(), tag) {
						t.Errorf("the error does not name %s: %v", tag, out.Err)
					}
					if other := map[string]string{"one": "two", "two": "one"}[out.Target.Tag]; strings.Contains(out.Err.Error(), "/x:"+other) {
						t.Errorf("the error of %s names another tag: %v", tag, out.Err)
					}
				}
			})
		})
	}
}

// TestPlanNamesImage: so it is in a plan, and where signatures of what is there already are looked for.
func TestPlanNamesImage(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		i := push(t, s.a, 1, "x", "v1")
		s.a.DeleteManifest("x", i.Manifests[0].Digest)
		results := s.mirror.Plan(t.Context(), []plan.Job{job(t, "x", "x", []string{"v1"}, hostA, hostB)})
		out := results[0].Outcomes[0]
		if out.Status != record.Failed || !strings.Contains(out.Err.Error(), hostA+"/x:v1") {
			t.Errorf("outcome %+v", out)
		}
	})
}

// TestErrorAboutImageIsAsShortAsItWas names the tag once.
func TestErrorAboutImageIsAsShortAsItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		push(t, s.a, 1, "x", "v1")
		fault(s.b, http.MethodPut, "v1", emulator.Fault{Status: http.StatusForbidden})
		s.sync(t, job(t, "x", "x", []string{"v1"}, hostA, hostB))
		if err := s.records.list[0].Err; strings.Count(err.Error(), hostB+"/x:v1") != 1 || strings.Contains(err.Error(), "needs") {
			t.Errorf("error %v", err)
		}
	})
}
