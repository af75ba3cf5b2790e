package registry

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
)

// maxParts bounds the requests of one upload, far above what a layer of 200 GB takes.
const maxParts = 100_000

// carry sends a blob to the session that regclient has opened for it, where regclient would send one PUT: in as many requests as
// the registry wants (OCI distribution spec, "Pushing a blob monolithically", "… in chunks"), and goes on where one broke off, as
// far as the registry can. It returns the answer that completes the upload, or a challenge.
func (t *transport) carry(req *http.Request, up *upload) (*http.Response, error) {
	up.begin(withoutDigest(req.URL, up.desc.Digest))
	up.load() // where that fails, so does the first part
	checked := *req.URL
	for range maxParts {
		if up.session.Scheme != checked.Scheme || up.session.Host != checked.Host {
			if err := t.guardLocation(req, up.session); err != nil {
				return nil, err
			}
			checked = *up.session
		}
		if err := t.health.check(operation(req), up.session.Host); err != nil {
			return nil, err
		}
		before := up.offset
		resp, failure := t.sendPart(req, up)
		switch {
		case resp != nil:
			return resp, nil
		case failure.err == nil:
			continue
		case failure.done:
			return nil, failure.err
		}
		t.log.LogAttrs(req.Context(), slog.LevelDebug, "upload broke off, trying to go on", slog.String("registry", req.URL.Host),
			slog.Int("attempt", up.failures), slog.Int64("bytes", up.offset), slog.Any("err", failure.err))
		if t.pause(req, failure.wait) != nil {
			return nil, failure.err
		}
		if !t.howFar(req, up) {
			up.lost = true
			return nil, failure.err
		}
		if up.offset > before {
			up.failures = 0
		}
	}
	return nil, fmt.Errorf("the upload of %s takes more than %d requests", up.desc.Digest, maxParts)
}

// sendPart sends what comes next. It returns the answer where that is for the caller, and no failure where the next part is due.
func (t *transport) sendPart(req *http.Request, up *upload) (*http.Response, failed) {
	next, sent := t.part(req, up)
	op := operation(next)
	attempt := up.failures + 1
	resp, err := t.once(next, nil)
	if next.Body != nil {
		_ = next.Body.Close() // nobody reads it from here on
	}
	if _, broken := up.reading(); broken != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		e := &Error{Host: next.URL.Host, Operation: op, Attempts: attempt, Message: "there is nothing more to send", plain: true, cause: broken}
		return nil, failed{err: e, done: true}
	}
	if err != nil {
		up.failures++
		return nil, t.unanswered(next, op, attempt, err)
	}
	t.health.up(next.URL.Host)
	noteServed(next, resp.StatusCode)
	switch {
	case challenge(next, resp):
		up.challenged = &Error{
			Host: next.URL.Host, Operation: op, Status: resp.StatusCode, Attempts: attempt, Hint: statusHint(resp.StatusCode, t.host),
			tokenRefused: true,
		}
		up.challenged.again = up.advanced // a token has served, and ended: with a third, which regclient does not ask for, the next try may get through
		up.advanced = false
		return t.deliver(next, op, resp), failed{}
	case resp.StatusCode == http.StatusRequestEntityTooLarge && t.habits.tooLarge(sent):
		failure := t.refusedBy(next, nil, op, attempt, resp)
		failure.done, failure.wait = false, 0
		return nil, failure
	case resp.StatusCode >= http.StatusMultipleChoices:
		up.failures++
		return nil, t.refusedBy(next, nil, op, attempt, resp)
	case next.Method == http.MethodPut:
		t.habits.completed()
		return resp, failed{}
	}
	defer settle(resp)
	return nil, t.advance(next, up, op, resp, sent)
}

// part makes the request that is due: the whole blob in one PUT, the next chunk in a PATCH, or the PUT that completes the upload.
func (t *transport) part(req *http.Request, up *upload) (next *http.Request, sent int64) {
	size := up.desc.Size
	chunk := t.habits.chunk(size - up.offset)
	up.chunked = up.chunked || chunk > 0 || up.offset > 0
	end := size
	if chunk > 0 {
		end = min(size, up.offset+chunk)
	}
	next = follow(req, up.session)
	sent = end - up.offset
	next.ContentLength = sent
	next.Body, next.GetBody = http.NoBody, nil
	if sent > 0 {
		next.Body = up.part(end)
		next.GetBody = func() (io.ReadCloser, error) { return up.part(end), nil }
	}
	if up.chunked && sent > 0 {
		next.Method = http.MethodPatch
		next.Header.Set("Content-Range", fmt.Sprintf("%d-%d", up.offset, end-1))
		return next, sent
	}
	next.URL = withDigest(up.session, up.desc.Digest)
	return next, sent
}

// advance reads from the answer to a chunk where the upload goes on.
func (t *transport) advance(req *http.Request, up *upload, op string, resp *http.Response, sent int64) failed {
	has, said := received(resp.Header)
	if !said {
		has = up.offset + sent
	}
	if has <= up.offset || has > up.offset+sent {
		up.failures++
		e := &Error{
			Host: req.URL.Host, Operation: op, Attempts: up.failures, plain: true,
			Message: fmt.Sprintf("it was sent the bytes %d to %d, and says that it has %d", up.offset, up.offset+sent-1, has),
		}
		return failed{err: e, wait: t.retries.pause(up.failures), done: t.last(req, up.failures)}
	}
	up.offset, up.failures, up.advanced = has, 0, true
	up.move(req, resp)
	return failed{}
}

// howFar asks the registry how far an upload has got, so that it can be gone on with (OCI distribution spec, "Pushing a blob in
// chunks": a GET to the Location).
func (t *transport) howFar(req *http.Request, up *upload) bool {
	if !t.habits.resumes() {
		return false
	}
	ask := follow(req, up.session)
	ask.Method, ask.Body, ask.GetBody, ask.ContentLength = http.MethodGet, nil, nil, 0
	ask.Header.Del("Content-Type")
	resp, err := t.once(ask, nil)
	if err != nil {
		return false
	}
	defer settle(resp)
	has, said := received(resp.Header)
	if resp.StatusCode >= http.StatusMultipleChoices || !said || has > up.desc.Size {
		return false
	}
	up.offset = has
	up.move(ask, resp)
	return true
}

// follow makes a request to another place of the same upload. The credential stays behind where that is another host's.
func follow(req *http.Request, location *url.URL) *http.Request {
	next := req.Clone(req.Context())
	if location.Host != req.URL.Host {
		next.Header.Del("Authorization")
	}
	next.URL = location
	next.Host = ""
	return next
}

// single makes the POST that carries a small blob, in place of the one that only starts its upload (OCI distribution spec,
// "Single POST"), where the registry may take it. A registry that does not has started an upload all the same.
func (t *transport) single(req *http.Request, up *upload) (*http.Request, []byte) {
	if req.Method != http.MethodPost || up.desc.Size > smallBlob || !startsUpload(req) || req.URL.Query().Has("from") || !t.habits.trySingle() {
		return req, nil
	}
	if !up.load() {
		t.habits.triedSingle(0)
		return req, nil
	}
	next := req.Clone(req.Context())
	next.URL.RawQuery = url.Values{"digest": {string(up.desc.Digest)}}.Encode()
	next.Header.Set("Content-Type", "application/octet-stream")
	next.ContentLength = up.desc.Size
	next.Body = up.part(up.desc.Size)
	return next, up.data
}
