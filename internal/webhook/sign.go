package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// minKey is the least that Standard Webhooks asks for, in bytes.
const minKey = 24

// signingKey reads a secret as Standard Webhooks writes them: "whsec_" and base64. Anything else is a key as it is. Empty
// is no key. Errors do not say what the secret is.
func signingKey(secret string) ([]byte, error) {
	if secret == "" {
		return nil, nil
	}
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "=")); err != nil {
			return nil, errors.New("what follows whsec_ is not base64")
		}
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("is a key of %d bytes, and needs %d; openssl rand -base64 32 makes one", len(key), minKey)
	}
	return key, nil
}

// signature returns the value of the header webhook-signature.
func signature(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
