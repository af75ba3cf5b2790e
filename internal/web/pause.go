package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
)

const (
	// MaxReason is the longest reason of a pause, in bytes; maxBy is the longest name of who asks.
	MaxReason = 1000
	maxBy     = 200
)

// asker returns who asks: by the name that they give, which nothing proves, and by their address.
func asker(r *http.Request) (string, error) {
	by := r.URL.Query().Get("by")
	if len(by) > maxBy || !utf8.ValidString(by) {
		return "", fmt.Errorf("by is a text of at most %d bytes", maxBy)
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if policyFor(r).socket {
		from = "the socket"
	} else if err != nil {
		from = r.RemoteAddr
	}
	if by == "" {
		return from, nil
	}
	return fmt.Sprintf("%s (%s)", clean(by), from), nil
}

// servePause pauses a job, or all where job is empty.
func (s *Server) servePause(w http.ResponseWriter, r *http.Request, job string) {
	by, err := asker(r)
	reason := r.URL.Query().Get("reason")
	if err == nil && (len(reason) > MaxReason || !utf8.ValidString(reason)) {
		err = fmt.Errorf("reason is a text of at most %d bytes", MaxReason)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.pausing(w, r, job, func(ctx context.Context) (bool, error) {
		return s.options.Daemon.Pause(ctx, job, record.Pause{By: by, Reason: clean(reason)})
	})
}

// serveResume ends the pause of a job, or that of all where job is empty.
func (s *Server) serveResume(w http.ResponseWriter, r *http.Request, job string) {
	by, err := asker(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.pausing(w, r, job, func(ctx context.Context) (bool, error) { return s.options.Daemon.Resume(ctx, job, by) })
}

// pausing answers with what holds after a pause or a resume.
func (s *Server) pausing(w http.ResponseWriter, r *http.Request, job string, change func(context.Context) (found bool, err error)) {
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	found, err := change(ctx)
	if err != nil {
		fail(w, err)
		return
	}
	s.withStatus(w, r, func(status *record.Snapshot) {
		if !found {
			s.unknown(w, job, status)
			return
		}
		document := Paused{Version: documentVersion, Job: job, Paused: status.Paused, Jobs: []string{}}
		for i := range status.Jobs {
			switch j := &status.Jobs[i]; {
			case j.Job == job:
				document.Paused = j.Paused
			case job == "" && status.Paused == nil && j.Paused != nil:
				document.Jobs = append(document.Jobs, j.Job)
			}
		}
		answer(w, http.StatusOK, document)
	})
}

// unknown answers that there is no such job, and which ones may have been meant.
func (s *Server) unknown(w http.ResponseWriter, job string, status *record.Snapshot) {
	names := make([]string, 0, len(status.Jobs))
	for i := range status.Jobs {
		names = append(names, status.Jobs[i].Job)
	}
	unknown := UnknownJob(job, names)
	answer(w, http.StatusNotFound, failure{Error: unknown.Error(), Nearest: unknown.Nearest})
}

// Pause has a job, or all where job is empty, start no run by itself. Who asks is by, for the log and all who look; the reason may be empty.
// The error is an [*UnknownJobError] if there is no job of that name.
func (c *Client) Pause(ctx context.Context, job, by, reason string) (Paused, error) {
	return c.pausing(ctx, job, "pause", by, reason)
}

// Resume ends the pause of a job, or that of all where job is empty. Its error is as that of [Client.Pause].
func (c *Client) Resume(ctx context.Context, job, by string) (Paused, error) {
	return c.pausing(ctx, job, "resume", by, "")
}

func (c *Client) pausing(ctx context.Context, job, action, by, reason string) (Paused, error) {
	path := apiPrefix + action
	if job != "" {
		path = jobPath(job, action)
	}
	query := url.Values{}
	for key, value := range map[string]string{"by": by[:min(len(by), maxBy)], "reason": reason} {
		if value != "" {
			query.Set(key, value)
		}
	}
	status, body, err := c.do(ctx, http.MethodPost, path+"?"+query.Encode())
	var p Paused
	var f failure
	switch {
	case err != nil:
		return Paused{}, err
	case status == http.StatusOK && json.Unmarshal(body, &p) == nil:
		return p, c.check(p.Version)
	case status == http.StatusNotFound && json.Unmarshal(body, &f) == nil && f.Error != "" && job != "":
		return Paused{}, &UnknownJobError{Job: job, Nearest: f.Nearest}
	}
	return Paused{}, c.refusal(status, body)
}
