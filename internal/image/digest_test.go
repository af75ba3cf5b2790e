package image

import (
	"strings"
	"testing"
)

// A sum is a digest of sha256, and of nothing else.
func TestSum(t *testing.T) {
	d := DigestOf([]byte("x"), "")
	if SumOf(d).Digest() != d {
		t.Errorf("%s", SumOf(d).Digest())
	}
	for _, other := range []Digest{"", "sha256:ab", DigestOf(nil, Digest("sha512:"+strings.Repeat("a", 128))), Digest("sha256:" + strings.Repeat("G", 64))} {
		if s := SumOf(other); s != (Sum{}) || s.Digest() != "" {
			t.Errorf("%s: %s", other, s.Digest())
		}
	}
}
