package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"

	"github.com/draysync/dray/internal/switching"
)

const (
	googleIssuer = "https://accounts.google.com"
	// googleKeys is the URL of the issuer's keys according to its discovery document.
	googleKeys = "https://www.googleapis.com/oauth2/v3/certs"
	// keysPatience is the timeout for fetching the keys, and maxKeys their size limit in bytes.
	keysPatience = 10 * time.Second
	maxKeys      = 1 << 20
)

// errUnproven is the error of a request that may be genuine, but could not be checked.
var errUnproven = errors.New("the sender's token cannot be checked now")

// tokens checks the tokens that Google's Pub/Sub sends with its requests.
type tokens struct{ keys *oidc.RemoteKeySet }

// newTokens sends no request.
func newTokens(transport http.RoundTripper, keys string) *tokens {
	client := &http.Client{
		Timeout: keysPatience, Transport: &sparing{transport, rate.NewLimiter(rate.Every(5*time.Second), 3)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &tokens{oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), keys)}
}

// proves checks that a request has a token of this audience and service account. The error wraps [errUnproven] if the token could not be checked.
func (t *tokens) proves(r *http.Request, audience, account string) error {
	scheme, raw, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return errors.New("there is no Bearer token")
	}
	keys := &noting{KeySet: t.keys}
	token, err := oidc.NewVerifier(googleIssuer, keys, &oidc.Config{ClientID: audience}).Verify(r.Context(), strings.TrimSpace(raw))
	switch {
	case keys.unreachable != nil:
		return fmt.Errorf("%w: %w", errUnproven, keys.unreachable)
	case err != nil:
		return errors.New("the token is not one of Google's for this audience, or has expired")
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := token.Claims(&claims); err != nil || !claims.Verified || claims.Email != account {
		return errors.New("the token is of another account")
	}
	return nil
}

// noting records that keys could not be fetched, which the verifier's error does not distinguish from a wrong signature.
type noting struct {
	oidc.KeySet
	unreachable error
}

// VerifySignature implements [oidc.KeySet].
func (n *noting) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := n.KeySet.VerifySignature(ctx, token)
	if err != nil && (ctx.Err() != nil || strings.HasPrefix(err.Error(), "fetching keys")) {
		n.unreachable = errors.New("Google's keys cannot be fetched") //nolint:staticcheck // a name
	}
	return payload, err
}

// sparing limits the requests for keys, since anyone can send a token with an unknown key, and the size of their answers.
type sparing struct {
	http.RoundTripper
	rate *rate.Limiter
}

// RoundTrip implements [http.RoundTripper].
func (s *sparing) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.rate.Allow() {
		return nil, errors.New("the keys were requested just now")
	}
	answer, err := switching.Refused(s.RoundTripper.RoundTrip(r))
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxKeys)
	}
	return answer, err
}
