package azure

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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
		if refused, ok := errors.AsType[*ResponseError](err); ok && refused.Status == http.StatusNotFound {
			c.forget(target.String(), i.Source.ResourceID)
		}
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
