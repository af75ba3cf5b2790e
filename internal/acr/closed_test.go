package acr_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/acr"
	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/azure"
	registries "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// closings are the ways in which a target's data plane is closed to dray.
func closings() map[string]func(w *world) {
	return map[string]func(w *world){
		"network rules": func(w *world) { w.target.Change(func(o *emulator.RegistryOptions) { o.NoPublicAccess = true }) },
		"no route":      func(w *world) { w.target.Change(func(o *emulator.RegistryOptions) { o.NoRoute = true }) },
		"no right to pull": func(w *world) {
			w.app.Ungrant(w.target.ID())
			w.app.Grant(w.target.ID(), emulator.ImportOnly)
		},
		"by the config": func(w *world) {
			w.access = acr.AccessNone
			w.target.Change(func(o *emulator.RegistryOptions) { o.NoPublicAccess = true })
		},
	}
}

// counts watches what is sent: POSTs of imports since the last call, and requests to the target's data plane that do more than look.
func counts(t *testing.T, w *world) (posts func() int) {
	t.Helper()
	w.before = func(r *http.Request) {
		if r.URL.Host != targetHost {
			return
		}
		if w.access == acr.AccessNone {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if r.Method != http.MethodHead && !strings.HasPrefix(r.URL.Path, "/oauth2/") && r.URL.Path != "/v2/" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
	}
	before := 0
	return func() int {
		n := len(w.cloud.Account().Imports) - before
		before += n
		return n
	}
}

// TestClosedPlane imports all kinds of sources where the target's data plane is closed: by the Resource Manager alone.
func TestClosedPlane(t *testing.T) {
	for name, shut := range closings() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				shut(w)
				w.stop(t)
				w.start(t)
				posts := counts(t, w)
				w.signIns["registry.example.com:5000"] = auth.Static(auth.Credential{Username: "ann", Password: "private-password"})
				w.origins["registry.example.com:5000"] = acr.Origin{Host: "registry.example.com:5000", Username: "ann", Password: "private-password"}
				w.cloud.Protect("private password", "private-password", "registry.example.com:5000")
				w.stop(t)
				w.start(t)
				public := push(t, w.hub, "library/hello-world", "latest", 1)
				private := push(t, w.private, "sourcerepo/sourceimage", "tag", 2)
				sibling := push(t, w.source.Content, "aci-helloworld", "latest", 3)
				pinned := push(t, w.source.Content, "pinned", "x", 4)
				byDigest := job(t, sourceHost+"/pinned@"+pinned.Digest, targetHost+"/pinned")
				byDigest.Targets[0] = byDigest.Targets[0].WithDigest(byDigest.Source.Digest)
				jobs := []plan.Job{
					job(t, "hello-world:latest", targetHost+"/hello-world"),
					job(t, "registry.example.com:5000/sourcerepo/sourceimage:tag", targetHost+"/sourceimage"),
					job(t, sourceHost+"/aci-helloworld:latest", targetHost+"/aci-helloworld"),
					byDigest,
				}
				for _, r := range w.run(t, jobs...) {
					all(t, r, record.Imported, "acr")
					if out := r.Outcomes[0]; !out.Unverified || !strings.Contains(out.EngineReason, "unverified") {
						t.Errorf("%s does not say that it is unverified: %q", out.Target, out.EngineReason)
					}
				}
				w.holds(t, "hello-world", "latest", public.Digest)
				w.holds(t, "sourceimage", "tag", private.Digest)
				w.holds(t, "aci-helloworld", "latest", sibling.Digest)
				if err := w.target.Content.Whole("pinned", pinned.Digest); err != nil {
					t.Error(err)
				}
				if n := posts(); n != len(jobs) {
					t.Errorf("%d imports", n)
				}
				for _, r := range w.run(t, jobs...) {
					all(t, r, record.Kept, "")
					if !r.Outcomes[0].Unverified {
						t.Errorf("%s is kept as if it had been looked at", r.Outcomes[0].Target)
					}
				}
				if n := posts(); n != 0 {
					t.Errorf("%d imports by the second run", n)
				}
				moved := push(t, w.hub, "library/hello-world", "latest", 5)
				all(t, w.run(t, jobs[0])[0], record.Imported, "acr")
				w.holds(t, "hello-world", "latest", moved.Digest)
				if n := posts(); n != 1 {
					t.Errorf("%d imports of a tag that moved", n)
				}
			})
		})
	}
}

// TestClosedProtected leaves what is there, and must not be moved, also where the store is lost.
func TestClosedProtected(t *testing.T) {
	for name, shut := range closings() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				foreign := push(t, w.target.Content, "app", "foreign", 9)
				own := push(t, w.source.Content, "app", "own", 1)
				push(t, w.source.Content, "app", "foreign", 1)
				shut(w)
				w.stop(t)
				w.start(t)
				j := job(t, sourceHost+"/app", targetHost+"/app", "own", "foreign")
				j.RefuseMoved = true
				run := func(want record.Status) {
					t.Helper()
					for _, out := range w.run(t, j)[0].Outcomes {
						if foreign := out.Target.Tag == "foreign"; foreign != (out.Status == record.Refused) && want != record.Refused || !foreign && out.Status != want {
							t.Errorf("%s is %s: %v %s", out.Target, out.Status, out.Err, out.Detail)
						}
					}
				}
				run(record.Imported)
				run(record.Kept)
				push(t, w.source.Content, "app", "own", 2)
				run(record.Refused) // it moved at the source
				w.stop(t)
				w.dir = t.TempDir()
				w.start(t)
				run(record.Refused)
				w.holds(t, "app", "own", own.Digest)
				w.holds(t, "app", "foreign", foreign.Digest)
				for _, one := range w.cloud.Account().Imports {
					if one.Mode != "NoForce" {
						t.Errorf("%+v", one)
					}
				}
			})
		})
	}
}

// TestClosedStop stops dray at the end of an import into a closed registry, once the operation is forgotten: the next run knows the tag, which must
// not move, as its own.
func TestClosedStop(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		closings()["network rules"](w)
		i := push(t, w.source.Content, "app", "v1", 1)
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		j.RefuseMoved = true
		ctx, cancel := context.WithCancel(t.Context())
		w.memory.forgotten = cancel
		w.stop(t)
		w.start(t)
		w.mirror.Sync(ctx, []plan.Job{j})
		w.memory.forgotten = nil
		w.stop(t)
		w.start(t)
		all(t, w.run(t, j)[0], record.Kept, "")
		w.holds(t, "app", "v1", i.Digest)
	})
}

// TestClosedByTag imports what only Azure can ask for into what only Azure reaches.
func TestClosedByTag(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		inBubble(t, nil, func(t *testing.T, w *world) {
			closings()["network rules"](w)
			posts := counts(t, w)
			i := push(t, w.source.Content, "app", "v1", 1)
			j := job(t, sourceHost+"/app:v1", targetHost+"/app")
			j.ResolveServer, j.RefuseMoved = true, refuse
			all(t, w.run(t, j)[0], record.Imported, "acr")
			w.holds(t, "app", "v1", i.Digest)
			push(t, w.source.Content, "app", "v1", 2)
			r := w.run(t, j)[0]
			if want := map[bool]record.Status{true: record.Kept, false: record.Imported}[refuse]; r.Outcomes[0].Status != want {
				t.Errorf("%s, want %s: %v", r.Outcomes[0].Status, want, r.Outcomes[0].Err)
			}
			if n := posts(); n != 2 {
				t.Errorf("%d imports", n)
			}
		})
	}
}

// TestRequiredPlane fails where the data plane is closed that is required.
func TestRequiredPlane(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		closings()["network rules"](w)
		w.access = acr.AccessRequired
		push(t, w.source.Content, "app", "v1", 1)
		out := w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))[0].Outcomes[0]
		if out.Status != record.Failed || !strings.Contains(out.Err.Error(), "is not allowed access") || !strings.Contains(out.Err.Error(), "dataPlane: auto") {
			t.Errorf("%s: %v", out.Status, out.Err)
		}
		if n := len(w.cloud.Account().Imports); n != 0 {
			t.Errorf("%d imports", n)
		}
	})
}

// TestPinnedSource imports by digest from a source that only Azure reaches: nothing has to be resolved.
func TestPinnedSource(t *testing.T) {
	for name, shut := range map[string]func(o *emulator.RegistryOptions){
		"network rules": func(o *emulator.RegistryOptions) { o.NoPublicAccess = true },
		"no route":      func(o *emulator.RegistryOptions) { o.NoRoute = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				i := push(t, w.source.Content, "app", "v1", 1)
				w.source.Change(shut)
				j := job(t, sourceHost+"/app@"+i.Digest, targetHost+"/app:v1")
				j.Engine, j.Referrers = "auto", plan.Referrers{All: true}
				all(t, w.run(t, j)[0], record.Imported, "acr")
				w.holds(t, "app", "v1", i.Digest)
				all(t, w.run(t, j)[0], record.Kept, "")
				if n := len(w.cloud.Account().Imports); n != 1 {
					t.Errorf("%d imports", n)
				}
				j.Engine = "copy"
				j.Targets[0] = j.Targets[0].Repository.Tag("v2")
				all(t, w.run(t, j)[0], record.Failed, "")
			})
		})
	}
}

// TestClosedReferrers imports what has come to refer to an image whose target cannot be looked at, once it is due: each manifest once, for all
// tags, also after a restart.
func TestClosedReferrers(t *testing.T) {
	for name, shut := range closings() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				shut(w)
				w.stop(t)
				w.start(t)
				posts := counts(t, w)
				i := push(t, w.source.Content, "app", "v1", 1)
				push(t, w.source.Content, "app", "latest", 1)
				sign(t, w.source.Content, i, "first")
				j := job(t, sourceHost+"/app", targetHost+"/app", "v1", "latest")
				j.Referrers, j.ReferrersInterval = plan.Referrers{All: true}, time.Hour
				run := func(what string, status record.Status, imports, questions int) {
					t.Helper()
					w.source.Reset()
					all(t, w.run(t, j)[0], status, "")
					if n := posts(); n != imports {
						t.Errorf("%s: %d imports", what, n)
					}
					if n := w.source.Count(func(r registries.Request) bool { return r.Kind == registries.KindReferrers }); n != questions {
						t.Errorf("%s: %d questions for referrers", what, n)
					}
				}
				run("at first", record.Imported, 2, len(i.Manifests)+1)
				run("unchanged", record.Kept, 0, 0)
				second := sign(t, w.source.Content, i, "second")
				run("not due", record.Kept, 0, 0)
				time.Sleep(time.Hour)
				run("one new signature", record.Kept, 1, len(i.Manifests)+1+1)
				if err := w.target.Content.Whole("app", second); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Hour)
				run("due, and unchanged", record.Kept, 0, len(i.Manifests)+1+1)
				w.stop(t)
				w.start(t)
				time.Sleep(time.Hour)
				third := sign(t, w.source.Content, i, "third")
				run("after a restart", record.Kept, 1, len(i.Manifests)+1+2)
				if err := w.target.Content.Whole("app", third); err != nil {
					t.Error(err)
				}
				for _, one := range w.cloud.Account().Imports {
					if len(one.TargetTags) == 0 && (len(one.Untagged) != 1 || one.Untagged[0] != "app") {
						t.Errorf("%+v", one)
					}
				}
			})
		})
	}
}

// TestClosedReferrersProtected overwrites nothing that somebody else has put under the tag of a signature, also where the store is lost.
func TestClosedReferrersProtected(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		tag := strings.Replace(i.Digest, ":", "-", 1) + ".sig"
		foreign := push(t, w.target.Content, "app", tag, 9)
		closings()["network rules"](w)
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		j.RefuseMoved, j.Referrers, j.ReferrersInterval = true, plan.Referrers{All: true}, time.Hour
		all(t, w.run(t, j)[0], record.Imported, "acr")
		push(t, w.source.Content, "app", tag, 5)
		untagged := sign(t, w.source.Content, i, "signed")
		time.Sleep(time.Hour)
		all(t, w.run(t, j)[0], record.Kept, "")
		w.stop(t)
		w.dir = t.TempDir()
		w.start(t)
		all(t, w.run(t, j)[0], record.Refused, "")
		w.holds(t, "app", "v1", i.Digest)
		w.holds(t, "app", tag, foreign.Digest)
		if err := w.target.Content.Whole("app", untagged); err != nil {
			t.Error(err)
		}
		for _, one := range w.cloud.Account().Imports {
			if one.Mode != "NoForce" {
				t.Errorf("%+v", one)
			}
		}
	})
}

// sign pushes what refers to an image, and returns its digest.
func sign(t *testing.T, to *registries.Registry, i registries.Image, text string) string {
	t.Helper()
	d, err := to.PutReferrer("app", i.Digest, "application/signature", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestClosedReferrersSplit: where one of several repositories has something else under the tag of a signature, the others get theirs.
func TestClosedReferrersSplit(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		tag := strings.Replace(i.Digest, ":", "-", 1) + ".sig"
		signature := push(t, w.source.Content, "app", tag, 5)
		foreign := push(t, w.target.Content, "two", tag, 9)
		closings()["network rules"](w)
		j := job(t, sourceHost+"/app:v1", targetHost+"/one")
		for _, path := range []string{"two", "three"} {
			j.Targets = append(j.Targets, job(t, sourceHost+"/app:v1", targetHost+"/"+path).Targets...)
		}
		j.RefuseMoved, j.Referrers = true, plan.Referrers{All: true}
		all(t, w.run(t, j)[0], record.Imported, "acr")
		var asked []int
		for _, one := range w.cloud.Account().Imports {
			if strings.HasSuffix(one.TargetTags[0], tag) {
				asked = append(asked, len(one.TargetTags))
			}
		}
		if !slices.Equal(asked, []int{3, 1, 1, 1}) {
			t.Errorf("the tag of the signature was asked for in so many repositories at once: %v", asked)
		}
		for path, want := range map[string]string{"one": signature.Digest, "two": foreign.Digest, "three": signature.Digest} {
			w.holds(t, path, "v1", i.Digest)
			w.holds(t, path, tag, want)
		}
	})
}
