package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/dial"
	"github.com/draysync/dray/internal/switching"
)

const (
	// attemptTime bounds one attempt, from the look-up of the name to the end of the answer.
	attemptTime = 10 * time.Second
	// restTime bounds the reading of an answer's text, for which the next event waits.
	restTime = time.Second
	// maxAnswer is how much of an answer is read, so that the connection can be used again.
	maxAnswer = 4 << 10
	// maxRetryAfter bounds what a receiver may ask for.
	maxRetryAfter = time.Hour
)

// fault is why an attempt failed.
type fault struct {
	err error
	// again is set where another attempt can help.
	again bool
	// own is set where the cause may be the event and not the receiver.
	own bool
	// after is the wait that the receiver asked for.
	after time.Duration
}

// attempt sends a notice once. It goes to the transport and not through an [http.Client], which would follow redirects.
func (s *Sender) attempt(ctx context.Context, hook *compiled, n *notice) *fault {
	body, contentType, err := hook.body(n)
	if err != nil {
		return &fault{err: fmt.Errorf("make the body for %s: %w", hook.url.Host, err)}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	ctx = dial.Budget(ctx)
	request, err := hook.request(ctx, n.id, time.Now(), body)
	if err != nil {
		return &fault{err: fmt.Errorf("ask %s: not a request that can be made", hook.url.Host)} // err may quote the URL
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", s.agent)
	answer, err := switching.Refused(s.transport.RoundTrip(request)) //nolint:bodyclose // it is, below
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", attemptTime)
		}
		return &fault{err: fmt.Errorf("ask %s: %w", hook.url.Host, hook.redacted(err)), again: !errors.Is(err, switching.ErrSwitched)}
	}
	defer answer.Body.Close()
	// The status has been said; whether the rest arrives does not matter.
	defer time.AfterFunc(restTime, cancel).Stop()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	return judge(hook.url.Host, answer, time.Now())
}

func (c *compiled) request(ctx context.Context, id string, at time.Time, body []byte) (*http.Request, error) {
	address := *c.url
	address.User = nil
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.url.User != nil {
		password, _ := c.url.User.Password()
		request.SetBasicAuth(c.url.User.Username(), password)
	}
	request.Header.Set("Webhook-Id", id)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	if c.key != nil {
		request.Header.Set("Webhook-Signature", signature(c.key, id, at, body))
	}
	return request, nil
}

// judge returns nil where the receiver took the event. It does not look at the answer's text, which may repeat the URL.
func judge(host string, answer *http.Response, now time.Time) *fault {
	status := answer.StatusCode
	if status >= 200 && status <= 299 {
		return nil
	}
	f := &fault{err: fmt.Errorf("ask %s: the answer is %d %s", host, status, http.StatusText(status))}
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests,
		status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		f.again = true
	case status >= 500:
		f.again, f.own = true, true
	case status >= 300 && status <= 399:
		f.err = fmt.Errorf("%w; redirects are not followed", f.err)
	}
	wait, _ := backoff.RetryAfter(answer.Header, now)
	f.after = min(wait, maxRetryAfter)
	return f
}

// redacted takes out of an error of the transport what the URL says beside the host. The transport may quote all that a receiver has sent.
func (c *compiled) redacted(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	text := err.Error()
	for _, secret := range c.secrets() {
		text = strings.ReplaceAll(text, secret, "…")
	}
	if text = clean(text, maxText); text == err.Error() {
		return err
	}
	return errors.New(text)
}

// secrets are the parts of the URL that may be one, the longest first.
func (c *compiled) secrets() []string {
	var parts []string
	for _, part := range []string{c.url.RequestURI(), c.url.EscapedPath(), c.url.Path, c.url.RawQuery} {
		if len(part) > 1 {
			parts = append(parts, part)
		}
	}
	if password, ok := c.url.User.Password(); ok && password != "" {
		parts = append(parts, password)
	}
	return parts
}

// pauses are those between the attempts at one event.
var pauses = backoff.Backoff{First: time.Second, Max: 5 * time.Minute}
