package webhook

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStandardVector is the example that the libraries of Standard Webhooks test themselves with.
func TestStandardVector(t *testing.T) {
	key, err := signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSigningKey(t *testing.T) {
	tests := map[string]struct {
		secret string
		want   []byte
		err    string
	}{
		"none":        {secret: ""},
		"as it is":    {secret: strings.Repeat("k", 24), want: bytes.Repeat([]byte("k"), 24)},
		"base64":      {secret: "whsec_" + strings.Repeat("AAEC", 8), want: bytes.Repeat([]byte{0, 1, 2}, 8)},
		"padded":      {secret: "whsec_" + strings.Repeat("AAEC", 8) + "Aw==", want: append(bytes.Repeat([]byte{0, 1, 2}, 8), 3)},
		"not padded":  {secret: "whsec_" + strings.Repeat("AAEC", 8) + "Aw", want: append(bytes.Repeat([]byte{0, 1, 2}, 8), 3)},
		"not base64":  {secret: "whsec_" + token + "!!", err: "not base64"},
		"short":       {secret: token, err: "is a key of 16 bytes, and needs 24"},
		"prefix only": {secret: "whsec_", err: "is a key of 0 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := signingKey(test.secret)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), token) {
					t.Fatalf("got error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || !bytes.Equal(got, test.want) || (got == nil) != (test.want == nil) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestSignedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(takes)
		secret := "a long enough secret of its own bytes, and longer than one block of SHA-256 is"
		s, _ := start(t, r, Hook{URL: hookURL, Secret: secret}, Hook{URL: hookURL, Secret: secret, Template: `{"text":{{json .Job}}}`}, Hook{URL: hookURL})
		s.Send(failed("alpine"))
		synctest.Wait()
		unsigned := 0
		for _, d := range r.all() {
			id, at := d.Header.Get("webhook-id"), d.Header.Get("webhook-timestamp")
			if at != "946684800" || id == "" || strings.Contains(id, ".") {
				t.Errorf("id %q, timestamp %q", id, at)
			}
			got := d.Header.Get("webhook-signature")
			if got == "" {
				unsigned++
				continue
			}
			if want := "v1," + hmacByHand([]byte(secret), []byte(id+"."+at+"."+d.Body)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if len(r.all()) != 3 || unsigned != 1 {
			t.Errorf("%d requests, %d of them unsigned", len(r.all()), unsigned)
		}
	})
}
