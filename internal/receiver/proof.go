package receiver

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Nexus signs with
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
)

// proof reports whether a request proves knowledge of the secret.
type proof func(r *http.Request, body []byte, secret string) bool

// same compares hashes of equal length, so that the time reveals nothing about the secret.
func same(shown, secret string) bool {
	a, b := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// authorization accepts the secret as the entire Authorization header, after Bearer, or as the password of Basic.
func authorization(r *http.Request, _ []byte, secret string) bool {
	shown := r.Header.Get("Authorization")
	if shown == "" {
		return false
	}
	if _, password, ok := r.BasicAuth(); ok && same(password, secret) {
		return true
	}
	if scheme, token, ok := strings.Cut(shown, " "); ok && strings.EqualFold(scheme, "Bearer") && same(strings.TrimSpace(token), secret) {
		return true
	}
	return same(shown, secret)
}

// signature reports whether a text is the HMAC of the body in hex, after a prefix.
func signature(sum func() hash.Hash, shown, prefix string, body []byte, secret string) bool {
	text, ok := strings.CutPrefix(shown, prefix)
	if !ok {
		return false
	}
	got, err := hex.DecodeString(text)
	if err != nil {
		return false
	}
	mac := hmac.New(sum, []byte(secret))
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}

func github(r *http.Request, body []byte, secret string) bool {
	return signature(sha256.New, r.Header.Get("X-Hub-Signature-256"), "sha256=", body, secret)
}

func nexus(r *http.Request, body []byte, secret string) bool {
	return signature(sha1.New, r.Header.Get("X-Nexus-Webhook-Signature"), "", body, secret)
}

// jfrog accepts the secret itself or, if the webhook signs its payload, the HMAC.
func jfrog(r *http.Request, body []byte, secret string) bool {
	shown := r.Header.Get("X-Jfrog-Event-Auth")
	return shown != "" && (same(shown, secret) || signature(sha256.New, strings.TrimPrefix(shown, "sha256="), "", body, secret))
}

// generic accepts the proofs that common tools can send.
func generic(r *http.Request, body []byte, secret string) bool {
	if token := r.Header.Get("X-Gitlab-Token"); token != "" && same(token, secret) {
		return true
	}
	return authorization(r, body, secret) || github(r, body, secret) ||
		signature(sha256.New, r.Header.Get("X-Signature"), "sha256=", body, secret)
}

// key returns the part of the path that authenticates a sender without other means. It is derived from the secret without revealing it.
func key(name, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("dray receiver " + name))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}
