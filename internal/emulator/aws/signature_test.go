package aws

import (
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestVerify: what the SDK signs is accepted, and nothing that differs from it.
func TestVerify(t *testing.T) {
	const secret = "the/user's+secret"
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	body := `{"registryIds":[]}`
	for name, c := range map[string]struct {
		change func(*http.Request)
		body   string
		at     time.Time
		right  bool
	}{
		"as it was signed":    {right: true},
		"four minutes later":  {at: now.Add(4 * time.Minute), right: true},
		"six minutes later":   {at: now.Add(6 * time.Minute)},
		"six minutes before":  {at: now.Add(-6 * time.Minute)},
		"another body":        {body: `{"registryIds":["1"]}`},
		"another host":        {change: func(r *http.Request) { r.Host = "evil.example" }},
		"another operation":   {change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "Other") }},
		"another method":      {change: func(r *http.Request) { r.Method = http.MethodPut }},
		"another path":        {change: func(r *http.Request) { r.URL.Path = "/x" }},
		"a query":             {change: func(r *http.Request) { r.URL.RawQuery = "a=b" }},
		"a header not signed": {change: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }},
		"another region":      {change: replaced("eu-west-1", "us-east-1")},
		"another service":     {change: replaced("/ecr/", "/sts/")},
		"another day":         {change: replaced("/20261129/", "/20261128/")},
		"another scheme":      {change: replaced(scheme, "Basic")},
		"no signature":        {change: func(r *http.Request) { r.Header.Del("Authorization") }},
		"no date":             {change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.ecr.eu-west-1.amazonaws.com/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
		if err := v4.NewSigner().SignHTTP(t.Context(), sdk.Credentials{AccessKeyID: "AKIAEMULATOR", SecretAccessKey: secret}, r, hash([]byte(body)), "ecr", "eu-west-1", now); err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			c.change(r)
		}
		if c.body == "" {
			c.body = body
		}
		if c.at.IsZero() {
			c.at = now
		}
		if got := verify(r, []byte(c.body), secret, c.at); got != c.right {
			t.Errorf("%s: %v", name, got)
		}
		if verify(r, []byte(c.body), "another secret", c.at) {
			t.Errorf("%s: another secret is accepted", name)
		}
	}
}

// replaced changes the header of the signature.
func replaced(from, to string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
	}
}
