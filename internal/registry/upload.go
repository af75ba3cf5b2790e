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

// maxParts bounds the requests of one upload, far above what a layer of 200 GB takes.
const maxParts = 100_000

// commitTimeout is how long a registry may take once it has all of a blob, which it may hash before it answers.
const commitTimeout = 5 * time.Minute

// PutBlob brings a blob into a repository. It first asks the registry to mount it from the repository named from (empty: none
// is known); only where that is not granted does it call open, which returns the blob from an offset on, and again where an
// upload breaks and is to go on. It returns whether the blob was mounted. An upload that fails is abandoned, never finished with
// other bytes: the registry checks the digest as well.
//
// left is where an earlier upload of the blob to the repository was left, empty for nowhere, and is set to where this one was, which is a
// secret; nil where none is to be gone on with. The caller answers for what was sent then as for what open returns.
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
	if from.Registry == repo.Registry && from != repo {
		u.from = from.Path
	}
	if left == nil {
		left = new(string)
	}
	mounted, err = u.run(ctx, *left)
	*left = u.left(err)
	err, takesNothing := rejection{}.advise(err)
	if takesNothing {
		c.closed.Put(repo, err, closedFor)
	}
	if _, failure := u.reading(); failure != nil {
		return false, failure // what broke is the reading side, whatever the registry made of the torn upload
	}
	return mounted, err
}

// upload is one blob on its way into a registry: where its bytes come from, and how far the registry has got.
type upload struct {
	*endpoint
	*payload
	repo image.Repository
	from string // the path of the repository to mount it from; empty for none
	log  *slog.Logger
	// closed returns why the repository takes nothing, as far as that is known.
	closed func() error

	// session is where the registry wants what comes next, and offset what it has; chunked is set once not all goes in one request,
	// resumed once the session was gone on with after a break, and takenUp where an earlier upload has begun it.
	session                   *url.URL
	offset                    int64
	chunked, resumed, takenUp bool
	// failures counts those in a row, over all sessions; recounted is set once what the registry said to have was taken for one too many.
	failures  int
	recounted bool
}

// maxSessions bounds the sessions of one upload: half a dozen may show how large a request may be, and each may break.
const maxSessions = 20

// run mounts the blob, or sends it to one session after the other, the first of which may be one that was left.
func (u *upload) run(ctx context.Context, left string) (mounted bool, err error) {
	on := false
	if left != "" && u.from == "" {
		if on, err = u.takeUp(ctx, left); err != nil {
			return false, err
		}
		if !on && u.headBlob(ctx, u.repo, u.desc.Digest) == nil { // it was its answer alone that did not come
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
		// Its answer alone may have been lost: a gateway gives up while the registry still hashes.
		if u.headBlob(ctx, u.repo, u.desc.Digest) == nil {
			return false, nil
		}
	}
}

// takeUp tells whether the session that an earlier upload has left can be gone on with. The session stays where the registry does not say.
func (u *upload) takeUp(ctx context.Context, left string) (on bool, err error) {
	location, err := url.Parse(left)
	if err == nil {
		location, err = u.wire.Allowed(location)
	}
	if err != nil {
		return false, nil //nolint:nilerr // no place to go on at
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

// left is where an upload that has failed can be taken up by another; empty where nothing would be spared.
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

// start asks for a mount or a session, by one request; done says that the blob is there. A small blob may travel with the request (OCI
// distribution spec, "Single POST").
func (u *upload) start(ctx context.Context) (done bool, err error) {
	query, need := url.Values{}, []auth.Scope{auth.Push(u.repo.Path)}
	var data []byte
	switch {
	case u.single():
		data = u.data
		query.Set("digest", string(u.desc.Digest))
	case u.desc.Size > 0 && (u.from != "" || u.profile.mounts()):
		query.Set("mount", string(u.desc.Digest))
	}
	if u.from != "" {
		query.Set("from", u.from)
		need = append(need, auth.Pull(u.from))
	}
	resp, err := u.post(ctx, query, need, data, false)
	if data != nil {
		u.profile.triedSingle(statusOf(resp, err))
	}
	if len(query) > 0 && (refusesMount(err) || u.from != "" && refusesRights(err)) { // or it is the bytes that it refuses
		if u.from == "" && data == nil {
			u.profile.refusedMount()
		}
		query = nil
		resp, err = u.post(ctx, query, need[:1], nil, true)
	}
	if err != nil {
		return false, err
	}
	return u.begin(resp, len(query) > 0)
}

// statusOf is what a registry has answered; 0 where it has not, as where a token server refuses.
func statusOf(resp *http.Response, err error) int {
	if e, ok := errors.AsType[*Error](err); ok && !e.OfToken() {
		return e.Status
	}
	if resp != nil {
		return resp.StatusCode
	}
	return 0
}

// refusesMount tells whether an answer may be about the mount, and not about the upload.
func refusesMount(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != postUpload {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict,
		http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

const (
	postUpload  = "POST blob upload"
	putUpload   = "PUT blob upload"
	patchUpload = "PATCH blob upload"
	getUpload   = "GET blob upload"
)

func (u *upload) post(ctx context.Context, query url.Values, need []auth.Scope, data []byte, again bool) (*http.Response, error) {
	req := u.request(ctx, http.MethodPost, u.repo.Path+"/blobs/uploads/", query, data)
	if data != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	return u.auth.Do(req, wire.Call{Operation: postUpload, Lane: wire.Writes, Again: again, Check: u.closed, Deadline: callDeadline, Read: nothing}, need...)
}

// single tells whether the blob is to travel with the POST that starts its upload, and has it at hand then.
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

// begin takes over the session that an answer to POST names; done says that the blob is there, which 201 says where anything was asked for.
func (u *upload) begin(resp *http.Response, asked bool) (done bool, err error) {
	if asked && resp.StatusCode == http.StatusCreated {
		return true, u.keeps(resp)
	}
	u.profile.started(resp.Header)
	u.session, u.offset, u.chunked, u.resumed, u.takenUp = nil, 0, false, false, false
	if err := u.move(postUpload, resp); err != nil {
		return false, err
	}
	if u.session == nil {
		return false, u.refused(postUpload, nil, "it answered %d, and names no Location for the blob", resp.StatusCode)
	}
	return false, nil
}

// keeps checks that a registry has taken the blob, as far as it says so.
func (u *upload) keeps(resp *http.Response) error {
	if said := digestSaid(resp.Header); said != "" && said.Algorithm() == u.desc.Digest.Algorithm() && said != u.desc.Digest {
		return u.hasOther(putUpload, u.desc.Digest, said)
	}
	return nil
}

// digestSaid is the digest that an answer names for what was asked for or sent; empty where there is none, or none that can be read.
func digestSaid(header http.Header) image.Digest {
	said, err := image.ParseDigest(header.Get("Docker-Content-Digest"))
	if err != nil {
		return "" // it need not say
	}
	return said
}

// hasOther is the error of a registry that says to have taken something else than it was sent.
func (e *endpoint) hasOther(operation string, sent, said image.Digest) error {
	return e.refused(operation, image.ErrCorrupt, "it was sent %s, and says that it has taken %s", sent, said)
}

// move takes over the Location that an answer names for what comes next. No Location leads out of TLS.
func (u *upload) move(operation string, resp *http.Response) error {
	text := resp.Header.Get("Location")
	if text == "" {
		return nil
	}
	location, err := resp.Request.URL.Parse(text)
	if err == nil {
		location, err = u.wire.Allowed(location)
	} else {
		err = errors.New("its Location is not a URL") // its text may have a secret in it
	}
	if err != nil {
		return u.refused(operation, err, "%s", wire.Clean(err.Error()))
	}
	u.session = location
	return nil
}

// send sends the blob to its session: in as many requests as the registry wants (OCI distribution spec, "Pushing a blob monolithically",
// "… in chunks"), and goes on where one broke off, as far as the registry can; lost says that the session cannot be gone on
// with, but another may do.
func (u *upload) send(ctx context.Context) (lost bool, err error) {
	u.load() // where that fails, so does the first part
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

// goOn takes a session up again after a failure, or abandons it. One that fails when it was taken up has lost count, or its parts.
func (u *upload) goOn(ctx context.Context, failure *Error) (on bool, err error) {
	forgotten := gone(failure)
	if u.resumed && failure.Status == http.StatusRequestedRangeNotSatisfiable && !u.recounted {
		u.recounted = true
		u.profile.countsBeyond()
		u.resumed = false
	}
	if !forgotten && (!u.resumed || failure.Status == 0 || narrows(failure)) {
		if on, forgotten, err = u.awaitOffset(ctx); on || err != nil {
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

// worthwhile tells whether an upload may go on after a failure.
func (u *upload) worthwhile(failure *Error) bool {
	if _, broken := u.reading(); broken != nil {
		return false
	}
	return u.failures < u.wire.Attempts() && !failure.Lasting && (failure.Temporary() || gone(failure) || narrows(failure) || failure.Status == http.StatusRequestedRangeNotSatisfiable ||
		(u.resumed || u.takenUp) && failure.Status == http.StatusBadRequest)
}

// gone tells whether a registry has forgotten a session: it answers 404 for it, as for a repository that is not there.
func gone(e *Error) bool { return e.Status == http.StatusNotFound && e.ErrorCode != "NAME_UNKNOWN" }

// narrows tells whether smaller requests are to be sent.
func narrows(e *Error) bool { return e.Status == http.StatusRequestEntityTooLarge && e.Again }

// pauseAfter waits for the next try; not where the answer was about the size of the request.
func (u *upload) pauseAfter(ctx context.Context, failure *Error) error {
	if narrows(failure) {
		return nil
	}
	return backoff.Sleep(ctx, max(u.wire.Pause(u.failures), failure.After))
}

// pause waits between the tries of what can be gone on with.
func (e *endpoint) pause(ctx context.Context, failures int) error {
	return backoff.Sleep(ctx, e.wire.Pause(failures)/4)
}

// abandon tells the registry that a session is over. Whether it heeds that matters to nobody.
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

// sendPart sends what comes next; without a failure done says that the blob has been taken, else the next part is due.
func (u *upload) sendPart(ctx context.Context) (done bool, failure *Error) {
	req, sent := u.next(ctx)
	operation := req.Method + " blob upload"
	call := wire.Call{Operation: operation, Lane: wire.Uploads, Once: true, Patience: commitTimeout, Read: nothing}
	resp, err := u.auth.Do(req, call, auth.Push(u.repo.Path))
	u.stop() // nobody reads from here on
	if err != nil {
		u.rest()
	}
	if err == nil && req.Method == http.MethodPut {
		u.profile.completed()
		return true, u.asError(operation, u.keeps(resp))
	}
	if err == nil {
		return false, u.advance(resp, sent)
	}
	err, _ = rejection{path: req.URL.Path, repository: u.repo.Path}.advise(err)
	failure = u.asError(operation, err)
	if failure.Status == http.StatusRequestEntityTooLarge && u.profile.tooLarge(sent) {
		failure.Again = true
		return false, failure
	}
	u.failures++
	failure.Attempts = u.failures
	return false, failure
}

// asError returns an error in the form of this package's own.
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

// next makes the request that is due: the whole blob in one PUT, the next chunk in a PATCH, or the PUT that completes the upload.
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
	req.Body, _ = req.GetBody() // of memory
	return req, sent
}

// advance reads from the answer to a chunk where the upload goes on.
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

// awaitOffset is uploadOffset, asked again while the registry is away: its session is worth waiting for. It returns an error where no answer
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
			return false, false, nil // it answers others: another session may do
		}
		return false, false, failure
	}
}

// away tells whether a registry did not answer, or did by a proxy before it or for want of room.
func away(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.OfToken() {
		return false
	}
	switch e.Status {
	case 0:
		return e.Temporary()
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// uploadOffset asks the registry how far an upload has got, so that it can be gone on with (OCI distribution spec, "Pushing a blob in
// chunks": a GET to the Location).
func (u *upload) uploadOffset(ctx context.Context) (on, forgotten bool, err error) {
	if !u.profile.resumes() {
		return false, false, nil
	}
	resp, err := u.auth.Do(u.at(ctx, http.MethodGet, u.session), wire.Call{Operation: getUpload, Once: true, Deadline: callDeadline, Read: nothing}, auth.Push(u.repo.Path))
	if away(err) {
		return false, false, err
	}
	if err != nil {
		return false, errors.Is(err, image.ErrAbsent), nil //nolint:nilerr // another session may do
	}
	says, said := received(resp.Header)
	has := u.profile.has(says, u.desc.Size)
	if resp.StatusCode >= http.StatusMultipleChoices || !said || has > u.desc.Size {
		return false, false, nil
	}
	u.offset, u.resumed = has, true
	return true, false, u.move(getUpload, resp)
}

// withDigest puts the digest behind the query of a session. The rest is the registry's own and stays as it is.
func withDigest(u *url.URL, d image.Digest) *url.URL {
	location := *u
	if location.RawQuery != "" {
		location.RawQuery += "&"
	}
	location.RawQuery += "digest=" + url.QueryEscape(string(d))
	return &location
}

// received reads how many bytes an upload has, from the header Range of an answer: "0-99" for a hundred. Registries say "0-0" of an
// upload that has nothing (OCI distribution spec, "Pushing a blob in chunks").
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
