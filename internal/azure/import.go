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

// Import is a request to a registry to import an image.
type Import struct {
	Source ImportSource
	// TargetTags have the form repository:tag; UntaggedRepositories get the manifest without a tag.
	TargetTags           []string
	UntaggedRepositories []string
	// Force overwrites existing tags.
	Force bool
}

// ImportSource is the source registry, by its resource ID or by its host, and the image: repository:tag or repository@digest.
type ImportSource struct {
	ResourceID         string
	RegistryURI        string
	Username, Password string
	Image              string
}

// MarshalJSON encodes the import as the Azure CLI does.
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

// wire is the body that the Azure CLI sends, byte for byte, since the service sees that form most.
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

// escaped reports whether an odd number of backslashes precedes the byte at i.
func escaped(raw []byte, i int) bool {
	n := 0
	for i > 0 && raw[i-1] == '\\' {
		i--
		n++
	}
	return n%2 == 1
}

// Operation is an import under way. It can be saved, and resumed by another process.
type Operation struct {
	ID       string `json:"id"`
	Location string `json:"location"`
	// RetryAfter is how long to wait before polling; 0 if Azure does not say.
	RetryAfter time.Duration `json:"retryAfter"`
	// Done is set once it has succeeded.
	Done   bool   `json:"done"`
	Status string `json:"status,omitempty"`
	// CorrelationID identifies the request to Microsoft's support.
	CorrelationID string `json:"correlationID,omitempty"`
	// RemainingWrites is the number of writes that the subscription has left; -1 if Azure did not say.
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

// ForeignLocationError says that Azure's answer points to another host. The client sends it no request, since that would reveal the token.
type ForeignLocationError struct{ Host string }

// Error names the host.
func (e *ForeignLocationError) Error() string {
	return "Resource Manager's answer points to another host, " + strconv.Quote(truncated(e.Host, 200)) + ", to which dray sends no token"
}

// Temporary returns false: a retry does not help.
func (*ForeignLocationError) Temporary() bool { return false }

// LostError says that it is unknown whether Azure has accepted a request.
type LostError struct{ cause error }

// Error returns one line.
func (e *LostError) Error() string {
	return "Azure gave no answer: " + plainLine(withoutURL(e.cause).Error())
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.cause }

// Unknown returns true: Azure may have accepted the request.
func (*LostError) Unknown() bool { return true }

// Start requests an import. It sends the request once, since Azure may have accepted a lost one. The caller makes the operation's ID with
// [NewOperationID].
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

// Poll requests the state of an operation. The error is a [*ResponseError] if the operation has failed, or if Azure could not answer: status
// 429 and 5xx.
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

// after returns the operation's state after an answer.
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
			return op, &ResponseError{Status: a.status, Code: "NoLocation", Message: "the import was accepted, but the answer has no Location to poll", CorrelationID: a.correlation}
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

// sameHost checks that a URL has Resource Manager's host.
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
