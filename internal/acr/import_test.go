package acr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/acr"
	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/diff"
	emulator "github.com/draysync/dray/internal/emulator/azure"
	registries "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

const target = "/subscriptions/" + subscriptionID + "/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/sourceregistry"

// TestScenarios are those of Microsoft's article on importing, and what Azure's command line is tested with. The body of each request is
// what that sends, but for the digest by which the source is pinned.
func TestScenarios(t *testing.T) {
	for _, tt := range []struct {
		name string
		// prepare pushes the image, and returns the jobs and what is to be there: repository:tag, or repository alone.
		prepare func(t *testing.T, w *world) (image registries.Image, job plan.Job, there []string)
		body    string
	}{
		{"Docker Hub", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			return push(t, w.hub, "library/hello-world", "latest", 1), job(t, "hello-world:latest", targetHost+"/hello-world"), []string{"hello-world:latest"}
		}, `{"source": {"registryUri": "docker.io", "sourceImage": "library/hello-world@DIGEST"}, "targetTags": ["hello-world:latest"], "mode": "NoForce"}`},
		{"Docker Hub with an account", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			w.origins["docker.io"] = acr.Origin{Host: "docker.io", Username: "hub_user", Password: "hub_pat"}
			return push(t, w.hub, "tensorflow/tensorflow", "latest-gpu", 1), job(t, "tensorflow/tensorflow:latest-gpu", targetHost+"/tensorflow"), []string{"tensorflow:latest-gpu"}
		}, `{"source": {"registryUri": "docker.io", "credentials": {"username": "hub_user", "password": "hub_pat"}, "sourceImage": "tensorflow/tensorflow@DIGEST"}, "targetTags": ["tensorflow:latest-gpu"], "mode": "NoForce"}`},
		{"Microsoft's registry, a Windows image", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			i := registries.SingleArch(1, "windows/amd64", registries.ImageOptions{Layers: 2, LayerSize: 1000})
			if err := i.Push(w.windows, "windows/servercore", "ltsc2019"); err != nil {
				t.Fatal(err)
			}
			return i, job(t, "mcr.microsoft.com/windows/servercore:ltsc2019", targetHost+"/servercore:ltsc2019"), []string{"servercore:ltsc2019"}
		}, `{"source": {"registryUri": "mcr.microsoft.com", "sourceImage": "windows/servercore@DIGEST"}, "targetTags": ["servercore:ltsc2019"], "mode": "NoForce"}`},
		{"a registry of the same subscription", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			return push(t, w.source.Content, "aci-helloworld", "latest", 1), job(t, sourceHost+"/aci-helloworld:latest", targetHost+"/aci-helloworld"), []string{"aci-helloworld:latest"}
		}, `{"source": {"resourceId": "` + target + `", "sourceImage": "aci-helloworld@DIGEST"}, "targetTags": ["aci-helloworld:latest"], "mode": "NoForce"}`},
		{"by digest, without a tag", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			i := push(t, w.source.Content, "aci-helloworld", "latest", 1)
			j := job(t, sourceHost+"/aci-helloworld@"+i.Digest, targetHost+"/aci-helloworld")
			j.Targets[0] = j.Targets[0].WithDigest(j.Source.Digest)
			return i, j, []string{"aci-helloworld"}
		}, `{"source": {"resourceId": "` + target + `", "sourceImage": "aci-helloworld@DIGEST"}, "untaggedTargetRepositories": ["aci-helloworld"], "mode": "NoForce"}`},
		{"by digest, with a tag", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			i := push(t, w.source.Content, "azure-cli", "x", 1)
			return i, job(t, sourceHost+"/azure-cli@"+i.Digest, targetHost+"/repository_by_digest:tag_by_digest"), []string{"repository_by_digest:tag_by_digest"}
		}, `{"source": {"resourceId": "` + target + `", "sourceImage": "azure-cli@DIGEST"}, "targetTags": ["repository_by_digest:tag_by_digest"], "mode": "NoForce"}`},
		{"another subscription", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			w.signIns["besideregistry.azurecr.io"] = w.entra
			w.origins["besideregistry.azurecr.io"] = acr.Origin{ResourceID: w.beside.ID()}
			return push(t, w.beside.Content, "samples/aci-helloworld", "latest", 1), job(t, "besideregistry.azurecr.io/samples/aci-helloworld:latest", targetHost+"/aci-hello-world"), []string{"aci-hello-world:latest"}
		}, `{"source": {"resourceId": "/subscriptions/` + thirdSub + `/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/besideregistry", "sourceImage": "samples/aci-helloworld@DIGEST"}, "targetTags": ["aci-hello-world:latest"], "mode": "NoForce"}`},
		{"another tenant with a service principal", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			app := w.foreign.AddApp(emulator.AppOptions{ClientID: "abroad-app", Secret: "abroad-secret"})
			app.Grant(w.abroad.ID(), emulator.AcrPull)
			w.signIns["abroadregistry.azurecr.io"] = auth.Static(auth.Credential{Username: "abroad-app", Password: "abroad-secret"})
			w.origins["abroadregistry.azurecr.io"] = acr.Origin{Host: "abroadregistry.azurecr.io", Username: "abroad-app", Password: "abroad-secret"}
			return push(t, w.abroad.Content, "sourcerrepo", "tag", 1), job(t, "abroadregistry.azurecr.io/sourcerrepo:tag", targetHost+"/targetimage"), []string{"targetimage:tag"}
		}, `{"source": {"registryUri": "abroadregistry.azurecr.io", "credentials": {"username": "abroad-app", "password": "abroad-secret"}, "sourceImage": "sourcerrepo@DIGEST"}, "targetTags": ["targetimage:tag"], "mode": "NoForce"}`},
		{"another tenant with a token of a repository", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			w.abroad.AddToken("puller", "token-password", "sourcerrepo", "pull")
			w.signIns["abroadregistry.azurecr.io"] = auth.Static(auth.Credential{Username: "puller", Password: "token-password"})
			w.origins["abroadregistry.azurecr.io"] = acr.Origin{Host: "abroadregistry.azurecr.io", Username: "puller", Password: "token-password"}
			return push(t, w.abroad.Content, "sourcerrepo", "tag", 1), job(t, "abroadregistry.azurecr.io/sourcerrepo:tag", targetHost+"/targetimage"), []string{"targetimage:tag"}
		}, `{"source": {"registryUri": "abroadregistry.azurecr.io", "credentials": {"username": "puller", "password": "token-password"}, "sourceImage": "sourcerrepo@DIGEST"}, "targetTags": ["targetimage:tag"], "mode": "NoForce"}`},
		{"a private registry elsewhere", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			w.cloud.Protect("private password", "private-password", "registry.example.com:5000")
			w.signIns["registry.example.com:5000"] = auth.Static(auth.Credential{Username: "ann", Password: "private-password"})
			w.origins["registry.example.com:5000"] = acr.Origin{Host: "registry.example.com:5000", Username: "ann", Password: "private-password"}
			return push(t, w.private, "sourcerepo/sourceimage", "tag", 1), job(t, "registry.example.com:5000/sourcerepo/sourceimage:tag", targetHost+"/sourceimage"), []string{"sourceimage:tag"}
		}, `{"source": {"registryUri": "registry.example.com:5000", "credentials": {"username": "ann", "password": "private-password"}, "sourceImage": "sourcerepo/sourceimage@DIGEST"}, "targetTags": ["sourceimage:tag"], "mode": "NoForce"}`},
		{"two tags at once", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			i := push(t, w.source.Content, "app", "v1", 1)
			push(t, w.source.Content, "app", "latest", 1)
			return i, job(t, sourceHost+"/app", targetHost+"/app", "v1", "latest"), []string{"app:v1", "app:latest"}
		}, `{"source": {"resourceId": "` + target + `", "sourceImage": "app@DIGEST"}, "targetTags": ["app:latest", "app:v1"], "mode": "NoForce"}`},
		{"within one registry", func(t *testing.T, w *world) (registries.Image, plan.Job, []string) {
			w.origins[targetHost] = acr.Origin{ResourceID: w.target.ID()}
			return push(t, w.target.Content, "staging/app", "v1", 1), job(t, targetHost+"/staging/app:v1", targetHost+"/app:released"), []string{"app:released"}
		}, `{"source": {"resourceId": "` + strings.Replace(target, "sourceregistry", "targetregistry", 1) + `", "sourceImage": "staging/app@DIGEST"}, "targetTags": ["app:released"], "mode": "NoForce"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				image, j, there := tt.prepare(t, w)
				w.stop(t)
				w.start(t) // with what was prepared
				r := w.run(t, j)
				all(t, r[0], record.Imported, "acr")
				for _, name := range there {
					if repository, tag, tagged := strings.Cut(name, ":"); tagged {
						w.holds(t, repository, tag, image.Digest)
					} else if err := w.target.Content.Whole(repository, image.Digest); err != nil || len(w.target.Content.Tags(repository)) > 0 {
						t.Error(err, w.target.Content.Tags(repository))
					}
				}
				imports := w.cloud.Account().Imports
				if want := strings.ReplaceAll(tt.body, "DIGEST", image.Digest); len(imports) != 1 || imports[0].Body != want {
					t.Errorf("%d imports:\n got %s\nwant %s", len(imports), imports[0].Body, want)
				}
				all(t, w.run(t, j)[0], record.Kept, "")
				if n := len(w.cloud.Account().Imports); n != 1 {
					t.Errorf("%d imports after another run", n)
				}
			})
		})
	}
}

// TestUnreachableSource imports from a registry without public access, by tag: what is new shows in the target only. The body is what
// Azure's command line sends, to the byte.
func TestUnreachableSource(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.source.Change(func(o *emulator.RegistryOptions) { o.NoPublicAccess = true })
		first := push(t, w.source.Content, "aci-helloworld", "latest", 1)
		j := job(t, sourceHost+"/aci-helloworld:latest", targetHost+"/aci-helloworld")
		j.ResolveServer = true
		r := w.run(t, j)
		all(t, r[0], record.Imported, "acr")
		w.holds(t, "aci-helloworld", "latest", first.Digest)
		if got := string(r[0].Outcomes[0].Digest); got != first.Digest {
			t.Errorf("the outcome has %q", got)
		}
		want := `{"source": {"resourceId": "` + target + `", "sourceImage": "aci-helloworld:latest"}, "targetTags": ["aci-helloworld:latest"], "mode": "NoForce"}`
		if got := w.cloud.Account().Imports[0].Body; got != want {
			t.Errorf(" got %s\nwant %s", got, want)
		}
		all(t, w.run(t, j)[0], record.Kept, "acr")
		second := push(t, w.source.Content, "aci-helloworld", "latest", 2)
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "aci-helloworld", "latest", second.Digest)
		if n := len(w.source.Requests()); n > 0 {
			t.Errorf("the source was asked %d times", n)
		}
	})
}

// TestRace has the source's tag move while Azure copies: the target gets what was planned, whole, and the next run follows.
func TestRace(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		first := push(t, w.source.Content, "app", "v1", 1)
		var second registries.Image
		w.cloud.Inject(emulator.Behavior{Times: 1, During: func() {
			second = registries.MultiArch(2, registries.ImageOptions{Layers: 1, LayerSize: 1000})
			if err := second.Push(w.source.Content, "app", "v1"); err != nil {
				t.Error(err)
			}
		}})
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", first.Digest)
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", second.Digest)
	})
}

// TestRaceByTag is the same where the source cannot be reached, so that it is imported by its tag: what dangles is found and repaired.
func TestRaceByTag(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		push(t, w.source.Content, "app", "v1", 1)
		second := registries.MultiArch(2, registries.ImageOptions{Layers: 1, LayerSize: 1000})
		w.cloud.Inject(emulator.Behavior{Times: 1, During: func() {
			if err := second.Push(w.source.Content, "app", "v1"); err != nil {
				t.Error(err)
			}
		}})
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		j.ResolveServer = true
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", second.Digest)
		if n := len(w.cloud.Account().Imports); n != 2 {
			t.Errorf("%d imports", n)
		}
	})
}

// TestLockedTag does not move a tag that is locked, which Azure itself would; others of the same image go on.
func TestLockedTag(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		old := push(t, w.target.Content, "app", "v1", 9)
		push(t, w.target.Content, "app", "open", 9)
		i := push(t, w.source.Content, "app", "v1", 1)
		push(t, w.source.Content, "app", "open", 1)
		push(t, w.source.Content, "app", "new", 1)
		w.target.Lock("app", "v1", true)
		r := w.run(t, job(t, sourceHost+"/app", targetHost+"/app", "v1", "open", "new"))[0]
		for _, out := range r.Outcomes {
			want := record.Imported
			if out.Target.Tag == "v1" {
				want = record.Refused
			}
			if out.Status != want {
				t.Errorf("%s is %s: %v", out.Target, out.Status, out.Err)
			}
		}
		w.holds(t, "app", "v1", old.Digest)
		w.holds(t, "app", "open", i.Digest)
		w.holds(t, "app", "new", i.Digest)
		modes := ""
		for _, one := range w.cloud.Account().Imports {
			modes += fmt.Sprint(one.Mode, one.TargetTags, " ")
		}
		if want := "NoForce[app:new] Force[app:open] "; modes != want {
			t.Errorf("%q, want %q", modes, want)
		}
		if n := strings.Count(w.log.text(), "the tag is locked"); n != 1 {
			t.Errorf("%d lines of the log tell of the locked tag", n)
		}
	})
}

// TestStuck ends an operation that never ends at its deadline, and believes the target: what has arrived has arrived.
func TestStuck(t *testing.T) {
	for name, behavior := range map[string]emulator.Behavior{"nothing arrives": {Stuck: true}, "it never says so": {Silent: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				push(t, w.source.Content, "app", "v1", 1)
				w.cloud.Inject(behavior)
				began := time.Now()
				out := w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))[0].Outcomes[0]
				took := time.Since(began)
				if took < 30*time.Minute || took > 32*time.Minute {
					t.Errorf("it took %s", took)
				}
				if behavior.Silent != (out.Status == record.Imported) || behavior.Stuck && code(out.Err) != "timeout" {
					t.Errorf("%s: %v", out.Status, out.Err)
				}
			})
		})
	}
}

func code(err error) string {
	e, ok := errors.AsType[interface {
		error
		Code() string
	}](err)
	if !ok {
		return ""
	}
	return e.Code()
}

// TestRestart ends dray while Azure imports: the next start takes the operation up again, and does not begin it anew.
func TestRestart(t *testing.T) {
	inBubble(t, func(o *emulator.Options) { o.Takes = 5 * time.Minute }, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		for range 3 {
			done := make(chan struct{})
			ctx, cancel := contextFor(t, time.Minute)
			go func() {
				defer close(done)
				w.mirror.Sync(ctx, []plan.Job{j})
			}()
			<-done
			cancel()
			w.stop(t)
			w.start(t)
		}
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", i.Digest)
		if n := len(w.cloud.Account().Imports); n != 1 {
			t.Errorf("%d imports were begun", n)
		}
	})
}

// TestStopAtTheStart stops dray once Azure has accepted an import, before that is saved: the next start takes the operation up all the same.
func TestStopAtTheStart(t *testing.T) {
	inBubble(t, func(o *emulator.Options) { o.Takes = 5 * time.Minute }, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		ctx, cancel := context.WithCancel(t.Context())
		w.memory.begun = cancel
		w.stop(t)
		w.start(t)
		w.mirror.Sync(ctx, []plan.Job{j})
		w.memory.begun = nil
		w.stop(t)
		w.start(t)
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", i.Digest)
		if n := len(w.cloud.Account().Imports); n != 1 {
			t.Errorf("%d imports were begun", n)
		}
	})
}

// TestBatchOfAnotherRun ends a run while it imports one of two tags of an image, before it comes to the other: the next run, which comes to that
// one first, imports it, and does not take the end of the last one for its own. Nor is a tag imported that a batch left behind does not have.
func TestBatchOfAnotherRun(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		j := job(t, sourceHost+"/app", targetHost+"/app", "v1", "v2")
		order := func(tag string, alike ...string) mirror.Order {
			source, target := j.Source.Repository.Digest(image.Digest(i.Digest)), j.Targets[0].Repository
			o := mirror.Order{Action: diff.Action{Source: source, Target: target.Tag(tag), Digest: image.Digest(i.Digest)}, Job: j.Name, Since: time.Now()}
			for _, tag := range alike {
				o.Alike = append(o.Alike, mirror.Alike{Target: target.Tag(tag)})
			}
			return o
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := w.engine.Import(ended, order("v1", "v1", "v2"), silent{}); err == nil {
			t.Error("a run that has ended imports")
		}
		time.Sleep(time.Minute)
		for _, o := range []mirror.Order{order("v2", "v1", "v2"), order("v3", "v3", "v4")} {
			if _, err := w.engine.Import(t.Context(), o, silent{}); err != nil {
				t.Error(err)
			}
			w.holds(t, "app", o.Target.Tag, i.Digest)
		}
	})
}

// TestForeignLocation is sent to another host for its polls: no token goes there, and the import is a failure that says so.
func TestForeignLocation(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		push(t, w.source.Content, "app", "v1", 1)
		w.cloud.Inject(emulator.Behavior{LocationHost: "evil.example.com", Stuck: true})
		out := w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))[0].Outcomes[0]
		if out.Status != record.Failed || !strings.Contains(out.Err.Error(), `"evil.example.com"`) {
			t.Errorf("%s: %v", out.Status, out.Err)
		}
	})
}

// TestFailures maps what Azure says to a code, a side and whether another try or a copy is made.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name     string
		behavior emulator.Behavior
		engine   string // of the mapping
		status   record.Status
		code     string
		side     mirror.Side
		made     string // engine that has made it
		imports  int
	}{
		{"failed with 200", emulator.Behavior{Fail: emulator.CopyingBlobs(), FailedOK: true}, "acr", record.Failed, "transient-copy", mirror.Target, "", 1},
		{"copying blobs", emulator.Behavior{Fail: emulator.CopyingBlobs()}, "acr", record.Failed, "transient-copy", mirror.Target, "", 1},
		{"copying blobs, copied", emulator.Behavior{Fail: emulator.CopyingBlobs()}, "auto", record.Imported, "", "", "copy", 1},
		{"copying blobs, once", emulator.Behavior{Fail: emulator.CopyingBlobs(), Times: 1}, "acr retry", record.Imported, "", "", "acr", 2},
		{"source limited", emulator.Behavior{Fail: emulator.SourceLimited()}, "acr", record.Deferred, "source-rate-limited", mirror.Source, "", 1},
		{"out of space", emulator.Behavior{Fail: emulator.OutOfSpace()}, "auto", record.Failed, "", mirror.Target, "", 1},
		{"throttled", emulator.Behavior{Refuse: emulator.Throttled(2 * time.Minute), Times: 1}, "acr", record.Imported, "", "", "acr", 1},
		{"broken once", emulator.Behavior{Refuse: emulator.ServerBroken(http.StatusInternalServerError), Times: 1}, "acr", record.Imported, "", "", "acr", 1},
		{"lost", emulator.Behavior{Lose: true, Times: 1}, "acr", record.Imported, "", "", "acr", -1},
		{"at once", emulator.Behavior{Sync: true}, "acr", record.Imported, "", "", "acr", 1},
		{"done without a body", emulator.Behavior{Done: http.StatusNoContent}, "acr", record.Imported, "", "", "acr", 1},
		{"accepted with null", emulator.Behavior{Accepted: emulator.NullBody, Newest: true}, "acr", record.Imported, "", "", "acr", 1},
		{"accepted with JSON", emulator.Behavior{Accepted: emulator.JSONBody, RetryAfter: -1}, "acr", record.Imported, "", "", "acr", 1},
		{"seen late", emulator.Behavior{Lag: 20 * time.Second}, "acr", record.Imported, "", "", "acr", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				push(t, w.source.Content, "app", "v1", 1)
				w.app.Grant(w.target.ID(), emulator.AcrPush)
				w.cloud.Inject(tt.behavior)
				j := job(t, sourceHost+"/app:v1", targetHost+"/app")
				engine, retry, _ := strings.Cut(tt.engine, " ")
				j.Engine = engine
				if retry != "" {
					j.Retries = 3
				}
				out := w.run(t, j)[0].Outcomes[0]
				side, _ := errors.AsType[*mirror.SideError](out.Err)
				if out.Status != tt.status || tt.code != "" && code(out.Err) != tt.code || tt.made != "" && out.Engine != tt.made || tt.side != "" && side.Side != tt.side {
					t.Errorf("%s by %s: %q %v", out.Status, out.Engine, code(out.Err), out.Err)
				}
				if n := len(w.cloud.Account().Imports); tt.imports >= 0 && n != tt.imports {
					t.Errorf("%d imports, want %d", n, tt.imports)
				}
			})
		})
	}
}

// TestConflict has somebody else write the tag meanwhile: the same image is a success, another one is moved.
func TestConflict(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprint(same), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				i := push(t, w.source.Content, "app", "v1", 1)
				seed := int64(2)
				if same {
					seed = 1
				}
				w.cloud.Inject(emulator.Behavior{Times: 1, Match: func(emulator.Import) bool {
					other := registries.MultiArch(seed, registries.ImageOptions{Layers: 1, LayerSize: 1000})
					go func() { _ = other.Push(w.target.Content, "app", "v1") }() // what is missing shows below
					return true
				}, Fail: emulator.TagExists("app", "v1")})
				all(t, w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))[0], record.Imported, "acr")
				w.holds(t, "app", "v1", i.Digest)
				if n := len(w.cloud.Account().Imports); same != (n == 1) {
					t.Errorf("%d imports", n)
				}
			})
		})
	}
}

// TestTwoHundred imports 200 images: never more at once than configured, as many a second, and Azure's pause is obeyed.
func TestTwoHundred(t *testing.T) {
	fulltest.Long(t)
	inBubble(t, nil, func(t *testing.T, w *world) {
		var tags []string
		for i := range 200 {
			tags = append(tags, fmt.Sprintf("v%d", i))
			push(t, w.source.Content, "app", tags[i], int64(i))
		}
		throttled := 0
		w.cloud.Inject(emulator.Behavior{Times: 1, Match: func(emulator.Import) bool { throttled++; return throttled > 50 }, Refuse: emulator.Throttled(2 * time.Minute)})
		began := time.Now()
		r := w.run(t, job(t, sourceHost+"/app", targetHost+"/app", tags...))[0]
		all(t, r, record.Imported, "acr")
		a := w.cloud.Account()
		if n := a.Highest["targetregistry"]; n != 4 {
			t.Errorf("%d imports at once", n)
		}
		if len(a.Imports) != 200 || a.Early > 0 {
			t.Errorf("%d imports, %d polls before their time", len(a.Imports), a.Early)
		}
		gap, longest := time.Hour, time.Duration(0)
		for i, one := range a.Imports[1:] {
			between := one.Started.Sub(a.Imports[i].Started)
			gap, longest = min(gap, between), max(longest, between)
		}
		if gap < 499*time.Millisecond || longest < 2*time.Minute {
			t.Errorf("imports were begun %s apart at least, %s at the most", gap, longest)
		}
		t.Logf("200 imports in %s", time.Since(began))
	})
}

// TestNoByte imports an image of which no byte passes through dray.
func TestNoByte(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		all(t, w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))[0], record.Imported, "acr")
		blobs := func(r registries.Request) bool {
			return r.Kind == registries.KindBlob || r.Kind == registries.KindUpload
		}
		if n := w.source.Count(blobs) + w.target.Count(blobs); n > 0 {
			t.Errorf("%d requests for blobs", n)
		}
		w.holds(t, "app", "v1", i.Digest)
	})
}

// TestIndexOfBlobs: what an index lists besides manifests is for the registry to keep, and not looked for among manifests.
func TestIndexOfBlobs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		layer := []byte("a layer")
		body := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`,
			w.source.Content.PutBlob("app", layer), len(layer))
		digest, err := w.source.Content.PutManifest("app", "cache", image.MediaTypeOCIIndex, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		all(t, w.run(t, job(t, sourceHost+"/app:cache", targetHost+"/app"))[0], record.Imported, "acr")
		w.holds(t, "app", "cache", digest)
	})
}

// TestReferrers are imported with the image, each by its digest, before the tag.
func TestReferrers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		signature, err := w.source.Content.PutReferrer("app", i.Digest, "application/signature", []byte("signed"))
		if err != nil {
			t.Fatal(err)
		}
		j := job(t, sourceHost+"/app:v1", targetHost+"/app")
		j.Referrers = plan.Referrers{All: true}
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", i.Digest)
		if err := w.target.Content.Whole("app", signature); err != nil {
			t.Error(err)
		}
		imports := w.cloud.Account().Imports
		if len(imports) != 2 || len(imports[0].Untagged) != 1 || imports[1].TargetTags[0] != "app:v1" {
			t.Errorf("%+v", imports)
		}
	})
}

// TestSignIn says clearly why Azure cannot be signed in to.
func TestSignIn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(w *world)
		text    string
		advice  string
	}{
		{"expired", func(w *world) { w.app.ExpireSecret() }, "expired", "az ad app credential reset"},
		{"wrong secret", func(w *world) { w.credential.ClientSecret = "other" }, "secret", "azure.credential"},
		{"revoked", func(w *world) { w.app.Revoke() }, "disabled", "enabled again"},
		{"wrong tenant", func(w *world) { w.credential.TenantID = "99999999-9999-9999-9999-999999999999" }, "tenant", "azure.credential"},
		{"another tenant", func(w *world) { w.credential.TenantID = otherTenant }, "application", "azure.credential"},
		{"no credential at all", func(w *world) { w.credential = azure.Credential{Kind: azure.KindManagedIdentity} }, "managed identity", "azure.credential"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				push(t, w.hub, "library/hello-world", "latest", 1)
				tt.prepare(w)
				w.stop(t)
				w.start(t)
				r := w.run(t, job(t, "hello-world:latest", targetHost+"/hello-world"))[0]
				out := r.Outcomes[0]
				if out.Status != record.Failed || code(out.Err) != "azure-sign-in" || !strings.Contains(strings.ToLower(out.Err.Error()), tt.text) ||
					!strings.Contains(out.Err.Error(), tt.advice) {
					t.Errorf("%s: %q %v", out.Status, code(out.Err), out.Err)
				}
				t.Log(out.Err)
			})
		})
	}
}

// TestTokensLapse has all tokens lapse while an import runs, under a clock that is ahead, and one that is behind.
func TestTokensLapse(t *testing.T) {
	fulltest.Long(t)
	for _, skew := range []time.Duration{0, 4 * time.Minute, -4 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			short := func(o *emulator.Options) {
				o.EntraTTL, o.RefreshTTL, o.AccessTTL, o.Skew, o.Takes = 20*time.Minute, 25*time.Minute, 15*time.Minute, skew, 90*time.Minute
			}
			inBubble(t, short, func(t *testing.T, w *world) {
				w.timeout = 2 * time.Hour
				w.stop(t)
				w.start(t)
				i := push(t, w.source.Content, "app", "v1", 1)
				all(t, w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))[0], record.Imported, "acr")
				w.holds(t, "app", "v1", i.Digest)
			})
		})
	}
}

// TestSourceCircuit begins no import from a source that has refused Azure, also none that waited for its slot.
func TestSourceCircuit(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.parallel = 2
		w.stop(t)
		w.start(t)
		var tags []string
		for i := range 10 {
			tags = append(tags, fmt.Sprintf("v%d", i))
			push(t, w.source.Content, "app", tags[i], int64(i))
		}
		w.cloud.Inject(emulator.Behavior{Fail: emulator.SourceLimited()})
		all(t, w.run(t, job(t, sourceHost+"/app", targetHost+"/app", tags...))[0], record.Deferred, "acr")
		if n := len(w.cloud.Account().Imports); n > 2 {
			t.Errorf("%d imports were asked for", n)
		}
	})
}

// TestReferrersUnlisted brings what refers to an image whose source does not let the account list tags.
func TestReferrersUnlisted(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.abroad.AddToken("puller", "token-password", "app", "pull")
		w.signIns["abroadregistry.azurecr.io"] = auth.Static(auth.Credential{Username: "puller", Password: "token-password"})
		w.origins["abroadregistry.azurecr.io"] = acr.Origin{Host: "abroadregistry.azurecr.io", Username: "puller", Password: "token-password"}
		w.stop(t)
		w.start(t)
		w.abroad.Inject(registries.Fault{Status: http.StatusForbidden, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/tags/list") }})
		i := push(t, w.abroad.Content, "app", "v1", 1)
		signature := registries.SingleArch(7, "linux/amd64", registries.ImageOptions{Layers: 1, LayerSize: 10})
		tag := strings.Replace(i.Digest, ":", "-", 1) + ".sig"
		if err := signature.Push(w.abroad.Content, "app", tag); err != nil {
			t.Fatal(err)
		}
		j := job(t, "abroadregistry.azurecr.io/app:v1", targetHost+"/app")
		j.Referrers = plan.Referrers{All: true}
		all(t, w.run(t, j)[0], record.Imported, "acr")
		w.holds(t, "app", "v1", i.Digest)
		w.holds(t, "app", tag, signature.Digest)
	})
}

// TestCopyCures has a row for each cause for which auto copies what Azure could not import.
func TestCopyCures(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"the target cannot be looked up": func(w *world) {
			w.app.Ungrant(w.target.ID())
			w.app.Grant(w.target.ID(), emulator.AcrPush)
		},
		"the source cannot be looked up": func(w *world) { w.unseen = sourceHost },
		"the source allows Azure no pulls": func(w *world) {
			w.cloud.Inject(emulator.Behavior{Fail: emulator.SourceLimited()})
		},
		"blobs were not copied": func(w *world) { w.cloud.Inject(emulator.Behavior{Fail: emulator.CopyingBlobs()}) },
		"the source may not be read by Azure": func(w *world) {
			w.app.Ungrant(w.source.ID())
			w.app.Grant(w.source.ID(), emulator.AcrPull)
		},
		"tags may not be listed": func(w *world) {
			w.source.Inject(registries.Fault{Status: http.StatusForbidden, Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/tags/list") }})
			w.cloud.Inject(emulator.Behavior{Fail: emulator.CopyingBlobs()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				w.app.Grant(w.target.ID(), emulator.AcrPush)
				spoil(w)
				i := push(t, w.source.Content, "app", "v1", 1)
				j := job(t, sourceHost+"/app:v1", targetHost+"/app")
				j.Engine, j.Referrers = "auto", plan.Referrers{All: true}
				all(t, w.run(t, j)[0], record.Imported, "copy")
				w.holds(t, "app", "v1", i.Digest)
			})
		})
	}
}
