package serve

import (
	"maps"
	"strings"
	"sync"
)

// Answered is a kind of answers. Both of its values come from the server, whatever clients send.
type Answered struct {
	// Kind is what was asked for: ping, manifest, blob, tags, referrers, catalog, or other.
	Kind string
	// Status is the HTTP status; 0 if the answer was cut off.
	Status int
}

// Stats is what a server has done since it began.
type Stats struct {
	Answers map[Answered]int64
	// Bytes is how many bytes of bodies were sent.
	Bytes int64
	// Connections is how many are served now, and Limit how many can be.
	Connections, Limit int
}

// stats counts answers.
type stats struct {
	mu      sync.Mutex
	answers map[Answered]int64
	bytes   int64
}

func (s *stats) count(path string, w *writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = map[Answered]int64{}
	}
	s.answers[Answered{kindOf(path), w.status}]++
	s.bytes += w.sent
}

// Stats returns what the server has done.
func (s *Server) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	return Stats{maps.Clone(s.stats.answers), s.stats.bytes, s.conns.Taken(), s.limits.Connections}
}

// kindOf is the kind of what is at a path.
func kindOf(path string) string {
	rest, ok := strings.CutPrefix(path, prefix)
	names := strings.Split(rest, "/")
	switch {
	case path == "/v2" || ok && rest == "":
		return "ping"
	case rest == "_catalog" && ok:
		return "catalog"
	case !ok || len(names) < 3:
		return "other"
	}
	switch names[len(names)-2] {
	case "manifests":
		return "manifest"
	case "blobs":
		return "blob"
	case "referrers":
		return "referrers"
	case "tags":
		return "tags"
	}
	return "other"
}
