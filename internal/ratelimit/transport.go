package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/backoff"
)

// LimitError says that a request does not fit into what a registry allows now.
type LimitError struct {
	code, text string
	at         time.Time
}

// Error says which limit is reached, without naming whom the registry counts.
func (e *LimitError) Error() string { return e.text }

// Code is "pull-limit" or "request-limit".
func (e *LimitError) Code() string { return e.code }

// RetryAt returns when to try again.
func (e *LimitError) RetryAt() time.Time { return e.at }

// Temporary tells callers not to retry before that.
func (e *LimitError) Temporary() bool { return false }

// Transport applies the limits of a registry to requests. Requests to other hosts, such as those that a registry redirects blobs to, pass.
func (g *Governor) Transport(registry string, next http.RoundTripper) http.RoundTripper {
	return &transport{Governor: g, registry: registry, next: next}
}

type transport struct {
	*Governor
	registry string
	next     http.RoundTripper
}

// maxRefusal limits how much of the text of a 429 is read, in bytes.
const maxRefusal = 64 << 10

// RoundTrip sends the request, or says when it may be sent.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	repository, manifest := manifestPath(req.URL.Path)
	counts := manifest && req.Method == http.MethodGet // whether it counts: any registry may turn out to
	var a *account
	if manifest {
		var err error
		if a, err = t.admit(req.Context(), repository, counts); err != nil {
			closeBody(req)
			return nil, err
		}
	} else if until := t.until(time.Now()); !until.IsZero() && registryPath(req.URL.Path) {
		closeBody(req)
		return nil, abuseError(t.registry, until)
	}
	if err := t.pace(req.Context()); err != nil {
		closeBody(req)
		if counts {
			t.settle(a, false)
		}
		return nil, err
	}
	sent := time.Now()
	resp, err := t.next.RoundTrip(req)
	switch {
	case err != nil:
		if counts {
			t.unanswered(a, err)
		}
		return nil, err
	case !registryPath(req.URL.Path):
		return resp, nil
	case resp.StatusCode == http.StatusTooManyRequests:
		return t.refused(req.Context(), a, counts, resp)
	case a != nil:
		await(req.Context(), t.heard(a, repository, counts, resp, sent), writePatience)
	}
	return resp, nil
}

// CloseIdleConnections closes unused connections.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

func (t *transport) until(now time.Time) time.Time {
	t.mu.Lock()
	defer t.unlock()
	return t.blocked(t.registry, now)
}

// admit admits a request for a manifest; one that counts takes its pull. It waits until the pull is set aside, and if only pending answers
// can tell whether there is one left, for them.
func (t *transport) admit(ctx context.Context, repository string, counts bool) (*account, error) {
	a, err := t.of(ctx, t.registry, repository)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		wait, err := t.try(ctx, a, repository, counts, began, time.Now())
		switch {
		case wait.settled != nil:
			select {
			case <-wait.settled:
			case <-ctx.Done():
			}
		case wait.granted != nil:
			await(ctx, wait.granted, t.options.Patience)
		default:
			await(ctx, wait.kept, writePatience)
			return a, err
		}
		t.waited(ctx, a, wait.granted)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// wait is what a request waits for: that a pull ends, that pulls are set aside, or that news are saved.
type wait struct{ settled, granted, kept <-chan struct{} }

// waited ends a wait. A store that has not set aside a pull by then is not waited for again.
func (t *transport) waited(ctx context.Context, a *account, granted <-chan struct{}) {
	t.mu.Lock()
	defer t.unlock()
	a.waiting--
	if granted == nil || ctx.Err() != nil {
		return
	}
	select {
	case <-granted:
	default:
		a.failed = true
	}
}

func (t *transport) try(ctx context.Context, a *account, repository string, counts bool, began, now time.Time) (wait, error) {
	t.mu.Lock()
	defer t.unlock()
	if until := t.blocked(t.registry, now); !until.IsZero() {
		return wait{}, abuseError(t.registry, until)
	}
	if !counts {
		return wait{}, nil
	}
	if since, ok := a.exempt[repository]; ok && now.Sub(since) < exemptFor {
		a.begin()
		return wait{}, nil
	}
	rule, reserved := t.options.Rule(t.registry), reservationOf(ctx)
	if t.options.Store != nil && !a.failed && !a.covered(now) && reserved.fits(a, rule, now) {
		a.waiting++
		a.took = now
		return wait{granted: t.save(a, true, now)}, nil
	}
	at, ok := reserved.take(a, rule, now)
	switch {
	case ok && a.short:
		a.short = false
		t.say(slog.LevelInfo, "pulls are allowed again", slog.String("registry", t.registry))
		return wait{}, nil
	case ok:
		return wait{}, nil
	case a.undecided(rule, now.Sub(began) < lease, now):
		a.waiting++
		t.tend(a)
		return wait{settled: a.wait()}, nil
	}
	return wait{kept: t.fellShort(a, at, now)}, t.pullError(a, rule, at)
}

// fellShort logs once that a budget is exhausted. It returns a channel that is closed when that is saved.
func (t *transport) fellShort(a *account, at, now time.Time) (kept <-chan struct{}) {
	if !a.short {
		a.short = true
		t.say(slog.LevelWarn, "the pulls that are allowed are used up; the rest waits",
			slog.String("registry", t.registry), slog.Time("retry_at", at))
	}
	return t.save(a, true, now)
}

func (t *transport) pullError(a *account, rule Rule, at time.Time) *LimitError {
	text := "the pulls that it allows are used up"
	if a.Known {
		text = fmt.Sprintf("%d of %d pulls are left for %s", a.Remaining, a.Limit, a.window())
		if keep := rule.keep(a.Limit); keep > 0 {
			text += fmt.Sprintf(", and %d are kept for others", keep)
		}
	}
	return &LimitError{code: "pull-limit", text: text, at: at}
}

func abuseError(registry string, until time.Time) *LimitError {
	return &LimitError{code: "request-limit", text: registry + " has refused requests of any kind for their number", at: until}
}

// pace waits for the turn of a request at a registry with a limit per second.
func (t *transport) pace(ctx context.Context) error {
	rule := t.options.Rule(t.registry)
	if rule.PerSecond <= 0 {
		return nil
	}
	t.mu.Lock()
	now := time.Now()
	turn := t.turns[t.registry]
	if turn.Before(now) {
		turn = now
	}
	t.turns[t.registry] = turn.Add(time.Second * time.Duration(max(1, rule.Sharers)) / time.Duration(rule.PerSecond))
	t.mu.Unlock()
	if !turn.After(now) {
		return nil
	}
	timer := time.NewTimer(turn.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle ends a pull without an answer.
func (t *transport) settle(a *account, counted bool) {
	t.mu.Lock()
	defer t.unlock()
	a.settle(counted, time.Now())
}

// unanswered ends a pull that got no answer. Unless there was no connection, the registry may have counted it.
func (t *transport) unanswered(a *account, err error) {
	t.mu.Lock()
	defer t.unlock()
	a.settle(false, time.Now())
	if unconnected(err) {
		return
	}
	a.lose()
	a.lost++
}

// unconnected reports whether a request was not sent, since there was no connection.
func unconnected(err error) bool {
	if _, unnamed := errors.AsType[*net.DNSError](err); unnamed {
		return true
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && (dial.Op == "dial" || dial.Op == "proxyconnect")
}

// heard reads an answer. It returns a channel that is closed when the news is saved.
func (t *transport) heard(a *account, repository string, counts bool, resp *http.Response, sent time.Time) (kept <-chan struct{}) {
	signed := t.options.SignsIn != nil && t.options.SignsIn(t.registry, repository)
	t.mu.Lock()
	defer t.unlock()
	now := time.Now()
	r, ok := Read(resp.Header)
	if ok && r.Limit >= 0 && !t.Metered(t.registry) {
		t.learned.Store(t.registry, true)
		t.say(slog.LevelInfo, "a registry says how many pulls it allows, and is asked for no more", slog.String("registry", t.registry))
	}
	if r.Window == 0 && !t.options.Rule(t.registry).Metered { // gateways send this form, which count more than pulls
		r.Window = resetIn(resp.Header)
	}
	metered := t.Metered(t.registry)
	counted := counts && resp.StatusCode == http.StatusOK && metered
	known := ok && metered
	if counted && !known && a.Known && len(a.exempt) < maxExempt { // it counts others, and not this one
		a.exempt[repository] = now
		counted = false
	}
	if counts {
		a.settle(counted, now)
	}
	if known {
		t.meet(a, r.Source)
		t.applied(a, signed, r.Source)
		delete(a.exempt, repository)
		a.learn(r, sent, now)
		a.fit(t.options.Rule(t.registry))
	}
	if counted && t.options.Pulled != nil {
		t.options.Pulled(t.registry, a.account)
	}
	if known || counted {
		return t.save(a, counted, now)
	}
	return nil
}

// refused turns a 429 into an error: a retry would only be another request.
func (t *transport) refused(ctx context.Context, a *account, counts bool, resp *http.Response) (*http.Response, error) {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // judge by what could be read
	_ = resp.Body.Close()
	kept, err := t.refusal(a, counts, resp.Header, string(raw), time.Now())
	await(ctx, kept, writePatience)
	if err == nil { // a pause that the client can make
		resp.Body = io.NopCloser(bytes.NewReader(raw))
		return resp, nil
	}
	return nil, err
}

func (t *transport) refusal(a *account, counts bool, header http.Header, text string, now time.Time) (kept <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.unlock()
	var asked time.Time
	if wait, ok := backoff.RetryAfter(header, now); ok {
		asked = now.Add(wait)
	}
	if counts {
		a.settle(false, now)
	}
	rule := t.options.Rule(t.registry)
	if a != nil && judge(header, text) == pulls {
		if r, ok := Read(header); ok {
			t.meet(a, r.Source)
			a.learn(r, now, now)
		}
		at := a.refuse(rule, asked, now)
		return t.fellShort(a, at, now), t.pullError(a, rule, at)
	}
	if short := asked.After(now) && asked.Sub(now) <= firstBlock; !rule.Metered || short {
		return nil, nil
	}
	return nil, abuseError(t.registry, t.block(t.registry, asked, now))
}

// registryPath reports whether a path is one of the distribution spec's: others belong to token servers, and to redirects of blobs.
func registryPath(path string) bool { return strings.HasPrefix(path, "/v2/") }

// manifestPath returns the repository of a path that names a manifest.
func manifestPath(path string) (repository string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", false
	}
	i := strings.LastIndex(rest, "/manifests/")
	if i <= 0 || strings.Contains(rest[i+len("/manifests/"):], "/") {
		return "", false
	}
	return rest[:i], true
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
