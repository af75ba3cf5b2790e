package registry

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Auth says who may do what. By default it is the token flow of the distribution spec: a 401 names the token endpoint
// and the scope, the endpoint gives out what the user may have of that scope, and the token is good for that alone.
type Auth struct {
	// PingOnly is what who does not sign in is answered, without a challenge, but at /v2/, where Docker asks first; 0 is a challenge everywhere.
	PingOnly int
	// Basic asks for user and password with every request, and has no tokens.
	Basic bool
	// Users maps names to passwords.
	Users map[string]string
	// AnonymousPull lets everybody read.
	AnonymousPull bool
	// Permit limits users further; nil lets them do everything. The action is pull, push, delete or, for the catalog
	// (which is no repository and has the name "catalog"), "*". It is not asked for anonymous requests.
	Permit func(user, repository, action string) bool
	// TTL is how long a token lives, 0 for 5 minutes.
	TTL time.Duration
	// TokenPath is where this registry answers requests for tokens, "" for /token. Quay's is /v2/auth, Google's /v2/token.
	TokenPath string
	// Realm is the URL of the token endpoint that challenges name; "" is TokenPath of the host that was asked. Wherever it is, this
	// registry has to answer there: serve it under that host as well.
	Realm string
	// Negotiate names that scheme as well, in a header before the other.
	Negotiate bool
	// TokenName is the only field that has the token, "token" or "access_token"; "" is both.
	TokenName string
	// ExpiresIn is what the answer with a token says in the place of expires_in, as JSON; "none" is nothing, "" is the truth.
	ExpiresIn string
	// PushMakes refuses all of a repository that does not exist with a challenge for pulling, until a token for pushing to it is used, as
	// Quay does.
	PushMakes bool
	// Service is the name in the challenge, "registry" if empty.
	Service string
	// Robots maps robot accounts to the tokens of an OIDC provider for which they get a password, as Quay's robot federation gives it. The password
	// lasts for an hour.
	Robots map[string]string
	// RobotsExchange has robot accounts get their passwords by an exchange of tokens (RFC 8693), as a newer Quay does, and no longer where they did.
	RobotsExchange bool
}

// robotPath is where robot accounts get their passwords, and exchangePath is where they do so by an exchange of tokens.
const (
	robotPath    = "/oauth2/federation/robot/token"
	exchangePath = "/sts/token"
)

// givesPasswords reports whether a request is for the password of a robot account.
func (t *tokens) givesPasswords(req *http.Request) bool {
	return t.auth.Robots != nil && (req.URL.Path == robotPath || req.URL.Path == exchangePath)
}

// tokens gives out tokens and checks them.
type tokens struct {
	auth    Auth
	mu      sync.Mutex
	granted map[string]grant
	// passwords are those of robot accounts, and when they end.
	passwords map[[2]string]time.Time
}

type grant struct {
	scopes  []scope
	expires time.Time
}

// scope is one resource and what to do with it.
type scope struct {
	kind    string // repository or registry
	name    string
	actions []string
}

func (s scope) String() string { return s.kind + ":" + s.name + ":" + strings.Join(s.actions, ",") }

// parseScopes reads "repository:NAME:ACTION,ACTION", several separated by spaces; a name may have colons.
func parseScopes(values []string) []scope {
	var scopes []scope
	for _, text := range strings.Fields(strings.Join(values, " ")) {
		kind, rest, _ := strings.Cut(text, ":")
		if at := strings.LastIndexByte(rest, ':'); at > 0 {
			scopes = append(scopes, scope{kind, rest[:at], strings.Split(rest[at+1:], ",")})
		}
	}
	return scopes
}

// needed is what a request asks for. A ping needs no scope, but a token.
func needed(req *http.Request, to route) []scope {
	switch {
	case to.kind == KindCatalog:
		return []scope{{"registry", "catalog", []string{"*"}}}
	case to.repository == "":
		return nil
	}
	actions := []string{"pull"}
	if strings.HasPrefix(req.URL.Path, "/acr/v1/") {
		actions = []string{"metadata_read"}
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodDelete:
		actions = []string{"delete"}
	default:
		actions = []string{"pull", "push"}
	}
	scopes := []scope{{"repository", to.repository, actions}}
	if from := req.URL.Query().Get("from"); from != "" && req.Method == http.MethodPost {
		scopes = append(scopes, scope{"repository", from, []string{"pull"}})
	}
	return scopes
}

// challenge returns "" for a request that may pass, else the WWW-Authenticate header.
func (t *tokens) challenge(req *http.Request, to route) string {
	scopes := needed(req, to)
	if t.auth.Basic {
		return t.basicChallenge(req, scopes)
	}
	problem := ""
	if token, sent := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); sent {
		have, valid := t.lookup(token)
		switch {
		case !valid:
			problem = "invalid_token"
		case !covers(have, scopes):
			problem = "insufficient_scope"
		default:
			return ""
		}
	}
	header := fmt.Sprintf(`Bearer realm=%q,service=%q`, t.realm(req), t.service())
	if len(scopes) > 0 {
		texts := make([]string, len(scopes))
		for i, s := range scopes {
			texts[i] = s.String()
		}
		header += fmt.Sprintf(`,scope=%q`, strings.Join(texts, " "))
	}
	if problem != "" {
		header += fmt.Sprintf(`,error=%q`, problem)
	}
	return header
}

func (t *tokens) basicChallenge(req *http.Request, scopes []scope) string {
	user, password, _ := req.BasicAuth()
	if t.known(user, password) && covers(t.allowed(user, scopes), scopes) {
		return ""
	}
	return fmt.Sprintf(`Basic realm=%q`, t.service())
}

func (t *tokens) realm(req *http.Request) string {
	switch {
	case t.auth.Realm != "":
		return t.auth.Realm
	case req.TLS != nil:
		return "https://" + req.Host + t.auth.TokenPath
	}
	return "http://" + req.Host + t.auth.TokenPath
}

func (t *tokens) service() string {
	if t.auth.Service != "" {
		return t.auth.Service
	}
	return "registry"
}

// known checks credentials; without a name they are the anonymous ones.
func (t *tokens) known(user, password string) bool {
	if user == "" {
		return t.auth.AnonymousPull
	}
	t.mu.Lock()
	ends := t.passwords[[2]string{user, password}]
	t.mu.Unlock()
	want, found := t.auth.Users[user]
	return found && want == password || time.Now().Before(ends)
}

// federate gives a robot account a password for a token. Quay answers with nothing else.
func (t *tokens) federate(w http.ResponseWriter, req *http.Request) {
	if newer := req.URL.Path == exchangePath; newer != t.auth.RobotsExchange {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	user, token, _ := req.BasicAuth()
	field, refusal := "token", http.StatusUnauthorized
	if t.auth.RobotsExchange {
		field, refusal = "access_token", http.StatusBadRequest
		if err := req.ParseForm(); err == nil && req.PostForm.Get("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange" {
			user, token = strings.TrimPrefix(req.PostForm.Get("resource"), "urn:quay:robot:"), req.PostForm.Get("subject_token")
		}
	}
	if want, found := t.auth.Robots[user]; !found || want != token {
		reply(w, refusal, "application/json", []byte(`{"error":"invalid_grant"}`))
		return
	}
	ends := time.Now().Add(time.Hour)
	password := fmt.Sprintf("e30.%s.%s", base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, ends.Unix())), rand.Text())
	t.mu.Lock()
	t.passwords[[2]string{user, password}] = ends
	t.mu.Unlock()
	reply(w, http.StatusOK, "application/json", encode(map[string]any{field: password, "expires_in": 3600}))
}

// allowed is the part of the scopes that the user may have.
func (t *tokens) allowed(user string, scopes []scope) []scope {
	var granted []scope
	for _, s := range scopes {
		s.actions = slices.DeleteFunc(slices.Clone(s.actions), func(action string) bool {
			if user == "" {
				return s.kind != "repository" || action != "pull"
			}
			return t.auth.Permit != nil && !t.auth.Permit(user, s.name, action)
		})
		granted = append(granted, s)
	}
	return granted
}

// covers says whether have allows all of want.
func covers(have, want []scope) bool {
	for _, w := range want {
		for _, action := range w.actions {
			if !slices.ContainsFunc(have, func(h scope) bool {
				return h.kind == w.kind && h.name == w.name && slices.Contains(h.actions, action)
			}) {
				return false
			}
		}
	}
	return true
}

func (t *tokens) lookup(token string) ([]scope, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, found := t.granted[token]
	return g.scopes, found && time.Now().Before(g.expires)
}

// serve is the token endpoint: GET with Basic credentials, or POST of a form with grant_type=password.
func (t *tokens) serve(w http.ResponseWriter, req *http.Request) {
	if t.auth.Basic {
		http.NotFound(w, req)
		return
	}
	user, password, _ := req.BasicAuth()
	switch req.Method {
	case http.MethodGet:
	case http.MethodPost:
		if req.PostFormValue("grant_type") != "password" {
			fail(w, http.StatusBadRequest, "UNSUPPORTED", "only grant_type=password is supported")
			return
		}
		user, password = req.PostFormValue("username"), req.PostFormValue("password")
	default:
		notAllowed(w)
		return
	}
	if !t.known(user, password) {
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	if err := req.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
		return
	}
	reply(w, http.StatusOK, "application/json", t.issue(t.allowed(user, parseScopes(req.Form["scope"]))))
}

// issue makes a token and the answer that hands it over.
func (t *tokens) issue(scopes []scope) []byte {
	ttl := t.auth.TTL
	if ttl == 0 {
		ttl = 5 * time.Minute
	}
	now := time.Now()
	token := rand.Text()
	t.mu.Lock()
	t.granted[token] = grant{scopes: scopes, expires: now.Add(ttl)}
	t.mu.Unlock()
	answer := map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(ttl / time.Second), "issued_at": now.UTC().Format(time.RFC3339),
	}
	if only := t.auth.TokenName; only != "" {
		delete(answer, "token")
		delete(answer, "access_token")
		answer[only] = token
	}
	switch t.auth.ExpiresIn {
	case "":
	case "none":
		delete(answer, "expires_in")
	default:
		answer["expires_in"] = json.RawMessage(t.auth.ExpiresIn)
	}
	return encode(answer)
}

// unknown is the challenge for a repository that does not exist; "" where the token is good for pushing to it.
func (t *tokens) unknown(req *http.Request, to route) string {
	pull := scope{"repository", to.repository, []string{"pull"}}
	token, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if have, _ := t.lookup(token); covers(have, []scope{{"repository", to.repository, []string{"push"}}}) {
		return ""
	}
	return fmt.Sprintf(`Bearer realm=%q,service=%q,scope=%q`, t.realm(req), t.service(), pull)
}
