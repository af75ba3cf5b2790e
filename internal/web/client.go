package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/switching"
)

const (
	clientTimeout = 30 * time.Second
	// maxAnswer is more than the status of 100,000 jobs takes, in bytes; maxRefusal bounds the text of an error.
	maxAnswer  = 256 << 20
	maxRefusal = 1 << 20
)

// Client asks a running daemon.
type Client struct {
	address string
	token   string
	host    string
	http    *http.Client
}

// NewClient returns a client for the daemon that listens at an address, as server.listen has it. The token may be empty.
func NewClient(address, token string) *Client {
	network, dial, host := "tcp", reachable(address), reachable(address)
	if path, ok := strings.CutPrefix(address, socketPrefix); ok {
		network, dial, host = "unix", path, "localhost"
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, dial)
		},
		MaxIdleConnsPerHost: 1, IdleConnTimeout: clientTimeout, MaxResponseHeaderBytes: 64 << 10,
	}
	return &Client{address: address, token: token, host: host, http: &http.Client{
		Transport: transport, Timeout: clientTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reachable is the address at which this machine reaches who listens at all addresses.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip.IsUnspecified() && ip.Is4():
		return net.JoinHostPort("127.0.0.1", port)
	case err == nil && ip.IsUnspecified():
		return net.JoinHostPort("::1", port)
	}
	return address
}

// Local reports whether an address, as server.listen has it, is a socket or of the loopback: what is sent there crosses no network.
func Local(address string) bool {
	if strings.HasPrefix(address, socketPrefix) {
		return true
	}
	host, _, err := net.SplitHostPort(reachable(address))
	ip, notAddress := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || notAddress == nil && ip.Unmap().IsLoopback())
}

// Close closes the connections that idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns what the daemon does, waits for and last did.
func (c *Client) Status(ctx context.Context) (record.Snapshot, error) {
	var status record.Snapshot
	if err := c.get(ctx, "/api/v1/status", &status); err != nil {
		return record.Snapshot{}, err
	}
	return status, c.check(status.Version)
}

// History returns the newest runs first; those of all jobs where job is empty. A limit of 0 is the server's.
func (c *Client) History(ctx context.Context, job string, limit int) ([]record.JobRun, error) {
	query := url.Values{}
	if job != "" {
		query.Set("job", job)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var history History
	if err := c.get(ctx, "/api/v1/history?"+query.Encode(), &history); err != nil {
		return nil, err
	}
	return history.Runs, c.check(history.Version)
}

func (c *Client) check(version int) error {
	switch {
	case version < 1:
		return fmt.Errorf("what answers at %s is not dray", c.address)
	case version > documentVersion:
		return fmt.Errorf("the daemon at %s is newer than this program: use its own dray", c.address)
	}
	return nil
}

// Sync has a job run now, and does not wait for it; with tags, the run looks at these only. It returns when the daemon was asked, by the daemon's
// clock: the run begins later. The error is an [*UnknownJobError] if there is no job of that name.
func (c *Client) Sync(ctx context.Context, job string, tags ...string) (asked time.Time, err error) {
	path := jobPath(job, "sync")
	if len(tags) > 0 {
		path += "?" + url.Values{"tag": tags}.Encode()
	}
	status, body, err := c.do(ctx, http.MethodPost, path)
	var a accepted
	var f failure
	switch {
	case err != nil:
		return time.Time{}, err
	case status == http.StatusAccepted && json.Unmarshal(body, &a) == nil:
		return a.Asked, nil
	case status == http.StatusNotFound && json.Unmarshal(body, &f) == nil && f.Error != "":
		return time.Time{}, &UnknownJobError{Job: job, Nearest: f.Nearest}
	}
	return time.Time{}, c.refusal(status, body)
}

// RejectedError says why a config was rejected.
type RejectedError struct {
	// Lines has one for each mistake.
	Lines []string
}

func (e *RejectedError) Error() string {
	return "the config has mistakes, and the files that have them run on as they were:\n" + strings.Join(e.Lines, "\n")
}

// Reload has the config read anew, and returns once it runs. The error is a [*RejectedError] where it is not taken.
func (c *Client) Reload(ctx context.Context) error {
	status, body, err := c.do(ctx, http.MethodPost, "/-/reload")
	var r rejection
	switch {
	case err != nil:
		return err
	case status == http.StatusOK:
		return nil
	case status == http.StatusUnprocessableEntity && json.Unmarshal(body, &r) == nil && len(r.Errors) > 0:
		return &RejectedError{Lines: r.Errors}
	}
	return c.refusal(status, body)
}

func (c *Client) get(ctx context.Context, path string, document any) error {
	status, body, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return c.refusal(status, body)
	}
	if err := json.Unmarshal(body, document); err != nil {
		return fmt.Errorf("what answers at %s is not dray: %w", c.address, err)
	}
	return nil
}

// refusal is the error of an answer that is none of what was asked for.
func (c *Client) refusal(status int, body []byte) error {
	var f failure
	if json.Unmarshal(body, &f) != nil || f.Error == "" {
		return fmt.Errorf("what answers at %s is not dray: it says %d %s", c.address, status, http.StatusText(status))
	}
	return fmt.Errorf("the daemon at %s answers %d: %s", c.address, status, f.Error)
}

func (c *Client) do(ctx context.Context, method, path string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.host+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the daemon at %q: %w", c.address, err)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := switching.Refused(c.http.Do(request)) //nolint:bodyclose // it is, below
	if err != nil {
		return 0, nil, c.unreachable(err)
	}
	defer response.Body.Close()
	limit := int64(maxRefusal)
	if response.StatusCode == http.StatusOK {
		limit = maxAnswer
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(response.Body, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it is larger than %s", size(limit))
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer of the daemon at %s: %w", c.address, err)
	}
	return response.StatusCode, b.Bytes(), nil
}

// unreachable says what to do about a daemon that could not be asked.
func (c *Client) unreachable(err error) error {
	if cause, ok := errors.AsType[*url.Error](err); ok {
		err = cause.Err
	}
	switch {
	case refused(err), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no daemon answers at %s: start it with dray run, or look whether its server.listen is another address: %w", c.address, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be used by this user: become one of the group that its file belongs to: %w", c.address, err)
	}
	return fmt.Errorf("ask the daemon at %s: %w", c.address, err)
}
