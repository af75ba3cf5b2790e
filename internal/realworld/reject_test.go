package realworld

import (
	"fmt"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// TestRejects has HAProxy refuse a part of all requests before a registry that has no referrers API, so that what refers to an image is
// written as a tag: no run may hang, whatever else of it fails, and one without refusals brings what is left. DRAY_TEST_ROUNDS=50 makes so
// many runs of each kind, by default it is one of some.
func TestRejects(t *testing.T) {
	runs := fulltest.Rounds(1, 1)
	for _, status := range []int{503, 429} {
		for _, percent := range []int{5, 10, 40} {
			t.Run(fmt.Sprintf("%d %% of %d", percent, status), func(t *testing.T) {
				t.Parallel()
				if runs == 1 && percent != 10 {
					t.Skip("DRAY_TEST_ROUNDS=50 makes 50 runs of each kind")
				}
				hung := 0
				for range runs {
					if rejected(t, status, percent) {
						hung++
					}
				}
				if hung > 0 {
					t.Errorf("%d of %d runs hung", hung, runs)
				}
			})
		}
	}
}

// rejected makes one run, and then one without refusals where it did not hang.
func rejected(t *testing.T, status, percent int) (hung bool) {
	t.Helper()
	t.Run("run", func(t *testing.T) {
		o, u := newOrigin(t, 3), newUser(t)
		s := counted(t, settings{}.start(t, "registry", folder(t)))
		calm := s.host
		s.behindHAProxy(t, rejects(status, percent))
		bring := func(host string) answer {
			return u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", o.host, app, host, app)))
		}
		a := bring(s.host)
		t.Logf("exit code %d after %s, %+v", a.code, a.took, a.doc.Totals)
		if hung = a.took >= timeout; hung {
			t.Log(tail(a.text))
			return
		}
		if a = bring(calm); a.code != 0 || a.doc.Totals.Failed != 0 {
			t.Errorf("the run without refusals: exit code %d\n%s", a.code, tail(a.text))
		}
		s.holds(t, app, o.tags, 3)
	})
	return hung
}
