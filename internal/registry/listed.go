package registry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

const getListing = "GET listing"

// The bounds of a listing, over all its pages: bytes, with more for each wanted tag, and time.
const (
	maxListed      = 64 << 20
	listedPerTag   = 512
	listedDeadline = 90 * time.Second
)

// How long findings about listings last: that HEADs agree with one, that one is wrong, that one was refused, that one failed or is missing,
// which a push may change, that one has failed after more than slowAfter, and that a repository seems to be a cache. After sweepEvery all tags are compared by HEAD.
const (
	checkedFor  = 24 * time.Hour
	offFor      = 24 * time.Hour
	refusedFor  = time.Hour
	failedFor   = 10 * time.Minute
	slowFor     = 6 * time.Hour
	longestRest = 24 * time.Hour
	cachedFor   = 7 * 24 * time.Hour
	sweepEvery  = 7 * 24 * time.Hour
	slowAfter   = 30 * time.Second
	// notedEvery is how often it is written down at the most that HEADs agree with some listing of a registry.
	notedEvery = time.Hour
)

// The tags that are compared by HEAD when a registry's listing is used for the first time in a day, and a repository's; and the repositories in
// a row that a registry does not list until it counts as one that lists none; and the tags that are compared at the same time in a sweep.
const (
	firstSamples = 3
	samples      = 2
	unlistedMost = 3
	sweptAtOnce  = 64
)

// Listed returns what the registry's own listing says that tags of a repository hold, if it has one, and if that costs less than a HEAD for
// each. What it does not say, or not clearly, is missing. since is when the run began: nothing that was read earlier is used.
//
// What it says is good for leaving a tag alone, and for nothing else: HEADs of some tags have agreed with it today, not of all.
func (c *Client) Listed(ctx context.Context, repo image.Repository, tags image.TagList, since time.Time) *image.Sums {
	if repo.IsLayout() || c.options.ByHead[repo.Registry] || tags.Len() == 0 {
		return nil
	}
	e := c.endpoint(repo)
	l := c.lister(ctx, e)
	if l == nil {
		return nil
	}
	now := time.Now()
	host, of := c.findings.get(ctx, repo.Registry), c.findings.get(ctx, repo.String())
	if now.Before(host.Off) || now.Before(host.Rests) || now.Before(of.Off) {
		return nil
	}
	held := c.read.take(repo, since)
	left := tags
	if held.Len() > 0 {
		left = tags.Select(func(tag string) bool { return held.Of(tag) == image.Sum{} })
	}
	if !now.Before(of.Rests) && l.worth(left.Len(), of.Size) && !c.isProxied(ctx, e, repo, l) {
		more, _ := c.list(ctx, e, repo, l, left, l.maxRequests(left.Len()))
		held = held.Or(more, c.sumList)
	}
	if held.Len() == 0 || !c.agrees(ctx, e, repo, l, held) {
		return nil
	}
	return held
}

// Differs reports that a tag does not hold what was listed: it may just have moved. The next listing is compared with it.
func (c *Client) Differs(ctx context.Context, tag image.Reference) {
	c.findings.change(ctx, tag.Repository.String(), func(f *finding) bool {
		f.Doubted, f.Checked = tag.Tag, time.Time{}
		return true
	})
}

// Listing returns the kind of the registry's own listing, as far as is known, and whether HEADs have agreed with one; empty where each tag is
// asked for by HEAD.
func (c *Client) Listing(ctx context.Context, repo image.Repository) (kind string, checked bool) {
	if repo.IsLayout() || c.options.ByHead[repo.Registry] {
		return "", false
	}
	l, f := c.lister(ctx, c.endpoint(repo)), c.findings.get(ctx, repo.Registry)
	if now := time.Now(); l == nil || now.Before(f.Off) || now.Before(f.Rests) {
		return "", false
	}
	return l.kind, !f.Checked.IsZero()
}

// lister returns the lister of a registry: by its name, by what its answers have told, or as was found earlier; nil for none.
func (c *Client) lister(ctx context.Context, e *endpoint) *lister {
	switch kind := kindOfHost(e.registry); {
	case kind == ecr && c.options.ECR == nil, kind == hub && !c.options.Hub:
		return nil
	case kind != "":
		return listerOf(kind)
	}
	seen := e.seen.Load()
	if seen == nil {
		return listerOf(c.findings.get(ctx, e.registry).Kind)
	}
	c.noteKind(ctx, e.registry, *seen)
	return listerOf(*seen)
}

// noteSize remembers how many tags a repository has, if its registry has a listing.
func (c *Client) noteSize(ctx context.Context, e *endpoint, repo image.Repository, tags int) {
	if c.lister(ctx, e) == nil {
		return
	}
	c.findings.change(ctx, repo.String(), func(f *finding) bool {
		known := f.Size > 0
		if !known {
			f.Size = tags
		}
		return !known
	})
}

// noteKind remembers which listing a registry has.
func (c *Client) noteKind(ctx context.Context, registry, kind string) {
	c.findings.change(ctx, registry, func(f *finding) bool {
		changed := f.Kind != kind
		f.Kind = kind
		return changed
	})
}

// list asks for the listing of a repository. The pages before an error stay good.
func (c *Client) list(ctx context.Context, e *endpoint, repo image.Repository, l *lister, tags image.TagList, most int) (*image.Sums, error) {
	if tags.Len() == 0 {
		return nil, nil
	}
	if l.ask == nil {
		if path, _ := l.place(repo.Path, 1); path == "" {
			return nil, nil
		}
	}
	held := digests{wanted: tags, list: c.sumList}
	begun := time.Now()
	var items int
	var err error
	if l.ask != nil {
		items, err = l.ask(ctx, c, repo, most, held.add)
	} else {
		items, err = c.listPages(ctx, e, repo, l, &held, most)
	}
	held.pageRead(err)
	if !left(ctx) {
		c.noteListed(ctx, e, repo, l, items, begun, err)
	}
	return held.sure(), err
}

// listPages asks for the pages of a listing, and returns how many items they have.
func (c *Client) listPages(ctx context.Context, e *endpoint, repo image.Repository, l *lister, held *digests, most int) (items int, err error) {
	if l.host != "" {
		e = c.endpoint(image.Repository{Registry: l.host, Path: repo.Path})
	}
	path, query := l.place(repo.Path, 1)
	number, more := 1, false
	p := pages{
		endpoint: e, operation: getListing, need: auth.Pull(repo.Path), send: l.sender(e),
		listLimits: listLimits{bytes: maxListed + listedPerTag*int64(held.wanted.Len()), pages: most, deadline: listedDeadline, once: true},
		read: func(page *listing) error {
			n, another, err := l.read(page, held.add)
			items += n
			more = another && (page.total <= 0 || items < page.total)
			return err
		},
		done: func() { number++; held.pageRead(nil) },
	}
	if l.scope != nil {
		p.need = l.scope(repo.Path)
	}
	if l.numbered {
		p.turn = func() (string, url.Values) {
			if !more {
				return "", nil
			}
			return l.place(repo.Path, number)
		}
	}
	err = p.from(ctx, path, query)
	return items, err
}

// left reports whether the caller has left. Otherwise what has ended was too slow for it.
func left(ctx context.Context) bool {
	late, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](context.Cause(ctx))
	return ctx.Err() != nil && (!ok || !late.Temporary())
}

// sender returns what sends the requests of a listing; nil for what sends all others.
func (l *lister) sender(e *endpoint) func(*http.Request, wire.Call) (*http.Response, error) {
	if l.signed == byToken {
		return nil
	}
	return func(req *http.Request, call wire.Call) (*http.Response, error) {
		return e.auth.DoWith(req, call, l.signed == bare)
	}
}

// noteListed remembers how a listing ended.
func (c *Client) noteListed(ctx context.Context, e *endpoint, repo image.Repository, l *lister, items int, begun time.Time, err error) {
	rests, missing := restAfter(err, begun, time.Now()), errors.Is(err, image.ErrAbsent)
	c.findings.change(ctx, repo.String(), func(f *finding) bool {
		size := items
		if err != nil {
			size = max(4*items, f.Size) // there is more than what was read
		}
		changed := f.Size != size || !f.Rests.Equal(rests)
		f.Size, f.Rests, f.Missing = size, rests, missing
		return changed
	})
	if err == nil {
		e.unlisted.listed()
		return
	}
	c.options.Log.LogAttrs(ctx, slog.LevelDebug, "the listing is not used for a while", slog.String("registry", repo.Registry), slog.String("source", repo.String()),
		slog.Any("err", err), slog.Time("retry_at", rests))
	if l.concerns(err) || !e.unlisted.add(repo, refused(err)) {
		return
	}
	c.findings.change(ctx, repo.Registry, func(f *finding) bool { f.Rests, f.Missing = rests, missing; return true })
}

// concerns reports whether an error says something of the one repository, and nothing of whether its registry lists others.
func (l *lister) concerns(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusNotFound: // without a code there may be no such listing at all
		return l.kind == google || l.signed == bare || e.ErrorCode != ""
	case http.StatusUnauthorized, http.StatusForbidden:
		return l.signed == bare
	}
	return false
}

// refused reports whether an error is a refusal, and no failure.
func refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == 0 && e.Lasting || e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests)
}

// unlisted are the repositories that a registry has not listed since it last listed one.
type unlisted struct {
	mu    sync.Mutex
	repos map[image.Repository]bool
	// lists says that it has listed one.
	lists bool
}

// add notes one that is refused, or fails, and reports whether the registry counts as one that lists none.
func (u *unlisted) add(repo image.Repository, refused bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if refused && u.lists {
		return false
	}
	if u.repos == nil {
		u.repos = map[image.Repository]bool{}
	}
	u.repos[repo] = true
	return len(u.repos) >= unlistedMost
}

// listed notes that the registry has listed one.
func (u *unlisted) listed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lists, u.repos = true, nil
}

func (u *unlisted) drop(repo image.Repository) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.repos, repo)
}

// restAfter returns until when a listing is not asked for that was begun at a time, and ended with an error, or late; zero for no such time.
func restAfter(err error, begun, now time.Time) time.Time {
	slow := now.Sub(begun) > slowAfter // each run would wait for it
	if err == nil && !slow {
		return time.Time{}
	}
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok && e.NotBefore.After(now):
		return now.Add(min(e.NotBefore.Sub(now), longestRest))
	case refused(err):
		return now.Add(refusedFor)
	case slow:
		return now.Add(slowFor)
	}
	return now.Add(failedFor)
}

// pushed takes note that a tag was, or may have been, pushed: lists that were read before do not show it, and one that was missing may now
// be there.
func (c *Client) pushed(ctx context.Context, e *endpoint, r image.Reference) {
	c.read.drop(r.Repository)
	e.unlisted.drop(r.Repository)
	if c.lister(ctx, e) == nil {
		return
	}
	for _, name := range []string{r.Repository.String(), r.Registry} {
		c.findings.change(ctx, name, func(f *finding) bool {
			missing := f.Missing
			if missing {
				f.Rests, f.Missing = time.Time{}, false
			}
			return missing
		})
	}
}

// agrees reports whether a listing may be believed: whether HEADs agree with some of it, of which a registry is asked once a day for each
// repository. If not, no listing of the registry is used for a day.
func (c *Client) agrees(ctx context.Context, e *endpoint, repo image.Repository, l *lister, held *image.Sums) bool {
	now := time.Now()
	f, host := c.findings.get(ctx, repo.String()), c.findings.get(ctx, repo.Registry)
	sweeps := !f.Swept.IsZero() && now.Sub(f.Swept) >= sweepAfter(held.Len(), f.Size)
	if !sweeps && now.Before(f.Checked) {
		return true
	}
	var tags []string
	switch {
	case sweeps:
		c.findings.change(ctx, repo.String(), func(f *finding) bool { f.Swept = now; return true })
		tags = c.differing(ctx, repo, held)
	case now.After(host.Checked):
		tags = sample(held, f.Doubted, firstSamples)
	default:
		tags = sample(held, f.Doubted, samples)
	}
	if !sweeps && len(tags) == 0 { // nothing is known any more
		return false
	}
	for _, tag := range tags {
		if !c.compare(ctx, e, repo, l, held, tag) {
			return false
		}
	}
	until := now.Add(checkedFor)
	c.findings.change(ctx, repo.String(), func(f *finding) bool {
		f.Checked, f.Doubted = until, ""
		if f.Swept.IsZero() { // repositories that were first seen together are not swept together
			f.Swept = now.Add(-rand.N(sweepEvery / 2)) //nolint:gosec // spreads load
		}
		return true
	})
	c.findings.change(ctx, repo.Registry, func(f *finding) bool {
		late := until.Sub(f.Checked) >= notedEvery // not for each of a thousand repositories: they would all write one state at once
		if late {
			f.Checked = until
		}
		return late
	})
	return true
}

// sweepAfter returns after which time since the last sweep so many tags of a repository are swept. A run for less than half of it leaves others
// a day to do that.
func sweepAfter(tags, size int) time.Duration {
	if 2*tags < size {
		return sweepEvery + 24*time.Hour
	}
	return sweepEvery
}

// differing asks for all tags by HEAD, and returns those with which the listing does not agree.
func (c *Client) differing(ctx context.Context, repo image.Repository, held *image.Sums) (tags []string) {
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, sweptAtOnce)
	for tag, sum := range held.All() {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if d, err := c.Head(ctx, repo.Tag(tag)); err != nil || d.Digest != sum.Digest() {
				mu.Lock()
				defer mu.Unlock()
				tags = append(tags, tag)
			}
		})
	}
	group.Wait()
	return tags
}

// compare reports whether a HEAD agrees with what is listed of a tag. If it does not, a second listing tells why.
func (c *Client) compare(ctx context.Context, e *endpoint, repo image.Repository, l *lister, held *image.Sums, tag string) bool {
	d, err := c.Head(ctx, repo.Tag(tag))
	if err != nil && !errors.Is(err, image.ErrAbsent) {
		return false // it will be asked again, and then say why
	}
	switch held.Of(tag) {
	case image.Sum{}: // it is not known any more
		return false
	case image.SumOf(d.Digest):
		return true
	}
	again, err := c.list(ctx, e, repo, l, held.Tags(), l.maxRequests(held.Len()))
	switch {
	case err != nil: // it shows nothing
	case again.Of(tag) != image.SumOf(d.Digest):
		c.distrust(ctx, repo, tag, held.Of(tag).Digest(), d.Digest)
	case d.Digest == "": // it was deleted meanwhile
		held.Forget(tag)
		return true
	default:
		c.refreshed(ctx, repo, tag)
	}
	return false
}

// refreshed takes note that a listing showed what a tag holds only after a HEAD: the tag has just moved, or the repository is a cache of another
// registry, which looks there only if it is asked for a tag. Its listing is not used for a day, and the second time within a week for a week.
func (c *Client) refreshed(ctx context.Context, repo image.Repository, tag string) {
	now := time.Now()
	c.findings.change(ctx, repo.String(), func(f *finding) bool {
		f.Off = now.Add(offFor)
		if now.Sub(f.Refreshed) < cachedFor {
			f.Off = now.Add(cachedFor)
		}
		f.Refreshed, f.Doubted, f.Checked = now, tag, time.Time{}
		return true
	})
	c.options.Log.LogAttrs(ctx, slog.LevelDebug, "the listing was late, so every tag is asked for by HEAD", slog.String("registry", repo.Registry),
		slog.String("tag", repo.Tag(tag).String()))
}

// maxDocument limits a document about a repository, in bytes.
const maxDocument = 1 << 20

// isProxied reports whether a repository is a cache of another registry, or may be one. A project is asked for that once a day.
func (c *Client) isProxied(ctx context.Context, e *endpoint, repo image.Repository, l *lister) bool {
	if l.proxied == nil {
		return false
	}
	place, proxies := l.proxied(repo.Path)
	project, now := repo.Registry+place, time.Now()
	if f := c.findings.get(ctx, project); now.Before(f.Checked) || now.Before(f.Off) || now.Before(f.Rests) {
		return !now.Before(f.Checked)
	}
	req := e.request(ctx, http.MethodGet, "", nil, nil)
	req.URL.Path = place
	req.Header.Set("X-Is-Resource-Name", "true") // and no number, which a name may look like
	var document map[string]any
	call := wire.Call{Operation: getListing, Deadline: listedDeadline, Once: true, Read: func(resp *http.Response) error {
		raw, err := wire.ReadAll(resp, maxDocument)
		if err == nil {
			err = json.Unmarshal(raw, &document)
		}
		return err //nolint:wrapcheck // the wire says what is wrong
	}}
	_, err := e.auth.DoWith(req, call, l.signed == bare)
	if left(ctx) {
		return true
	}
	cached := err == nil && proxies(document)
	c.findings.change(ctx, project, func(f *finding) bool {
		switch {
		case err != nil:
			f.Rests = restAfter(err, now, time.Now())
		case cached:
			f.Off = now.Add(offFor)
		default:
			f.Checked = now.Add(checkedFor)
		}
		return true
	})
	if err != nil {
		c.options.Log.LogAttrs(ctx, slog.LevelDebug, "the project does not say whether it is a cache, so its listings are not used for a while",
			slog.String("registry", repo.Registry), slog.String("source", repo.String()), slog.Any("err", err))
	}
	return cached || err != nil
}

// distrust turns the listing of a registry off.
func (c *Client) distrust(ctx context.Context, repo image.Repository, tag string, listed, held image.Digest) {
	until := time.Now().Add(offFor)
	first := false
	c.findings.change(ctx, repo.Registry, func(f *finding) bool {
		first = time.Now().After(f.Off)
		f.Off, f.Checked = until, time.Time{}
		return true
	})
	if first {
		c.options.Log.LogAttrs(ctx, slog.LevelWarn, "the registry's listing is wrong, so every tag is asked for by HEAD for a day", slog.String("registry", repo.Registry),
			slog.String("tag", repo.Tag(tag).String()), slog.String("was", string(listed)), slog.String("digest", string(held)), slog.Time("retry_at", until))
	}
}

// sample chooses n tags: the one in doubt, the one that moves most often, and others at random, of which there is always one.
func sample(held *image.Sums, doubted string, n int) []string {
	var chosen []string
	for _, tag := range []string{doubted, "latest"} {
		if held.Of(tag) != (image.Sum{}) && !slices.Contains(chosen, tag) {
			chosen = append(chosen, tag)
		}
	}
	n = min(max(n, len(chosen)+1), held.Len())
	for before := -1; before < len(chosen) && len(chosen) < n; { // it may know less than it did
		before = len(chosen)
		for tag := range held.From(rand.Int()) { //nolint:gosec // for samples
			if !slices.Contains(chosen, tag) {
				chosen = append(chosen, tag)
				break
			}
		}
	}
	return chosen
}

// readLists are the digests that lists of tags have named by the way, until they are taken, or for a minute.
type readLists struct {
	mu    sync.Mutex
	lists map[image.Repository]*readList
	size  int64
}

type readList struct {
	held  *image.Sums
	size  int64
	begun time.Time
}

// put keeps what a list said that was asked for at a time, unless there is too much.
func (r *readLists) put(repo image.Repository, said *digests, begun time.Time) {
	list := &readList{said.sure(), said.size, begun}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(repo)
	if r.size+said.size > maxKept {
		return
	}
	if r.lists == nil {
		r.lists = map[image.Repository]*readList{}
	}
	r.lists[repo] = list
	r.size += list.size
	time.AfterFunc(recentFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lists[repo] == list {
			r.remove(repo)
		}
	})
}

// take returns what a list said that was asked for since a time, and forgets it; nil for none.
func (r *readLists) take(repo image.Repository, since time.Time) *image.Sums {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.lists[repo]
	r.remove(repo)
	if list == nil || list.begun.Before(since) {
		return nil
	}
	return list.held
}

func (r *readLists) drop(repo image.Repository) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(repo)
}

// remove forgets a list. The caller holds the lock.
func (r *readLists) remove(repo image.Repository) {
	if list := r.lists[repo]; list != nil {
		r.size -= list.size
		delete(r.lists, repo)
	}
}
