package wire

import "testing"

// TestErrorText reads the line that a person gets.
func TestErrorText(t *testing.T) {
	for want, e := range map[string]*Error{
		"HEAD manifest: r.example answered 404 Not Found: there is no such tag or repository, or not for this sign-in":     {Operation: "HEAD manifest", Host: "r.example", Status: 404},
		"GET manifest: r.example answered 404 Not Found: MANIFEST_UNKNOWN no such manifest":                                {Operation: "GET manifest", Host: "r.example", Status: 404, ErrorCode: "MANIFEST_UNKNOWN", Message: "no such manifest"},
		"GET blob: r.example answered 404 Not Found":                                                                       {Operation: "GET blob", Host: "r.example", Status: 404},
		"HEAD manifest: r.example gave no answer: connection refused (5 attempts); start it (registries.r.example)":        {Operation: "HEAD manifest", Host: "r.example", Message: "connection refused", Unanswered: true, Attempts: 5, Hint: "start it (registries.r.example)"},
		"HEAD manifest: r.example answered 401 Unauthorized; see registries.r.example, or whether it is a private project": {Operation: "HEAD manifest", Host: "r.example", Status: 401, Hint: "see registries.r.example, or whether it is a private project"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
