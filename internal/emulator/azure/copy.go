package azure

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// maxManifests is how many manifests an import may have.
const maxManifests = 50

// run imports, and says how it went.
func (op *operation) run(ctx context.Context) {
	failure := op.execute(ctx)
	if op.behavior.Stuck || ctx.Err() != nil {
		return
	}
	op.target.mu.Lock()
	op.target.busy-- // before anybody can see that it has ended, and begin another
	op.target.mu.Unlock()
	op.mu.Lock()
	op.record.State, op.record.Failure, op.record.Ended = StateSucceeded, failure, time.Now()
	if failure != nil {
		op.record.State = StateFailed
	}
	op.mu.Unlock()
	close(op.done)
}

// execute is the import itself. A tag of the source is looked up twice: for what is copied and, at the end, for what the
// target's tags are to be. That is the race which the service has.
func (op *operation) execute(ctx context.Context) *Failure {
	if op.behavior.Stuck {
		return nil
	}
	ends := time.NewTimer(op.cloud.takes(op.behavior))
	defer ends.Stop()
	if op.behavior.Fail != nil {
		wait(ctx, ends)
		return op.behavior.Fail
	}
	from, err := op.open(ctx)
	if err == nil {
		err = op.allowed()
	}
	var root string
	if err == nil {
		root, err = op.copy(from)
	}
	if err != nil {
		return asFailure(err)
	}
	wait(ctx, ends)
	if ctx.Err() != nil {
		return nil
	}
	if op.behavior.During != nil {
		op.behavior.During()
	}
	if op.order.digest == "" {
		if root, err = from.resolve(op.order.tag); err != nil {
			return asFailure(err)
		}
	}
	if err := op.absent(); err != nil {
		return asFailure(err)
	}
	op.tag(ctx, root)
	return nil
}

// asFailure hands failures on; anything else, such as a broken connection, has no details.
func asFailure(err error) *Failure {
	if failure, is := errors.AsType[*Failure](err); is {
		return failure
	}
	return invalid("An error occurred when getting manifest. " + err.Error())
}

func wait(ctx context.Context, timer *time.Timer) {
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// allowed looks at the target before anything is copied: its network, and in the mode NoForce its tags.
func (op *operation) allowed() error {
	o := op.target.settings()
	if o.NoPublicAccess && o.NoTrustedServices {
		return accessDenied(op.target.LoginServer())
	}
	return op.absent()
}

// absent looks in the mode NoForce, before the copying and after it, that the target has none of the tags.
func (op *operation) absent() error {
	if op.order.force {
		return nil
	}
	for _, n := range op.order.tags {
		if op.target.Content.TaggedDigest(n.repository, n.tag) != "" {
			return TagExists(n.repository, n.tag)
		}
	}
	return nil
}

// tag moves the target's tags, locked ones as well, now or after the lag.
func (op *operation) tag(ctx context.Context, digest string) {
	move := func() {
		for _, n := range op.order.tags {
			op.target.Content.DangleTag(n.repository, n.tag, digest)
		}
	}
	if op.behavior.Lag <= 0 {
		move()
		return
	}
	op.cloud.running.Add(1)
	go func() {
		defer op.cloud.running.Done()
		lag := time.NewTimer(op.behavior.Lag)
		defer lag.Stop()
		wait(ctx, lag)
		if ctx.Err() == nil {
			move()
		}
	}()
}

// graph is what of a manifest leads further: children and blobs.
type graph struct {
	Config    *descriptor  `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
}

type descriptor struct {
	MediaType string   `json:"mediaType"`
	Digest    string   `json:"digest"`
	Size      int64    `json:"size"`
	URLs      []string `json:"urls"`
}

// foreign blobs stay where they are.
func (d descriptor) foreign() bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, ".foreign.") || strings.Contains(d.MediaType, ".nondistributable.")
}

// fetched is a manifest on its way.
type fetched struct {
	digest, mediaType string
	body              []byte
	below             graph
}

// copy brings a manifest with all its children and blobs into every repository that the import is for. What refers to
// them stays behind.
func (op *operation) copy(from source) (root string, err error) {
	reference := op.order.digest
	if reference == "" {
		reference = op.order.tag
	}
	list, err := collect(from, reference, nil)
	if err != nil {
		return "", err
	}
	root = list[len(list)-1].digest
	op.mu.Lock()
	op.record.Digest = root
	op.mu.Unlock()
	for n, repository := range op.order.repositories() {
		for _, m := range list {
			if err := op.put(from, repository, m, n == 0); err != nil {
				return "", err
			}
		}
	}
	return root, nil
}

// collect fetches a manifest and those below it, children first.
func collect(from source, reference string, list []fetched) ([]fetched, error) {
	m, err := from.manifest(reference)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(m.body, &m.below); err != nil {
		return nil, invalid("An error occurred when parsing manifest " + m.digest)
	}
	for _, child := range m.below.Manifests {
		if strings.Contains(child.MediaType, ".image.layer.") { // an index may list layers, as BuildKit's caches do
			m.below.Layers = append(m.below.Layers, child)
			continue
		}
		if list, err = collect(from, child.Digest, list); err != nil {
			return nil, err
		}
	}
	if len(list) >= maxManifests {
		return nil, invalid("The number of manifests exceeds the limit of 50 manifests per image.")
	}
	return append(list, m), nil
}

// put stores a manifest of the source in a repository of the target, after its blobs.
func (op *operation) put(from source, repository string, m fetched, counts bool) error {
	blobs := m.below.Layers
	if m.below.Config != nil {
		blobs = append([]descriptor{*m.below.Config}, blobs...)
	}
	for _, b := range blobs {
		if b.foreign() || op.target.Content.HasBlob(repository, b.Digest) {
			continue
		}
		data, err := from.blob(b)
		if err != nil {
			return err
		}
		if err := op.target.fill(b.Size); err != nil {
			return err
		}
		if registry.Sum(data) != b.Digest {
			return CopyingBlobs()
		}
		op.target.Content.PutBlob(repository, data)
		op.count(0, 1, b.Size, counts)
	}
	if _, err := op.target.Content.PutManifest(repository, "", m.mediaType, m.body); err != nil {
		return invalid("An error occurred when putting manifest. " + err.Error())
	}
	op.count(1, 0, 0, counts)
	return nil
}

func (op *operation) count(manifests, blobs int, bytes int64, counts bool) {
	if !counts {
		return
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	op.record.Manifests += manifests
	op.record.Blobs += blobs
	op.record.Bytes += bytes
}

// fill takes room for a blob.
func (r *Registry) fill(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.options.Capacity > 0 && r.filled+size > r.options.Capacity {
		return OutOfSpace()
	}
	r.filled += size
	return nil
}
