package registry

import (
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// secrets are what was sent to a registry and its token server to sign in, or as part of a signed URL, so that it can be taken out of what
// they say.
type secrets struct {
	mu    sync.Mutex
	known []string // the latest last
}

const (
	// maxSecrets bounds those that are remembered: passwords are few, and tokens live for minutes.
	maxSecrets = 512
	// leastSecret is the length from which something is taken out of a text: shorter ones occur in words.
	leastSecret = 4
)

// note remembers what is secret in a request.
func (s *secrets) note(req *http.Request, body []byte) {
	found := signedQuery(req)
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	found = append(found, value)
	if user, password, ok := req.BasicAuth(); ok && strings.EqualFold(scheme, "Basic") {
		found = append(found, password, user+":"+password)
	}
	if tokenRequest(req) && len(body) > 0 {
		form, _ := url.ParseQuery(string(body)) // what cannot be read was not made by regclient
		for _, name := range []string{"password", "refresh_token", "access_token", "assertion"} {
			found = append(found, form.Get(name))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range found {
		if len(secret) < leastSecret {
			continue
		}
		if i := slices.Index(s.known, secret); i >= 0 {
			s.known = slices.Delete(s.known, i, i+1)
		}
		s.known = append(s.known, secret)
	}
	s.known = s.known[max(0, len(s.known)-maxSecrets):]
}

// signedQuery returns the values in the query of a URL that is not ours: where a registry redirects to, and the Location of an upload.
func signedQuery(req *http.Request) []string {
	if req.Response == nil && (uploadOf(req) == nil || req.Method == http.MethodPost) {
		return nil
	}
	var found []string
	for name, values := range req.URL.Query() {
		switch name {
		case "digest", "mount", "from", "n", "last", "scope", "service", "account", "client_id":
			continue
		}
		for _, value := range values {
			first, _, _ := strings.Cut(value, "/") // of X-Amz-Credential, which names the key
			if len(value) >= 8 {                   // dates, versions and the like are no secrets
				found = append(found, value, first)
			}
		}
	}
	return found
}

// hide takes the secrets out of a text, also where it has them encoded.
func (s *secrets) hide(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range slices.Backward(s.known) {
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
			html.EscapeString(secret), base64.URLEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			text = strings.ReplaceAll(text, form, "[redacted]")
		}
	}
	return text
}
