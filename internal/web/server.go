package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/draysync/dray/internal/connlimit"
)

// Server answers for a daemon, on any number of listeners.
type Server struct {
	options   Options
	limits    Limits
	http      *http.Server
	conns     *connlimit.Limit
	snapshots *snapshotCache
	pages     *template.Template
	sessions  *sessions
	origins   *http.CrossOriginProtection
	// turns are taken by answers that need the daemon.
	turns chan struct{}
	// listeners are taken by those who listen to changes; ending is closed once they have to end.
	listeners chan struct{}
	ending    chan struct{}
	// token is the hash of what a POST has to show; nil for nothing.
	token atomic.Pointer[[sha256.Size]byte]
	// exposed is set once a listener is open to the network.
	exposed atomic.Bool
	warn    sync.Once
}

// New returns a server that answers nothing before [Server.Serve].
func New(options Options) *Server {
	limits := options.Limits.orDefaults()
	s := &Server{
		options: options, limits: limits, conns: connlimit.New(limits.Connections), pages: newPages(), sessions: newSessions(),
		snapshots: &snapshotCache{daemon: options.Daemon, limit: limits.Answer},
		origins:   http.NewCrossOriginProtection(), turns: make(chan struct{}, limits.Answers),
		listeners: make(chan struct{}, limits.Listeners), ending: make(chan struct{}),
	}
	s.SetToken(options.Token)
	s.http = &http.Server{
		Handler: s, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: limits.ReadHeader, ReadTimeout: limits.Read, WriteTimeout: limits.Write, IdleTimeout: limits.Idle,
		ConnState:   s.conns.Changed,
		BaseContext: s.base,
		ErrorLog:    slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(sync.OnceFunc(func() { close(s.ending) }))
	return s
}

// SetToken replaces what a POST has to show, from the next request on; empty for nothing.
func (s *Server) SetToken(token string) {
	if token == "" {
		s.token.Store(nil)
		s.caution()
		return
	}
	hash := sha256.Sum256([]byte(token))
	s.token.Store(&hash)
}

// Serve answers on a listener, which it closes, until [Server.Shutdown] is called. It may be called for several listeners, from a
// goroutine each.
func (s *Server) Serve(listener net.Listener) error {
	if policyOf(listener.Addr(), s.options.Address).exposed {
		s.exposed.Store(true)
		s.caution()
	}
	if err := s.http.Serve(s.conns.Listener(listener)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP at %s: %w", listener.Addr(), err)
	}
	return nil
}

// caution says once that nothing can be changed over the network without a token.
func (s *Server) caution() {
	if s.exposed.Load() && s.token.Load() == nil {
		s.warn.Do(func() {
			s.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "every POST but events is refused: the server listens beyond the loopback",
				slog.String("reason", "server.token is not set"))
		})
	}
}

// Shutdown closes the listeners and returns once all answers under way are given, or ctx ends: what is left then is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	_ = s.http.Close() // says again that listeners are closed
	return fmt.Errorf("stop serving HTTP: %w", err)
}

func (s *Server) base(listener net.Listener) context.Context {
	return context.WithValue(context.Background(), policyKey{}, policyOf(listener.Addr(), s.options.Address))
}

// proven tells whether a request shows the token. Hashes of one length are compared, so that the time tells nothing.
func (s *Server) proven(r *http.Request) bool {
	want := s.token.Load()
	scheme, shown, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if want == nil || !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(shown)))
	return subtle.ConstantTimeCompare(want[:], hash[:]) == 1
}
