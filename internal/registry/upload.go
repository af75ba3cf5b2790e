package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// maxParts limits the requests of one upload, far above what a layer of 200 GB takes.
const maxParts = 100_000

// mountedFor is how long a mount is remembered. A registry that has mounted a blob and still refuses its manifest does so within one import.
const mountedFor = time.Hour

// commitTimeout is how long a registry may take after it has received a blob, which it may hash before it answers.
const commitTimeout = 5 * time.Minute

// PutBlob copies a blob into a repository. It first asks the registry to mount it from the repository named from, if any. Only if that
// fails does it call open, which returns the blob from an offset on; it calls open again to resume. It returns whether the blob was
// mounted. A blob that the registry said it mounted a short while before is asked for, and sent if it is not there. A failed upload is
// abandoned, never finished with other bytes: the registry checks the digest as well.
//
// left is a secret: on entry where an earlier upload of the blob stopped, empty for none; on return where this one stopped. nil turns that
// off. The caller answers for what that upload sent as for what open returns.
func (c *Client) PutBlob(ctx context.Context, repo image.Repository, d image.Descriptor, from image.Repository, open func(offset int64) (io.ReadCloser, error), left *string) (mounted bool, err error) {
	if repo.IsLayout() {
		return false, c.layouts.PutBlob(ctx, repo, d, func() (io.ReadCloser, error) { return open(0) })
	}
	e := c.endpoint(repo)
	closed := func() error {
		if err, ok := c.closed.Get(repo); ok {
			return err
		}
		return nil
	}
	if err := closed(); err != nil {
		return false, err
	}
	u := &upload{endpoint: e, repo: repo, closed: closed, payload: &payload{desc: d, open: open}, log: c.options.Log}
	defer u.close()
	ref := repo.Digest(d.Digest)
	if _, u.unmounted = c.mounted.Get(ref); !u.unmounted && from.Registry == repo.Registry && from != repo && e.profile.mountsFrom() {
		u.from = from.Path
	}
	if c.options.Make[repo.Registry] != nil {
		u.make = func(ctx context.Context) error { return c.makeRepository(ctx, repo) }
	}
	if left == nil {
		left = new(string)
	}
	if mounted = u.unmounted && u.headBlob(ctx, repo, d.Digest) == nil; !mounted {
		mounted, err = u.run(ctx, *left)
	}
	switch {
	case mounted:
		c.mounted.Put(ref, struct{}{}, mountedFor)
		if !u.unmounted { // otherwise it was found there
			e.taken.add(byMounting, ref)
		}
	case err == nil:
		c.mounted.Drop(ref)
		e.taken.add(bySending, ref)
	}
	*left = u.left(err)
	err, takesNothing := rejection{}.advise(err)
	if takesNothing {
		c.closed.Put(repo, err, closedFor)
	}
	if _, failure := u.reading(); failure != nil {
		return false, failure // the reading side broke, whatever the registry made of it
	}
	return mounted, err
}

// upload is the upload of one blob: where its bytes come from, and how much the registry has.
type upload struct {
	*endpoint
	*payload
	repo image.Repository
	from string // the path of the repository to mount it from; empty for none
	log  *slog.Logger
	// unmounted is set if the registry has said before that it mounted the blob: if it is not there, it is sent.
	unmounted bool
	// closed returns why the repository accepts no writes, as far as that is known.
	closed func() error
	// make makes the repository; nil if that is not wanted.
	make func(ctx context.Context) error

	// session is the URL of the next request, offset what the registry has. chunked is set once the blob takes several requests, resumed
	// once the session was resumed and nothing has been taken since, broke once it was ever resumed, takenUp if an earlier upload began it.
	session                          *url.URL
	offset                           int64
	chunked, resumed, broke, takenUp bool
	// spoilt counts sessions that had other bytes than were sent.
	spoilt int
	// failures counts failures in a row, over all sessions; recounted is set once the registry's count was taken for one too high.
	failures  int
	recounted bool
	// narrowed is set once a request was too large; before is how large one could be until then, 0 for any size.
	narrowed bool
	before   int64
}

// maxSessions limits the sessions of one upload: it may take half a dozen to find the maximum request size, and each may break. maxSpoilt limits those
// that have other bytes than were sent.
const (
	maxSessions = 20
	maxSpoilt   = 2
)

// run mounts the blob, or sends it in one session after another; the first may be one that an earlier upload left.
func (u *upload) run(ctx context.Context, left string) (mounted bool, err error) {
	on := false
	if left != "" && u.from == "" {
		if on, err = u.takeUp(ctx, left); err != nil {
			return false, err
		}
		if !on && u.headBlob(ctx, u.repo, u.desc.Digest) == nil { // only the answer was lost
			return false, nil
		}
	}
	for session := 1; ; session++ {
		if !on {
			done, err := u.start(ctx)
			if done || err != nil {
				opened, _ := u.reading()
				return err == nil && !opened && u.desc.Size > 0, err
			}
		}
		on = false
		lost, err := u.send(ctx)
		if !lost || session == maxSessions || ctx.Err() != nil {
			return false, err
		}
		// Perhaps only the answer was lost: a gateway gives up while the registry still hashes.
		if u.headBlob(ctx, u.repo, u.desc.Digest) == nil {
			return false, nil
		}
	}
}

// takeUp reports whether the session of an earlier upload can be resumed. If the registry does not say, the session stays.
func (u *upload) takeUp(ctx context.Context, left string) (on bool, err error) {
	location, err := url.Parse(left)
	if err == nil {
		location, err = u.wire.Allowed(location)
	}
	if err != nil {
		return false, nil //nolint:nilerr // nowhere to resume
	}
	u.session, u.takenUp = location, true
	on, forgotten, err := u.awaitOffset(ctx)
	if err != nil {
		return false, err
	}
	if on && u.offset > 0 {
		u.failures = 0
		return true, nil
	}
	if !forgotten {
		u.abandon(ctx)
	}
	u.session, u.takenUp = nil, false
	return false, nil
}

// left returns where another upload can resume this failed one; empty if that would save nothing.
func (u *upload) left(err error) string {
	if err == nil || u.session == nil || !u.profile.resumes() || u.offset == 0 && u.taken() == 0 && !u.takenUp {
		return ""
	}
	_, broken := u.reading()
	if e, ok := errors.AsType[*Error](err); ok && broken == nil && e.Status != 0 && !e.Temporary() {
		return "" // the registry does not want it
	}
	return u.session.String()
}

// startOnce requests a mount or a session with one request; done says that the blob is there. A small blob may go with the request (OCI
// distribution spec, "Single POST").
func (u *upload) startOnce(ctx context.Context) (done bool, err error) {
	query, need := url.Values{}, []auth.Scope{auth.Push(u.repo.Path)}
	var data []byte
	switch {
	case u.single():
		data = u.data
		query.Set("digest", string(u.desc.Digest))
	case u.desc.Size > 0 && !u.unmounted && (u.from != "" || u.profile.mountsAny()):
		query.Set("mount", string(u.desc.Digest))
	}
	if u.from != "" {
		query.Set("from", u.from)
		need = append(need, auth.Pull(u.from))
	}
	resp, err := u.post(ctx, query, need, data, wire.Call{})
	created := len(query) > 0 && err == nil && resp.StatusCode == http.StatusCreated
	if created {
		err = u.has(ctx, resp)
	}
	if data != nil {
		u.profile.triedSingle(statusOf(resp, err))
	}
	if created && err == nil {
		u.profile.answered(data == nil)
		return true, nil
	}
	nowhere := err == nil && !created && resp.Header.Get("Location") == ""
	if len(query) > 0 && (nowhere || refusesMount(err) || u.from != "" && refusesRights(err)) { // otherwise it refuses the bytes
		return false, u.startPlainly(ctx, data == nil, nowhere, statusOf(nil, err) >= http.StatusInternalServerError)
	}
	if err != nil {
		return false, err
	}
	if len(query) > 0 {
		u.profile.answered(data == nil)
	}
	return false, u.begin(resp)
}

// startPlainly requests a session alone, after the registry has refused a mount or the blob with the request, or has failed at it: by an answer that
// leads nowhere, or with an error of its own, after which it is asked once.
func (u *upload) startPlainly(ctx context.Context, mount, nowhere, broken bool) error {
	if mount && u.from == "" && !nowhere && !broken {
		u.profile.refusedMount()
	}
	resp, err := u.post(ctx, nil, []auth.Scope{auth.Push(u.repo.Path)}, nil, wire.Call{Again: true, Once: broken})
	if err != nil {
		return err
	}
	if nowhere || broken {
		u.profile.failed(mount, nowhere)
	}
	return u.begin(resp)
}

// has returns an error unless the repository has the blob after a 201. A 201 that names neither the blob's digest nor its Location may be of
// a session or of another blob, so the registry is asked.
func (u *upload) has(ctx context.Context, resp *http.Response) error {
	if err := u.keeps(resp); err != nil {
		return err
	}
	if u.names(resp) {
		return nil
	}
	return u.headBlob(ctx, u.repo, u.desc.Digest)
}

// proven returns an error if the repository lacks the blob after an answer to its last PUT that names neither the blob's digest nor its Location:
// something on the way may have given that answer. What dray cannot read is believed, and so is another host that took the bytes: the registry may hear of
// them with the manifest.
func (u *upload) proven(ctx context.Context, resp *http.Response) error {
	if err := u.keeps(resp); err != nil || u.names(resp) || resp.Request.URL.Host != u.wire.Host() {
		return err
	}
	if err := u.awaitBlob(ctx, u.repo.Digest(u.desc.Digest)); !errors.Is(err, image.ErrAbsent) {
		return ctx.Err()
	}
	return u.refused(putUpload, nil, "it says that it has taken the blob, and does not have it")
}

// awaitBlob asks for a blob that a repository says it has, a few times, since it may need a moment.
func (e *endpoint) awaitBlob(ctx context.Context, ref image.Reference) (err error) {
	for i := range proofs {
		if err := backoff.Sleep(ctx, time.Duration(i)*time.Second); err != nil {
			return err
		}
		if err = e.headBlob(ctx, ref.Repository, ref.Digest); !errors.Is(err, image.ErrAbsent) {
			return err
		}
	}
	return err
}

// names reports whether an answer names the blob.
func (u *upload) names(resp *http.Response) bool {
	location, err := url.Parse(resp.Header.Get("Location"))
	return digestSaid(resp.Header) == u.desc.Digest || err == nil && strings.HasSuffix(location.Path, "/"+string(u.desc.Digest))
}

// statusOf returns the status of the registry's answer; 0 if it gave none, as when a token server refuses.
func statusOf(resp *http.Response, err error) int {
	if e, ok := errors.AsType[*Error](err); ok && !e.OfToken() {
		return e.Status
	}
	if resp != nil {
		return resp.StatusCode
	}
	return 0
}

// refusesMount reports whether an answer may concern the mount rather than the upload, or a blob is not there that the registry said it has.
func refusesMount(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != postUpload {
		return ok && e.Operation == headBlob
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict,
		http.StatusUnprocessableEntity:
		return true
	}
	return e.Status >= http.StatusInternalServerError && !e.Lasting && e.RetryAt().IsZero()
}

const (
	postUpload  = "POST blob upload"
	putUpload   = "PUT blob upload"
	patchUpload = "PATCH blob upload"
	getUpload   = "GET blob upload"
)

func (u *upload) post(ctx context.Context, query url.Values, need []auth.Scope, data []byte, call wire.Call) (*http.Response, error) {
	req := u.request(ctx, http.MethodPost, u.repo.Path+"/blobs/uploads/", query, data)
	if data != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	call.Operation, call.Lane, call.Check, call.Deadline, call.Read = postUpload, wire.Writes, u.closed, callDeadline, nothing
	return u.auth.Do(req, call, need...)
}

// single reports whether to send the blob with the POST that starts its upload, and loads it.
func (u *upload) single() bool {
	if u.desc.Size > smallBlob || u.from != "" || !u.profile.trySingle() {
		return false
	}
	if !u.load() {
		u.profile.triedSingle(0)
		return false
	}
	return true
}

// begin takes over the session that the answer to a POST names.
func (u *upload) begin(resp *http.Response) error {
	u.profile.started(resp.Header)
	u.session, u.offset, u.chunked, u.resumed, u.takenUp, u.broke = nil, 0, false, false, false, false
	if err := u.move(postUpload, resp); err != nil {
		return err
	}
	if u.session == nil {
		return u.refused(postUpload, nil, "it answered %d without a Location for the blob", resp.StatusCode)
	}
	return nil
}

// keeps checks the digest that the registry says it has stored, if it names one.
func (u *upload) keeps(resp *http.Response) error {
	if said := digestSaid(resp.Header); said != "" && said.Algorithm() == u.desc.Digest.Algorithm() && said != u.desc.Digest {
		return u.hasOther(putUpload, u.desc.Digest, said)
	}
	return nil
}

// digestSaid returns the digest in an answer; empty if there is none, or an invalid one.
func digestSaid(header http.Header) image.Digest {
	said, err := image.ParseDigest(header.Get("Docker-Content-Digest"))
	if err != nil {
		return "" // it is optional
	}
	return said
}

// hasOther is the error of a registry that says it has stored something else.
func (e *endpoint) hasOther(operation string, sent, said image.Digest) error {
	return e.refused(operation, image.ErrCorrupt, "it was sent %s, and says that it has stored %s", sent, said)
}

// move takes over the Location of an answer for the next request. A Location must not lead out of TLS.
func (u *upload) move(operation string, resp *http.Response) error {
	text := resp.Header.Get("Location")
	if text == "" {
		return nil
	}
	location, err := resp.Request.URL.Parse(text)
	if err == nil {
		location, err = u.wire.Allowed(location)
	} else {
		err = errors.New("its Location is not a URL") // its text may contain a secret
	}
	if err != nil {
		return u.refused(operation, err, "%s", wire.Clean(err.Error()))
	}
	u.session = location
	return nil
}

// send sends the blob in as many requests as the registry wants (OCI distribution spec, "Pushing a blob monolithically", "… in chunks"),
// and resumes where one broke off, if the registry can; lost says that the session cannot be resumed, but another one may work.
func (u *upload) send(ctx context.Context) (lost bool, err error) {
	u.load() // if that fails, so does the first part
	for range maxParts {
		before := u.offset
		done, failure := u.sendPart(ctx)
		switch {
		case failure == nil && done:
			return false, nil
		case failure == nil:
			continue
		case !u.worthwhile(failure):
			return false, failure
		}
		u.log.LogAttrs(ctx, slog.LevelDebug, "upload broke off, trying to go on", slog.String("registry", u.registry),
			slog.Int("attempt", u.failures), slog.Int64("bytes", u.offset), slog.Any("err", failure))
		if u.pauseAfter(ctx, failure) != nil {
			return false, failure
		}
		on, err := u.goOn(ctx, failure)
		if err != nil {
			return false, err
		}
		if !on {
			return true, failure
		}
		if u.offset > before {
			u.failures = 0
		}
	}
	return false, u.refused(putUpload, nil, "the upload of %s takes more than %d requests", u.desc.Digest, maxParts)
}

// goOn resumes a session after a failure, or abandons it. One that was resumed and fails again has lost its count, or its parts.
func (u *upload) goOn(ctx context.Context, failure *Error) (on bool, err error) {
	forgotten, had := gone(failure), u.offset
	if u.resumed && failure.Status == http.StatusRequestedRangeNotSatisfiable && !u.recounted {
		u.recounted = true
		u.profile.countsBeyond()
		u.resumed = false
	}
	spoils := u.spoils(failure)
	if spoils {
		u.spoilt++
	}
	if !forgotten && !spoils && (!u.resumed || failure.Status == 0 || narrows(failure)) {
		if on, forgotten, err = u.awaitOffset(ctx); on || err != nil {
			if on && u.offset <= had && failure.Unanswered && u.taken() > 0 {
				u.profile.swallowed(u.asked())
			}
			return on, err
		}
	}
	if failure.Unanswered && !u.chunked {
		u.profile.tore(u.taken())
	}
	if !forgotten {
		u.abandon(ctx)
	}
	u.session = nil
	return false, nil
}

// worthwhile reports whether an upload may continue after a failure.
func (u *upload) worthwhile(failure *Error) bool {
	if _, broken := u.reading(); broken != nil {
		return false
	}
	return u.failures < u.wire.Attempts() && !failure.Lasting && (failure.Temporary() || gone(failure) || narrows(failure) || failure.Status == http.StatusRequestedRangeNotSatisfiable ||
		u.spoils(failure) && u.spoilt < maxSpoilt)
}

// spoils reports whether a failure says that a session has other bytes than were sent: of a request that broke off, some may have been written only after
// the session was resumed, and a proxy or a disk may change some. Of another algorithm the registry may know nothing.
func (u *upload) spoils(failure *Error) bool {
	return failure.Status == http.StatusBadRequest && (u.broke || u.takenUp || failure.ErrorCode == "DIGEST_INVALID" && strings.HasPrefix(string(u.desc.Digest), "sha256:"))
}

// gone reports whether a registry has forgotten a session: it answers 404, as for a missing repository.
func gone(e *Error) bool { return e.Status == http.StatusNotFound && e.ErrorCode != "NAME_UNKNOWN" }

// narrows reports whether to send smaller requests.
func narrows(e *Error) bool { return e.Status == http.StatusRequestEntityTooLarge && e.Again }

// pauseAfter waits before the next attempt, unless the failure concerned the request size.
func (u *upload) pauseAfter(ctx context.Context, failure *Error) error {
	if narrows(failure) {
		return nil
	}
	return backoff.Sleep(ctx, max(u.wire.Pause(u.failures), failure.After))
}

// pause waits before an attempt to resume.
func (e *endpoint) pause(ctx context.Context, failures int) error {
	return backoff.Sleep(ctx, e.wire.Pause(failures)/4)
}

// abandon tells the registry that a session is over. Its answer does not matter.
func (u *upload) abandon(ctx context.Context) {
	req := u.at(ctx, http.MethodDelete, u.session)
	call := wire.Call{Operation: "DELETE blob upload", Lane: wire.Writes, Once: true, Deadline: time.Minute, Read: nothing}
	_, _ = u.auth.Do(req, call, auth.Push(u.repo.Path))
}

// at makes a request to the session of the upload.
func (u *upload) at(ctx context.Context, method string, location *url.URL) *http.Request {
	req := u.request(ctx, method, "", nil, nil)
	req.URL = location
	return req
}

// sendPart sends the next part; without a failure, done says that the blob was accepted, otherwise the next part is due.
func (u *upload) sendPart(ctx context.Context) (done bool, failure *Error) {
	req, sent := u.next(ctx)
	operation := req.Method + " blob upload"
	call := wire.Call{Operation: operation, Lane: wire.Uploads, Once: true, Patience: commitTimeout, Read: nothing}
	resp, err := u.auth.Do(req, call, auth.Push(u.repo.Path))
	u.stop() // stop reading
	if err != nil {
		u.rest()
	}
	if err == nil && req.Method == http.MethodPut {
		u.profile.completed()
		return true, u.asError(operation, u.proven(ctx, resp))
	}
	if err == nil {
		return false, u.advance(resp, sent)
	}
	err, _ = rejection{path: req.URL.Path, repository: u.repo.Path}.advise(err)
	failure = u.asError(operation, err)
	if failure.Status == http.StatusRequestEntityTooLarge && u.tooLarge(sent) {
		failure.Again = true
		return false, failure
	}
	u.failures++
	failure.Attempts = u.failures
	return false, failure
}

// tooLarge notes a 413 to a request of so many bytes, and reports whether a smaller one is worth a try. If the smallest is refused as well, the size does
// not matter, as where a quota is used up, and others go on with the size that they had.
func (u *upload) tooLarge(sent int64) bool {
	before := u.profile.size()
	if u.profile.tooLarge(sent) {
		if !u.narrowed {
			u.narrowed, u.before = true, before
		}
		return true
	}
	if u.narrowed {
		u.profile.widen(u.before)
	}
	return false
}

// asError converts an error to this package's own.
func (u *upload) asError(operation string, err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		copied := *e
		return &copied
	}
	return u.refused(operation, err, "%s", wire.Clean(err.Error()))
}

// next makes the next request: the whole blob in one PUT, the next chunk in a PATCH, or the PUT that completes the upload.
func (u *upload) next(ctx context.Context) (req *http.Request, sent int64) {
	size := u.desc.Size
	chunk := u.profile.chunk(size - u.offset)
	u.chunked = u.chunked || chunk > 0 || u.offset > 0
	end := size
	if chunk > 0 {
		end = min(size, u.offset+chunk)
	}
	sent = end - u.offset
	if u.chunked && sent > 0 {
		req = u.at(ctx, http.MethodPatch, u.session)
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, end-1))
	} else {
		req = u.at(ctx, http.MethodPut, withDigest(u.session, u.desc.Digest))
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.ContentLength = sent
	offset := u.offset
	req.GetBody = func() (io.ReadCloser, error) {
		if sent == 0 {
			return http.NoBody, nil
		}
		return u.part(offset, end), nil
	}
	req.Body, _ = req.GetBody() // in memory
	return req, sent
}

// advance reads the next offset from the answer to a chunk.
func (u *upload) advance(resp *http.Response, sent int64) *Error {
	end := u.offset + sent
	has, said := received(resp.Header)
	if said {
		has = u.profile.counts(has, end)
	} else {
		has = end
	}
	if has <= u.offset || has > end {
		u.failures++
		failure := u.refused(patchUpload, nil, "it was sent the bytes %d to %d, and says that it has %d", u.offset, end-1, has)
		failure.Attempts, failure.Lasting = u.failures, false
		return failure
	}
	u.offset, u.failures, u.resumed = has, 0, false
	return u.asError(patchUpload, u.move(patchUpload, resp))
}

// awaitOffset is uploadOffset, repeated while the registry is away: its session is worth waiting for. It returns an error if no answer
// comes.
func (u *upload) awaitOffset(ctx context.Context) (on, forgotten bool, err error) {
	for {
		on, forgotten, err = u.uploadOffset(ctx)
		if !away(err) || ctx.Err() != nil {
			return on, forgotten, err
		}
		failure := u.asError(getUpload, err)
		if u.failures++; u.failures < u.wire.Attempts() && u.pauseAfter(ctx, failure) == nil {
			continue
		}
		if failure.Status != 0 && ctx.Err() == nil {
			return false, false, nil // it answers others: another session may work
		}
		return false, false, failure
	}
}

// away reports whether a registry did not answer, or only by a proxy before it or for lack of capacity. Its own 500 may be due to the request.
func away(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.OfToken() {
		return false
	}
	switch e.Status {
	case 0:
		return e.Temporary()
	case http.StatusInternalServerError:
		return false
	}
	return e.Temporary()
}

// uploadOffset asks the registry how much of an upload it has, to resume it (OCI distribution spec, "Pushing a blob in chunks": a GET to
// the Location).
func (u *upload) uploadOffset(ctx context.Context) (on, forgotten bool, err error) {
	if !u.profile.resumes() {
		return false, false, nil
	}
	resp, err := u.auth.Do(u.at(ctx, http.MethodGet, u.session), wire.Call{Operation: getUpload, Once: true, Deadline: callDeadline, Read: nothing}, auth.Push(u.repo.Path))
	if away(err) {
		return false, false, err
	}
	if err != nil {
		return false, errors.Is(err, image.ErrAbsent), nil //nolint:nilerr // another session may work
	}
	says, said := received(resp.Header)
	has := u.profile.has(says, u.desc.Size)
	if resp.StatusCode >= http.StatusMultipleChoices || !said || has > u.desc.Size {
		return false, false, nil
	}
	u.offset, u.resumed, u.broke = has, true, true
	return true, false, u.move(getUpload, resp)
}

// withDigest adds the digest to the query of a session. The rest is the registry's own and stays unchanged.
func withDigest(u *url.URL, d image.Digest) *url.URL {
	location := *u
	if location.RawQuery != "" {
		location.RawQuery += "&"
	}
	location.RawQuery += "digest=" + url.QueryEscape(string(d))
	return &location
}

// received reads how many bytes an upload has, from the Range header: "0-99" for a hundred. Registries say "0-0" for an empty upload (OCI
// distribution spec, "Pushing a blob in chunks").
func received(header http.Header) (int64, bool) {
	text := strings.TrimPrefix(header.Get("Range"), "bytes=")
	first, last, ok := strings.Cut(text, "-")
	end, isNumber := number(last)
	if !ok || first != "0" || !isNumber || end == math.MaxInt64 {
		return 0, false
	}
	if end == 0 {
		return 0, true
	}
	return end + 1, true
}

func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}
