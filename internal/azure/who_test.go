package azure

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestWho: a token says whose it is; what is none says nothing.
func TestWho(t *testing.T) {
	for claims, want := range map[string]string{
		`{"appid":"5555"}`:                              "application 5555",
		`{"appid":"5555","upn":"ann@example.com"}`:      "ann@example.com",
		`{"appid":"5555","unique_name":"live.com#ann"}`: "live.com#ann",
		`{"appid":"5555","xms_mirid":"/subscriptions/1/resourcegroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/dray"}`: "managed identity dray",
		`{"upn":"a\n\u001b[31mb"}`: "a [31mb", `{}`: "", `[]`: "", `{"upn":1}`: "",
	} {
		c := &Client{entra: &kept{now: granted{token: "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"}}}
		if got := c.Who(); got != want {
			t.Errorf("%s is %q, want %q", claims, got, want)
		}
	}
	for _, token := range []string{"", "opaque", "a.!.c", strings.Repeat(".", 5)} {
		if got := (&Client{entra: &kept{now: granted{token: token}}}).Who(); got != "" {
			t.Errorf("%q is %q", token, got)
		}
	}
}
