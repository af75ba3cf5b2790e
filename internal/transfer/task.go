package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// blobsAtOnce bounds the blobs and children of one manifest that are under way. What a registry sees at once is decided
// below, per registry.
const blobsAtOnce = 8

// task is one import under way.
type task struct {
	*Engine
	order mirror.Order
	meter mirror.Meter
	// from is the repository that manifests and blobs come from.
	from image.Repository
	// distrust is set where the memory of earlier runs contradicts what was observed.
	distrust atomic.Bool
	// visits are the manifests that this try has come to.
	visits *visits

	mu   sync.Mutex
	cost mirror.Cost
	// parts are what the manifests that were walked refer to.
	parts []image.Digest
}

func (e *Engine) newTask(order mirror.Order, meter mirror.Meter) *task {
	return &task{Engine: e, order: order, meter: meter, from: order.Source.Repository, visits: &visits{}}
}

// Import makes the target tag hold order.Digest, with everything below it and, where wanted, what refers to it.
func (e *Engine) Import(ctx context.Context, order mirror.Order, meter mirror.Meter) (mirror.Receipt, error) {
	counted := &tally{meter: meter}
	t := e.newTask(order, counted)
	err := t.run(ctx)
	if refusesParts(err) {
		counted.takeBack()
		t.invalidateTarget(ctx)
		err = t.run(ctx)
	}
	if err != nil {
		counted.takeBack()
	}
	return mirror.Receipt{Digest: order.Digest, Cost: t.cost}, err
}

// invalidateTarget puts in doubt that the target repository has the parts of what it refused: each is asked for from now on.
func (t *task) invalidateTarget(ctx context.Context) {
	repo := t.order.Target.Repository
	t.distrustParts(ctx, repo, t.parts)
	t.distrust.Store(true)
	t.order.HeldAs, t.order.Fresh, t.visits = "", false, &visits{}
}

func (t *task) run(ctx context.Context) error {
	target := t.order.Target
	ctx, reserve := t.reserve(ctx)
	defer reserve(0)
	root, err := t.root(ctx)
	if err != nil {
		return err
	}
	reserve(t.missing(ctx, root))
	if !t.seen(root.manifest.Digest) {
		if err := t.bringBelow(ctx, root); err != nil {
			return err
		}
	}
	if err := t.attachments(ctx, root); err != nil {
		return err
	}
	if err := t.spareList(ctx); err != nil {
		return err
	}
	return t.push(ctx, target, root)
}

// bringBelow brings what is below the image, unless that was just observed under another tag. What a layout holds is looked at on the disk.
func (t *task) bringBelow(ctx context.Context, root node) error {
	t.losses.find(ctx, t.Engine, t.order)
	if t.order.HeldAs != "" && !t.order.Target.IsLayout() {
		if !t.doubtful(ctx, root) {
			return nil
		}
		t.order.HeldAs = ""
	}
	t.checkStore(ctx, root)
	t.trustStore(ctx)
	return t.walk(ctx, root, 0)
}

// spareList refuses to put a tag that the target's registry has come to need for its list of what refers to the image: a registry without
// the referrers API keeps it under the image's digest, by which the image itself is tagged at the source.
func (t *task) spareList(ctx context.Context) error {
	target := t.order.Target
	if target.Tag != image.ReferrersTag(t.order.Digest) || t.order.Referrers.None() {
		return nil
	}
	held, err := t.options.Presence.Held(ctx, target)
	switch {
	case notThere(err) || err == nil && (held.Digest == t.order.Digest || held.Digest == t.order.Was):
		return nil
	case err != nil:
		return mirror.At(mirror.Target, target, err)
	}
	return mirror.ListThere(t.order.Digest)
}

// reserve keeps the pulls that the import will probably take, so that no other begins with what this one needs to end.
func (t *task) reserve(ctx context.Context) (of context.Context, adjust func(pulls int)) {
	if t.options.Reserve == nil || t.order.HeldAs != "" {
		return ctx, func(int) {}
	}
	m, known := t.known(ctx, t.order.Source.Digest)
	if !known {
		return t.options.Reserve(ctx, t.from, 1+t.childrenOf(ctx), false)
	}
	if len(t.order.Platforms) > 0 && image.IsIndex(m.MediaType) {
		if kept, err := selectPlatforms(m, t.order.Platforms); err == nil {
			m = kept
		}
	}
	pulls := 0
	if n, err := parse(m); err == nil {
		pulls = t.missing(ctx, n)
	}
	return t.options.Reserve(ctx, t.from, pulls, true)
}

// fewChildren is how many manifests an index is thought to refer to where its repository has shown none.
const fewChildren = 2

// childrenOf guesses how many manifests below an unfetched image have to be fetched.
func (t *task) childrenOf(ctx context.Context) int {
	t.recallSample(ctx, t.from, t.order.Was, t.order.Sibling)
	g := t.estimates.guess(t.from, t.order.Source.Digest)
	if !g.exact && !t.estimates.sampled(t.from) {
		g.children = fewChildren
	}
	if wanted := len(t.order.Platforms); wanted > 0 {
		g.children = min(g.children, wanted)
	}
	return g.children
}

// missing is how many manifests directly below one have to be fetched.
func (t *task) missing(ctx context.Context, n node) int {
	if t.options.Reserve == nil {
		return 0
	}
	t.estimates.learn(t.from, n)
	missing := 0
	for _, c := range n.children {
		if image.KindOf(c.MediaType) != image.LikelyBlobs && !t.locations.has(t.order.Target.Repository, c.Digest, time.Time{}) && !t.atHand(ctx, c.Digest) {
			missing++
		}
	}
	return missing
}

// push writes a manifest to the target, under its tag where it has one. Without a tag it is not written where another import has done so.
func (t *task) push(ctx context.Context, ref image.Reference, n node) error {
	ended, err := t.pushes.begin(ctx, ref, n)
	if err != nil {
		return mirror.At(mirror.Target, ref, err)
	}
	arrived := false
	defer func() { ended(arrived) }()
	if ref.Tag == "" && t.seen(n.manifest.Digest) {
		arrived = true
		return nil
	}
	if ref == t.order.Target {
		if err := t.mayWrite(ctx); err != nil {
			return err
		}
	}
	if err := t.options.Target.PutManifest(ctx, ref, n.manifest); err != nil {
		return mirror.At(mirror.Target, ref, &putError{err})
	}
	arrived = true
	t.locations.arrived(ref.Repository, n.manifest.Digest)
	t.memory.add(ctx, ref.Repository, append(n.digests(), n.manifest.Digest), true)
	if ref.Tag != "" {
		ref.Digest = n.manifest.Digest
		t.memory.putTag(ctx, ref)
	}
	return nil
}

// mayWrite looks again at a tag that must not be moved, right before it is written: somebody else may have set it since the plan.
func (t *task) mayWrite(ctx context.Context) error {
	target := t.order.Target
	if !t.order.RefuseMoved || target.Tag == "" {
		return nil
	}
	held, err := t.options.Presence.Held(ctx, target)
	seen := diff.Observation{Want: t.order.Digest, Held: held.Digest, Hidden: errors.Is(err, image.ErrHidden)}
	if err != nil {
		seen.Held = ""
	}
	if err != nil && !notThere(err) {
		return mirror.At(mirror.Target, target, err)
	}
	if op, reason, detail := diff.Decide(true, seen); op == diff.Refuse {
		return &mirror.RefusedError{Reason: reason, Detail: detail}
	}
	return nil
}

// putError is why a target did not take a manifest.
type putError struct{ err error }

func (e *putError) Error() string { return "manifest: " + e.err.Error() }
func (e *putError) Unwrap() error { return e.err }

// root returns the manifest that the tag is to hold. Where the target repository has it under another tag it is read there,
// which costs no pull.
func (t *task) root(ctx context.Context) (node, error) {
	source := t.order.Source
	if t.order.HeldAs != "" && !t.manifests.has(t.order.Digest) {
		m, err := t.options.Source.Manifest(ctx, t.order.Target.Repository.Digest(t.order.Digest))
		if err == nil {
			return t.parse(m)
		}
		t.order.HeldAs = "" // it is gone meanwhile: bring it anew
	}
	m, err := t.manifest(ctx, source)
	if err != nil {
		return node{}, err
	}
	if len(t.order.Platforms) > 0 && image.IsIndex(m.MediaType) {
		if m, err = selectPlatforms(m, t.order.Platforms); err != nil {
			return node{}, mirror.At(mirror.Source, source, err)
		}
	}
	if m.Digest != t.order.Digest {
		return node{}, mirror.At(mirror.Source, source, fmt.Errorf("the manifest has digest %s, the plan has %s: %w", m.Digest, t.order.Digest, image.ErrCorrupt))
	}
	n, err := t.parse(m)
	return n, mirror.At(mirror.Source, source, err)
}

// parse reads a manifest. The blobs of foreign layers are among those to bring only where that is asked for.
func (t *task) parse(m image.Manifest) (node, error) {
	n, err := parse(m)
	if t.order.ForeignLayers {
		n.blobs = append(n.blobs, n.foreign...)
	}
	return n, err
}

// manifest fetches a manifest of the source and counts the pull.
func (t *task) manifest(ctx context.Context, source image.Reference) (image.Manifest, error) {
	m, pulled, err := t.fetch(ctx, source)
	if pulled {
		t.mu.Lock()
		t.cost.Pulls++
		t.mu.Unlock()
	}
	return m, err
}

// walk brings everything below a manifest, which lies at a depth, to the target repository, but not the manifest itself.
func (t *task) walk(ctx context.Context, n node, depth int) error {
	t.mu.Lock()
	t.parts = append(t.parts, n.digests()...)
	t.mu.Unlock()
	t.recall(ctx, n)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group errgroup.Group
	group.SetLimit(blobsAtOnce)
	run := func(bring func() error) {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			err := bring()
			if err != nil && !passing(err) {
				cancel(err) // the rest would be wasted
			}
			return err
		})
	}
	for _, d := range n.blobs {
		t.meter.Expect(d.Size)
	}
	for _, c := range n.children {
		run(func() error { return t.child(ctx, c, depth+1) })
	}
	for _, d := range t.locations.mostShared(n.manifest.Digest, n.blobs) {
		run(func() error { return t.blob(ctx, d) })
	}
	err := group.Wait()
	if cause := context.Cause(ctx); contextEnded(err) && cause != nil {
		return cause
	}
	return err
}

// passing tells whether an error says of itself that trying again can help, and it has not been tried to the end yet. What else is
// under way then may go on: what has arrived need not be sent by the next try. So it is with what a rate limit puts off: a manifest that
// was asked for has been paid for.
func passing(err error) bool {
	if later, ok := errors.AsType[interface {
		error
		RetryAt() time.Time
	}](err); ok && !later.RetryAt().IsZero() {
		return true
	}
	e, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	if !ok || !e.Temporary() {
		return false
	}
	tried, ok := errors.AsType[interface {
		error
		Exhausted() bool
	}](err)
	return !ok || !tried.Exhausted()
}

// seen tells whether the target repository was seen in this run to hold something, with all below it.
func (t *task) seen(d image.Digest) bool {
	since := t.order.Since
	if since.IsZero() {
		since = since.Add(1) // as long as this process lives
	}
	return t.locations.has(t.order.Target.Repository, d, since)
}

// checkStore compares what is remembered with what was observed. A repository that holds no tag with an image that it is remembered to hold
// has lost the tag, and probably more; one that held none of its tags, and yet is remembered to hold parts of the image, has probably
// been emptied. Then everything is asked for.
func (t *task) checkStore(ctx context.Context, root node) {
	repo, about := t.order.Target.Repository, []image.Digest{root.manifest.Digest}
	if t.order.Fresh {
		about = append(about, root.digests()...)
	}
	remembered := func(d image.Digest) bool { return t.locations.has(repo, d, time.Time{}) && !t.seen(d) }
	if slices.ContainsFunc(about, remembered) || len(t.memory.holds(ctx, repo, t.news(about))) > 0 {
		t.order.Fresh = false
		t.distrust.Store(true)
	}
}

// trustStore has earlier runs' memory of the target repository count where it knows what was observed there: then what it does not know
// is hardly there, and not worth a question each.
func (t *task) trustStore(ctx context.Context) {
	repo, sibling := t.order.Target.Repository, t.order.Sibling
	if sibling == "" || t.order.Fresh || t.distrust.Load() || t.locations.knows(repo) {
		return
	}
	if t.memory.holds(ctx, repo, []image.Digest{sibling})[sibling] {
		t.locations.recall(repo, sibling, repo)
	}
}

// news are those of the digests that nothing is remembered of at the target.
func (t *task) news(list []image.Digest) []image.Digest {
	repo := t.order.Target.Repository
	return slices.DeleteFunc(slices.Clone(list), func(d image.Digest) bool { return t.locations.has(repo, d, time.Time{}) || t.locations.doubts(repo, d) })
}

// recall asks the memory of earlier runs for what this one knows nothing of. What it says of the target repository itself is
// believed only where the repository was seen to hold something.
func (t *task) recall(ctx context.Context, n node) {
	if t.options.Memory == nil {
		return
	}
	repo := t.order.Target.Repository
	news := t.news(n.digests())
	var held map[image.Digest]bool
	if !t.order.Fresh && !t.distrust.Load() {
		held = t.memory.holds(ctx, repo, news)
	}
	for _, d := range news {
		if held[d] {
			t.locations.recall(repo, d, repo)
		} else if holder, ok := t.memory.holder(ctx, repo, d); ok && holder != repo {
			t.locations.recall(holder, d, repo)
		}
	}
}

// child brings an entry of an index, with everything below it. One that several indexes have is brought once; the others wait.
func (t *task) child(ctx context.Context, c child, depth int) error {
	if t.seen(c.Digest) {
		return nil
	}
	if _, err := t.visits.first(c.Digest, depth); err != nil {
		return mirror.At(mirror.Source, t.order.Source, err)
	}
	return t.visits.once(ctx, c.Digest, func() error { return t.entry(ctx, c, depth) })
}

// entry brings an entry of an index as what its media type says that it is. Where that says too little it is tried as what is likely, and
// then as the other.
func (t *task) entry(ctx context.Context, c child, depth int) error {
	kind := image.KindOf(c.MediaType)
	if kind == image.LikelyBlobs {
		err := t.blobEntry(ctx, c)
		if !fromSource(err) || !errors.Is(err, image.ErrAbsent) {
			return err
		}
	}
	m, there, err := t.childAtTarget(ctx, c)
	if there || err != nil {
		return err
	}
	if m.Raw == nil {
		m, err = t.manifest(ctx, t.from.Digest(c.Digest))
	}
	if kind == image.LikelyManifests && (otherKind(ctx, err) || err == nil && !isManifest(m.Raw)) {
		if blobErr := t.blobEntry(ctx, c); blobErr == nil || err == nil {
			return blobErr
		}
	}
	if err != nil {
		return err
	}
	if kind == image.Manifests && c.MediaType != "" {
		m.MediaType = c.MediaType
	}
	return t.childManifest(ctx, m, depth)
}

// otherKind tells whether an entry that could not be had as a manifest may be a blob.
func otherKind(ctx context.Context, err error) bool {
	return err != nil && !passing(err) && ctx.Err() == nil
}

// blobEntry brings an entry of an index that is a blob, as far as is known.
func (t *task) blobEntry(ctx context.Context, c child) error {
	t.meter.Expect(c.Size)
	err := t.blob(ctx, blob{Descriptor: c.Descriptor})
	if err != nil {
		t.meter.Expect(-c.Size)
	}
	return err
}

// childAtTarget finds out what the target has of a manifest of an index. It is there, with all below it, where the target says so, unless
// that is in doubt, and but for a layout, where others may have taken out what is below it. Then the manifest is returned where it can be
// had without asking the source, and what is below it is to be looked at. What is only remembered, and at hand, is pushed again.
func (t *task) childAtTarget(ctx context.Context, c child) (m image.Manifest, there bool, err error) {
	repo := t.order.Target.Repository
	ref := repo.Digest(c.Digest)
	doubtful := repo.IsLayout() || t.distrust.Load() || t.locations.doubts(repo, c.Digest)
	switch {
	case !doubtful && !t.locations.has(repo, c.Digest, time.Time{}):
		if !t.unknown(repo) {
			return m, false, nil
		}
		if _, err = t.options.Presence.Held(ctx, ref); err == nil {
			t.locations.arrived(repo, c.Digest)
		}
		if err != nil && !notThere(err) {
			return m, false, mirror.At(mirror.Target, ref, err)
		}
		return m, err == nil, nil
	case !repo.IsLayout() && t.atHand(ctx, c.Digest):
		return m, false, nil
	}
	m, err = t.options.Source.Manifest(ctx, ref)
	switch {
	case ctx.Err() != nil:
		return m, false, ctx.Err()
	case err != nil: // gone, spoilt, or for others to read only: it is brought
		t.distrust.Store(true)
		return image.Manifest{}, false, nil
	case doubtful || image.IsIndex(m.MediaType):
		return m, false, nil
	}
	t.locations.arrived(repo, c.Digest)
	return m, true, nil
}

// notThere tells whether a target lacks something, as far as it says: what it does not say is found out by bringing it.
func notThere(err error) bool {
	return errors.Is(err, image.ErrAbsent) || errors.Is(err, image.ErrHidden)
}

// childManifest brings a manifest of an index, with everything below it.
func (t *task) childManifest(ctx context.Context, m image.Manifest, depth int) error {
	n, err := t.parse(m)
	if err != nil {
		return mirror.At(mirror.Source, t.from.Digest(m.Digest), err)
	}
	if err := t.walk(ctx, n, depth); err != nil {
		return err
	}
	return t.push(ctx, t.order.Target.Repository.Digest(m.Digest), n)
}

// unknown tells whether a repository may hold what nothing is remembered of, so that asking is worth a request: not where it
// seems to be empty, and not where this program has filled it.
func (t *task) unknown(repo image.Repository) bool {
	return !t.order.Fresh && (t.distrust.Load() || !t.locations.knows(repo))
}

// blob brings a blob to the target repository, unless it is there. What another target has been given before is read there,
// and from the source only where that fails. Bytes that are not what they should be are asked for once more: they may have
// been spoilt on the way.
func (t *task) blob(ctx context.Context, d blob) error {
	repo := t.order.Target.Repository
	var since time.Time
	if repo.IsLayout() || t.order.Fresh || t.distrust.Load() {
		since = t.order.Since
	}
	todo, err := t.locations.claim(ctx, t.from, repo, d.Digest, since)
	if err != nil {
		return mirror.At(mirror.Target, repo.Digest(d.Digest), err)
	}
	if todo == nil { // it is there
		t.meter.Moved(d.Size)
		return nil
	}
	from := t.from
	if !todo.copied.IsZero() {
		from = todo.copied
	}
	err = t.bring(ctx, d, from, todo)
	if errors.Is(err, image.ErrCorrupt) {
		t.options.Source.Doubt(d.Digest)
	}
	if (from != t.from && fromSource(err) || errors.Is(err, image.ErrCorrupt)) && ctx.Err() == nil {
		err = t.bring(ctx, d, t.from, todo)
	}
	todo.done(err == nil)
	return err
}

// fromSource tells whether it was reading that failed.
func fromSource(err error) bool {
	e, ok := errors.AsType[*mirror.SideError](err)
	return ok && e.Side == mirror.Source
}

func (t *task) bring(ctx context.Context, d blob, from image.Repository, e *blobCopy) error {
	repo := t.order.Target.Repository
	ref := repo.Digest(d.Digest)
	if e.mount.IsZero() && (t.unknown(repo) || t.locations.doubts(repo, d.Digest)) {
		has, err := t.options.Presence.HasBlob(ctx, repo, d.Descriptor)
		if err != nil && !notThere(err) {
			return mirror.At(mirror.Target, ref, fmt.Errorf("blob: %w", err))
		}
		if has {
			t.meter.Moved(d.Size)
			return nil
		}
	}
	var moved int64 // PutBlob has ended its reads when it returns
	body := sourceBlob{ref: from.Digest(d.Digest), checked: checked{
		want:  d.Descriptor,
		open:  func(offset int64) (io.ReadCloser, error) { return t.open(ctx, from, d, offset) },
		moved: func(n int64) { moved += n; t.meter.Moved(n); e.progress() },
	}}
	before, _ := t.halves.Get(ref)
	t.halves.Drop(ref)
	left := before.left
	body.marks = before.marks
	mounted, err := t.options.Target.PutBlob(ctx, repo, d.Descriptor, e.mount, body.from, &left)
	if err != nil && left != "" && d.Size >= worthNoting && !errors.Is(err, image.ErrCorrupt) {
		t.halves.Put(ref, half{left, body.lately()}, halfLife)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cost.Bytes += moved
	if err != nil {
		t.meter.Moved(-moved)
		return mirror.At(mirror.Target, ref, fmt.Errorf("blob: %w", err))
	}
	if mounted {
		t.cost.Mounted += d.Size
	}
	t.meter.Moved(d.Size - moved)
	if d.Size >= worthNoting {
		t.memory.add(ctx, repo, []image.Digest{d.Digest}, false)
	}
	return nil
}

// worthNoting is the size in bytes from which a blob is remembered before any manifest refers to it: after a crash the next
// run need not send it again.
const worthNoting = 1 << 20

// open opens a blob at an offset.
func (t *task) open(ctx context.Context, from image.Repository, d blob, offset int64) (io.ReadCloser, error) {
	if from != t.from {
		// Another target is asked as a favour to the source: one that hangs must not hold this import up.
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer time.AfterFunc(patience, cancel).Stop()
	}
	body, err := t.options.Source.OpenBlob(ctx, from, d.Descriptor, offset, d.urls)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return body, nil
}

// sourceBlob is a checked blob whose errors carry the source's side.
type sourceBlob struct {
	checked
	ref image.Reference
}

func (s *sourceBlob) from(offset int64) (io.ReadCloser, error) {
	body, err := s.checked.from(offset)
	if err != nil {
		return nil, mirror.At(mirror.Source, s.ref, err)
	}
	return &sourceBody{body, s.ref}, nil
}

type sourceBody struct {
	io.ReadCloser
	ref image.Reference
}

func (s *sourceBody) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = mirror.At(mirror.Source, s.ref, err)
	}
	return n, err
}

// refusesParts tells whether a registry may have refused a manifest because something that it refers to is not there. The OCI
// distribution spec, "Error Codes", has codes for it; some registries answer more generally.
func refusesParts(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Code() string
	}](err)
	if !ok {
		return false
	}
	side, ok := errors.AsType[*mirror.SideError](err)
	if !ok || side.Side != mirror.Target {
		return false
	}
	switch e.Code() {
	case "manifest-blob-unknown", "blob-unknown", "manifest-unknown", "manifest-invalid", "manifest-unverified", "http-400", "http-404":
		return true
	case "http-500": // zot's answer to an index of which an image is missing
		_, ok := errors.AsType[*putError](err)
		return ok
	}
	return false
}

// contextEnded tells whether an error only says that somebody's context has ended.
func contextEnded(err error) bool {
	_, ended := errors.AsType[endedError](err)
	return ended || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// endedError is the error of work whose context has ended, by whatever cause.
type endedError struct{ error }

// Unwrap returns what the work ended with.
func (e endedError) Unwrap() error { return e.error }
