package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/switching"
)

// Options of a [Transport].
type Options struct {
	// Name is the registry's usual name, which is its key in the config; API is the host that serves its API.
	Name, API string
	Host      Host
	// Start is the initial number of requests in flight, Most the maximum, per lane.
	Start, Most int
	// Sharers returns how many processes share Host.Concurrency, at least one. It must not block. Nil for one.
	Sharers func() int
	Retries Retries
	// Bandwidth limits the bytes of blobs; nil for no limit.
	Bandwidth []*Bandwidth
	// Wrap wraps the round tripper of single requests, for rate limits, metrics, or faults in tests. It may replace it; nil for none.
	Wrap func(registry string, next http.RoundTripper) http.RoundTripper
	Log  *slog.Logger
}

// Transport sends requests to one registry, to hosts that it redirects to and to its token servers. It is safe for concurrent use.
type Transport struct {
	base    http.RoundTripper
	name    string
	host    string
	windows [lanes]*window
	retries Retries
	// bandwidth is that of the options.
	bandwidth []*Bandwidth
	// ill are hosts that gave no answer after all retries, with their error. They are left alone, so that a thousand tags of a registry
	// that is down do not cause a thousand rounds of retries.
	ill       Recent[string, *Error]
	dialer    *dialer
	log       *slog.Logger
	plainHTTP bool
	// certified is set if there is a client certificate.
	certified bool
	// tryPlain is set for an unconfigured loopback registry: if it has no TLS, plain HTTP is used, as in Docker.
	tryPlain bool
	plain    sync.Map // host → struct{}: has no TLS
}

// New returns a transport. It fails if a file of the host is unusable.
func New(o Options) (*Transport, error) {
	d := newDialer(o.API)
	base, err := o.Host.roundTripper(d, o.Most)
	if err != nil {
		return nil, err
	}
	most := o.Most
	if o.Host.Concurrency > 0 {
		most = o.Host.Concurrency
	}
	t := &Transport{
		base: base, name: o.Name, host: o.API, retries: o.Retries.withDefaults(), bandwidth: o.Bandwidth, dialer: d, log: o.Log,
		plainHTTP: o.Host.PlainHTTP, certified: o.Host.CertFile != "", tryPlain: Loopback(o.API) && !o.Host.configured(),
	}
	for lane := range t.windows {
		t.windows[lane] = newWindow(o.Start, most)
		if o.Host.Concurrency > 0 {
			t.windows[lane].sharers = o.Sharers
		}
	}
	if o.Wrap != nil {
		t.base = o.Wrap(o.Name, base)
	}
	return t, nil
}

// Host returns the host that serves the registry's API.
func (t *Transport) Host() string { return t.host }

// Name returns the registry's usual name.
func (t *Transport) Name() string { return t.name }

// Pause returns the pause after a number of failures in a row.
func (t *Transport) Pause(failures int) time.Duration { return t.retries.Pause(failures) }

// Attempts returns how often a request is sent at most.
func (t *Transport) Attempts() int { return t.retries.Attempts }

// CloseIdleConnections closes unused connections.
func (t *Transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

var errDeadline = errors.New("its answer took too long")

// Do sends a request, with retries, until its answer is final: a success or a redirect. Everything else is an *Error. Do closes the body of
// a redirect; the caller closes that of a success, unless [Call.Read] has read it. A request with a body can be retried only if it has
// GetBody.
func (t *Transport) Do(req *http.Request, call Call) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		if err := t.leftAlone(req, call); err != nil { // before it waits for a slot
			return nil, err
		}
		call.Again = call.Again || attempt > 1
		resp, err := t.once(req, call)
		failure, wait := t.judge(req, call, attempt, resp, err)
		if failure == nil {
			return resp, nil
		}
		if wait < 0 {
			return nil, failure
		}
		t.log.LogAttrs(req.Context(), slog.LevelDebug, "request failed, trying again", slog.String("registry", req.URL.Host),
			slog.String("request", call.Operation), slog.Int("attempt", attempt), slog.Any("err", failure), slog.Duration("duration", wait))
		if backoff.Sleep(req.Context(), wait) != nil {
			return nil, failure
		}
	}
}

// leftAlone returns why a request must not be sent, as others have found out; nil if nothing is known against it.
func (t *Transport) leftAlone(req *http.Request, call Call) error {
	if known, ok := t.ill.Get(req.URL.Host); ok {
		failure := *known
		failure.Operation = call.Operation
		return &failure
	}
	if call.Check != nil {
		return call.Check()
	}
	return nil
}

// restAfterFailure is how long a host without an answer is left alone.
const restAfterFailure = 10 * time.Second

// never is the pause of a request that is not retried.
const never = time.Duration(-1)

// judge decides on an attempt: it returns no error if its answer is final, otherwise the error and the pause before the next attempt.
func (t *Transport) judge(req *http.Request, call Call, attempt int, resp *http.Response, err error) (*Error, time.Duration) {
	switch {
	case err != nil:
		return t.unanswered(req, call, attempt, err)
	case resp.StatusCode >= http.StatusMultipleChoices && !redirects(resp):
		t.ill.Drop(req.URL.Host)
		return t.refused(req, call, attempt, resp)
	case resp.StatusCode >= http.StatusMultipleChoices:
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody)) // a drained connection can be reused
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	case call.Read != nil:
		if err := t.read(call, resp); err != nil {
			return t.unanswered(req, call, attempt, err)
		}
	}
	t.ill.Drop(req.URL.Host)
	return nil, 0
}

// redirects reports whether an answer is a redirect. One without a Location is neither that nor a success.
func redirects(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location") != ""
	}
	return false
}

// unreadable is the error of an answer that makes no sense, broken that of one that broke off.
type (
	unreadable struct{ error }
	broken     struct{ error }
)

// Unwrap returns the cause.
func (u unreadable) Unwrap() error { return u.error }

// Unwrap returns the cause.
func (b broken) Unwrap() error { return b.error }

// read passes an answer to Call.Read, and distinguishes one that broke off from one that makes no sense.
func (t *Transport) read(call Call, resp *http.Response) error {
	answer := resp.Body
	err := call.Read(resp)
	_ = answer.Close() // all that matters was read
	if body, ok := answer.(*answerBody); ok && body.broke != nil {
		return broken{body.broke}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return broken{err}
	}
	if err != nil {
		return unreadable{err}
	}
	return nil
}

// unanswered judges an attempt without an answer, or without a usable one.
func (t *Transport) unanswered(req *http.Request, call Call, attempt int, err error) (*Error, time.Duration) {
	host := req.URL.Host
	if limit, ok := errors.AsType[limitError](err); ok {
		return limited(host, call.Operation, limit), never
	}
	if known, ok := errors.AsType[*Error](err); ok { // of the sign-in, which has done its own retries
		return known, never
	}
	e := &Error{Host: host, Operation: call.Operation, Attempts: attempt, Cause: err, Hint: t.hint(req, err)}
	clean := func(err error) string { return Clean(describe(err), known(req, call.Secrets)...) }
	if said, ok := errors.AsType[unreadable](err); ok {
		e.Message, e.Lasting = clean(said.error), true
		return e, never
	}
	if cut, ok := errors.AsType[broken](err); ok {
		e.Message = "the body broke off: " + clean(cut.error)
	} else {
		e.Unanswered = true
		if tlsHint(err) == "" { // otherwise the hint says it all
			e.Message = clean(err) + t.byProxy(req, err)
		}
	}
	if !mayPass(req.Context(), err) {
		e.Lasting = req.Context().Err() == nil && !errors.Is(err, ErrSlow) && !errors.Is(err, errDeadline)
		return e, never
	}
	last := attempt >= t.retries.Attempts || call.Once || hasBody(req) && req.GetBody == nil || errors.Is(err, errStalled) && attempt >= silences
	if last && !call.Once {
		t.ill.Put(host, e, restAfterFailure)
	}
	if last {
		return e, never
	}
	return e, t.retries.Pause(attempt)
}

// refused judges an error answer, and closes its body.
func (t *Transport) refused(req *http.Request, call Call, attempt int, resp *http.Response) (*Error, time.Duration) {
	e := &Error{Host: req.URL.Host, Operation: call.Operation, Attempts: attempt, Status: resp.StatusCode, Header: resp.Header}
	e.readBody(resp, call.Secrets)
	e.Hint = t.statusHint(req, e)
	if full(e) {
		e.Hint, e.Lasting = "the registry's disk is full", true
		return e, never
	}
	if !retryableStatus(e.Status) {
		return e, never
	}
	wait := t.retries.Pause(attempt)
	if asked, ok := retryAfter(resp.Header, e.Message, time.Now()); ok {
		if asked > t.retries.Max {
			e.NotBefore = time.Now().Add(min(asked, 24*time.Hour))
			return e, never
		}
		e.After = asked
		wait = max(wait, asked)
	}
	if attempt >= t.retries.Attempts || call.Once || hasBody(req) && req.GetBody == nil || call.Final != nil && call.Final(e) {
		return e, never
	}
	return e, wait
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// once sends the request one time. It holds a slot until the body of the answer is closed.
func (t *Transport) once(req *http.Request, call Call) (*http.Response, error) {
	window, of := t.windows[call.Lane], partyOf(req.Context())
	if call.Again {
		of = of.earlier()
	}
	slot, err := window.enter(req.Context(), of, due(req.ContentLength))
	if err != nil {
		return nil, err
	}
	if err := t.leftAlone(req, call); err != nil {
		slot.end()
		return nil, err
	}
	resp, watch, err := t.attempt(req, call, slot)
	plain := err != nil && t.mayBePlain(req) && speaksPlain(err)
	if plain {
		t.plain.Store(req.URL.Host, struct{}{})
	}
	if plain && (!hasBody(req) || req.GetBody != nil) || wantsHTTP1(err) && !hasBody(req) { // of a body the server may have a part
		watch.end()
		resp, watch, err = t.attempt(req, call, slot)
	}
	release := sync.OnceFunc(func() { watch.end(); slot.end() })
	if err != nil {
		release()
		return nil, err
	}
	watch.answered()
	if call.Read == nil {
		slot.rest()
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		window.overloaded(time.Now())
	} else {
		window.answered()
	}
	in, _ := t.meterOf(call, slot)
	resp.Body = &answerBody{ReadCloser: resp.Body, ctx: resp.Request.Context(), watch: watch, slot: slot, meter: in, release: release, taken: call.Read != nil}
	return resp, nil
}

// attempt sends one request, with its own body and credential.
func (t *Transport) attempt(req *http.Request, call Call, slot *slot) (*http.Response, *watch, error) {
	own := req.Clone(req.Context())
	if host := req.URL.Host; host == t.host || t.isPlain(host) {
		own.URL.Scheme = t.schemeOf(host)
	}
	var err error
	if req.GetBody != nil {
		own.Body, err = req.GetBody()
		own.GetBody = nil // net/http would send it again, unwatched, although the registry may have a part
	}
	_, out := t.meterOf(call, slot)
	attempt, watch := watched(own, call, slot, out)
	if body, ok := attempt.Body.(*watchedBody); ok && err == nil && call.Lane == Uploads {
		err = body.begin()
	}
	if err == nil && call.Sign != nil {
		err = call.Sign(attempt)
	}
	if err != nil {
		return nil, watch, because(attempt.Context(), err)
	}
	resp, err := switching.Refused(t.base.RoundTrip(attempt))
	if err != nil {
		return nil, watch, because(attempt.Context(), err)
	}
	resp.Request = attempt
	return resp, watch, nil
}

func (t *Transport) isPlain(host string) bool {
	_, plain := t.plain.Load(host)
	return plain
}

// mayBePlain reports whether a host may be tried without TLS: only on this machine, and only unconfigured.
func (t *Transport) mayBePlain(req *http.Request) bool {
	return t.tryPlain && Loopback(req.URL.Host)
}

// answerBody is the body of an answer. It releases the slot once it is closed or read to its end, and ends with an error if the registry
// falls silent.
type answerBody struct {
	io.ReadCloser
	ctx     context.Context //nolint:containedctx // the attempt's, whose cause says why the body ended
	watch   *watch
	slot    *slot
	meter   meter
	release func()
	// last is the byte count of the last Read.
	last int
	// taken says that Call.Read consumes the body, and is done when it is closed, not when it is read to its end. Its slot is not lent:
	// what is not stored yet would be lost if dray ended.
	taken bool
	// broke is the error that the body ended with.
	broke error
}

// Read implements io.Reader.
func (a *answerBody) Read(p []byte) (int, error) {
	if err := a.slot.resume(a.ctx, a.last, 0); err != nil {
		a.broke = because(a.ctx, err)
		a.release()
		return 0, a.broke
	}
	a.watch.waiting()
	n, err := a.ReadCloser.Read(a.meter.portion(p))
	a.watch.resting(n)
	if lost := a.meter.pay(a.ctx, n); lost != nil && err == nil {
		err = lost
	}
	if a.last = n; !a.taken {
		a.slot.rest()
	}
	if err != nil {
		err = because(a.ctx, err)
		if err != io.EOF { //nolint:errorlint // an error that wraps io.EOF is a broken body
			a.broke = err
		}
		if !a.taken {
			a.release()
		}
	}
	return n, err
}

// Close releases the connection.
func (a *answerBody) Close() error {
	err := a.ReadCloser.Close()
	a.release()
	return err
}
