package receiver

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer gives out tokens and keys as Google does.
type issuer struct {
	key   *rsa.PrivateKey
	asked int
	down  bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{key: private}
}

// RoundTrip answers a request for the keys.
func (i *issuer) RoundTrip(*http.Request) (*http.Response, error) {
	i.asked++
	w := httptest.NewRecorder()
	if i.down {
		http.Error(w, "down", http.StatusBadGateway)
		return w.Result(), nil
	}
	err := json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.key.PublicKey, KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
	return w.Result(), err
}

type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
	Expiry   int64  `json:"exp"`
	Issued   int64  `json:"iat"`
}

func (i *issuer) token(t *testing.T, id string, private *rsa.PrivateKey, change func(*claims)) string {
	t.Helper()
	c := claims{
		Issuer: googleIssuer, Audience: "https://dray.example.com/hook/google", Email: "events@p.iam.gserviceaccount.com", Verified: true,
		Expiry: time.Now().Add(time.Hour).Unix(), Issued: time.Now().Unix(),
	}
	if change != nil {
		change(&c)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, (&jose.SignerOptions{}).WithHeader("kid", id))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Google's Pub/Sub is believed for a token of this account and audience. Keys that cannot be fetched are no refusal, and strangers' tokens do
// not have them fetched without end.
func TestGoogle(t *testing.T) { synctest.Test(t, testGoogle) }

func testGoogle(t *testing.T) {
	i := newIssuer(t)
	google := Receiver{Name: "google", Type: "gcr", Audience: "https://dray.example.com/hook/google", ServiceAccount: "events@p.iam.gserviceaccount.com"}
	s := newStand(t, google)
	s.set.tokens = newTokens(i, googleKeys)
	body := string(payload(t, "gcr-message"))
	send := func(token string) int {
		status, _ := s.post("/hook/google", body, http.Header{"Authorization": {"Bearer " + token}})
		synctest.Wait() // for the fetch of keys, which ends a little after who waits for it goes on
		return status
	}
	i.down = true
	if status := send(i.token(t, "k1", i.key, nil)); status != http.StatusServiceUnavailable {
		t.Errorf("without keys: %d", status)
	}
	i.down = false
	for range 3 {
		if status := send(i.token(t, "k1", i.key, nil)); status != http.StatusAccepted {
			t.Errorf("the right token: %d", status)
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"of another audience": i.token(t, "k1", i.key, func(c *claims) { c.Audience = "https://other.example" }),
		"of another account":  i.token(t, "k1", i.key, func(c *claims) { c.Email = "eve@p.iam.gserviceaccount.com" }),
		"of no sure account":  i.token(t, "k1", i.key, func(c *claims) { c.Verified = false }),
		"that has expired":    i.token(t, "k1", i.key, func(c *claims) { c.Expiry = time.Now().Add(-time.Hour).Unix() }),
		"of another issuer":   i.token(t, "k1", i.key, func(c *claims) { c.Issuer = "https://issuer.example" }),
		"that is none":        "x.y.z",
	} {
		if status := send(token); status != http.StatusUnauthorized {
			t.Errorf("a token %s: %d", name, status)
		}
	}
	if status, _ := s.post("/hook/google", body, nil); status != http.StatusUnauthorized {
		t.Errorf("no token: %d", status)
	}
	for range 50 {
		if status := send(i.token(t, "k2", other, nil)); status == http.StatusAccepted {
			t.Error("a token of another key was accepted")
		}
	}
	if i.asked != 3 {
		t.Errorf("the keys were fetched %d times at once, want 3", i.asked)
	}
	time.Sleep(5 * time.Second)
	send(i.token(t, "k2", other, nil))
	send(i.token(t, "k2", other, nil))
	if i.asked != 4 {
		t.Errorf("after 5 s the keys were fetched %d times, want 4", i.asked)
	}
	if status := send(i.token(t, "k1", i.key, nil)); status != http.StatusAccepted {
		t.Errorf("the right token after that: %d", status)
	}
}
