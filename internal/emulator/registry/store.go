package registry

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Store has the bytes of blobs behind signed URLs, as object stores do to which registries redirect. It is the handler of its own host.
type Store struct {
	// URL is where the store is, without a slash at the end: "https://store.example", or with http.
	URL string
	// Life is how long a signed URL is good, 0 for an hour.
	Life time.Duration
	// Tokens asks for a token of the store's own, which it gives to everybody at /token.
	Tokens bool

	mu     sync.Mutex
	signed map[string]signedBlob
	token  string
}

type signedBlob struct {
	data []byte
	ends time.Time
}

// redirect answers with a URL of the store.
func (s *Store) redirect(w http.ResponseWriter, req *http.Request, digest string, data []byte) {
	life := s.Life
	if life == 0 {
		life = time.Hour
	}
	signature := rand.Text()
	s.mu.Lock()
	if s.signed == nil {
		s.signed = map[string]signedBlob{}
	}
	s.signed[signature] = signedBlob{data: data, ends: time.Now().Add(life)}
	s.mu.Unlock()
	http.Redirect(w, req, fmt.Sprintf("%s/blobs/%s?X-Amz-Expires=%d&X-Amz-Signature=%s", s.URL, digest, int(life.Seconds()), signature), http.StatusTemporaryRedirect)
}

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if s.Tokens && !s.admits(w, req) {
		return
	}
	s.mu.Lock()
	blob, found := s.signed[req.URL.Query().Get("X-Amz-Signature")]
	s.mu.Unlock()
	switch {
	case !found:
		reply(w, http.StatusForbidden, "application/xml", []byte("<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match.</Message></Error>"))
	case time.Now().After(blob.ends):
		reply(w, http.StatusForbidden, "application/xml", []byte("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"))
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(blob.data))
	}
}

// admits gives out tokens, and asks for one.
func (s *Store) admits(w http.ResponseWriter, req *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" {
		s.token = rand.Text()
	}
	switch {
	case req.URL.Path == tokenPath:
		reply(w, http.StatusOK, "application/json", encode(map[string]any{"token": s.token, "expires_in": 300}))
	case req.Header.Get("Authorization") == "Bearer "+s.token:
		return true
	default:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="store"`, s.URL+tokenPath))
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	}
	return false
}
