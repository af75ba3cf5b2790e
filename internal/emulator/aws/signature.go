package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signed is what the signature of a request says.
type signed struct{ keyID, date, region, service string }

// scheme is that of Signature Version 4.
const scheme = "AWS4-HMAC-SHA256"

// readSignature reads the header Authorization.
func readSignature(r *http.Request) (s signed, headers []string, signature string, ok bool) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme+" ")
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if !ok || len(scope) != 5 || scope[4] != "aws4_request" {
		return signed{}, nil, "", false
	}
	return signed{scope[0], scope[1], scope[2], scope[3]}, strings.Split(fields["SignedHeaders"], ";"), fields["Signature"], true
}

// verify reports whether a request with this body, whose path is / and which has no query, is signed with a secret key ("Create a signed AWS
// API request" in the IAM user guide).
func verify(r *http.Request, body []byte, secret string, now time.Time) bool {
	s, headers, signature, ok := readSignature(r)
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if !ok || err != nil || r.URL.Path != "/" || r.URL.RawQuery != "" || at.Format("20060102") != s.date || now.Sub(at).Abs() > 5*time.Minute {
		return false
	}
	needed := []string{"host", "x-amz-date"}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			needed = append(needed, lower)
		}
	}
	var lines strings.Builder
	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.Itoa(len(body))
		}
		lines.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	for _, name := range needed {
		if !slices.Contains(headers, name) {
			return false
		}
	}
	canonical := r.Method + "\n/\n\n" + lines.String() + "\n" + strings.Join(headers, ";") + "\n" + hash(body)
	scope := s.date + "/" + s.region + "/" + s.service + "/aws4_request"
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	want := hex.EncodeToString(mac(key, scheme+"\n"+r.Header.Get("X-Amz-Date")+"\n"+scope+"\n"+hash([]byte(canonical))))
	return hmac.Equal([]byte(want), []byte(signature))
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
