package wire

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "[redacted]"

var (
	controls = regexp.MustCompile(`[\x00-\x1f\x7f\x{80}-\x{9f}]+`)
	// Docker Hub names the account and a token id in its 429s: "as 'user': dckr_jti_…=".
	tokenID     = regexp.MustCompile(`dckr_[a-z]+_[A-Za-z0-9_-]+=*`)
	accountName = regexp.MustCompile(`\bas '[^']*'`)
	// A URL may carry a user and, in its query, a signature or the state of an upload; so may a path alone.
	urlUser  = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@"']*@`)
	urlQuery = regexp.MustCompile(`((?:[a-zA-Z][a-zA-Z0-9+.-]*:/)?/[^\s?"'<>)]*)\?[^\s"'<>]*`)
	scheme   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`)
	jwt      = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`)
	// URL signatures, and the names that forms and objects give to secrets.
	named = regexp.MustCompile(`(?i)\b((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|sig|awsaccesskeyid|googleaccessid|password|passwd|secret|client_secret|access_token|refresh_token|identitytoken|token)(["']?\s*[=:]\s*["']?)[^\s&"'<>,;]+`)
)

// Clean makes a registry's text fit for one line of a log: bounded, without control characters, account names, tokens, URL queries, and the
// given secrets.
func Clean(s string, secrets ...string) string {
	if len(s) > maxErrorBody {
		s = s[:maxErrorBody]
	}
	s = strings.TrimSpace(controls.ReplaceAllString(strings.ToValidUTF8(s, "?"), " "))
	for _, secret := range secrets {
		s = without(s, secret)
	}
	s = urlUser.ReplaceAllString(urlQuery.ReplaceAllString(s, "$1"), "$1")
	s = tokenID.ReplaceAllString(s, redacted)
	s = jwt.ReplaceAllString(s, redacted)
	s = accountName.ReplaceAllString(s, "as "+redacted)
	s = scheme.ReplaceAllString(s, "$1 "+redacted)
	s = named.ReplaceAllString(s, "$1$2"+redacted)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// without removes a secret from a text. A short one is matched as a word, since it could be part of any.
func without(s, secret string) string {
	switch {
	case secret == "":
		return s
	case len(secret) >= 6:
		return strings.ReplaceAll(s, secret, redacted)
	}
	return regexp.MustCompile(`(^|[^A-Za-z0-9])`+regexp.QuoteMeta(secret)+`($|[^A-Za-z0-9])`).ReplaceAllString(s, "${1}"+redacted+"${2}")
}

// open are query parameters that hold no secrets: those of the distribution spec and of token servers. Others sign a URL, or hold the state
// of an upload.
var open = []string{"digest", "mount", "from", "n", "last", "scope", "service", "account", "client_id"}

// known returns the secrets that a counterpart may echo: the caller's, and those of the request itself.
func known(req *http.Request, secrets func() []string) []string {
	var all []string
	if secrets != nil {
		for _, secret := range secrets() {
			all = append(all, Spellings(secret)...)
		}
	}
	if req == nil {
		return all
	}
	if _, credential, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		all = append(all, credential)
		if user, password, ok := req.BasicAuth(); ok {
			all = append(all, Spellings(password)...)
			all = append(all, user+":"+password)
		}
	}
	for name, values := range req.URL.Query() {
		if slices.Contains(open, name) {
			continue
		}
		for _, value := range values {
			if len(value) >= 8 { // dates and versions are not secrets
				key, _, _ := strings.Cut(value, "/") // X-Amz-Credential
				all = append(append(all, Spellings(value)...), key)
			}
		}
	}
	// The longest first: one may be part of another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// Spellings returns the forms in which a counterpart may echo a secret: verbatim, and as in a URL, in JSON and in base64.
func Spellings(secret string) []string {
	if secret == "" {
		return nil
	}
	quoted, _ := json.Marshal(secret) // strings always marshal
	all := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`)}
	if len(secret) >= 4 {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
