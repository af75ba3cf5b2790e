package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/worktime"
)

// blobsAtOnce limits the concurrent blobs and children of one manifest. The number of requests at one registry is limited below.
const blobsAtOnce = 8

// task is one import under way.
type task struct {
	*Engine
	order  mirror.Order
	meter  mirror.Meter
	source *reader
	target *inventory
	// visits are the manifests that this attempt has visited.
	visits *visits

	mu   sync.Mutex
	cost mirror.Cost
	// sizes are those that the manifests give their blobs.
	sizes map[image.Digest]int64
}

func (e *Engine) newTask(order mirror.Order, meter mirror.Meter) *task {
	return &task{Engine: e, order: order, meter: meter, source: e.newReader(order), target: e.newInventory(order), visits: &visits{}, sizes: map[image.Digest]int64{}}
}

// spent returns the cost of the task.
func (t *task) spent() mirror.Cost {
	t.cost.Pulls = int(t.source.pulls.Load())
	return t.cost
}

// Import makes the target tag hold order.Digest, with everything below it and, if wanted, its attachments.
func (e *Engine) Import(ctx context.Context, order mirror.Order, meter mirror.Meter) (mirror.Receipt, error) {
	cost, err := e.perform(ctx, order, meter, (*task).run)
	return mirror.Receipt{Digest: order.Digest, Cost: cost}, err
}

// perform works on an order, and once more if the target turns out to lack objects that it is remembered to hold.
func (e *Engine) perform(ctx context.Context, order mirror.Order, meter mirror.Meter, do func(*task, context.Context) error) (mirror.Cost, error) {
	counted := &tally{meter: meter}
	t := e.newTask(order, counted)
	err := do(t, ctx)
	if refusesParts(err) {
		counted.takeBack()
		t.target.invalidate(ctx)
		t.visits = &visits{}
		err = do(t, ctx)
	}
	if err != nil {
		counted.takeBack()
	}
	return t.spent(), err
}

func (t *task) run(ctx context.Context) error {
	ctx, reserve := t.reserve(ctx)
	defer reserve(0)
	root, err := t.source.root(ctx, t.order.Digest, t.target)
	if err != nil {
		return err
	}
	if t.options.Reserve != nil {
		reserve(t.source.missing(ctx, root, t.target))
	}
	if !t.target.seen(root.manifest.Digest) && !t.target.settle(ctx, root) {
		if err := t.walk(ctx, root, 0); err != nil {
			return err
		}
	}
	if err := t.attachments(ctx, root); err != nil {
		return err
	}
	if err := t.spareList(ctx); err != nil {
		return err
	}
	return t.push(ctx, t.order.Target, root)
}

// spareList refuses to write a tag that the target's registry uses as its list of the image's referrers: a registry without the referrers
// API stores the list under the image's digest, which at the source tags the image itself.
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

// reserve reserves the probable pulls of the import, so that no other import begins with pulls that this one needs to finish.
func (t *task) reserve(ctx context.Context) (of context.Context, adjust func(pulls int)) {
	if t.options.Reserve == nil || t.target.hasImage {
		return ctx, func(int) {}
	}
	pulls, begun := t.source.expected(ctx, t.target)
	return t.options.Reserve(ctx, t.order.Source.Repository, pulls, begun)
}

// push writes a manifest to the target, under its tag if it has one. Without a tag, it skips a manifest that another import has written.
func (t *task) push(ctx context.Context, ref image.Reference, n node) error {
	ended, err := t.pushes.begin(ctx, ref, n)
	if err != nil {
		return mirror.At(mirror.Target, ref, err)
	}
	arrived := false
	defer func() { ended(arrived) }()
	if ref.Tag == "" && t.target.seen(n.manifest.Digest) {
		arrived = true
		return nil
	}
	if ref == t.order.Target {
		done, err := t.permit(ctx)
		if err != nil {
			return err
		}
		defer done()
		if err := t.mayWrite(ctx); err != nil {
			return err
		}
	}
	if err := t.options.Target.PutManifest(ctx, ref, n.manifest); err != nil {
		return mirror.At(mirror.Target, ref, &putError{err})
	}
	arrived = true
	t.target.put(ctx, ref, n)
	return nil
}

// permit waits until no other process writes the target's tag. If one has meanwhile, the tag is to be observed anew.
func (t *task) permit(ctx context.Context) (done func(), err error) {
	target := t.order.Target
	if t.options.Holds == nil || target.Tag == "" || target.Repository.IsLayout() {
		return func() {}, nil
	}
	done, waited, err := t.options.Holds.Permit(ctx, t.order.Job, target.String())
	if err != nil {
		return nil, mirror.At(mirror.Target, target, err)
	}
	if !waited {
		return done, nil
	}
	held, err := t.options.Presence.Held(ctx, target)
	switch {
	case err != nil && !notThere(err):
		err = mirror.At(mirror.Target, target, err)
	case held.Digest != t.order.Was && held.Digest != t.order.Digest:
		err = mirror.At(mirror.Target, target, &movedError{t.options.Now()})
	default:
		return done, nil
	}
	done()
	return nil, err
}

// movedError says that another process has moved a tag since it was observed.
type movedError struct{ at time.Time }

func (e *movedError) Error() string      { return "another dray has moved the tag meanwhile" }
func (e *movedError) RetryAt() time.Time { return e.at }

// mayWrite checks a tag that must not move again right before the write: someone may have set it since the plan.
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

// putError is the error of a manifest that the target did not accept.
type putError struct{ err error }

func (e *putError) Error() string { return "manifest: " + e.err.Error() }
func (e *putError) Unwrap() error { return e.err }

// walk copies everything below a manifest at some depth to the target repository, but not the manifest itself.
func (t *task) walk(ctx context.Context, n node, depth int) error {
	if err := t.sameSizes(n); err != nil {
		return err
	}
	t.target.enter(ctx, n)
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

// sameSizes refuses a manifest that gives a blob another size than a manifest before it: the blob is copied, and checked, only once.
func (t *task) sameSizes(n node) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range n.blobs {
		if size, ok := t.sizes[d.Digest]; ok && size != d.Size {
			return mirror.At(mirror.Source, t.order.Source.Repository.Digest(n.manifest.Digest), twoSizes(d.Digest, size, d.Size))
		}
		t.sizes[d.Digest] = d.Size
	}
	return nil
}

// passing reports whether an error says that a retry may help and retries are not used up. Other work may then continue, since the next
// attempt need not repeat what has arrived. The same holds for an error of a rate limit: a requested manifest is already paid for.
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

// child copies an entry of an index with everything below it. An entry of several indexes is copied once, while the others wait.
func (t *task) child(ctx context.Context, c child, depth int) error {
	if t.target.seen(c.Digest) {
		return t.checkSize(ctx, c, image.Manifest{})
	}
	if _, err := t.visits.first(c.Digest, depth); err != nil {
		return mirror.At(mirror.Source, t.order.Source, err)
	}
	return t.visits.once(ctx, c.Digest, func() error { return t.entry(ctx, c, depth) })
}

// entry copies an entry of an index according to its media type. If that is unspecific, it tries the likely kind and then the other.
func (t *task) entry(ctx context.Context, c child, depth int) error {
	kind := image.KindOf(c.MediaType)
	if kind == image.LikelyBlobs {
		err := t.blobEntry(ctx, c)
		if !fromSource(err) || !errors.Is(err, image.ErrAbsent) {
			return err
		}
	}
	m, there, err := t.target.find(ctx, c.Digest)
	if err != nil {
		return err
	}
	if there {
		return t.checkSize(ctx, c, m)
	}
	if m.Raw == nil {
		m, err = t.source.child(ctx, c)
	}
	if kind == image.LikelyManifests && (otherKind(ctx, err) || err == nil && !isManifest(m.Raw)) {
		if blobErr := t.blobEntry(ctx, c); blobErr == nil || err == nil {
			return blobErr
		}
	}
	if err != nil {
		return err
	}
	if err := t.checkSize(ctx, c, m); err != nil {
		return err
	}
	if kind == image.Manifests && c.MediaType != "" {
		m.MediaType = cmp.Or(typeIn(m.Raw), c.MediaType) // registries refuse a manifest under another type than it names
	}
	return t.childManifest(ctx, m, depth)
}

// checkSize compares a manifest that is at hand with the size that an index gives it. Clients refuse to pull an entry with another size, but not
// all refuse one without a size, and none pulls attestations: an index of the source with such entries is copied as it is. An index with
// selected platforms is dray's own and has no false sizes: a manifest below it that is not at hand is read at the target.
func (t *task) checkSize(ctx context.Context, c child, m image.Manifest) (err error) {
	selected := t.order.Digest != t.order.Source.Digest
	if m.Raw == nil {
		m, _ = t.known(ctx, c.Digest)
	}
	if m.Raw == nil && selected && image.KindOf(c.MediaType) == image.Manifests {
		if m, err = t.options.Source.Manifest(ctx, t.order.Target.Repository.Digest(c.Digest)); err != nil {
			m, err = t.source.manifest(ctx, t.order.Source.Repository.Digest(c.Digest))
		}
	}
	size := int64(len(m.Raw))
	if err != nil || m.Raw == nil || size == c.Size || !selected && (c.Size == 0 || c.describes != "") {
		return err
	}
	return mirror.At(mirror.Source, t.order.Source.Repository.Digest(c.Digest), &sizeError{size, c.Size})
}

// sizeError says that a manifest has another size than its index gives it.
type sizeError struct{ has, want int64 }

func (e *sizeError) Error() string {
	return fmt.Sprintf("the manifest has %d bytes, %d were expected: push the image anew at the source", e.has, e.want)
}
func (e *sizeError) Code() string { return "size-invalid" }

// otherKind reports whether an entry that is not available as a manifest may be a blob.
func otherKind(ctx context.Context, err error) bool {
	return err != nil && !passing(err) && ctx.Err() == nil
}

// blobEntry copies an entry of an index that is probably a blob.
func (t *task) blobEntry(ctx context.Context, c child) error {
	t.meter.Expect(c.Size)
	err := t.blob(ctx, blob{Descriptor: c.Descriptor, data: c.data})
	if err != nil {
		t.meter.Expect(-c.Size)
	}
	return err
}

// childManifest copies a manifest of an index with everything below it.
func (t *task) childManifest(ctx context.Context, m image.Manifest, depth int) error {
	n, err := t.source.parse(m)
	if err != nil {
		return mirror.At(mirror.Source, t.order.Source.Repository.Digest(m.Digest), err)
	}
	if err := t.walk(ctx, n, depth); err != nil {
		return err
	}
	return t.push(ctx, t.order.Target.Repository.Digest(m.Digest), n)
}

// blob copies a blob to the target repository, unless it is there. It reads the blob at another target that has it, and from the source
// only if that fails. It fetches wrong bytes once more, since they may have been corrupted on the way.
func (t *task) blob(ctx context.Context, d blob) error {
	source := t.order.Source.Repository
	c, err := t.target.claim(ctx, source, d.Descriptor)
	if err != nil {
		return err
	}
	if c == nil { // it is there
		t.meter.Moved(d.Size)
		return nil
	}
	free, there := t.soleCopy(ctx, d, c)
	defer free()
	if there {
		t.meter.Moved(d.Size)
		c.done(true)
		return nil
	}
	from := source
	if !c.copied.IsZero() {
		from = c.copied
	}
	err = t.bring(ctx, d, from, c)
	if errors.Is(err, image.ErrCorrupt) {
		t.options.Source.Doubt(d.Digest)
	}
	if (from != source && fromSource(err) || errors.Is(err, image.ErrCorrupt)) && ctx.Err() == nil {
		err = t.bring(ctx, d, source, c)
	}
	c.done(err == nil)
	return err
}

// soleCopy waits until no other process brings a large blob to the target's registry, and has the copy mount what others have brought; there is set if
// the repository has it. free is to be called after the copy. Small blobs are not worth the requests.
func (t *task) soleCopy(ctx context.Context, d blob, c *blobCopy) (free func(), there bool) {
	repo := t.order.Target.Repository
	if t.options.Holds == nil || !c.mount.IsZero() || d.Size < worthNoting || repo.IsLayout() {
		return func() {}, false
	}
	waits, resume := false, func() {}
	free, err := t.options.Holds.Hold(ctx, "blob "+repo.Registry+" "+string(d.Digest), func() { waits, resume = true, worktime.Wait(ctx) })
	resume()
	if err != nil { // better twice than never
		t.memory.heed(ctx, err)
		free = func() {}
	}
	holder, ok, err := t.options.Holds.Brought(ctx, repo, d.Digest)
	t.memory.heed(ctx, err)
	switch {
	case !ok:
	case holder == repo:
		there = waits || !t.target.empty && !t.target.distrust.Load()
	case d.Digest.Algorithm() == "sha256": // as for copyFor
		c.mount = holder
	}
	return free, there
}

// fromSource reports whether reading failed.
func fromSource(err error) bool {
	e, ok := errors.AsType[*mirror.SideError](err)
	return ok && e.Side == mirror.Source
}

func (t *task) bring(ctx context.Context, d blob, from image.Repository, c *blobCopy) error {
	repo := t.order.Target.Repository
	ref := repo.Digest(d.Digest)
	if has, err := t.target.hasBlob(ctx, c, d.Descriptor); has || err != nil {
		if has {
			t.meter.Moved(d.Size)
		}
		return err
	}
	var fetched, shown int64 // PutBlob has finished its reads when it returns
	show := func(read int64) { t.meter.Moved(read - shown); shown = read }
	body := sourceBlob{ref: from.Digest(d.Digest)}
	body.checked = checked{
		want:  d.Descriptor,
		open:  func(offset int64) (io.ReadCloser, error) { return t.source.open(ctx, from, d, offset) },
		moved: func(n int64) { fetched += n; show(body.read); c.progress() }, // an earlier try has read some, too
	}
	before, _ := t.halves.Get(ref)
	t.halves.Drop(ref)
	left := before.left
	body.marks = before.marks
	mounted, err := t.options.Target.PutBlob(ctx, repo, d.Descriptor, c.mount, body.from, &left)
	if err != nil && left != "" && d.Size >= worthNoting && !errors.Is(err, image.ErrCorrupt) {
		t.halves.Put(ref, half{left, body.lately()}, halfLife)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cost.Bytes += fetched
	if err != nil {
		show(0)
		return mirror.At(mirror.Target, ref, fmt.Errorf("blob: %w", err))
	}
	if mounted {
		t.cost.Mounted += d.Size
	}
	show(d.Size)
	if d.Size >= worthNoting {
		t.memory.add(ctx, repo, []image.Digest{d.Digest}, false)
	}
	return nil
}

// worthNoting is the size in bytes from which a blob is recorded before any manifest refers to it: after a crash the next run need not send
// it again.
const worthNoting = 1 << 20

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

// refusesParts reports whether a registry may have refused a manifest because something that it refers to is missing. The OCI distribution
// spec has codes for that ("Error Codes"); some registries answer more generally.
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
	case "http-500": // zot's answer to an index with a missing image
		_, ok := errors.AsType[*putError](err)
		return ok
	}
	return false
}

// contextEnded reports whether an error only says that a context has ended.
func contextEnded(err error) bool {
	_, ended := errors.AsType[endedError](err)
	return ended || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// endedError is the error of work whose context has ended, for whatever cause.
type endedError struct{ error }

// Unwrap returns the error that the work ended with.
func (e endedError) Unwrap() error { return e.error }
