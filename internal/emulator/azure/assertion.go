package azure

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // the thumbprint that older clients name a certificate by
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// leeway is how far a clock may be off.
const leeway = 5 * time.Minute

// checkAssertion accepts a token of the app's federated issuer, or one that the app's certificate signed.
func (c *Cloud) checkAssertion(options AppOptions, assertion string) *trouble {
	var header struct {
		Alg    string `json:"alg"`
		X5t    string `json:"x5t"`
		X5t256 string `json:"x5t#S256"`
	}
	if !decodePart(assertion, 0, &header) {
		return &trouble{http.StatusUnauthorized, "invalid_client", 50027, "JWT token is invalid or malformed."}
	}
	var said claims
	audiences := false
	if header.X5t == "" && header.X5t256 == "" {
		found, valid := c.parse(assertion)
		if !valid || options.Issuer == "" || found.Issuer != options.Issuer || found.Subject != options.Subject || found.Audience != exchangeAudience {
			return &trouble{http.StatusUnauthorized, "invalid_client", 700213, fmt.Sprintf("No matching federated identity record found for "+
				"presented assertion subject '%s'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.", found.Subject)}
		}
		said, audiences = found, true
	} else if !signedBy(options.Certificate, assertion, header.Alg, header.X5t, header.X5t256) || !decodePart(assertion, 1, &said) {
		return &trouble{http.StatusUnauthorized, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application."}
	}
	now := c.now()
	if now.Before(time.Unix(said.NotBefore, 0).Add(-leeway)) || now.After(time.Unix(said.Expires, 0).Add(leeway)) {
		return &trouble{http.StatusUnauthorized, "invalid_client", 700024, fmt.Sprintf("Client assertion is not within its valid time range. "+
			"Current time: %s, assertion valid from %s, expiry time of assertion %s.", now.UTC().Format(time.RFC3339),
			time.Unix(said.NotBefore, 0).UTC().Format(time.RFC3339), time.Unix(said.Expires, 0).UTC().Format(time.RFC3339))}
	}
	if !audiences && !strings.HasSuffix(said.Audience, "/token") {
		return &trouble{http.StatusUnauthorized, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer."}
	}
	return nil
}

// decodePart reads the n-th part of a JWT.
func decodePart(token string, n int, into any) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[n])
	return err == nil && json.Unmarshal(data, into) == nil
}

// signedBy says whether an assertion names the certificate and its key has signed it.
func signedBy(certificate *x509.Certificate, assertion, alg, x5t, x5t256 string) bool {
	if certificate == nil {
		return false
	}
	key, isRSA := certificate.PublicKey.(*rsa.PublicKey)
	text, signature, _ := cutLast(assertion, '.')
	data, err := base64.RawURLEncoding.DecodeString(signature)
	if !isRSA || err != nil {
		return false
	}
	short, long := sha1.Sum(certificate.Raw), sha256.Sum256(certificate.Raw)
	if x5t != "" && !sameThumbprint(x5t, short[:]) || x5t256 != "" && !sameThumbprint(x5t256, long[:]) {
		return false
	}
	sum := sha256.Sum256([]byte(text))
	switch alg {
	case "RS256":
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], data) == nil
	case "PS256":
		return rsa.VerifyPSS(key, crypto.SHA256, sum[:], data, nil) == nil
	}
	return false
}

// sameThumbprint compares without padding, in either alphabet of base64.
func sameThumbprint(text string, sum []byte) bool {
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	return text == encode64(sum)
}
