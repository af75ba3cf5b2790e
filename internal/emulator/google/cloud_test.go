package google

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestTokens: a token is given for what is right, and for nothing that differs from it.
func TestTokens(t *testing.T) {
	c, err := New(Options{Subject: "subject.of.pool", Audience: "//iam.googleapis.com/pool", Refresh: "refresh", Acts: []string{"mirror@acme.iam.gserviceaccount.com"}})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // for one test
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	assertion := func(key *rsa.PrivateKey, alg string, claims map[string]any) url.Values {
		all := map[string]any{"iss": Email, "aud": TokenURL, "scope": "https://www.googleapis.com/auth/cloud-platform", "iat": now, "exp": now + 3600}
		maps.Copy(all, claims)
		text := part(t, map[string]any{"alg": alg, "kid": "k1"}) + "." + part(t, all)
		sum := sha256.Sum256([]byte(text))
		raw, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text + "." + base64.RawURLEncoding.EncodeToString(raw)}}
	}
	exchange := func(audience, subject string) url.Values {
		return url.Values{"audience": {audience}, "subject_token": {subject}}
	}
	for name, tt := range map[string]struct {
		at    string
		form  url.Values
		right bool
	}{
		"an assertion":                  {TokenURL, assertion(c.key, "RS256", nil), true},
		"an assertion by another key":   {TokenURL, assertion(stranger, "RS256", nil), false},
		"an assertion without a scheme": {TokenURL, assertion(c.key, "none", nil), false},
		"an assertion for another":      {TokenURL, assertion(c.key, "RS256", map[string]any{"aud": STS}), false},
		"an assertion of another":       {TokenURL, assertion(c.key, "RS256", map[string]any{"iss": "other@acme.iam.gserviceaccount.com"}), false},
		"an assertion for less":         {TokenURL, assertion(c.key, "RS256", map[string]any{"scope": "openid"}), false},
		"an assertion that has ended":   {TokenURL, assertion(c.key, "RS256", map[string]any{"iat": now - 7200, "exp": now - 3600}), false},
		"an assertion for too long":     {TokenURL, assertion(c.key, "RS256", map[string]any{"exp": now + 7200}), false},
		"an assertion of tomorrow":      {TokenURL, assertion(c.key, "RS256", map[string]any{"iat": now + 86400, "exp": now + 90000}), false},
		"a refresh token":               {TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh"}}, true},
		"another refresh token":         {TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"other"}}, false},
		"another grant":                 {TokenURL, url.Values{"grant_type": {"password"}}, false},
		"an exchange":                   {STS, exchange("//iam.googleapis.com/pool", "subject.of.pool"), true},
		"an exchange at another pool":   {STS, exchange("//iam.googleapis.com/other", "subject.of.pool"), false},
		"an exchange of another token":  {STS, exchange("//iam.googleapis.com/pool", "subject.of.other"), false},
	} {
		if status := post(t, c, tt.at, tt.form); (status == http.StatusOK) != tt.right {
			t.Errorf("%s: %d", name, status)
		}
	}
	none, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, status := range map[string]int{
		"a refresh token": post(t, none, TokenURL, url.Values{"grant_type": {"refresh_token"}}), "an exchange": post(t, none, STS, exchange("", "")),
	} {
		if status == http.StatusOK {
			t.Errorf("%s that is empty, where there is none, gets a token", name)
		}
	}
}

func part(t *testing.T, doc map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// post sends a form, and returns the status of the answer.
func post(t *testing.T, c *Cloud, at string, form url.Values) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(form.Encode()))
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Code
}
