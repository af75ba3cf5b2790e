package acr_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/azure"
	registries "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
)

// TestProtectedTags has a rival push and lock tags, dray be killed and started again, and imports fail, at random steps of both engines. A
// tag that was protected, by moved: refuse or by a lock, never changes; and what is not protected follows in the end.
// DRAY_INTERLEAVINGS says how many are run.
func TestProtectedTags(t *testing.T) {
	fulltest.Long(t)
	n, err := strconv.Atoi(os.Getenv("DRAY_INTERLEAVINGS"))
	if err != nil {
		n = 20
	}
	for seed := range n {
		t.Run(strconv.Itoa(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { newInterleaving(t, uint64(seed)).run() }) }) //nolint:gosec // a small number
	}
}

// interleaving is one random course of things.
type interleaving struct {
	*world
	t       *testing.T
	job     plan.Job
	refuse  bool
	copying bool // by dray itself, so that a tag is looked at and written in two requests
	tags    []string

	mu     sync.Mutex
	random *rand.Rand
	steps  int
	killAt int
	kill   context.CancelFunc
	quiet  bool
	// rival is what tags hold by somebody else's doing, and locked what they held as they were locked.
	rival, locked map[string]string
}

func newInterleaving(t *testing.T, seed uint64) *interleaving {
	i := &interleaving{
		world: newWorld(t, nil), t: t, random: rand.New(rand.NewPCG(seed, 17)), rival: map[string]string{}, locked: map[string]string{}, //nolint:gosec // a test
	}
	engine := []string{"acr", "acr", "auto", "copy"}[i.random.IntN(4)]
	i.refuse, i.tags = i.random.IntN(3) > 0, []string{"v1", "v2", "v3"}
	failing := i.random.IntN(3) == 0
	i.copying = engine == "copy" || engine == "auto" && failing
	if i.copying {
		i.tags = i.tags[:1]
	}
	i.app.Grant(i.target.ID(), emulator.AcrPush)
	for k, tag := range i.tags {
		push(t, i.source.Content, "app", tag, int64(1+k%2))
		if i.random.IntN(3) == 0 {
			i.push(tag)
		}
		if i.random.IntN(4) == 0 {
			i.lock(tag)
		}
	}
	if failing {
		i.cloud.Inject(emulator.Behavior{Times: 1 + i.random.IntN(2), Fail: emulator.CopyingBlobs()})
	}
	i.cloud.Inject(emulator.Behavior{During: func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.sometimes(i.push)
	}, Match: func(one emulator.Import) bool { return one.Mode == "NoForce" }})
	i.before = i.step
	i.job = job(t, sourceHost+"/app", targetHost+"/app", i.tags...)
	i.job.Engine, i.job.RefuseMoved = engine, i.refuse
	i.job.ResolveServer = engine == "acr" && i.random.IntN(4) == 0
	return i
}

// step is one request. The caller does not hold the lock.
func (i *interleaving) step(r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.quiet {
		return
	}
	if i.steps++; i.steps == i.killAt {
		i.kill()
	}
	_, tag, aManifest := strings.Cut(r.URL.Path, "/app/manifests/")
	looks := aManifest && strings.Contains(r.URL.Host, "target") && slices.Contains(i.tags, tag) && r.Method == http.MethodHead
	writes := aManifest && slices.Contains(i.tags, tag) && r.Method == http.MethodPut
	if looks && i.random.IntN(4) == 0 && !i.importing() {
		i.lock(tag) // which dray has yet to look for
	}
	if !writes { // between a look and the write nothing can be done: a registry knows no such condition
		i.sometimes(i.push)
	}
}

// importing tells whether Azure has taken an import up that goes on, which no lock stops any more.
func (i *interleaving) importing() bool {
	return slices.ContainsFunc(i.cloud.Account().Imports, func(one emulator.Import) bool { return one.State == emulator.StatePending })
}

// sometimes does something to a tag. The lock is held.
func (i *interleaving) sometimes(do func(tag string)) {
	if !i.quiet && i.random.IntN(8) == 0 {
		do(i.tags[i.random.IntN(len(i.tags))])
	}
}

func (i *interleaving) push(tag string) {
	if _, locked := i.locked[tag]; locked {
		return
	}
	other := registries.MultiArch(int64(100+i.random.IntN(1000)), registries.ImageOptions{Layers: 1, LayerSize: 100})
	if err := other.Push(i.target.Content, "app", tag); err != nil {
		i.t.Error(err)
	}
	i.rival[tag] = other.Digest
}

func (i *interleaving) lock(tag string) {
	if held := i.target.Content.Digest("app", tag); held != "" {
		i.target.Lock("app", tag, true)
		i.locked[tag] = held
	}
}

func (i *interleaving) run() {
	i.killAt = 5 + i.random.IntN(120)
	for round := range 4 {
		ctx, cancel := context.WithTimeoutCause(i.t.Context(), 6*time.Hour, errors.New("the run does not end"))
		i.mu.Lock()
		i.kill, i.quiet = cancel, round >= 2
		i.mu.Unlock()
		result := i.mirror.Sync(ctx, []plan.Job{i.job})[0]
		if killed := ctx.Err() != nil; killed {
			i.stop(i.t)
			i.start(i.t)
		} else if round == 3 {
			i.settled(result)
		}
		cancel()
		i.unchanged(fmt.Sprintf("round %d of %s, refuse %t, resolve: server %t", round, i.job.Engine, i.refuse, i.job.ResolveServer))
	}
	i.stop(i.t)
}

// unchanged looks at what is protected.
func (i *interleaving) unchanged(when string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	protected := maps.Clone(i.locked)
	if i.refuse {
		maps.Copy(protected, i.rival)
	}
	for tag, digest := range protected {
		if held := i.target.Content.Digest("app", tag); held != digest {
			i.t.Errorf("%s: %s holds %s, and %s was protected", when, tag, held, digest)
		}
	}
}

// settled looks at what was left in peace at last.
func (i *interleaving) settled(r mirror.Result) {
	for _, out := range r.Outcomes {
		tag := out.Target.Tag
		_, locked := i.locked[tag]
		_, foreign := i.rival[tag]
		want := i.source.Content.Digest("app", tag)
		if held := i.target.Content.Digest("app", tag); !locked && (!foreign || !i.refuse) && held != want {
			i.t.Errorf("%s holds %s, want %s: %s %v", tag, held, want, out.Status, out.Err)
		}
		if out.Status == record.Failed && !locked {
			i.t.Errorf("%s: %v", out.Target, out.Err)
		}
	}
}

// TestRival sets the tag while dray imports it, at one step after the other.
func TestRival(t *testing.T) {
	other := registries.MultiArch(9, registries.ImageOptions{Layers: 1, LayerSize: 100})
	set := func(w *world) { _ = other.Push(w.target.Content, "app", "v1") } // what is missing shows below
	once := func(w *world, at func(*http.Request) bool) {
		var one sync.Once
		w.before = func(r *http.Request) {
			if at(r) {
				one.Do(func() { set(w) })
			}
		}
	}
	post := func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/importImage")
	}
	for _, tt := range []struct {
		name    string
		prepare func(w *world)
		edit    func(j *plan.Job)
		status  record.Status
		says    string
		modes   string
		foreign bool // the tag is the rival's in the end
	}{
		{"before the import", func(w *world) { once(w, post) }, func(j *plan.Job) { j.RefuseMoved = true }, record.Refused, "moved: refuse", "NoForce", true},
		{"before the import, to follow", func(w *world) { once(w, post) }, func(*plan.Job) {}, record.Imported, "", "NoForce Force", false},
		{"after the import", func(w *world) {
			once(w, func(r *http.Request) bool {
				imports := w.cloud.Account().Imports
				return len(imports) > 0 && imports[0].State == emulator.StateSucceeded && r.Method == http.MethodHead
			})
		}, func(j *plan.Job) { j.RefuseMoved = true }, record.Refused, "moved: refuse", "NoForce", true},
		{"before an import of what only Azure can ask for", func(w *world) { once(w, post) }, func(j *plan.Job) { j.RefuseMoved, j.ResolveServer = true, true }, record.Kept, "", "NoForce", true},
		{"before the plan, of what only Azure can ask for", set, func(j *plan.Job) { j.RefuseMoved, j.ResolveServer = true, true }, record.Kept, "", "", true},
		{"without its manifest", func(w *world) { w.target.Content.DangleTag("app", "v1", other.Digest) }, func(*plan.Job) {}, record.Imported, "", "NoForce Force", false},
		{"without its manifest, not to be moved", func(w *world) { w.target.Content.DangleTag("app", "v1", other.Digest) }, func(j *plan.Job) { j.RefuseMoved = true }, record.Refused, "az acr repository untag", "NoForce", true},
		{"without its manifest, by an import by tag", func(w *world) { w.target.Content.DangleTag("app", "v1", other.Digest) }, func(j *plan.Job) { j.ResolveServer = true }, record.Imported, "", "NoForce Force", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				i := push(t, w.source.Content, "app", "v1", 1)
				tt.prepare(w)
				j := job(t, sourceHost+"/app:v1", targetHost+"/app")
				tt.edit(&j)
				out := w.run(t, j)[0].Outcomes[0]
				if out.Status != tt.status || !strings.Contains(out.Detail, tt.says) {
					t.Errorf("%s: %v %s", out.Status, out.Err, out.Detail)
				}
				var modes []string
				for _, one := range w.cloud.Account().Imports {
					modes = append(modes, one.Mode)
				}
				if got := strings.Join(modes, " "); got != tt.modes {
					t.Errorf("imports %q, want %q", got, tt.modes)
				}
				want := i.Digest
				if tt.foreign {
					want = other.Digest
				}
				if held := w.target.Content.TaggedDigest("app", "v1"); held != want {
					t.Errorf("the tag holds %s, want %s", held, want)
				}
			})
		})
	}
}

// TestRivalInLayout sets the tag of a layout while dray copies to it.
func TestRivalInLayout(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		push(t, w.source.Content, "app", "v1", 1)
		push(t, w.source.Content, "other", "v9", 9)
		layout := "ocidir://" + t.TempDir()
		first := job(t, sourceHost+"/other:v9", layout+":v9")
		first.Engine = "auto"
		all(t, w.run(t, first)[0], record.Imported, "copy")
		j := job(t, sourceHost+"/app:v1", layout+":v1")
		j.Engine, j.RefuseMoved = "auto", true
		rival, err := w.client.Manifest(t.Context(), j.Targets[0].Repository.Tag("v9"))
		if err != nil {
			t.Fatal(err)
		}
		var one sync.Once
		w.before = func(r *http.Request) {
			if strings.Contains(r.URL.Path, "/app/blobs/") {
				one.Do(func() {
					if err := w.client.PutManifest(t.Context(), j.Targets[0], rival); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all(t, w.run(t, j)[0], record.Refused, "copy")
		if d, err := w.client.Head(t.Context(), j.Targets[0]); err != nil || d.Digest != rival.Digest {
			t.Error(d.Digest, err)
		}
	})
}
