package hub

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The limits of the host for tokens: how long a token lives, how many requests a minute allows, after how many wrong passwords in a row
// an account is locked, and for how long.
const (
	tokenTTL       = 300 * time.Second
	tokensAMinute  = 3000
	wrongPasswords = 10
	lockFor        = 10 * time.Minute
)

// Site is a complete Docker Hub with the hosts [Site.Registry], [Site.Auth] and [Site.Blobs].
type Site struct {
	*Hub
	// AuthURL and BlobURL are where the other hosts are, scheme and host.
	AuthURL, BlobURL string

	users map[string]string

	mu      sync.Mutex
	tokens  map[string]token
	wrong   map[string]int
	locked  map[string]time.Time
	minute  time.Time
	asked   int
	account SiteAccount
}

type token struct {
	user    string
	scope   string
	expires time.Time
}

// SiteAccount is what the hosts around the registry have seen.
type SiteAccount struct {
	// Tokens were given, Wrong were refused for a wrong password, Locked while an account was locked.
	Tokens, Wrong, Locked int
	// Leaked are requests to the host of blobs with a credential.
	Leaked int
}

// NewSite returns a site before a registry, with accounts by name and password. An account is counted for itself, everybody else as one
// address.
func NewSite(next http.Handler, options Options, authURL, blobURL string, users map[string]string) *Site {
	s := &Site{
		AuthURL: authURL, BlobURL: blobURL, users: users,
		tokens: map[string]token{}, wrong: map[string]int{}, locked: map[string]time.Time{},
	}
	options.Who = func(r *http.Request) string {
		if t, ok := s.token(r); ok && t.user != "" {
			return t.user
		}
		return address
	}
	s.Hub = New(next, options)
	return s
}

// SiteAccount returns what was seen up to now.
func (s *Site) SiteAccount() SiteAccount {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

// token returns the token of a request that is good for what it asks for.
func (s *Site) token(r *http.Request) (token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	return t, ok && time.Now().Before(t.expires) && (t.scope == "" || strings.Contains(t.scope, "repository:"+repositoryOf(r.URL.Path)+":"))
}

// Registry is the host of the registry: it wants a token, counts, and sends those who want blobs elsewhere.
func (s *Site) Registry() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.token(r); !ok {
			w.Header().Set("Docker-Ratelimit-Source", address)
			challenge := fmt.Sprintf(`Bearer realm="%s/token",service="registry.docker.io"`, s.AuthURL)
			if repository := repositoryOf(r.URL.Path); repository != "" {
				challenge += fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
			}
			w.Header().Set("Www-Authenticate", challenge)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/sha") && r.Method == http.MethodGet {
			http.Redirect(w, r, s.BlobURL+r.URL.Path+"?signature=secret", http.StatusTemporaryRedirect)
			return
		}
		s.ServeHTTP(w, r)
	})
}

// Blobs is the host of the blobs, which accepts no credential but that of the URL.
func (s *Site) Blobs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.mu.Lock()
			s.account.Leaked++
			s.mu.Unlock()
			http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
			return
		}
		s.next.ServeHTTP(w, r)
	})
}

// Auth is the host of tokens.
func (s *Site) Auth() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		now := time.Now()
		if now.Sub(s.minute) >= time.Minute {
			s.minute, s.asked = now, 0
		}
		s.asked++
		w.Header().Set("X-Ratelimit-Limit", "3000, 3000;w=60")
		w.Header().Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, tokensAMinute-s.asked)))
		w.Header().Set("X-Ratelimit-Reset", strconv.Itoa(int(time.Minute-now.Sub(s.minute))/int(time.Second)))
		if s.asked > tokensAMinute {
			http.Error(w, "Too Many Requests", http.StatusTooManyRequests)
			return
		}
		user, password, _ := r.BasicAuth()
		if r.Method == http.MethodPost {
			user, password = r.PostFormValue("username"), r.PostFormValue("password")
		}
		if user != "" && !s.admits(w, user, password, now) {
			return
		}
		text := rand.Text()
		s.tokens[text] = token{user: user, scope: r.FormValue("scope"), expires: now.Add(tokenTTL)}
		s.account.Tokens++
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"token":%q,"access_token":%q,"expires_in":%d,"issued_at":%q}`, text, text, tokenTTL/time.Second, now.UTC().Format(time.RFC3339))
	})
}

// admits checks a password; the caller holds the lock.
func (s *Site) admits(w http.ResponseWriter, user, password string, now time.Time) bool {
	if now.Before(s.locked[user]) {
		s.account.Locked++
		w.Header().Del("X-Ratelimit-Reset")
		http.Error(w, `{"details":"too many failed login attempts for username or IP address"}`, http.StatusTooManyRequests)
		return false
	}
	if want, ok := s.users[user]; ok && want == password {
		s.wrong[user] = 0
		return true
	}
	s.account.Wrong++
	if s.wrong[user]++; s.wrong[user] >= wrongPasswords {
		s.wrong[user], s.locked[user] = 0, now.Add(lockFor)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprint(w, `{"details":"incorrect username or password"}`)
	return false
}

// repositoryOf reads the repository of a path of the distribution API.
func repositoryOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(rest, part); ok && i > 0 {
			return rest[:i]
		}
	}
	return ""
}
