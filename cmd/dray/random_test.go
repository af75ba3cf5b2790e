package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestRandom plays random sequences of operations against a model: tags that move, come and go at the source; blobs, manifests
// and tags that vanish at the target; a store that is lost, set back or damaged; faults; and syncs, some of them killed. After each
// sync the targets have to be what the model says, and after the last one a plan has to find nothing to do. What a sequence does
// is a function of its seed: -run 'TestRandom/seed=123' plays one again.
func TestRandom(t *testing.T) {
	fulltest.Long(t)
	const atOnce = 12
	sequences := fulltest.Rounds(16, 120)
	seeds := make(chan uint64)
	var group sync.WaitGroup
	var played counts
	for range atOnce {
		group.Go(func() {
			for seed := range seeds {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { playRandom(t, seed, &played) })
			}
		})
	}
	for seed := range sequences {
		seeds <- seed
	}
	close(seeds)
	group.Wait()
	t.Log(played.String())
}

// counts is how often each operation was played, by all sequences.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counts) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[name]++
}

func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.of)
}

// playRandom plays the sequence of a seed.
func playRandom(t *testing.T, seed uint64, played *counts) {
	w := newRandomWorld(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, with\n%s\nafter\n%s", seed, strings.Join(w.mappings, "\n"), strings.Join(w.done, "\n"))
		}
	}()
	if w.chance(80) {
		w.sync(t)
	}
	operations, likely := w.operations(), w.likely()
	for range 5 + w.random.IntN(8) {
		name, _ := pick(w, likely)
		played.add(name)
		operations[name](t)
		if t.Failed() {
			return
		}
	}
	w.sync(t)
	w.onlyKeeps(t)
}

// likely has the name of each operation as often as it is likely in this sequence: some never, some often, so that sequences
// differ more than they would if each did a little of everything.
func (w *randomWorld) likely() []string {
	names := strings.Fields(`move move delete attach sign take-blobs take-manifest untag retag collect
		drop-store set-store-back damage-store sync kill kill fault outage`)
	list := []string{"move", "sync"}
	for _, name := range names {
		list = append(list, slices.Repeat([]string{name}, []int{0, 1, 4}[w.random.IntN(3)])...)
	}
	return list
}

func (w *randomWorld) operations() map[string]func(t *testing.T) {
	return map[string]func(t *testing.T){
		"move": w.move, "delete": w.deleteSource, "attach": w.attach, "sign": w.sign,
		"take-blobs": w.takeBlobs, "take-manifest": w.takeManifest, "untag": w.untagTarget, "retag": w.retagTarget, "collect": w.collect,
		"drop-store": w.dropStore, "set-store-back": w.setStoreBack, "damage-store": w.damageStore,
		"sync": w.sync, "kill": w.killSync, "fault": w.fault, "outage": w.outage,
	}
}

// move puts an image under a tag of the source that may have another.
func (w *randomWorld) move(t *testing.T) {
	repo, _ := pick(w, w.repositories)
	tag, _ := pick(w, randomTags())
	image := w.stock(t, repo, tag)
	w.did("source %s:%s is now %s", repo, tag, short(image.Digest))
}

func (w *randomWorld) deleteSource(*testing.T) {
	repo, _ := pick(w, w.repositories)
	tag, _ := pick(w, randomTags())
	w.source.DeleteTag(repo, tag)
	w.did("source %s:%s deleted", repo, tag)
}

// subject draws a manifest that a tag of the source leads to.
func (w *randomWorld) subject() (repo, digest string) {
	repo, _ = pick(w, w.repositories)
	tag, _ := pick(w, randomTags())
	digest = w.source.Digest(repo, tag)
	_, body, _ := w.source.Manifest(repo, tag)
	child, ok := pick(w, parseDocument(body).children())
	if below := w.chance(50); ok && below {
		digest = child
	}
	return repo, digest
}

// attach adds some referrers at the source, also to referrers.
func (w *randomWorld) attach(t *testing.T) {
	repo, digest := w.subject()
	for n := range 1 + w.random.IntN(3) {
		earlier, ok := pick(w, w.artifacts[subject{repo, digest}])
		if again := w.chance(30); ok && again {
			digest = earlier
		}
		payload := fmt.Sprintf("payload %d", w.random.IntN(3)) // which referrers share
		if digest == "" {
			continue
		}
		kind := fmt.Sprintf("application/vnd.example.%d-%d", len(w.done), n)
		artifact, err := w.source.PutReferrer(repo, digest, kind, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		s := subject{repo, digest}
		w.artifacts[s] = append(w.artifacts[s], artifact)
		w.did("source %s: %s refers to %s", repo, short(artifact), short(digest))
	}
}

// sign moves, or makes, cosign's tag for a manifest of the source.
func (w *randomWorld) sign(t *testing.T) {
	repo, digest := w.subject()
	if digest == "" {
		return
	}
	w.born++
	signature := registry.SingleArch(w.born, "linux/amd64", registry.ImageOptions{LayerSize: 100})
	tag := strings.Replace(digest, ":", "-", 1) + ".sig"
	if err := signature.Push(w.source.Registry, repo, tag); err != nil {
		t.Fatal(err)
	}
	w.did("source %s: %s signed by %s", repo, short(digest), short(signature.Digest))
}

// strictPlace draws a target that refuses manifests with missing parts. Only from such a one may parts be taken.
func (w *randomWorld) strictPlace() (*randomPlace, bool) {
	p, ok := pick(w, w.places)
	return p, ok && !p.lax
}

// takeBlobs deletes blobs, mostly those that what comes next is likely to need as well, or all of them, as when a disk is lost.
func (w *randomWorld) takeBlobs(*testing.T) {
	p, ok := w.strictPlace()
	every := w.chance(20)
	var taken []string
	for range 1 + w.random.IntN(3) {
		all, shared := p.blobs()
		if likely := w.chance(70); likely && len(shared) > 0 {
			all = shared[:min(len(shared), 3)]
		}
		if blob, found := pick(w, all); ok && found {
			p.take(blob)
			taken = append(taken, short(blob))
		}
	}
	if all, _ := p.blobs(); ok && every {
		for _, blob := range all {
			p.take(blob)
		}
		taken = append(taken, fmt.Sprintf("and %d more", len(all)))
	}
	w.did("target %s: blobs deleted: %q", p.path, taken)
}

// takeManifest deletes a manifest, with its tags.
func (w *randomWorld) takeManifest(*testing.T) {
	p, ok := w.strictPlace()
	if !ok {
		return
	}
	if manifest, found := pick(w, p.standing()); found {
		p.take(manifest)
		w.did("target %s: manifest %s deleted", p.path, short(manifest))
	}
}

func (w *randomWorld) untagTarget(*testing.T) {
	p, _ := pick(w, w.places)
	if tag, ok := pick(w, p.tags()); ok {
		p.untag(tag)
		w.did("target %s:%s deleted", p.path, tag)
	}
}

// retagTarget moves a tag, but for a list of referrers, which would no longer be one.
func (w *randomWorld) retagTarget(t *testing.T) {
	p, _ := pick(w, w.places)
	tag, ok := pick(w, p.tags())
	manifest, found := pick(w, p.standing())
	if !ok || !found || fallback(tag) {
		return
	}
	if err := p.retag(tag, manifest); err != nil {
		t.Fatal(err)
	}
	w.did("target %s:%s moved to %s", p.path, tag, short(manifest))
}

func (w *randomWorld) collect(*testing.T) {
	if p, ok := w.strictPlace(); ok {
		w.did("target %s: %d pieces of garbage collected", p.path, p.collect())
	}
}

func (w *randomWorld) dropStore(t *testing.T) {
	if err := os.RemoveAll(w.stateDir()); err != nil {
		t.Fatal(err)
	}
	w.did("store dropped")
}

// setStoreBack replaces the store by an older copy, and puts a copy aside for the next time.
func (w *randomWorld) setStoreBack(t *testing.T) {
	fresh := t.TempDir()
	if _, err := os.Stat(w.stateDir()); err == nil {
		if err := os.CopyFS(fresh, os.DirFS(w.stateDir())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(w.stateDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.stateDir(), os.DirFS(w.aside)); err != nil {
		t.Fatal(err)
	}
	w.aside = fresh
	w.did("store set back")
}

// damageStore overwrites a part of the store's file, or cuts it.
func (w *randomWorld) damageStore(t *testing.T) {
	at, cut, header := w.random.Float64(), w.chance(30), w.chance(30)
	path := filepath.Join(w.stateDir(), "dray.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		return
	}
	offset := int(at * float64(len(raw)))
	if header {
		offset = int(at * float64(min(len(raw), 100))) // of which each byte means something to SQLite
	}
	if cut {
		raw = raw[:offset]
	} else {
		copy(raw[offset:], strings.Repeat("damaged!", 20))
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w.did("store damaged at %d of %d bytes, cut: %t", offset, len(raw), cut)
}

// sync syncs without any disturbance: it has to bring all that there is to bring.
func (w *randomWorld) sync(t *testing.T) {
	w.did("sync")
	w.forget()
	before := w.now()
	doc, a := drayJSON(t, "sync", "-c", w.config)
	if code := exitCode(before); a.code != code {
		t.Errorf("sync: exit code %d, want %d; %+v\n%s", a.code, code, doc.Totals, a.err)
	}
	w.check(t, before, true)
}

// killSync kills a sync at a random request.
func (w *randomWorld) killSync(t *testing.T) {
	commits := w.chance(40)
	request := 1 + w.random.Int64N([]int64{5, 10, 40, 120}[w.random.IntN(4)])
	if commits {
		request = 1 + request%10
	}
	w.commits.Store(commits)
	w.did("sync, killed at request %d, counting only manifests that are written: %t", request, commits)
	w.forget()
	before := w.now()
	world{config: w.config}.kill(t, w.clock, request)
	for _, h := range append(w.targets, w.source) {
		h.settle(t)
	}
	w.check(t, before, false)
}

// fault disturbs one request of a sync so that dray has to fix it.
func (w *randomWorld) fault(t *testing.T) {
	soon := http.Header{"Retry-After": {"0"}}
	upload := func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/")
	}
	read := registry.MatchKind(http.MethodGet, "")
	blob := registry.MatchKind(http.MethodGet, registry.KindBlob)
	f, _ := pick(w, []registry.Fault{
		{Status: http.StatusServiceUnavailable, Header: soon}, {Status: http.StatusTooManyRequests, Header: soon},
		{Status: http.StatusInternalServerError}, {Status: http.StatusBadGateway, Header: soon}, {Reset: true}, {Match: upload, Reset: true},
		{Match: blob, CutAt: 1 + w.random.Int64N(300)}, {Match: read, CutAt: 1 + w.random.Int64N(300)},
		{Match: upload, CutRequestAt: 1 + w.random.Int64N(300)}, {Match: blob, FlipByte: 1 + w.random.Int64N(300)},
	})
	f.Times = 1
	w.disturb(t, f, true)
}

// outage has all requests of a kind fail from some moment of a sync on.
func (w *randomWorld) outage(t *testing.T) {
	byDigest := func(r *http.Request) bool { // of a tag that there is a 404 would be a lie
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:")
	}
	f, _ := pick(w, []registry.Fault{
		{Status: http.StatusForbidden}, {Status: http.StatusNotFound, Match: byDigest},
		{Match: registry.MatchKind(http.MethodGet, registry.KindBlob), FlipByte: 7},
		{Match: registry.MatchKind(http.MethodPut, registry.KindUpload), Status: http.StatusInsufficientStorage},
		{Match: registry.MatchKind(http.MethodPut, registry.KindManifest), Status: http.StatusForbidden},
		{Match: registry.MatchKind(http.MethodPost, ""), Status: http.StatusForbidden},
	})
	w.disturb(t, f, false)
}

// disturb injects a fault into one registry for the time of a sync, from a random match on.
func (w *randomWorld) disturb(t *testing.T, f registry.Fault, fixes bool) {
	host, _ := pick(w, append([]*randomHost{w.source, w.source}, w.targets...))
	from := w.random.Int64N(20)
	var matched atomic.Int64
	match := f.Match
	f.Match = func(r *http.Request) bool { return (match == nil || match(r)) && matched.Add(1) > from }
	w.did("sync, disturbed at %s from match %d on by %+v", host.host, from, struct {
		Status, Times          int
		Reset                  bool
		Cut, CutRequest, Flips int64
	}{f.Status, f.Times, f.Reset, f.CutAt, f.CutRequestAt, f.FlipByte})
	defer host.Inject(f)()
	w.forget()
	before := w.now()
	doc, a := drayJSON(t, "sync", "-c", w.config)
	if code := exitCode(before); fixes && a.code != code {
		t.Errorf("sync: exit code %d, want %d; %+v\n%s", a.code, code, doc.Totals, a.err)
	}
	w.check(t, before, fixes)
}
