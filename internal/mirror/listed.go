package mirror

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// Listings ask registries what many tags hold at once.
type Listings interface {
	// Listed returns what a registry's own listing says that tags of a repository hold. It is empty if there is no such listing, or if that
	// would cost more than asking for each tag; what the listing does not say is missing. Nothing that was read before since is used.
	Listed(ctx context.Context, repo image.Repository, tags image.TagList, since time.Time) *image.Sums
	// Differs reports that a tag does not hold what was listed.
	Differs(ctx context.Context, tag image.Reference)
	// Listing returns which listing a registry is known to have; empty for none.
	Listing(ctx context.Context, repo image.Repository) (kind string, checked bool)
}

// listed is what listings say of the tags of a run. It can only say that nothing is to be done: what differs is asked for.
type listed map[image.Repository]*image.Sums

// of returns what a tag is listed to hold; empty if that is not known.
func (l listed) of(r image.Reference) image.Digest {
	if r.Digest != "" {
		return ""
	}
	return l[r.Repository].Of(r.Tag).Digest()
}

// mayList reports whether the source or a target of a route is known to list digests.
func (m *Mirror) mayList(ctx context.Context, job plan.Job, route plan.Route) bool {
	return m.Listings != nil && !job.ResolveServer && slices.ContainsFunc(append([]image.Repository{route.Source}, route.Targets...), func(repo image.Repository) bool {
		kind, _ := m.Listings.Listing(ctx, repo)
		return kind != ""
	})
}

// listings asks for the listings of all repositories whose tags are asked for. Tags that a list of referrers could have are not looked up there,
// since what they hold has to be looked at. Nor is anything in a run for some tags, which have just moved.
func (m *Mirror) listings(ctx context.Context, r *run, all selection) listed {
	if m.Listings == nil || r.some != nil || r.job.ResolveServer {
		return nil
	}
	wanted := m.listable(r.job, all)
	var mu sync.Mutex
	found := listed{}
	var group errgroup.Group
	group.SetLimit(observedTags)
	for repo, tags := range wanted {
		group.Go(func() error {
			if m.stopping() {
				return nil
			}
			if held := m.Listings.Listed(ctx, repo, tags, r.result.Started); held.Len() > 0 {
				mu.Lock()
				defer mu.Unlock()
				found[repo] = held
			}
			return nil
		})
	}
	_ = group.Wait()
	return found
}

// listable returns the tags to look up in listings, by repository. They share the lists of a selection, which are long.
func (m *Mirror) listable(job plan.Job, all selection) map[image.Repository]image.TagList {
	wanted, single := map[image.Repository]image.TagList{}, map[image.Repository][]string{}
	add := func(repo image.Repository, tags image.TagList) {
		if before := wanted[repo]; before.Len() > 0 {
			tags = image.NewTagList(slices.AppendSeq(slices.Collect(before.All()), tags.All()))
		}
		wanted[repo] = tags
	}
	for _, one := range all {
		tags := one.tags.Select(func(tag string) bool { return !byPattern(job, tag) })
		named := one.image && one.source.Tag != "" && one.source.Digest == ""
		switch {
		case named:
			single[one.source.Repository] = append(single[one.source.Repository], one.source.Tag)
		case tags.Len() > 0:
			add(one.source.Repository, tags)
			tags = one.renamed(tags)
		default:
			continue
		}
		for _, target := range one.targets {
			repo := target.Repository
			if engine := m.remote(job, one.source, repo); engine != nil && engine.Closed(repo) {
				continue
			}
			if named {
				single[repo] = append(single[repo], target.Tag)
			} else {
				add(repo, tags)
			}
		}
	}
	for repo, tags := range single { // all at once, since there may be thousands
		add(repo, image.NewTagList(tags))
	}
	return wanted
}

// renamed returns how tags are called at the targets.
func (s *selected) renamed(tags image.TagList) image.TagList {
	if s.retag == (plan.Retag{}) {
		return tags
	}
	names := make([]string, 0, tags.Len())
	for tag := range tags.All() {
		names = append(names, s.retag.Of(tag))
	}
	return image.NewTagList(names)
}

// offerListed fills in what the source is listed to offer, if that takes no request.
func (m *Mirror) offerListed(ctx context.Context, r *batch, o *diff.Observation) bool {
	digest := r.listed.of(o.Source)
	if digest == "" {
		return false
	}
	want, ok := m.Manifests.Resolved(ctx, digest, r.job.Platforms)
	if !ok {
		return false
	}
	o.Source, o.Want = o.Source.WithDigest(digest), want
	return true
}

// sight is what is known of one tag, at its source and at all its targets.
type sight struct {
	offer diff.Observation
	held  []diff.Observation
	// sourceErr and errs are why a side is not known.
	sourceErr error
	errs      []error
	// offerListed and heldListed say that a listing says so.
	offerListed bool
	heldListed  []bool
}

// agrees reports whether a target holds what the source offers.
func (s *sight) agrees(i int) bool {
	return s.sourceErr == nil && s.errs[i] == nil && !s.held[i].Hidden && s.offer.Want != "" && s.held[i].Held == s.offer.Want
}

// confirm asks for whatever of a sight a listing has said, unless that leaves a target as it is. A difference may mean that the listing is
// late, or that a tag has moved since.
func (m *Mirror) confirm(ctx context.Context, r *batch, a ask, s *sight) {
	all := true
	for i := range a.targets {
		all = all && s.agrees(i)
	}
	if all {
		return
	}
	if s.offerListed {
		listed := s.offer.Source.Digest
		s.offer, s.offerListed = diff.Observation{Source: a.source}, false
		if s.sourceErr = m.offer(ctx, r, &s.offer); s.sourceErr == nil && s.offer.Source.Digest != listed {
			m.Listings.Differs(ctx, a.source)
		}
	}
	var group sync.WaitGroup
	for i, target := range a.targets {
		if !s.heldListed[i] || s.agrees(i) {
			continue
		}
		group.Go(func() {
			listed := s.held[i].Held
			s.heldListed[i] = false
			if s.held[i], s.errs[i] = m.held(ctx, r.job, a.source, target, ""); s.errs[i] == nil && s.held[i].Held != listed {
				m.Listings.Differs(ctx, target)
			}
		})
	}
	group.Wait()
}
