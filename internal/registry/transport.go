package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// transport carries all requests of one endpoint, to its registry and to where that redirects or has tokens. It limits the
// requests in flight, retries, and returns either an answer that is final for the caller (2xx, 3xx, 401) or an *Error.
type transport struct {
	base    http.RoundTripper
	host    string
	limit   *limits
	habits  *habits
	retries Retries
	health  *health
	refused *refusals
	secrets secrets
	log     *slog.Logger
	// plainHTTP is set for a registry that is configured to be spoken to without TLS.
	plainHTTP bool
	// tryPlain is set for a loopback registry of which nothing is configured: where it does not speak TLS it is spoken to
	// without, as Docker does.
	tryPlain bool
	plain    sync.Map // host → struct{}: found to speak no TLS
}

// RoundTrip sends the request until an answer is final.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := guardOrigin(req); err != nil {
		return nil, err
	}
	body, err := replayable(req)
	if err != nil {
		return nil, err
	}
	if err := t.guardTarget(req); err != nil {
		return nil, err
	}
	req = ranged(rewriteMount(withoutCredential(req)))
	if err := t.refused.check(req, body); err != nil {
		return nil, err
	}
	up := uploadOf(req)
	if up != nil && req.Method == http.MethodPut {
		return t.carry(req, up)
	}
	if up != nil && body == nil {
		req, body = t.single(req, up)
		if body != nil {
			resp, err := t.send(req, body)
			t.habits.triedSingle(statusOf(resp, err))
			return resp, err
		}
	}
	return t.send(req, body)
}

// send sends a request until an answer is final; body is what can be sent again.
func (t *transport) send(req *http.Request, body []byte) (*http.Response, error) {
	op := operation(req)
	for attempt := 1; ; attempt++ {
		if err := t.health.check(op, req.URL.Host); err != nil {
			return nil, err
		}
		resp, err := t.once(req, body)
		if err == nil {
			err = readWhole(req, resp)
		}
		var failure failed
		switch {
		case err != nil:
			failure = t.unanswered(req, op, attempt, err)
		case final(req, resp):
			t.health.up(req.URL.Host)
			t.refused.served(req, body)
			return verified(req, op, t.deliver(req, op, resp))
		default:
			t.health.up(req.URL.Host)
			noteServed(req, resp.StatusCode)
			failure = t.refusedBy(req, body, op, attempt, resp)
		}
		if failure.done {
			noteFailure(req, failure.err)
			t.refused.note(req, body, failure.err)
			return nil, failure.err
		}
		t.log.LogAttrs(req.Context(), slog.LevelDebug, "request failed, trying again", slog.String("registry", req.URL.Host),
			slog.String("op", op), slog.Int("attempt", attempt), slog.Any("err", failure.err), slog.Duration("duration", failure.wait))
		if t.pause(req, failure.wait) != nil {
			return nil, failure.err
		}
	}
}

// readWhole reads the answer of a request for a list, a manifest or a token, so that one that breaks off is asked for again like one
// that does not come. It is bounded by answerBound.
func readWhole(req *http.Request, resp *http.Response) error {
	if req.Method != http.MethodGet && !tokenRequest(req) || resp.StatusCode != http.StatusOK || answerBound(req) < 0 {
		return nil
	}
	raw, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return brokenAnswer{err}
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	if g := guardOf(req); g != nil {
		g.took(len(raw))
	}
	return nil
}

// brokenAnswer is why the body of an answer could not be read.
type brokenAnswer struct{ error }

// Unwrap returns the cause.
func (b brokenAnswer) Unwrap() error { return b.error }

// answerBound is how many bytes the answer to a request may have, negative for any number.
func answerBound(req *http.Request) int64 {
	g := guardOf(req)
	switch {
	case tokenRequest(req):
		return maxToken
	case g != nil:
		return g.room()
	case strings.Contains(req.URL.Path, "/manifests/"):
		return maxManifest
	}
	return -1
}

// pause waits before a request is sent again; its place among those in flight is for others meanwhile, unless it stays.
func (t *transport) pause(req *http.Request, d time.Duration) error {
	if p := placeHeld(req); p != nil && !p.stays {
		p.leave()
	}
	return sleep(req.Context(), d)
}

// deliver hands a final answer to the caller.
func (t *transport) deliver(req *http.Request, op string, resp *http.Response) *http.Response {
	noteFinal(req, op, resp.StatusCode)
	noteServed(req, resp.StatusCode)
	if uploadOf(req) != nil && req.Method == http.MethodPost {
		t.habits.started(resp.Header)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		settle(resp)
	} else {
		t.resumable(req, resp)
	}
	return resp
}

// settle drops the body of a redirect or a challenge, and so gives its place in flight back: regclient asks for a token, which
// may need that place, before it closes the body, and does not close it at all where it gives up.
func settle(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody)) // read to its end the connection can be used again
	_ = resp.Body.Close()
	resp.Body = http.NoBody
}

// clean makes what was said by a registry, or because of it, fit for a log.
func (t *transport) clean(text string) string { return clean(t.secrets.hide(text)) }

// failed is an attempt that the caller cannot use, with the pause before the next one.
type failed struct {
	err  *Error
	wait time.Duration
	done bool // no further attempt
}

// unanswered judges an attempt to which no answer came.
func (t *transport) unanswered(req *http.Request, op string, attempt int, err error) failed {
	if limit, ok := errors.AsType[limitError](err); ok {
		return failed{err: limited(req, op, limit), done: true}
	}
	e := &Error{Host: req.URL.Host, Operation: op, Attempts: attempt, cause: err, Hint: t.hint(err, req.URL.Host)}
	switch broken := (brokenAnswer{}); {
	case errors.As(err, &broken):
		e.Message, e.plain = "the body broke off: "+t.clean(broken.Error()), true
	case tlsHint(err) == "": // which says all there is to say
		e.Message = t.clean(describe(err))
	}
	if !retryableError(req.Context(), err) {
		if req.Context().Err() == nil {
			e.cause = permanentError{err}
		}
		return failed{err: e, done: true}
	}
	last := t.last(req, attempt)
	if last && uploadOf(req) == nil && !onlyOnce(req) { // an upload breaks off for reasons of its own
		t.health.down(req.URL.Host, e)
	}
	return failed{err: e, wait: t.retries.pause(attempt), done: last}
}

// final tells whether an answer is for the caller: a success, a redirect, or a challenge that it can meet by asking again.
func final(req *http.Request, resp *http.Response) bool {
	return resp.StatusCode < 400 || challenge(req, resp)
}

// challenge tells whether an answer asks for a sign-in.
func challenge(req *http.Request, resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized && !tokenRequest(req)
}

// refusedBy judges an answer that is not final: an error, with the pause that it asks for. The body is what was sent, where it is small.
func (t *transport) refusedBy(req *http.Request, body []byte, op string, attempt int, resp *http.Response) failed {
	e := &Error{Host: req.URL.Host, Operation: op, Attempts: attempt, Status: resp.StatusCode}
	e.readBody(resp, t.clean)
	e.way = t.rejection(req, body, e).wayOut()
	e.Hint = e.way.hint
	if e.way.lasting || !retryableStatus(resp.StatusCode) {
		return failed{err: e, done: true}
	}
	wait := t.retries.pause(attempt)
	if asked, ok := retryAfter(resp.Header, e.Message, time.Now()); ok {
		if asked > t.retries.Max {
			e.NotBefore = time.Now().Add(min(asked, 24*time.Hour))
			return failed{err: e, done: true}
		}
		wait = max(wait, asked)
	} else if t.refused.locks && resp.StatusCode == http.StatusTooManyRequests && tokenRequest(req) {
		e.NotBefore = enough(req, resp.Header, time.Now())
		return failed{err: e, done: true}
	}
	return failed{err: e, wait: wait, done: t.last(req, attempt)}
}

// last tells whether a failed attempt is the last.
func (t *transport) last(req *http.Request, attempt int) bool {
	return attempt >= t.retries.Attempts || onlyOnce(req)
}

// onlyOnce tells whether a request is made one time only.
func onlyOnce(req *http.Request) bool { return req.Context().Value(hurried{}) != nil }

// once sends the request one time, holding a place among those in flight until the body of the answer is closed.
func (t *transport) once(req *http.Request, body []byte) (*http.Response, error) {
	window, leave, err := t.limit.takePlace(req)
	if err != nil {
		return nil, err
	}
	t.secrets.note(req, body)
	attempt, watch := t.attempt(req, body)
	release := sync.OnceFunc(func() { watch.end(); leave() })
	resp, err := t.base.RoundTrip(attempt)
	if err != nil && t.mayBePlain(attempt.URL) && speaksPlain(err) && (body != nil || !hasBody(req)) {
		t.plain.Store(req.URL.Host, struct{}{})
		watch.end()
		attempt, watch = t.attempt(req, body)
		resp, err = t.base.RoundTrip(attempt)
	}
	if err != nil {
		err = cause(attempt.Context(), err)
		release()
		return nil, err
	}
	watch.resting(0)
	watch.allow(stallTimeout)
	t.plainRealm(resp, req.URL.Host)
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		window.overloaded(time.Now())
	} else {
		window.answered()
	}
	answer := &releasing{ReadCloser: resp.Body, ctx: attempt.Context(), watch: watch, release: release, left: answerBound(req)}
	resp.Body = answer
	return resp, nil
}

// attempt makes the request of one attempt, with a body of its own where it is at hand.
func (t *transport) attempt(req *http.Request, body []byte) (*http.Request, *watch) {
	if body != nil {
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	attempt, watch := watched(req)
	attempt.URL.Scheme = t.scheme(req)
	return attempt, watch
}

// scheme returns how a request is sent. A registry that is not configured to be plain is spoken to with TLS also where its own
// Location or Link says http, as proxies make it: such a request would carry the credential in clear.
func (t *transport) scheme(req *http.Request) string {
	_, plain := t.plain.Load(req.URL.Host)
	switch {
	case plain:
		return "http"
	case t.plainHTTP:
		return req.URL.Scheme
	case req.URL.Host == t.host, req.Header.Get("Authorization") != "":
		return "https"
	}
	return req.URL.Scheme
}

// mayBePlain tells whether a host may be tried without TLS: only on this machine, where nothing is configured.
func (t *transport) mayBePlain(u *url.URL) bool {
	return t.tryPlain && u.Scheme == "https" && loopback(u.Host)
}

// plainRealm makes the realm of a registry that was found to be plain look as its requests do to regclient, which refuses to
// go from https to http. The request for the token is sent as all others to that host.
func (t *transport) plainRealm(resp *http.Response, host string) {
	if _, plain := t.plain.Load(host); !plain {
		return
	}
	for i, challenge := range resp.Header["Www-Authenticate"] {
		resp.Header["Www-Authenticate"][i] = strings.Replace(challenge, `realm="http://`+host, `realm="https://`+host, 1)
	}
}

var errTooLong = errors.New("the answer is longer than any that is known")

// The bounds of a listing with all its pages, of a manifest and of a token server's answer, in bytes. The distribution spec asks
// registries to take manifests of 4 MiB.
const (
	maxListing  = 64 << 20
	maxManifest = 16 << 20
	maxToken    = 1 << 20
)

// releasing is the body of an answer: it gives the place in flight back once it is closed or read to its end, and ends with
// an error where the registry falls silent.
type releasing struct {
	io.ReadCloser
	ctx     context.Context //nolint:containedctx // the attempt's, whose cause says why a body has ended
	watch   *watch
	release func()
	left    int64 // bytes that may still come; less than none for any number
}

func (r *releasing) Read(p []byte) (int, error) {
	r.watch.waiting()
	n, err := r.ReadCloser.Read(p)
	r.watch.resting(n)
	if r.left >= 0 {
		if r.left -= int64(n); r.left < 0 {
			return 0, errTooLong
		}
	}
	if err != nil {
		err = cause(r.ctx, err)
		r.release()
	}
	return n, err
}

func (r *releasing) Close() error {
	err := r.ReadCloser.Close()
	r.release()
	return err
}

// maxReplay bounds the bodies that are kept to be sent again: manifests and token requests. The distribution spec asks
// registries to take manifests of 4 MiB.
const maxReplay = 8 << 20

func small(req *http.Request) bool {
	return req.ContentLength >= 0 && req.ContentLength <= maxReplay && uploadOf(req) == nil
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// replayable reads a small body so that it can be sent again; nil for none and for one that streams.
func replayable(req *http.Request) ([]byte, error) {
	if !hasBody(req) || !small(req) {
		return nil, nil
	}
	defer req.Body.Close()
	body, err := io.ReadAll(io.LimitReader(req.Body, maxReplay+1))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	return body, nil
}

// operation describes a request for people, by the paths of the OCI distribution spec, without its repository and query.
func operation(req *http.Request) string {
	req = firstOf(req) // what was asked before the registry redirected
	kinds := []struct{ part, name string }{
		{"/blobs/uploads/", "blob upload"}, {"/manifests/", "manifest"}, {"/blobs/", "blob"}, {"/tags/list", "tag list"},
		{"/referrers/", "referrers"}, {"/_catalog", "catalog"},
	}
	for _, k := range kinds {
		if strings.Contains(req.URL.Path, k.part) {
			return req.Method + " " + k.name
		}
	}
	_, download := offsetOf(req)
	switch {
	case uploadOf(req) != nil:
		return req.Method + " blob upload" // a Location may have any path
	case download:
		return req.Method + " blob" // as a URL of a foreign layer may
	case tokenRequest(req):
		return req.Method + " token"
	}
	return req.Method + " API"
}

// tokenRequest tells a request for a token from one of a call. Calls put their place into the context of all their requests, and
// regclient makes a context of its own for tokens. Paths say nothing: Quay's token server is at /v2/auth, Google's at /v2/token.
func tokenRequest(req *http.Request) bool { return placeHeld(req) == nil }

func describe(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return err.Error()
}

func speaksPlain(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// tlsHint says what to do about a fault of set-up that no retry mends; empty for other errors.
func tlsHint(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is signed by an unknown authority: set tls.caFile"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another name"
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "its certificate is not valid"
	}
	if speaksPlain(err) {
		return "it does not speak TLS: set plainHTTP: true"
	}
	return ""
}

func (t *transport) hint(err error, host string) string {
	text := tlsHint(err)
	if text == "" && strings.Contains(err.Error(), "no such host") {
		text = "the name is not known: check its spelling"
	}
	if text != "" && host == t.host {
		text += " (registries." + t.host + ")"
	}
	return text
}

// mounting is the key under which a context carries the repository to mount a blob from.
type mounting struct{}

// rewriteMount adds the repository to mount from to the request that starts an upload. regclient starts each upload with
// "mount=<digest>", so that one request either mounts the blob or opens the session for it.
func rewriteMount(req *http.Request) *http.Request {
	from, _ := req.Context().Value(mounting{}).(string)
	if from == "" || !startsUpload(req) {
		return req
	}
	req = req.Clone(req.Context())
	query := req.URL.Query()
	query.Set("from", from)
	req.URL.RawQuery = query.Encode()
	return req
}

// startsUpload tells the request by which regclient starts an upload: a mount, from nowhere as yet.
func startsUpload(req *http.Request) bool {
	return req.Method == http.MethodPost && strings.Contains(req.URL.RawQuery, "mount=")
}

// statusOf returns the status of the last answer, 0 where none came.
func statusOf(resp *http.Response, err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}
