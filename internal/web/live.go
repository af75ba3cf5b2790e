package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// busyTick and idleTick are how often a page that somebody looks at is made anew while something runs, and else.
	busyTick = time.Second
	idleTick = 2 * time.Second
	// silence is after how long a listener to whom nothing is said hears that all is well, so that proxies keep the connection.
	silence = 15 * time.Second
	// writeLasts is how long a listener may take to read what it is sent.
	writeLasts = 5 * time.Second
)

// change is what a listener is sent.
type change struct {
	Title string `json:"title"`
	// Now is the daemon's clock.
	Now string `json:"now"`
	// Parts are the elements that have changed, by id.
	Parts map[string]string `json:"parts,omitempty"`
	// Rows are the ids of all rows, if they, or their order, have changed.
	Rows []string `json:"rows,omitempty"`
}

// listener is a page that somebody looks at.
type listener struct {
	server *Server
	at     *url.URL
	viewer viewer
	memo   memo
	// seen has a hash of each part that was sent, and rows is the last order.
	seed maphash.Seed
	seen map[string]uint64
	rows []string
	said time.Time
}

// serveEvents sends what changes on a page as server-sent events, until the reader goes, is slow, or has listened for long enough: then a
// browser asks anew by itself.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	at, err := url.Parse(r.URL.Query().Get("at"))
	if err != nil || at.IsAbs() || at.Host != "" || len(at.Path) == 0 || at.Path[0] != '/' {
		refuse(w, http.StatusBadRequest, "at is the path of a page")
		return
	}
	select {
	case s.listeners <- struct{}{}:
		defer s.left()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many listen already")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Listen)
	defer cancel()
	l := &listener{server: s, at: at, viewer: s.viewerOf(r), seed: maphash.MakeSeed(), seen: map[string]uint64{}}
	l.listen(ctx, w)
}

// left gives up a listener's place. Once nobody listens, nothing is kept for them.
func (s *Server) left() {
	<-s.listeners
	if len(s.listeners) == 0 {
		s.snapshots.forget()
	}
}

func (l *listener) listen(ctx context.Context, w http.ResponseWriter) {
	to := http.NewResponseController(w)
	_ = to.SetReadDeadline(time.Time{}) // nothing more is read; without this the connection would end by the server's time-out
	if !l.write(to, w, "retry: 3000\n\n") {
		return
	}
	for {
		text, tick, err := l.next(ctx)
		if err != nil || text != "" && !l.write(to, w, text) {
			return
		}
		select {
		case <-time.After(tick):
		case <-l.server.ending:
			return
		case <-ctx.Done():
			return
		}
	}
}

// write tells whether the reader has taken a text.
func (l *listener) write(to *http.ResponseController, w http.ResponseWriter, text string) bool {
	l.said = time.Now()
	if to.SetWriteDeadline(l.said.Add(writeLasts)) != nil {
		return false
	}
	_, err := fmt.Fprint(w, text)
	return err == nil && to.Flush() == nil
}

// next returns what the listener is to be sent now, if anything, and when to look again.
func (l *listener) next(ctx context.Context) (text string, tick time.Duration, err error) {
	brief, cancel := context.WithTimeout(ctx, l.server.limits.Answer)
	defer cancel()
	select {
	case l.server.turns <- struct{}{}:
		defer func() { <-l.server.turns }()
	case <-brief.Done():
		return "", 0, brief.Err()
	}
	status, err := l.server.snapshots.recent(brief, busyTick/2)
	if err != nil {
		return "", 0, err
	}
	shown, err := l.server.screenOf(brief, l.at, l.viewer, status, &l.memo)
	if err != nil {
		return "", 0, err
	}
	c, err := l.changes(shown, status)
	if err != nil {
		return "", 0, err
	}
	tick = idleTick
	if status.Totals.Running > 0 {
		tick = busyTick
	}
	switch {
	case len(c.Parts)+len(c.Rows) > 0:
		data, err := json.Marshal(c)
		return "data: " + string(data) + "\n\n", tick, err
	case time.Since(l.said) >= silence:
		return ": all is well\n\n", tick, nil
	}
	return "", tick, nil
}

// words are those about a time, which a page keeps up to date by itself.
var words = regexp.MustCompile(`(<time [^>]*>)[^<]*`)

// changes returns what differs from what was sent before.
func (l *listener) changes(shown *screen, status *record.Snapshot) (change, error) {
	c := change{Title: "dray: " + shown.head.Title, Now: status.Now.UTC().Format(time.RFC3339), Parts: map[string]string{}}
	present := make(map[string]uint64, len(shown.parts))
	for _, p := range shown.parts {
		var b bytes.Buffer
		if err := l.server.pages.ExecuteTemplate(&b, p.Template, p.Data); err != nil {
			return change{}, fmt.Errorf("write a part of the status page: %w", err)
		}
		hash := maphash.Bytes(l.seed, words.ReplaceAll(b.Bytes(), []byte("$1")))
		if before, ok := l.seen[p.ID]; !ok || before != hash {
			c.Parts[p.ID] = b.String()
		}
		present[p.ID] = hash
	}
	l.seen = present
	if !slices.Equal(l.rows, shown.rows) {
		c.Rows, l.rows = shown.rows, shown.rows
	}
	return c, nil
}
