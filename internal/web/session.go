package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// sessionCookie is the name of the cookie of a browser that has signed in, and sessionLasts how long it holds.
	sessionCookie = "dray_session"
	sessionLasts  = 12 * time.Hour
	// maxSessions is how many browsers may be signed in; the oldest has to sign in anew then.
	maxSessions = 100
)

// sessions are the browsers that have shown the token. They end with the process, and when the token changes.
type sessions struct {
	// key signs the forms of this process.
	key [32]byte

	mu   sync.Mutex
	list []session
}

// session is a browser that has shown the token with that hash.
type session struct {
	id      string
	token   [sha256.Size]byte
	expires time.Time
}

func newSessions() *sessions {
	s := &sessions{}
	_, _ = rand.Read(s.key[:]) // it cannot fail
	return s
}

// begin returns the id of a new session.
func (s *sessions) begin(token [sha256.Size]byte, now time.Time) string {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) >= maxSessions {
		s.list = s.list[1:]
	}
	s.list = append(s.list, session{id, token, now.Add(sessionLasts)})
	return id
}

// holds reports whether a session is one of those for the present token.
func (s *sessions) holds(id string, token [sha256.Size]byte, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.list {
		if subtle.ConstantTimeCompare([]byte(one.id), []byte(id)) == 1 {
			return one.token == token && now.Before(one.expires)
		}
	}
	return false
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range s.list {
		if subtle.ConstantTimeCompare([]byte(one.id), []byte(id)) == 1 {
			s.list = append(s.list[:i:i], s.list[i+1:]...)
			return
		}
	}
}

// form returns what the forms of a session carry, so that no other page can have made one. The session is empty for a browser that needs none.
func (s *sessions) form(session string) string {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(session))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// viewer is what whoever looks at a page may do there.
type viewer struct {
	// May is set where they may change something, and Why says why not where signing in would not help.
	May bool
	Why string
	// SignedIn is set where they have signed in, and SignsIn where they could.
	SignedIn, SignsIn bool
	// Form is what each form carries.
	Form string

	session string
}

func (s *Server) viewerOf(r *http.Request) viewer {
	token, p := s.token.Load(), policyFor(r)
	v := viewer{}
	switch {
	case token == nil && p.exposed:
		v.Why = "Nothing can be done here over the network unless server.token is set."
	case token == nil:
		v.May = true
	default:
		if c, err := r.Cookie(sessionCookie); err == nil && s.sessions.holds(c.Value, *token, time.Now()) {
			v.May, v.SignedIn, v.session = true, true, c.Value
		}
		v.May = v.May || s.proven(r)
		v.SignsIn = !v.May
	}
	v.Form = s.sessions.form(v.session)
	return v
}

// setSession has a browser keep a session; an empty one ends it. A page that came by https has its cookie sent by https only.
func setSession(w http.ResponseWriter, r *http.Request, id string) {
	c := &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: strings.HasPrefix(r.Header.Get("Origin"), "https:"), MaxAge: int(sessionLasts.Seconds()),
	}
	if id == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
