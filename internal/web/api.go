package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// healthTimeout is how long the daemon's loop may take to answer before it counts as hung.
const healthTimeout = 5 * time.Second

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	s.probe(w, r, s.options.Daemon.Alive)
}

func (s *Server) serveReadiness(w http.ResponseWriter, r *http.Request) {
	s.probe(w, r, s.options.Daemon.Ready)
}

// probe says in plain text whether all is well, or what is not.
func (s *Server) probe(w http.ResponseWriter, r *http.Request, check func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := check(ctx); err != nil {
		send(w, http.StatusServiceUnavailable, typeText, []byte(err.Error()+"\n"))
		return
	}
	send(w, http.StatusOK, typeText, []byte("ok\n"))
}

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	s.options.Metrics.ServeHTTP(w, r)
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	s.withStatus(w, r, func(status *record.Snapshot) {
		head := *status
		head.Jobs = []record.JobStatus{}
		if !s.trusts(r, policyFor(r)) {
			head.Receivers = withoutKeys(head.Receivers)
		}
		stream(w, head, status.Jobs)
	})
}

// withoutKeys leaves out of paths what proves the sender of events.
func withoutKeys(receivers []record.Receiver) []record.Receiver {
	shown := slices.Clone(receivers)
	for i, r := range shown {
		if r.Keyed {
			shown[i].Path = path.Dir(r.Path) + "/…"
		}
	}
	return shown
}

func (s *Server) serveJobs(w http.ResponseWriter, r *http.Request) {
	s.withStatus(w, r, func(status *record.Snapshot) {
		stream(w, Jobs{Version: documentVersion, Now: status.Now, Jobs: []record.JobStatus{}}, status.Jobs)
	})
}

// withStatus answers when it is the request's turn.
func (s *Server) withStatus(w http.ResponseWriter, r *http.Request, tell func(*record.Snapshot)) {
	s.inTurn(w, r, func(ctx context.Context) error {
		status, err := s.snapshots.status(ctx)
		if err == nil {
			tell(status)
		}
		return err
	})
}

// inTurn answers once one of the few turns is free: each answer takes memory, and may be long and its reader slow. What do returns is
// answered as a failure.
func (s *Server) inTurn(w http.ResponseWriter, r *http.Request, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		fail(w, fmt.Errorf("too many requests at once: %w", ErrUnavailable))
		return
	}
	if err := do(ctx); err != nil {
		fail(w, err)
	}
}

const (
	defaultRuns = 50
	// MaxRuns is the largest limit of a history.
	MaxRuns = 1000
)

func (s *Server) serveHistory(w http.ResponseWriter, r *http.Request) {
	query, limit := r.URL.Query(), defaultRuns
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxRuns {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("limit is a number from 1 to %d", MaxRuns))
			return
		}
		limit = n
	}
	s.inTurn(w, r, func(ctx context.Context) error {
		runs, err := s.options.Daemon.History(ctx, query.Get("job"), limit)
		if err != nil {
			return err
		}
		document := History{Version: documentVersion, Runs: make([]record.JobRun, 0, len(runs))}
		for _, run := range runs {
			completeRun(&run)
			document.Runs = append(document.Runs, run)
		}
		answer(w, http.StatusOK, document)
		return nil
	})
}

// accepted is the document of an answer to a job that is to run.
type accepted struct {
	Job string `json:"job"`
	// Asked is when the request came; the run begins later.
	Asked time.Time `json:"asked"`
}

func (s *Server) serveSync(w http.ResponseWriter, r *http.Request, job string) {
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	asked, found, err := s.options.Daemon.Sync(ctx, job, r.URL.Query()["tag"])
	switch {
	case err != nil:
		fail(w, err)
	case found:
		answer(w, http.StatusAccepted, accepted{Job: job, Asked: exact(asked)})
	default:
		s.withStatus(w, r, func(status *record.Snapshot) { s.unknown(w, job, status) })
	}
}

// rejection is the document of an answer to a reload: each line of the error, none where the config was taken over.
type rejection struct {
	Errors []string `json:"errors"`
}

func (s *Server) serveReload(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Reload)
	defer cancel()
	err := s.options.Daemon.Reload(ctx)
	switch {
	case err == nil:
		answer(w, http.StatusOK, rejection{Errors: []string{}})
	case errors.Is(err, ErrUnavailable), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		fail(w, err)
	default:
		answer(w, http.StatusUnprocessableEntity, rejection{Errors: strings.Split(strings.TrimSpace(err.Error()), "\n")})
	}
}
