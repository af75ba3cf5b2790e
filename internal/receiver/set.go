package receiver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/draysync/dray/internal/dial"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// Outcome is the outcome of an event.
type Outcome string

// The outcomes. Accepted: dray checks the tag soon. Unwanted: no mapping has the repository as its source. Unchosen: no mapping of the
// repository chooses the tag. Ignored: it is not a push of a tag. Refused: the sender did not authenticate. Malformed: it is not a valid
// event. Unavailable: dray could not accept it now.
const (
	Accepted    Outcome = "accepted"
	Unwanted    Outcome = "unwanted"
	Unchosen    Outcome = "unchosen"
	Ignored     Outcome = "ignored"
	Refused     Outcome = "refused"
	Malformed   Outcome = "malformed"
	Unavailable Outcome = "unavailable"
)

// Options of a [Set]. All but Transport are required.
type Options struct {
	// Look has the mappings that choose the tags check them soon, and returns for each tag Accepted, Unwanted or Unchosen. For
	// an image by digest, of which a signature was pushed, it is Accepted or Ignored. If it returns an
	// error, it has accepted none.
	Look func(ctx context.Context, tags []image.Reference) ([]Outcome, error)
	// Count counts an event.
	Count func(receiver string, outcome Outcome)
	Log   *slog.Logger
	// Transport fetches Google's keys; nil for the default.
	Transport http.RoundTripper
	// Keys is the URL of Google's keys; empty for the default.
	Keys string
}

// Set accepts events for the receivers of a config. It is an [http.Handler] for POST requests to the paths that [Set.Status] shows.
type Set struct {
	options Options
	tokens  *tokens
	current atomic.Pointer[[]*entry]
	// begun is set once there was a config.
	begun atomic.Bool
	// mu guards counts, by the receivers' names.
	mu     sync.Mutex
	counts map[string]*counts
	// known and unknown limit the bodies in memory, in bytes: known those of authenticated senders, unknown those of senders whose proof is
	// in the body, so that strangers cannot use up the room of the others.
	known, unknown *semaphore.Weighted
}

// counts are the numbers of events by outcome.
type counts struct {
	outcomes map[string]int64
	last     time.Time
}

// entry is a receiver in use.
type entry struct {
	Receiver
	kind kind
	// lines limits the log lines about its events, refusals those about refused requests.
	lines, refusals *rate.Limiter
}

const (
	prefix = "/hook/"
	// maxBody limits a body, and maxBodies all bodies of known and of unknown senders at a time, in bytes.
	maxBody   = 1 << 20
	maxBodies = 16 << 20
)

// New returns a set that puts events off until [Set.Replace] is called.
func New(options Options) *Set {
	s := &Set{options: options, counts: map[string]*counts{}, known: semaphore.NewWeighted(maxBodies), unknown: semaphore.NewWeighted(maxBodies)}
	transport := options.Transport
	if transport == nil {
		transport = dial.Transport(http.ProxyFromEnvironment)
	}
	s.tokens = newTokens(transport, cmp.Or(options.Keys, googleKeys))
	s.current.Store(&[]*entry{})
	return s
}

// Replace replaces the receivers, which [Check] has accepted, from the next request on.
func (s *Set) Replace(receivers []Receiver) {
	next := make([]*entry, 0, len(receivers))
	for _, r := range receivers {
		k, _ := kindOf(r.Type)
		next = append(next, &entry{Receiver: r, kind: k, lines: rate.NewLimiter(1, 20), refusals: rate.NewLimiter(1, 20)})
	}
	s.current.Store(&next)
	s.begun.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.counts {
		if s.named(name) == nil {
			delete(s.counts, name)
		}
	}
}

// named returns the receiver of a name, or nil.
func (s *Set) named(name string) *entry {
	all := *s.current.Load()
	if i := slices.IndexFunc(all, func(e *entry) bool { return e.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

// Status returns the receivers with their paths, which may hold a sender's proof.
func (s *Set) Status() []record.Receiver {
	var all []record.Receiver
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range *s.current.Load() {
		r := record.Receiver{Name: e.Name, Type: e.Type, Path: prefix + e.Name, Keyed: e.kind.path, Events: map[string]int64{}}
		if e.kind.path {
			r.Path += "/" + key(e.Name, e.Secret)
		}
		if c := s.counts[e.Name]; c != nil {
			maps.Copy(r.Events, c.outcomes)
			r.LastEvent = c.last
		}
		all = append(all, r)
	}
	return all
}

// count counts an event.
func (s *Set) count(e *entry, outcome Outcome) {
	s.options.Count(e.Name, outcome)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[e.Name]
	if c == nil {
		c = &counts{outcomes: map[string]int64{}}
		s.counts[e.Name] = c
	}
	c.outcomes[string(outcome)]++
	if outcome != Refused { // anyone could have sent a refused one
		c.last = time.Now()
	}
}

// refusal is the reason why a request is not accepted.
type refusal struct {
	outcome Outcome
	status  int
	text    string
}

// ServeHTTP answers once the events of a request are accepted. The status is 202 if events were accepted, 200 if they lead to nothing, and
// 503 if the sender should send them again.
func (s *Set) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, prefix), "/")
	if !s.begun.Load() {
		answer(w, http.StatusServiceUnavailable, document{Error: "dray is starting"})
		return
	}
	e := s.named(name)
	if e == nil {
		answer(w, http.StatusNotFound, document{Error: "there is no such receiver"})
		return
	}
	if r.Method == http.MethodOptions {
		agree(w, r, e)
		return
	}
	if no := s.serve(w, r, e, rest); no != nil {
		s.count(e, no.outcome)
		level := slog.LevelWarn
		if !e.refusals.Allow() {
			level = slog.LevelDebug
		}
		s.options.Log.LogAttrs(r.Context(), level, "an event was not accepted", slog.String("receiver", e.Name), slog.String("reason", no.text))
		if no.status != http.StatusServiceUnavailable && r.Body != nil {
			w.Header().Set("Connection", "close") // the rest of the body is not read
		}
		answer(w, no.status, document{Error: no.text})
	}
}

// maxOrigin limits the name that a sender of CloudEvents gives itself, in bytes.
const maxOrigin = 255

// agree answers a sender of CloudEvents that asks before it sends anything (CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery", "Abuse
// Protection"), as Azure's Event Grid does. It gives nothing away: each event has to prove itself.
func agree(w http.ResponseWriter, r *http.Request, e *entry) {
	w.Header().Set("Allow", http.MethodPost)
	origin := r.Header.Get("WebHook-Request-Origin")
	if e.kind.name != cloudEvents || origin == "" || len(origin) > maxOrigin {
		answer(w, http.StatusMethodNotAllowed, document{Error: "events come by POST"})
		return
	}
	w.Header().Set("WebHook-Allowed-Origin", origin)
	w.Header().Set("WebHook-Allowed-Rate", "*")
	w.WriteHeader(http.StatusOK)
}

func (s *Set) serve(w http.ResponseWriter, r *http.Request, e *entry, rest string) *refusal {
	if no := s.proven(r, e, rest, nil); no != nil {
		return no
	}
	room := s.known
	if e.kind.signed {
		room = s.unknown
	}
	body, no := read(http.MaxBytesReader(w, r.Body, maxBody), room)
	defer func() { room.Release(int64(len(body))) }()
	if no != nil {
		return no
	}
	if no := s.proven(r, e, rest, body); no != nil {
		return no
	}
	events, err := e.kind.read(body, r.Header, e.Registry)
	if err != nil {
		return &refusal{Malformed, http.StatusBadRequest, record.Text(err.Error())}
	}
	if len(events) == 0 {
		events = ignored("it names no push")
	}
	return s.take(w, r, e, events)
}

// read reads a body. It reserves memory as bytes arrive, so that a stalled body reserves none; the caller releases it.
func read(r io.Reader, room *semaphore.Weighted) (body []byte, no *refusal) {
	piece := make([]byte, 32<<10)
	body = []byte{}
	for {
		n, err := r.Read(piece)
		if !room.TryAcquire(int64(n)) {
			return body, &refusal{Unavailable, http.StatusServiceUnavailable, "too much is being received"}
		}
		body = append(body, piece[:n]...)
		_, large := errors.AsType[*http.MaxBytesError](err)
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case large:
			return body, &refusal{Malformed, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody)}
		case err != nil:
			return body, &refusal{Malformed, http.StatusRequestTimeout, "the body did not arrive in time"}
		}
	}
}

// proven authenticates the sender: before the body is read if possible, and with the body otherwise.
func (s *Set) proven(r *http.Request, e *entry, rest string, body []byte) *refusal {
	wrong := &refusal{Refused, http.StatusUnauthorized, "the request does not prove knowledge of the secret"}
	switch {
	case e.kind.signed != (body != nil):
		return nil // checked by the other call
	case e.kind.path:
		if !same(rest, key(e.Name, e.Secret)) {
			return &refusal{Refused, http.StatusNotFound, "the path is wrong: dray status shows it"}
		}
		return nil
	case e.kind.name == google:
		err := s.tokens.proves(r, e.Audience, e.ServiceAccount)
		switch {
		case errors.Is(err, errUnproven):
			return &refusal{Unavailable, http.StatusServiceUnavailable, err.Error()}
		case err != nil:
			return &refusal{Refused, http.StatusUnauthorized, err.Error()}
		}
		return nil
	case !e.kind.proof(r, body, e.Secret):
		return wrong
	}
	return nil
}

// document is the JSON of an answer.
type document struct {
	Accepted int    `json:"accepted"`
	Reason   string `json:"reason,omitempty"`
	Error    string `json:"error,omitempty"`
}

// take passes on the pushed tags, and answers.
func (s *Set) take(w http.ResponseWriter, r *http.Request, e *entry, events []event) *refusal {
	var tags []image.Reference
	for _, ev := range events {
		tags = append(tags, ev.pushed...)
	}
	var outcomes []Outcome
	if len(tags) > 0 {
		var err error
		if outcomes, err = s.options.Look(r.Context(), tags); err != nil {
			return &refusal{Unavailable, http.StatusServiceUnavailable, record.Text(err.Error())}
		}
	}
	said := document{}
	for _, ev := range events {
		outcome, why := ev.outcome(outcomes[:len(ev.pushed)])
		outcomes = outcomes[len(ev.pushed):]
		s.count(e, outcome)
		s.log(r.Context(), e, ev, outcome, why)
		if outcome == Accepted {
			said.Accepted++
		} else if said.Reason == "" {
			said.Reason = why
		}
	}
	status := http.StatusOK
	if said.Accepted > 0 {
		status, said.Reason = http.StatusAccepted, ""
	}
	answer(w, status, said)
	return nil
}

// outcome returns the outcome of an event from those of its references, and why it leads to nothing.
func (ev event) outcome(each []Outcome) (best Outcome, why string) {
	best, why = Ignored, record.Text(ev.why)
	if ev.malformed {
		best = Malformed
	}
	for i, o := range each {
		switch {
		case o == Accepted:
			return Accepted, ""
		case i == 0 || o == Unchosen:
			best = o
		}
	}
	switch best { //nolint:exhaustive // the others have a reason already
	case Ignored:
		if len(each) > 0 {
			why = "it names no tag, and none waits for a signature of " + ev.pushed[0].String()
		}
	case Unwanted:
		why = fmt.Sprintf("no mapping has %s as its source", ev.pushed[0].Repository)
	case Unchosen:
		why = fmt.Sprintf("no mapping of %s chooses the tag %s", ev.pushed[0].Repository, ev.pushed[0].Tag)
	}
	return best, why
}

// log logs the outcome of an event, within a rate limit.
func (s *Set) log(ctx context.Context, e *entry, ev event, outcome Outcome, why string) {
	level := slog.LevelInfo
	if outcome == Ignored || !e.lines.Allow() {
		level = slog.LevelDebug
	}
	if outcome == Accepted {
		s.options.Log.LogAttrs(ctx, level, "an event asks for a look", slog.String("receiver", e.Name), slog.String("source", ev.pushed[0].String()))
		return
	}
	s.options.Log.LogAttrs(ctx, level, "an event leads to nothing", slog.String("receiver", e.Name), slog.String("reason", why))
}

func answer(w http.ResponseWriter, status int, d document) {
	b, err := json.Marshal(d)
	if err != nil {
		b = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client may have gone away
}
