package azure

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestRedacted(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	tests := []struct{ name, text, want string }{
		{
			"the Location of an import", "GET https://management.azure.com/subscriptions/0/operationResults/registries-1?api-version=2025-11-01&t=638&c=MIIH&s=UR2r&h=x failed",
			"GET https://management.azure.com/subscriptions/0/operationResults/registries-1?api-version=[redacted]&t=[redacted]&c=[redacted]&s=[redacted]&h=[redacted] failed",
		},
		{"the same within JSON within JSON", `?t=638\u0026c=MIIH\u0026h=x"`, `?t=[redacted]&c=[redacted]&h=[redacted]"`},
		{"a blob's SAS", "https://a.blob.core.windows.net/b?se=2026-11-23T00%3A00Z&sig=a%2Bb%3D&sp=r", "https://a.blob.core.windows.net/b?se=[redacted]&sig=[redacted]&sp=[redacted]"},
		{"a query cut at its front", "t=638&c=MIIH sig=ab", "t=[redacted]&c=[redacted] sig=[redacted]"},
		{"a URL with a password", "https://user:pw@registry.example/v2/", "https://registry.example/v2/"},
		{"a password in JSON", `{"username":"u","password":"p\"w","x":1}`, `{"username":"u","password":[redacted],"x":1}`},
		{"a password in prose", "password: hunter2, user: me", "password: [redacted], user: me"},
		{"a field that ends so", "client_secret=abc&x=1 refresh_token='q' x-registry-token: y", "client_secret=[redacted]&x=[redacted] refresh_token=[redacted] x-registry-token: [redacted]"},
		{"a header", "Authorization: Bearer abcdefgh12", "Authorization: [redacted] [redacted]"},
		{"basic", "sent Basic dXNlcjpwdw==", "sent Basic [redacted]"},
		{"a JWT", "token eyJhbGciOi.eyJzdWIi.c2ln is bad", "token [redacted] is bad"},
		{"Docker Hub's account", "pull rate limit as 'me': dckr_jti_abcdef12=", "pull rate limit as [redacted]: [redacted]"},
		{"an Entra secret", "secret abc8Q~abcdefghij-klmnopqrst.uvwxyz12345 lapsed", "secret [redacted] lapsed"},
		{"an admin's password", "key aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fH3jL5nP7rT9vX1+ACRDabc12", "key [redacted]"},
		{"a key with slashes", "key aB3/dE5/gH7/jK9/mN1/pQ3/sT5/vW7/yZ9/bD1/fH3=", "key [redacted]"},
		{"a key in hexadecimal", "key 00112233445566778899aabbccddeeff", "key [redacted]"},
		{"digests stay", "repo@sha256:" + digest + " and tag sha256-" + digest + ".sig", "repo@sha256:" + digest + " and tag sha256-" + digest + ".sig"},
		{
			"ids and names stay", importEnd + "k8s-artifacts-prod/ingress-nginx/controller-chroot-arm64:v0.34.0 TrustedServices",
			importEnd + "k8s-artifacts-prod/ingress-nginx/controller-chroot-arm64:v0.34.0 TrustedServices",
		},
		{"prose stays", "unauthorized: authentication required, visit https://aka.ms/acr/authorization for more", "unauthorized: authentication required, visit https://aka.ms/acr/authorization for more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := redacted(tt.text); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"lines and tabs", " a\r\n\tb\u2028c\u0085d ", "a b c d"},
		{"an escape sequence", "a\x1b[2Jb\x00c", "a [2Jb c"},
		{"what turns text around", "a\u202eb\u200bc", "abc"},
		{"no UTF-8", "a\xff\xfeb", "a?b"},
		{"long", strings.Repeat("ä ", 400), strings.Repeat("ä ", 149) + "ä…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oneLine(tt.text); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// disguises are texts that carry a secret each, made of a seed.
func disguises(seed string) map[string]string {
	sum := sha256.Sum256([]byte(seed))
	opaque := base64.RawURLEncoding.EncodeToString(sum[:])
	plain := base64.StdEncoding.EncodeToString(sum[:])
	short := hex.EncodeToString(sum[:6])
	return map[string]string{
		short + "p":                   `{"username":"u","password":"` + short + `p"}`,
		short + "q":                   "https://management.example/results?api-version=1&s=" + short + "q&h=1",
		short + "r":                   `https:\/\/blob.example\/x?se=1\u0026sig=` + short + "r",
		short + "s":                   "client_secret=" + short + "s",
		short + "t":                   "https://user:" + short + "t@registry.example/v2/",
		opaque:                        "Authorization: Bearer " + opaque,
		"eyJ" + short:                 "the token eyJ" + short + ".eyJ0.c2ln",
		short + "u":                   "dckr_pat_" + short + "u",
		plain[:40]:                    "sig=" + url.QueryEscape(plain[:40]),
		short + "v":                   "abc8Q~" + short + "v" + strings.Repeat("x", 20),
		hex.EncodeToString(sum[8:24]): hex.EncodeToString(sum[8:24]),
	}
}

// FuzzClassify holds every verdict to what a log takes: lines, bounded, and no secret whatever stands around it.
func FuzzClassify(f *testing.F) {
	for _, r := range taxonomy() {
		f.Add(r.example.Code, r.example.Message, r.example.Message, "c0ffee", r.example.Status, r.example.Polled)
	}
	f.Add("Conflict", `{"error":{"code":"x","message":"{\"errors\":[{\"code\":1}]}"}}`, "\\", "\x00", 200, true)
	f.Add("", strings.Repeat("{", 5000), strings.Repeat("é", 20000), strings.Repeat("1", 100), -1, false)
	f.Fuzz(func(t *testing.T, code, before, after, correlation string, status int, polled bool) {
		check := func(message string) Failure {
			failure := Classify(Refusal{Status: status, Code: code, Message: message, CorrelationID: correlation, Polled: polled})
			text := failure.Error()
			if failure.Kind == "" || failure.Text == "" || failure.Advice == "" || failure.Side == "" {
				t.Errorf("incomplete: %+v", failure)
			}
			if !utf8.ValidString(text) || utf8.RuneCountInString(failure.Text) > maxSaid+500 || len(failure.Advice) > 1000 || len(failure.CorrelationID) > maxID {
				t.Errorf("not bounded, or no text: %q", text)
			}
			if strings.ContainsFunc(text, func(r rune) bool {
				return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
			}) {
				t.Errorf("not one plain line: %q", text)
			}
			return failure
		}
		check(before)
		// One of them each time: all would make the search ten times slower.
		all := disguises(before + after)
		secrets := slices.Sorted(maps.Keys(all))
		secret := secrets[crc32.ChecksumIEEE([]byte(before+after))%uint32(len(secrets))]
		if strings.Contains(before, secret) || strings.Contains(after, secret) {
			return
		}
		if got := check(before + " " + all[secret] + " " + after).Error(); strings.Contains(got, secret) {
			t.Errorf("%q of %q is in %q", secret, all[secret], got)
		}
	})
}
