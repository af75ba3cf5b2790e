package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/dial"
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/switching"
)

// Options of a [Client]. Cloud and Credential are required.
type Options struct {
	Cloud      Cloud
	Credential Credential
	// Transport sends all requests; nil for the default.
	Transport http.RoundTripper
	UserAgent string
	Log       *slog.Logger
}

// Client sends requests to Azure's Resource Manager, and signs in to registries. It is safe for concurrent use.
type Client struct {
	options  Options
	endpoint *url.URL
	http     *http.Client
	arm      *kept

	mu         sync.Mutex
	registries map[string]*kept
	entra      *kept
	// finding holds the lookups under way, found their results.
	finding flight.Group[ResourceID]
	found   map[string]lookup
	// gone has the registries that were found but that the Resource Manager no longer knew, and until when that counts.
	gone map[ResourceID]time.Time
}

// The API versions for registries and for subscriptions, and the limits of answers and lists.
const (
	apiVersion           = "2025-11-01"
	subscriptionsVersion = "2022-12-01"
	maxBody              = 1 << 20
	maxPages             = 200
	// answerTimeout limits one request to Resource Manager or a registry, which looks at the source of an import before it answers.
	answerTimeout = 2 * time.Minute
)

// New checks the options. It sends no request.
func New(o Options) (*Client, error) {
	endpoint, err := o.Cloud.endpoint()
	if err != nil {
		return nil, err
	}
	if err := o.Credential.check(); err != nil {
		return nil, err
	}
	if o.Transport == nil {
		o.Transport = dial.Transport(http.ProxyFromEnvironment)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	signer, err := newSigner(o, o.Transport)
	if err != nil {
		return nil, err
	}
	c := &Client{
		options: o, endpoint: endpoint, registries: map[string]*kept{}, found: map[string]lookup{}, gone: map[ResourceID]time.Time{},
		http: &http.Client{Transport: o.Transport, CheckRedirect: stay, Timeout: answerTimeout},
	}
	c.arm = &kept{fetch: func(ctx context.Context, renew bool) (granted, error) {
		return signer.fetch(ctx, o.Cloud.armScope(), renew)
	}}
	c.entra = &kept{fetch: func(ctx context.Context, renew bool) (granted, error) {
		return signer.fetch(ctx, registryScope, renew)
	}}
	return c, nil
}

// SignIn makes sure that Resource Manager can be signed in to.
func (c *Client) SignIn(ctx context.Context) error {
	_, err := c.arm.get(ctx)
	return err
}

// ResponseError is an error that Azure answered with.
type ResponseError struct {
	Status        int
	Code, Message string
	CorrelationID string
	// RetryAfter is how long Azure asks to wait; 0 if it does not.
	RetryAfter time.Duration
}

// Error returns one line.
func (e *ResponseError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("Azure answered %d %s: %s %s", e.Status, http.StatusText(e.Status), e.Code, plainLine(e.Message)))
}

// MayPass reports whether the same request may soon succeed.
func (e *ResponseError) MayPass() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= http.StatusInternalServerError
}

// plainLine returns a text of Azure's on one line, without the secrets in URLs.
func plainLine(text string) string { return truncated(redacted(oneLine(text)), 500) }

// errorDoc is the error object of an answer (Azure's REST API guidelines, "Error condition responses").
type errorDoc struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// answer has the parts of an HTTP response that callers need.
type answer struct {
	status      int
	body        []byte
	location    string
	retryAfter  time.Duration
	correlation string
	remaining   int
}

// url returns the URL of a path at Resource Manager.
func (c *Client) url(path, version string) *url.URL {
	u := *c.endpoint
	u.Path = path
	u.RawQuery = "api-version=" + version
	return &u
}

// do sends a request with a token, and once more with a new token if the first is refused.
func (c *Client) do(ctx context.Context, method string, u *url.URL, body []byte, header http.Header) (answer, error) {
	for first := true; ; first = false {
		token, err := c.arm.get(ctx)
		if err != nil {
			return answer{}, err
		}
		a, err := c.once(ctx, method, u, body, header, token.token)
		if err != nil {
			return a, err
		}
		if a.status == http.StatusUnauthorized && first {
			c.arm.refuse(token.token)
			continue
		}
		if a.status >= http.StatusMultipleChoices {
			return a, refusalOf(a)
		}
		return a, nil
	}
}

func (c *Client) once(ctx context.Context, method string, u *url.URL, body []byte, header http.Header, token string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.GetBody = nil // net/http would resend it by itself
	for name, values := range header {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("User-Agent", c.options.UserAgent)
	response, err := switching.Refused(c.http.Do(r)) //nolint:bodyclose // it is, below
	if err != nil {
		if ctx.Err() != nil {
			return answer{}, context.Cause(ctx)
		}
		if method == http.MethodPost {
			return answer{}, &LostError{err}
		}
		return answer{}, fmt.Errorf("ask Azure: %w", withoutURL(err))
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return answer{}, &LostError{err}
	}
	a := answer{
		status: response.StatusCode, body: raw, location: response.Header.Get("Location"), retryAfter: retryAfter(response.Header),
		correlation: response.Header.Get("X-Ms-Correlation-Request-Id"), remaining: -1,
	}
	if n, err := strconv.Atoi(response.Header.Get("X-Ms-Ratelimit-Remaining-Subscription-Writes")); err == nil {
		a.remaining = n
	}
	return a, nil
}

// errSilent replaces net/http's error of a request that took too long.
var errSilent = errors.New("it gave no answer in time")

// withoutURL removes the URL from an error of net/http, since its query may hold a signature.
func withoutURL(err error) error {
	u, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if _, ofNet := errors.AsType[*net.OpError](u.Err); !ofNet && errors.Is(u.Err, context.DeadlineExceeded) {
		return errSilent
	}
	return u.Err
}

// maxRefusalText limits the text of an error that is not JSON.
const maxRefusalText = 64 << 10

func refusalOf(a answer) *ResponseError {
	e := &ResponseError{Status: a.status, CorrelationID: a.correlation, RetryAfter: a.retryAfter}
	var body struct {
		Error errorDoc `json:"error"`
	}
	if json.Unmarshal(a.body, &body) == nil && body.Error != (errorDoc{}) {
		e.Code, e.Message = body.Error.Code, body.Error.Message
	} else {
		e.Message = string(a.body[:min(len(a.body), maxRefusalText)])
	}
	return e
}

// retryAfter returns how long to wait; 0 if the answer does not say.
func retryAfter(header http.Header) time.Duration {
	wait, _ := backoff.RetryAfter(header, time.Now())
	return wait
}

// list reads the pages of a list until stop says so.
func list[T any](ctx context.Context, c *Client, u *url.URL, stop func(T) bool) error {
	for range maxPages {
		var page struct {
			Value    []T    `json:"value"`
			NextLink string `json:"nextLink"`
		}
		if err := c.get(ctx, u, &page); err != nil {
			return err
		}
		for _, v := range page.Value {
			if stop(v) {
				return nil
			}
		}
		if page.NextLink == "" {
			return nil
		}
		var err error
		if u, err = c.sameHost(page.NextLink); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) get(ctx context.Context, u *url.URL, into any) error {
	a, err := c.do(ctx, http.MethodGet, u, nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("cannot read Azure's answer: %w", err)
	}
	return nil
}
