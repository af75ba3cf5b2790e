package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"
)

// Options of a [Server]. Daemon and Log are required.
type Options struct {
	Daemon Daemon
	// Details are what the pages show beyond the status; nil for less.
	Details Details
	// Metrics answers GET /metrics; nil for no such endpoint.
	Metrics http.Handler
	// Events answers POST /hook/…, whose senders prove themselves; nil for no such endpoint.
	Events http.Handler
	// Address is server.listen as the config has it: the host that it names is one under which the server may be asked.
	Address string
	// Token is what a POST has to show; empty for nothing.
	Token  string
	Log    *slog.Logger
	Limits Limits
}

// Limits bound what clients can make of the server. The zero value is right; the defaults are in the package's comment.
type Limits struct {
	// ReadHeader, Read, Write and Idle are the time-outs of a connection, as [http.Server] has them.
	ReadHeader, Read, Write, Idle time.Duration
	// Answer is how long the daemon has for an answer, and how long a request waits for its turn to be answered. Reload is how long
	// it has to read the config.
	Answer, Reload time.Duration
	// Connections are served, and Answers that need the daemon are made, at once.
	Connections, Answers int
	// Listeners may follow the changes of a page at once, each for as long as Listen at a time.
	Listeners int
	Listen    time.Duration
}

const (
	maxHeader = 16 << 10
	maxBody   = 4 << 10
)

func (l Limits) orDefaults() Limits {
	return Limits{
		ReadHeader:  cmp.Or(l.ReadHeader, 5*time.Second),
		Read:        cmp.Or(l.Read, 10*time.Second),
		Write:       cmp.Or(l.Write, 30*time.Second),
		Idle:        cmp.Or(l.Idle, time.Minute),
		Answer:      cmp.Or(l.Answer, 10*time.Second),
		Reload:      cmp.Or(l.Reload, 20*time.Second),
		Connections: cmp.Or(l.Connections, 256),
		Answers:     cmp.Or(l.Answers, 16),
		Listeners:   cmp.Or(l.Listeners, 32),
		Listen:      cmp.Or(l.Listen, 10*time.Minute),
	}
}
