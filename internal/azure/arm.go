package azure

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options of a [Client]. Cloud and Credential are required.
type Options struct {
	Cloud      Cloud
	Credential Credential
	// Transport carries all requests; nil for the usual one.
	Transport http.RoundTripper
	UserAgent string
	Log       *slog.Logger
}

// Client talks to Azure's Resource Manager, and signs in to registries. It is safe for concurrent use.
type Client struct {
	options  Options
	endpoint *url.URL
	http     *http.Client
	arm      *kept

	mu         sync.Mutex
	registries map[string]*kept
	entra      *kept
}

// The version of the registries' API, that of the list of subscriptions, and the bounds of what is read and listed.
const (
	apiVersion           = "2025-11-01"
	subscriptionsVersion = "2022-12-01"
	maxBody              = 1 << 20
	maxPages             = 200
)

// ErrNotFound says that Azure knows no such registry, or does not let this identity see it.
var ErrNotFound = errors.New("not found")

// New checks the options. It asks nobody.
func New(o Options) (*Client, error) {
	endpoint, err := o.Cloud.endpoint()
	if err != nil {
		return nil, err
	}
	if err := o.Credential.check(); err != nil {
		return nil, err
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	signer, err := newSigner(o, o.Transport)
	if err != nil {
		return nil, err
	}
	c := &Client{
		options: o, endpoint: endpoint, registries: map[string]*kept{},
		http: &http.Client{Transport: o.Transport, CheckRedirect: stay},
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

// ResourceID names a registry.
type ResourceID struct{ Subscription, ResourceGroup, Name string }

var resourceID = regexp.MustCompile(`^(?i:/subscriptions/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/resourceGroups/([-\w._()]{1,90})/providers/Microsoft\.ContainerRegistry/registries/([a-z0-9]{5,50}))$`)

// ParseResourceID reads the ID of a registry, in any case.
func ParseResourceID(s string) (ResourceID, error) {
	m := resourceID.FindStringSubmatch(s)
	if m == nil {
		return ResourceID{}, fmt.Errorf("%q is not the resource ID of a registry: want /subscriptions/…/resourceGroups/…/providers/Microsoft.ContainerRegistry/registries/NAME", truncated(s, 300))
	}
	return ResourceID{strings.ToLower(m[1]), m[2], m[3]}, nil
}

// String returns the ID as Azure writes it.
func (id ResourceID) String() string {
	return "/subscriptions/" + id.Subscription + "/resourceGroups/" + id.ResourceGroup + "/providers/Microsoft.ContainerRegistry/registries/" + id.Name
}

// Import is what a registry is asked to import.
type Import struct {
	Source ImportSource
	// TargetTags are repository:tag, UntaggedRepositories repositories that get the manifest without a tag.
	TargetTags           []string
	UntaggedRepositories []string
	// Force moves tags that are there.
	Force bool
}

// ImportSource is the registry that an image comes from, by its resource ID or by its host, and the image: repository:tag or
// repository@digest.
type ImportSource struct {
	ResourceID         string
	RegistryURI        string
	Username, Password string
	Image              string
}

// MarshalJSON writes it as Azure's command line does.
func (i Import) MarshalJSON() ([]byte, error) {
	type credentials struct {
		Username string `json:"username,omitempty"`
		Password string `json:"password"`
	}
	type source struct {
		ResourceID  string       `json:"resourceId,omitempty"`
		RegistryURI string       `json:"registryUri,omitempty"`
		Credentials *credentials `json:"credentials,omitempty"`
		SourceImage string       `json:"sourceImage"`
	}
	body := struct {
		Source   source   `json:"source"`
		Tags     []string `json:"targetTags,omitempty"`
		Untagged []string `json:"untaggedTargetRepositories,omitempty"`
		Mode     string   `json:"mode"`
	}{source{i.Source.ResourceID, i.Source.RegistryURI, nil, i.Source.Image}, i.TargetTags, i.UntaggedRepositories, "NoForce"}
	if i.Source.Password != "" {
		body.Source.Credentials = &credentials{i.Source.Username, i.Source.Password}
	}
	if i.Force {
		body.Mode = "Force"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(body)
	return bytes.TrimSpace(b.Bytes()), err
}

// wire is the import as Azure's command line sends it: to the byte, which is the form that the service sees most.
func (i Import) wire() ([]byte, error) {
	raw, err := i.MarshalJSON()
	if err != nil {
		return nil, err
	}
	spaced := make([]byte, 0, len(raw)+64)
	quoted := false
	for k, c := range raw {
		spaced = append(spaced, c)
		switch {
		case c == '"' && !escaped(raw, k):
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			spaced = append(spaced, ' ')
		}
	}
	return spaced, nil
}

// escaped tells whether the byte at i has an odd number of backslashes before it.
func escaped(raw []byte, i int) bool {
	n := 0
	for i > 0 && raw[i-1] == '\\' {
		i--
		n++
	}
	return n%2 == 1
}

// Operation is an import under way. It can be written down, and taken up by another process.
type Operation struct {
	ID       string `json:"id"`
	Location string `json:"location"`
	// RetryAfter is how long to wait before it is polled; 0 where Azure does not say.
	RetryAfter time.Duration `json:"retryAfter"`
	// Done is set once it has succeeded.
	Done   bool   `json:"done"`
	Status string `json:"status,omitempty"`
	// CorrelationID is by which Microsoft's support finds the request.
	CorrelationID string `json:"correlationID,omitempty"`
	// RemainingWrites is how many writes the subscription has left, -1 where Azure did not say.
	RemainingWrites int `json:"-"`
}

// NewOperationID returns a random UUID (RFC 9562, section 5.4).
func NewOperationID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// ResponseError is a refusal of Azure.
type ResponseError struct {
	Status        int
	Code, Message string
	CorrelationID string
	// RetryAfter is how long Azure asks to wait; 0 where it does not.
	RetryAfter time.Duration
}

// Error returns one line.
func (e *ResponseError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("Azure answered %d %s: %s %s", e.Status, http.StatusText(e.Status), e.Code, plainLine(e.Message)))
}

// plainLine makes a text of Azure's fit for one line, without what is secret in URLs.
func plainLine(text string) string { return truncated(redacted(oneLine(text)), 500) }

// ForeignLocationError says that Azure's answer sends us to another host, which is not asked: it would be shown the token.
type ForeignLocationError struct{ Host string }

// Error names the host.
func (e *ForeignLocationError) Error() string {
	return "the answer of Resource Manager points to another host, " + strconv.Quote(truncated(e.Host, 200)) + ", which is not asked"
}

// Temporary tells that trying again does not help.
func (*ForeignLocationError) Temporary() bool { return false }

// LostError says that it is not known whether Azure has taken a request up.
type LostError struct{ cause error }

// Error returns one line.
func (e *LostError) Error() string {
	return "Azure gave no answer: " + plainLine(withoutURL(e.cause).Error())
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.cause }

// Unknown tells that the request may have been taken up.
func (*LostError) Unknown() bool { return true }

// Start asks a registry for an import, once: it is not known whether a request that is lost was taken up. The operation's ID is the
// caller's, by [NewOperationID].
func (c *Client) Start(ctx context.Context, target ResourceID, operation string, i Import) (Operation, error) {
	body, err := i.wire()
	if err != nil {
		return Operation{}, err
	}
	answer, err := c.do(ctx, http.MethodPost, c.url(target.String()+"/importImage", apiVersion), body, http.Header{"X-Ms-Client-Request-Id": {operation}})
	if err != nil {
		return Operation{}, err
	}
	op := Operation{ID: operation}
	return op.after(answer, c.endpoint)
}

// Poll asks how an operation goes. The error is a [*ResponseError] where it has failed, or where Azure could not say: status 429 and 5xx.
func (c *Client) Poll(ctx context.Context, op Operation) (Operation, error) {
	location, err := c.sameHost(op.Location)
	if err != nil {
		return op, err
	}
	answer, err := c.do(ctx, http.MethodGet, location, nil, nil)
	if err != nil {
		return op, err
	}
	return op.after(answer, c.endpoint)
}

// after is the operation after an answer.
func (op Operation) after(a answer, endpoint *url.URL) (Operation, error) {
	op.RetryAfter, op.CorrelationID, op.RemainingWrites = a.retryAfter, a.correlation, a.remaining
	var body struct {
		Status string    `json:"status"`
		Error  *errorDoc `json:"error"`
	}
	_ = json.Unmarshal(a.body, &body) // null, nothing, or JSON
	op.Status = body.Status
	if a.location != "" {
		if _, err := within(endpoint, a.location); err != nil {
			return op, err
		}
		op.Location = a.location
	}
	if a.status == http.StatusAccepted {
		if op.Location == "" {
			return op, &ResponseError{Status: a.status, Code: "NoLocation", Message: "the import was accepted, and nothing says where to ask for it", CorrelationID: a.correlation}
		}
		return op, nil
	}
	if body.Status != "" && !strings.EqualFold(body.Status, "Succeeded") {
		e := &ResponseError{Status: a.status, Code: body.Status, CorrelationID: a.correlation}
		if body.Error != nil {
			e.Code, e.Message = body.Error.Code, body.Error.Message
		}
		return op, e
	}
	op.Done = true
	return op, nil
}

// errorDoc is the error of an answer (Azure's REST API guidelines, "Error condition responses").
type errorDoc struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// answer is what is of use of an HTTP answer.
type answer struct {
	status      int
	body        []byte
	location    string
	retryAfter  time.Duration
	correlation string
	remaining   int
}

// url is that of a path at Resource Manager.
func (c *Client) url(path, version string) *url.URL {
	u := *c.endpoint
	u.Path = path
	u.RawQuery = "api-version=" + version
	return &u
}

// sameHost checks that a URL is one of Resource Manager's.
func (c *Client) sameHost(text string) (*url.URL, error) { return within(c.endpoint, text) }

func within(endpoint *url.URL, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, &ForeignLocationError{Host: "?"}
	}
	u = endpoint.ResolveReference(u)
	if u.Scheme != endpoint.Scheme || !strings.EqualFold(u.Host, endpoint.Host) || u.User != nil {
		return nil, &ForeignLocationError{Host: u.Host}
	}
	return u, nil
}

// do sends a request with a token, and once more with a new one where it is refused.
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
	r.GetBody = nil // net/http would send it again by itself
	for name, values := range header {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("User-Agent", c.options.UserAgent)
	response, err := c.http.Do(r)
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

// withoutURL takes the URL off an error of net/http, which has a signature in its query.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// maxRefusalText bounds what is kept of an error that is no JSON.
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

// retryAfter reads how long to wait, in seconds or until a date; 0 where it is not said.
func retryAfter(header http.Header) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 && seconds < 1e6 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		now := time.Now()
		if date, err := http.ParseTime(header.Get("Date")); err == nil {
			now = date // clocks differ
		}
		return max(0, at.Sub(now))
	}
	return 0
}

// Registry is what Resource Manager says of a registry.
type Registry struct {
	ID ResourceID
	// LoginServer is its host; SKU is Basic, Standard, Premium or something else.
	LoginServer, SKU string
	// Public tells whether it can be reached from anywhere.
	Public bool
}

type registryDoc struct {
	ID  string `json:"id"`
	SKU struct {
		Name string `json:"name"`
	} `json:"sku"`
	Properties struct {
		LoginServer         string `json:"loginServer"`
		PublicNetworkAccess string `json:"publicNetworkAccess"`
	} `json:"properties"`
}

func (d registryDoc) registry() (Registry, error) {
	id, err := ParseResourceID(d.ID)
	return Registry{ID: id, LoginServer: strings.ToLower(d.Properties.LoginServer), SKU: d.SKU.Name, Public: !strings.EqualFold(d.Properties.PublicNetworkAccess, "Disabled")}, err
}

// Registry asks for a registry by its ID.
func (c *Client) Registry(ctx context.Context, id ResourceID) (Registry, error) {
	var doc registryDoc
	if err := c.get(ctx, c.url(id.String(), apiVersion), &doc); err != nil {
		return Registry{}, err
	}
	return doc.registry()
}

// Find looks a registry up by its login server: in one subscription, or, where that is empty, in all that this identity can see.
func (c *Client) Find(ctx context.Context, subscription, loginServer string) (ResourceID, error) {
	subscriptions := []string{subscription}
	if subscription == "" {
		var err error
		if subscriptions, err = c.subscriptions(ctx); err != nil {
			return ResourceID{}, err
		}
	}
	for _, s := range subscriptions {
		var found ResourceID
		err := list(ctx, c, c.url("/subscriptions/"+s+"/providers/Microsoft.ContainerRegistry/registries", apiVersion), func(doc registryDoc) bool {
			r, err := doc.registry()
			if err == nil && strings.EqualFold(r.LoginServer, loginServer) {
				found = r.ID
			}
			return found != ResourceID{}
		})
		if err != nil || found != (ResourceID{}) {
			return found, err
		}
	}
	return ResourceID{}, fmt.Errorf("no registry with the login server %s in %d subscriptions that this identity can read: it may lack the right Microsoft.ContainerRegistry/registries/read, "+
		"or write registries.%s.azure.resourceID: %w", loginServer, len(subscriptions), loginServer, ErrNotFound)
}

func (c *Client) subscriptions(ctx context.Context) ([]string, error) {
	var ids []string
	err := list(ctx, c, c.url("/subscriptions", subscriptionsVersion), func(doc struct {
		SubscriptionID string `json:"subscriptionId"`
	}) bool {
		ids = append(ids, doc.SubscriptionID)
		return false
	})
	return ids, err
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
		return fmt.Errorf("the answer of Azure cannot be read: %w", err)
	}
	return nil
}

// RegistryToken returns a token that signs in to a registry, as its refresh token, and when it is to be asked for again. It is made of
// Entra's (Azure/acr, docs/AAD-OAuth.md), once for all who wait for it.
func (c *Client) RegistryToken(ctx context.Context, host string) (token string, expires time.Time, err error) {
	loginServer, ok := c.options.Cloud.LoginServer(host)
	if !ok {
		return "", time.Time{}, fmt.Errorf("%s is no registry of this cloud, whose registries end with .%s: no token is sent there", host, c.options.Cloud.RegistrySuffix)
	}
	c.mu.Lock()
	k := c.registries[loginServer]
	if k == nil {
		k = &kept{fetch: func(ctx context.Context, renew bool) (granted, error) { return c.exchange(ctx, loginServer, renew) }}
		c.registries[loginServer] = k
	}
	c.mu.Unlock()
	got, err := k.get(ctx)
	return got.token, got.refresh(), err
}

// exchange makes a registry's refresh token of Entra's.
func (c *Client) exchange(ctx context.Context, loginServer string, renew bool) (granted, error) {
	entra, err := c.entra.get(ctx)
	if err != nil {
		return granted{}, err
	}
	form := url.Values{"grant_type": {"access_token"}, "service": {loginServer}, "access_token": {entra.token}}
	if c.options.Credential.TenantID != "" {
		form.Set("tenant", c.options.Credential.TenantID)
	}
	from := time.Now()
	var got struct {
		RefreshToken string `json:"refresh_token"`
	}
	err = c.form(ctx, "https://"+loginServer+"/oauth2/exchange", form, &got)
	if refused, ok := errors.AsType[*ResponseError](err); ok && refused.Status == http.StatusUnauthorized {
		c.entra.refuse(entra.token)
		if !renew {
			return c.exchange(ctx, loginServer, true)
		}
	}
	if err != nil {
		return granted{}, fmt.Errorf("sign in to %s: %w", loginServer, err)
	}
	if got.RefreshToken == "" {
		return granted{}, fmt.Errorf("sign in to %s: it gave no token", loginServer)
	}
	return granted{token: got.RefreshToken, from: from, until: lapses(got.RefreshToken, from)}, nil
}

// usualLife is how long a registry's refresh token lives that does not say.
const usualLife = 3 * time.Hour

// lapses reads from a token how long it lives (RFC 7519, section 4.1), by this machine's clock. It is not checked: it is for the registry.
func lapses(token string, now time.Time) time.Time {
	parts := strings.Split(token, ".")
	var claims struct {
		Issued  int64 `json:"iat"`
		Expires int64 `json:"exp"`
	}
	if len(parts) == 3 {
		if raw, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(raw, &claims) // or else it does not say
		}
	}
	if life := time.Duration(claims.Expires-claims.Issued) * time.Second; claims.Issued > 0 && life > 0 && life < 24*time.Hour {
		return now.Add(life)
	}
	return now.Add(usualLife)
}

// form posts a form to a registry, and reads the answer.
func (c *Client) form(ctx context.Context, to string, form url.Values, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.send(r, into)
}

func (c *Client) send(r *http.Request, into any) error {
	r.Header.Set("User-Agent", c.options.UserAgent)
	response, err := c.http.Do(r)
	if err != nil {
		if r.Context().Err() != nil {
			return context.Cause(r.Context())
		}
		return withoutURL(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return registryRefusal(response, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return errors.New("its answer cannot be read")
	}
	return nil
}

// registryRefusal is the error of a registry (OCI distribution spec, "Error Codes").
func registryRefusal(response *http.Response, raw []byte) *ResponseError {
	e := &ResponseError{Status: response.StatusCode, RetryAfter: retryAfter(response.Header)}
	var body struct {
		Errors []errorDoc `json:"errors"`
	}
	if json.Unmarshal(raw, &body) == nil && len(body.Errors) > 0 {
		e.Code, e.Message = body.Errors[0].Code, body.Errors[0].Message
	}
	return e
}

// Locked tells whether a tag of a registry may not be written. One that is not there is not locked.
func (c *Client) Locked(ctx context.Context, host, repository, tag string) (bool, error) {
	refresh, _, err := c.RegistryToken(ctx, host)
	if err != nil {
		return false, err
	}
	form := url.Values{
		"grant_type": {"refresh_token"}, "service": {host}, "refresh_token": {refresh}, "scope": {"repository:" + repository + ":metadata_read"},
	}
	var access struct {
		AccessToken string `json:"access_token"`
	}
	if err := c.form(ctx, "https://"+host+"/oauth2/token", form, &access); err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/acr/v1/"+repository+"/_tags/"+url.PathEscape(tag), http.NoBody)
	if err != nil {
		return false, err
	}
	r.Header.Set("Authorization", "Bearer "+access.AccessToken)
	var doc struct {
		Tag struct {
			Attributes struct {
				Write *bool `json:"writeEnabled"`
			} `json:"changeableAttributes"`
		} `json:"tag"`
	}
	err = c.send(r, &doc)
	if refused, ok := errors.AsType[*ResponseError](err); ok && refused.Status == http.StatusNotFound {
		return false, nil
	}
	write := doc.Tag.Attributes.Write
	return err == nil && write != nil && !*write, err
}
