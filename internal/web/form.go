package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// dids say what was done, by the word for it in an address.
var dids = map[string]string{
	"sync":    "The job was asked to run.",
	"retry":   "What failed was asked to run again.",
	"reload":  "The config was read, and runs.",
	"pause":   "It is paused.",
	"resume":  "It is no longer paused.",
	"plan":    "A plan is being made. It changes nothing.",
	"approve": "The imports of the plan are being made, and no others.",
	"signin":  "You are signed in.",
	"signout": "You are signed out.",
}

// formPaths are where forms are sent to.
func (s *Server) formAt(path string) (func(http.ResponseWriter, *http.Request, viewer), bool) {
	switch path {
	case "/do/sync":
		return s.doSync, true
	case "/do/retry":
		return s.doRetry, true
	case "/do/pause":
		return s.doPause, true
	case "/do/resume":
		return s.doResume, true
	case "/do/plan":
		return s.doPlan, true
	case "/do/approve":
		return s.doApprove, true
	case "/do/reload":
		return s.doReload, true
	case "/do/signin":
		return s.doSignIn, true
	case "/do/signout":
		return s.doSignOut, true
	}
	return nil, false
}

// serveForm does what a form asks for, if it is one of this server's pages, and whoever sends it may. A browser of another site's page cannot
// send one: neither its Origin nor its Sec-Fetch-Site would be right, it would not carry the cookie, and it could not know the form's value.
func (s *Server) serveForm(w http.ResponseWriter, r *http.Request, do func(http.ResponseWriter, *http.Request, viewer)) {
	v := s.viewerOf(r)
	if err := s.origins.Check(r); err != nil {
		s.problem(w, r, v, http.StatusForbidden, "Refused", "The request comes from another site's page.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		w.Header().Set("Connection", "close")
		s.problem(w, r, v, http.StatusBadRequest, "Refused", "The form could not be read: "+err.Error())
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.PostForm.Get("form")), []byte(v.Form)) != 1 {
		s.problem(w, r, v, http.StatusForbidden, "Refused", "The page is too old: dray was restarted, or you have signed in or out since. Open it anew.")
		return
	}
	do(w, r, v)
}

// asked logs what somebody has asked for by a form.
func (s *Server) asked(r *http.Request, v viewer, op string, attrs ...slog.Attr) {
	by := "loopback"
	switch p := policyFor(r); {
	case v.SignedIn:
		by = "signed in"
	case s.proven(r):
		by = "token"
	case p.socket:
		by = "socket"
	case p.exposed:
		by = "network"
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	attrs = append(attrs, slog.String("op", op), slog.String("client", host), slog.String("reason", by))
	s.options.Log.LogAttrs(r.Context(), slog.LevelInfo, "asked on the status page", attrs...)
}

// mayAct tells whether whoever sends a form may change something, and answers where not.
func (s *Server) mayAct(w http.ResponseWriter, r *http.Request, v viewer) bool {
	switch {
	case v.May:
		return true
	case v.SignsIn:
		s.problem(w, r, v, http.StatusUnauthorized, "Sign in first", "This needs the token that server.token has.")
	default:
		s.problem(w, r, v, http.StatusForbidden, "Refused", v.Why)
	}
	return false
}

// done leads back to the page that had the form.
func done(w http.ResponseWriter, r *http.Request, did string) {
	back, err := url.Parse(r.PostForm.Get("back"))
	if err != nil || !strings.HasPrefix(back.Path, "/") || strings.HasPrefix(back.Path, "//") || strings.HasPrefix(back.Path, "/do/") {
		back = &url.URL{Path: "/"}
	}
	query := back.Query()
	query.Set("did", did)
	to := url.URL{Path: back.Path, RawPath: back.RawPath, RawQuery: query.Encode()}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusSeeOther)
}

func (s *Server) doSync(w http.ResponseWriter, r *http.Request, v viewer) {
	if !s.mayAct(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	job := r.PostForm.Get("job")
	tags := strings.Fields(r.PostForm.Get("tag"))
	s.asked(r, v, "sync", slog.String("job", job), slog.String("tag", strings.Join(tags, " ")))
	if s.synced(ctx, w, r, v, job, tags) {
		done(w, r, "sync")
	}
}

// synced has a job run, and answers where it cannot.
func (s *Server) synced(ctx context.Context, w http.ResponseWriter, r *http.Request, v viewer, job string, tags []string) bool {
	_, found, err := s.options.Daemon.Sync(ctx, job, tags)
	switch {
	case errors.Is(err, ErrUnchosen):
		s.problem(w, r, v, http.StatusUnprocessableEntity, "Not asked for", strings.TrimPrefix(err.Error(), ErrUnchosen.Error()+": "))
	case err != nil:
		s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon cannot do that now", err.Error())
	case !found:
		s.problem(w, r, v, http.StatusNotFound, "There is no such job", "No job is named "+job+"; it may have left the config.")
	default:
		return true
	}
	return false
}

// doRetry has the tags of a job that failed in its last run looked at again, or, if no job is named, all jobs that fail run.
func (s *Server) doRetry(w http.ResponseWriter, r *http.Request, v viewer) {
	if !s.mayAct(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	job := r.PostForm.Get("job")
	s.asked(r, v, "retry", slog.String("job", job))
	if job != "" {
		tags, err := s.failed(ctx, job)
		if err != nil {
			s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon cannot do that now", err.Error())
		} else if s.synced(ctx, w, r, v, job, tags) {
			done(w, r, "retry")
		}
		return
	}
	status, err := s.snapshots.status(ctx)
	if err != nil {
		s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon does not answer", err.Error())
		return
	}
	for i := range status.Jobs {
		j := &status.Jobs[i]
		if j.Failures == 0 || j.State == record.JobRunning {
			continue
		}
		if _, _, err := s.options.Daemon.Sync(ctx, j.Job, nil); err != nil { // a job that has left the config is none to retry
			s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon cannot do that now", err.Error())
			return
		}
	}
	done(w, r, "retry")
}

// failed returns the tags of a job that failed in its last run, as references to its source; nil for all if it failed as a whole, or more
// failed than is saved.
func (s *Server) failed(ctx context.Context, job string) ([]string, error) {
	runs, err := s.options.Daemon.History(ctx, job, 1)
	if err != nil || len(runs) == 0 || runs[0].More > 0 {
		return nil, err
	}
	var tags []string
	for _, a := range runs[0].Actions {
		if a.Outcome.Failure() {
			tags = append(tags, a.Source)
		}
	}
	if len(tags) != runs[0].Counts.Failed {
		return nil, nil
	}
	return tags, nil
}

// doPause pauses a job, or all if none is named.
func (s *Server) doPause(w http.ResponseWriter, r *http.Request, v viewer) {
	s.changePause(w, r, v, "pause", func(ctx context.Context, job, by string) (found bool, err error) {
		return s.options.Daemon.Pause(ctx, job, record.Pause{By: by, Reason: clean(r.PostForm.Get("reason"))})
	})
}

// doResume ends the pause of a job, or that of all if none is named.
func (s *Server) doResume(w http.ResponseWriter, r *http.Request, v viewer) {
	s.changePause(w, r, v, "resume", s.options.Daemon.Resume)
}

func (s *Server) changePause(w http.ResponseWriter, r *http.Request, v viewer, op string, change func(ctx context.Context, job, by string) (found bool, err error)) {
	if !s.mayAct(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	job := r.PostForm.Get("job")
	by, err := asker(r)
	found := false
	if err == nil {
		s.asked(r, v, op, slog.String("job", job))
		found, err = change(ctx, job, by)
	}
	switch {
	case err != nil:
		s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon cannot do that now", err.Error())
	case !found:
		s.problem(w, r, v, http.StatusNotFound, "There is no such job", "No job is named "+job+"; it may have left the config.")
	default:
		done(w, r, op)
	}
}

func (s *Server) doReload(w http.ResponseWriter, r *http.Request, v viewer) {
	if !s.mayAct(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Reload)
	defer cancel()
	s.asked(r, v, "reload")
	switch err := s.options.Daemon.Reload(ctx); {
	case err == nil:
		done(w, r, "reload")
	case errors.Is(err, ErrUnavailable), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon cannot do that now", err.Error())
	default:
		s.problem(w, r, v, http.StatusUnprocessableEntity, "The config has mistakes", err.Error())
	}
}

func (s *Server) doSignIn(w http.ResponseWriter, r *http.Request, v viewer) {
	token := s.token.Load()
	hash := sha256.Sum256([]byte(strings.TrimSpace(r.PostForm.Get("token"))))
	switch {
	case token == nil:
		s.problem(w, r, v, http.StatusForbidden, "Refused", "There is no token to sign in with: set server.token.")
	case subtle.ConstantTimeCompare(token[:], hash[:]) != 1:
		s.asked(r, v, "sign in, with a wrong token")
		s.problem(w, r, v, http.StatusUnauthorized, "The token is wrong", "It is what server.token has.")
	default:
		s.asked(r, v, "sign in")
		setSession(w, r, s.sessions.begin(hash, time.Now()))
		done(w, r, "signin")
	}
}

func (s *Server) doSignOut(w http.ResponseWriter, r *http.Request, v viewer) {
	s.sessions.end(v.session)
	setSession(w, r, "")
	done(w, r, "signout")
}
