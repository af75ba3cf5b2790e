package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/draysync/dray/internal/connlimit"
	"github.com/draysync/dray/internal/layout"
)

// Options of a [Server]. Layouts and Log are required.
type Options struct {
	Layouts []Layout
	// Mirrors has, by registry in canonical form, the prefix of its repositories here, where that is not the registry's name; empty for none.
	Mirrors map[string]string
	// Store knows which files were found to match their digests. The one that writes the layouts, in the same process, saves reading them.
	Store *layout.Store
	// Users are who may pull; nil for everybody.
	Users *Users
	// Certificate is what the server shows; nil for HTTP without TLS.
	Certificate *Certificate
	// Metrics answers at /metrics, for those who may pull; nil for nothing there.
	Metrics http.Handler
	Log     *slog.Logger
	Limits  Limits
}

// Layout is a layout, or a folder with layouts below it.
type Layout struct {
	// Name is the repository, or what comes before the paths of those below. Empty for the folder's own name, or for nothing.
	Name string
	// Path is absolute.
	Path string
}

// Limits bound what clients can make of the server. The zero value is right; the defaults are in the package's comment.
type Limits struct {
	// ReadHeader and Idle are the time-outs of a connection, as [http.Server] has them. Write is how long each MiB of an answer may take.
	ReadHeader, Idle, Write time.Duration
	Connections             int
	// List is the most entries of a list.
	List int
}

const maxHeader = 16 << 10

func (l Limits) orDefaults() Limits {
	return Limits{
		ReadHeader:  cmp.Or(l.ReadHeader, 10*time.Second),
		Idle:        cmp.Or(l.Idle, 2*time.Minute),
		Write:       cmp.Or(l.Write, time.Minute),
		Connections: cmp.Or(l.Connections, 1024),
		List:        cmp.Or(l.List, 10_000),
	}
}

// Server is the registry, on any number of listeners.
type Server struct {
	options Options
	limits  Limits
	http    *http.Server
	conns   *connlimit.Limit
	repositories
	// told has the files that the log has named as damaged or unreadable.
	told  sync.Map
	stats stats
}

// New returns a server that answers nothing before [Server.Serve].
func New(options Options) *Server {
	limits := options.Limits.orDefaults()
	if options.Store == nil {
		options.Store = layout.New()
	}
	s := &Server{options: options, limits: limits, conns: connlimit.New(limits.Connections)}
	s.repositories = repositories{layouts: options.Layouts, store: options.Store, warn: s.warn, known: map[string]*known{}}
	s.http = &http.Server{
		Handler: s, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: limits.ReadHeader, WriteTimeout: limits.Write, IdleTimeout: limits.Idle,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 32, WriteByteTimeout: limits.Write},
		ConnState: s.conns.Changed,
		ErrorLog:  slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
	}
	if options.Certificate != nil {
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: options.Certificate.get}
	}
	return s
}

// Serve answers on a listener, which it closes, until [Server.Shutdown] is called. It may be called for several listeners, from a
// goroutine each.
func (s *Server) Serve(listener net.Listener) error {
	serve := s.http.Serve
	if s.options.Certificate != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(s.conns.Listener(listener)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve layouts at %s: %w", listener.Addr(), err)
	}
	return nil
}

// Shutdown closes the listeners and returns once all answers under way are given, or ctx ends: what is left then is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	_ = s.http.Close() // says again that listeners are closed
	return fmt.Errorf("stop serving layouts: %w", err)
}

// warn says once of a file or a folder why it is not served.
func (s *Server) warn(path string, err error) {
	if _, told := s.told.LoadOrStore(path, true); !told {
		s.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "a part of a layout cannot be served", slog.String("source", path), slog.Any("err", err))
	}
}
