package google

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Options of a [Cloud].
type Options struct {
	// Account is the service account of this machine; empty for none.
	Account string
	// Subject is the token of another issuer that the pool Audience trades.
	Subject, Audience string
	// Refresh is the refresh token of a user; empty for none.
	Refresh string
	// Acts are the service accounts that may be impersonated.
	Acts []string
	// Life is how long tokens last, 0 for an hour.
	Life time.Duration
	// Behind is how far the cloud's clock is behind.
	Behind time.Duration
}

// Cloud answers all requests to Google, whatever the host.
type Cloud struct {
	options Options
	key     *rsa.PrivateKey

	mu      sync.Mutex
	tokens  map[string]time.Time // with their end
	calls   []string
	secrets []string
	fails   int
	status  int
}

// The addresses of the services.
const (
	TokenURL = "https://oauth2.googleapis.com/token"
	STS      = "https://sts.googleapis.com/v1/token"
	Email    = "robot@acme.iam.gserviceaccount.com"
)

// New makes one, with the key of a service account.
func New(o Options) (*Cloud, error) {
	if o.Life == 0 {
		o.Life = time.Hour
	}
	key, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // it is made anew for each test, and fast
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Cloud{options: o, key: key, tokens: map[string]time.Time{}, secrets: []string{o.Subject, o.Refresh}}, nil
}

// Key returns the file of the service account [Email].
func (c *Cloud) Key() string {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return err.Error()
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": Email, "private_key_id": "k1", "token_uri": TokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Fail has the next n requests but those for metadata answered with a status.
func (c *Cloud) Fail(n, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails, c.status = n, status
}

// Calls returns what was asked, in order.
func (c *Cloud) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Secrets returns all secrets that there were.
func (c *Cloud) Secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.secrets...)
}

// ServeHTTP answers a request.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form, _ := url.ParseQuery(string(body)) // not all bodies are forms
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/computeMetadata/") {
		c.metadata(w, r)
		return
	}
	call := map[string]string{"/token": form.Get("grant_type"), "/v1/token": "exchange"}[r.URL.Path]
	if call == "" {
		call = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	}
	c.calls = append(c.calls, call)
	if c.fails > 0 {
		c.fails--
		w.WriteHeader(c.status)
		return
	}
	switch {
	case r.URL.Path == "/token":
		c.oauth(w, form)
	case r.URL.Path == "/v1/token":
		c.exchange(w, form)
	case strings.HasSuffix(r.URL.Path, ":generateAccessToken"):
		c.act(w, r, body)
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc)
}

func refuse(w http.ResponseWriter, code, text string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": text})
}

// issue makes an access token.
func (c *Cloud) issue() string {
	token := fmt.Sprintf("ya29.%d.%s", len(c.tokens)+1, strings.Repeat("s3cret", 20))
	c.tokens[token] = time.Now().Add(c.options.Life)
	c.secrets = append(c.secrets, token)
	return token
}

func (c *Cloud) give(w http.ResponseWriter) {
	answer(w, http.StatusOK, map[string]any{
		"access_token": c.issue(), "token_type": "Bearer", "expires_in": int(c.options.Life / time.Second),
		"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
	})
}

// oauth answers for a service account's assertion, and for a user's refresh token.
func (c *Cloud) oauth(w http.ResponseWriter, form url.Values) {
	switch form.Get("grant_type") {
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		if why := c.wrong(form.Get("assertion")); why != "" {
			refuse(w, "invalid_grant", why+" in "+form.Get("assertion"))
			return
		}
	case "refresh_token":
		if c.options.Refresh == "" || form.Get("refresh_token") != c.options.Refresh {
			refuse(w, "invalid_grant", "Token has been expired or revoked.")
			return
		}
	default:
		refuse(w, "unsupported_grant_type", "")
		return
	}
	c.give(w)
}

// wrong returns what is wrong with an assertion (RFC 7523); empty for nothing.
func (c *Cloud) wrong(assertion string) string {
	signed, signature, _ := cutLast(assertion)
	header, claims, _ := strings.Cut(signed, ".")
	var h struct{ Alg, Kid string }
	var doc struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	sum := sha256.Sum256([]byte(signed))
	now := time.Now().Unix()
	switch {
	case err != nil, unmarshal(header, &h) != nil, unmarshal(claims, &doc) != nil:
		return "Bad JWT"
	case h.Alg != "RS256" || h.Kid != "k1" || rsa.VerifyPKCS1v15(&c.key.PublicKey, crypto.SHA256, sum[:], raw) != nil:
		return "Invalid JWT Signature."
	case doc.Iss != Email || doc.Aud != TokenURL || !strings.Contains(doc.Scope, "cloud-platform"):
		return "Invalid JWT: wrong issuer, audience or scope"
	case doc.Iat > now+60 || doc.Exp < now || doc.Exp > doc.Iat+3600:
		return "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe"
	}
	return ""
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

func unmarshal(part string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return json.Unmarshal(raw, into) //nolint:wrapcheck // it is only compared with nil
}

// exchange answers for the Security Token Service (RFC 8693).
func (c *Cloud) exchange(w http.ResponseWriter, form url.Values) {
	switch {
	case form.Get("audience") != c.options.Audience:
		refuse(w, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid.")
	case c.options.Subject == "" || form.Get("subject_token") != c.options.Subject:
		refuse(w, "invalid_grant", "The given credential is rejected by the attribute condition: "+form.Get("subject_token"))
	default:
		c.give(w)
	}
}

// act answers for the API that impersonates service accounts.
func (c *Cloud) act(w http.ResponseWriter, r *http.Request, body []byte) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	ends, known := c.tokens[bearer]
	var doc struct {
		Scope    []string
		Lifetime string
	}
	_ = json.Unmarshal(body, &doc)
	for _, account := range c.options.Acts {
		if known && time.Now().Before(ends) && strings.HasSuffix(r.URL.Path, "/serviceAccounts/"+account+":generateAccessToken") && len(doc.Scope) == 1 && doc.Lifetime == "3600s" {
			answer(w, http.StatusOK, map[string]string{"accessToken": c.issue(), "expireTime": time.Now().Add(c.options.Life - c.options.Behind).UTC().Format(time.RFC3339)})
			return
		}
	}
	answer(w, http.StatusForbidden, map[string]any{"error": map[string]any{
		"code": 403, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
	}})
}

// metadata answers for the metadata service.
func (c *Cloud) metadata(w http.ResponseWriter, r *http.Request) {
	c.calls = append(c.calls, "metadata "+strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/"))
	if r.Header.Get("Metadata-Flavor") != "Google" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	switch {
	case r.URL.Path == "/computeMetadata/v1/":
	case c.options.Account == "":
		w.WriteHeader(http.StatusNotFound)
	case strings.HasSuffix(r.URL.Path, "/default/token"):
		c.give(w)
	case strings.HasSuffix(r.URL.Path, "/default/email"):
		_, _ = io.WriteString(w, c.options.Account)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// Registry puts Google's sign-in before a registry: a token server that takes access tokens as passwords. public lets anybody read.
func (c *Cloud) Registry(next http.Handler, public bool) http.Handler {
	const anyone = "anonymous"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, basic := r.BasicAuth()
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		c.mu.Lock()
		ends, known := c.tokens[password]
		good := basic && user == "oauth2accesstoken" && known && time.Now().Before(ends)
		ends, known = c.tokens[strings.TrimPrefix(bearer, "registry-")]
		signed := known && strings.HasPrefix(bearer, "registry-") && time.Now().Before(ends)
		c.mu.Unlock()
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case r.URL.Path == "/v2/token" && good:
			answer(w, http.StatusOK, map[string]any{"token": "registry-" + password, "expires_in": 300})
		case r.URL.Path == "/v2/token" && !basic && public:
			answer(w, http.StatusOK, map[string]any{"token": anyone, "expires_in": 300})
		case r.URL.Path == "/v2/token":
			answer(w, http.StatusUnauthorized, map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED", "message": "authentication failed"}}})
		case signed, public && reads && bearer == anyone:
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+r.Host+`/v2/token",service="`+r.Host+`"`)
			answer(w, http.StatusUnauthorized, map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED", "message": "Unauthenticated request"}}})
		}
	})
}
