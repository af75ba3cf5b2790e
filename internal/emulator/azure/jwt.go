package azure

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// claims are what the tokens of this package say; each kind uses some.
type claims struct {
	Audience  string   `json:"aud"`
	Issuer    string   `json:"iss"`
	Tenant    string   `json:"tid,omitempty"`
	Object    string   `json:"oid,omitempty"`
	App       string   `json:"appid,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	ID        string   `json:"jti"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	Expires   int64    `json:"exp"`
	GrantType string   `json:"grant_type,omitempty"` // of a registry's tokens
	Access    []access `json:"access,omitempty"`     // of a registry's access tokens
}

// access is one resource of a registry and what to do with it.
type access struct {
	Type    string   `json:"type"` // repository or registry
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// sign makes a JWT that only this cloud can check.
func (c *Cloud) sign(claims claims) string {
	claims.ID = rand.Text()
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	text := encode64([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + encode64(payload)
	return text + "." + c.seal(text)
}

// parse reads a token of this cloud; expired ones too.
func (c *Cloud) parse(token string) (claims, bool) {
	var found claims
	text, seal, _ := cutLast(token, '.')
	if !hmac.Equal([]byte(seal), []byte(c.seal(text))) {
		return found, false
	}
	_, payload, _ := strings.Cut(text, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(data, &found) != nil {
		return found, false
	}
	return found, true
}

// seal is the signature of anything that this cloud gives out.
func (c *Cloud) seal(text string) string {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(text))
	return encode64(mac.Sum(nil))
}

func encode64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// cutLast splits at the last separator.
func cutLast(text string, separator byte) (before, after string, found bool) {
	at := strings.LastIndexByte(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}
