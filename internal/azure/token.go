package azure

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/draysync/dray/internal/switching"
)

// RegistryToken returns a refresh token of a registry, and when to ask for the next. It exchanges Entra's token for it (Azure/acr,
// docs/AAD-OAuth.md), once for all waiting callers.
func (c *Client) RegistryToken(ctx context.Context, host string) (token string, expires time.Time, err error) {
	loginServer, err := c.loginServer(host)
	if err != nil {
		return "", time.Time{}, err
	}
	c.mu.Lock()
	k := c.registries[loginServer]
	if k == nil {
		k = &kept{fetch: func(ctx context.Context, renew bool) (granted, error) { return c.exchange(ctx, loginServer, renew) }}
		c.registries[loginServer] = k
	}
	c.mu.Unlock()
	got, err := k.get(ctx)
	if expires = got.refresh(); !expires.After(time.Now()) { // another is being fetched
		expires = got.lapse()
	}
	return got.token, expires, err
}

// Trade exchanges a caller's Entra token for a refresh token of a registry, and returns its expiry.
func (c *Client) Trade(ctx context.Context, host, entra string) (token string, expires time.Time, err error) {
	loginServer, err := c.loginServer(host)
	if err != nil {
		return "", time.Time{}, err
	}
	got, err := c.trade(ctx, loginServer, url.Values{"access_token": {entra}})
	return got.token, got.until, err
}

// loginServer returns a host in the form to which tokens are sent.
func (c *Client) loginServer(host string) (string, error) {
	loginServer, ok := c.options.Cloud.LoginServer(host)
	if !ok {
		return "", fmt.Errorf("%s is not a registry of this cloud, whose registries end with .%s: dray sends it no token", host, c.options.Cloud.RegistrySuffix)
	}
	return loginServer, nil
}

// exchange trades dray's own Entra token for a registry's refresh token.
func (c *Client) exchange(ctx context.Context, loginServer string, renew bool) (granted, error) {
	entra, err := c.entra.get(ctx)
	if err != nil {
		return granted{}, err
	}
	form := url.Values{"access_token": {entra.token}}
	if c.options.Credential.TenantID != "" {
		form.Set("tenant", c.options.Credential.TenantID)
	}
	got, err := c.trade(ctx, loginServer, form)
	if refused, ok := errors.AsType[*ResponseError](err); ok && refused.Status == http.StatusUnauthorized {
		c.entra.refuse(entra.token)
		if !renew {
			return c.exchange(ctx, loginServer, true)
		}
	}
	return got, err
}

// trade requests a refresh token from a registry.
func (c *Client) trade(ctx context.Context, loginServer string, form url.Values) (granted, error) {
	form.Set("grant_type", "access_token")
	form.Set("service", loginServer)
	from := time.Now()
	var got struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := c.form(ctx, "https://"+loginServer+"/oauth2/exchange", form, &got); err != nil {
		return granted{}, fmt.Errorf("sign in to %s: %w", loginServer, err)
	}
	if got.RefreshToken == "" {
		return granted{}, fmt.Errorf("sign in to %s: it gave no token", loginServer)
	}
	return granted{token: got.RefreshToken, from: from, until: lapses(got.RefreshToken, from)}, nil
}

// usualLife is the lifetime of a registry's refresh token without an expiry.
const usualLife = 3 * time.Hour

// lapses reads a token's expiry (RFC 7519, section 4.1), converted to this machine's clock. The token is not verified: that is for the registry.
func lapses(token string, now time.Time) time.Time {
	var claims struct {
		Issued  int64 `json:"iat"`
		Expires int64 `json:"exp"`
	}
	readClaims(token, &claims)
	if life := time.Duration(claims.Expires-claims.Issued) * time.Second; claims.Issued > 0 && life > 0 && life < 24*time.Hour {
		return now.Add(life)
	}
	return now.Add(usualLife)
}

// readClaims reads the claims of a token, if it is a JWT.
func readClaims(token string, into any) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	if raw, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
		_ = json.Unmarshal(raw, into) // what is missing stays empty
	}
}

// form posts a form to a registry, and decodes the answer.
func (c *Client) form(ctx context.Context, to string, form url.Values, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.send(r, into)
}

func (c *Client) send(r *http.Request, into any) error {
	r.Header.Set("User-Agent", c.options.UserAgent)
	response, err := switching.Refused(c.http.Do(r)) //nolint:bodyclose // it is, below
	if err != nil {
		if r.Context().Err() != nil {
			return context.Cause(r.Context())
		}
		return withoutURL(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return registryRefusal(response, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return errors.New("cannot read its answer")
	}
	return nil
}

// registryRefusal is the error of a registry (OCI distribution spec, "Error Codes").
func registryRefusal(response *http.Response, raw []byte) *ResponseError {
	e := &ResponseError{Status: response.StatusCode, RetryAfter: retryAfter(response.Header)}
	var body struct {
		Errors []errorDoc `json:"errors"`
	}
	if json.Unmarshal(raw, &body) == nil && len(body.Errors) > 0 {
		e.Code, e.Message = body.Errors[0].Code, body.Errors[0].Message
	}
	return e
}

// Locked reports whether a tag of a registry is locked against writes. A missing tag is not locked.
func (c *Client) Locked(ctx context.Context, host, repository, tag string) (bool, error) {
	refresh, _, err := c.RegistryToken(ctx, host)
	if err != nil {
		return false, err
	}
	form := url.Values{
		"grant_type": {"refresh_token"}, "service": {host}, "refresh_token": {refresh}, "scope": {"repository:" + repository + ":metadata_read"},
	}
	var access struct {
		AccessToken string `json:"access_token"`
	}
	if err := c.form(ctx, "https://"+host+"/oauth2/token", form, &access); err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/acr/v1/"+repository+"/_tags/"+url.PathEscape(tag), http.NoBody)
	if err != nil {
		return false, err
	}
	r.Header.Set("Authorization", "Bearer "+access.AccessToken)
	var doc struct {
		Tag struct {
			Attributes struct {
				Write *bool `json:"writeEnabled"`
			} `json:"changeableAttributes"`
		} `json:"tag"`
	}
	err = c.send(r, &doc)
	if refused, ok := errors.AsType[*ResponseError](err); ok && refused.Status == http.StatusNotFound {
		return false, nil
	}
	write := doc.Tag.Attributes.Write
	return err == nil && write != nil && !*write, err
}
