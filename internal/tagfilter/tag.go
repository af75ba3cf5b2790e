package tagfilter

import "strings"

// maxTag is the longest tag that the OCI distribution spec allows, in bytes.
const maxTag = 128

// isTag tells whether the OCI distribution spec allows the tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func isTag(tag string) bool {
	if tag == "" || len(tag) > maxTag || !canStart(tag[0]) {
		return false
	}
	for i := range len(tag) {
		if !isTagByte(tag[i]) {
			return false
		}
	}
	return true
}

// isTagByte tells whether the character can be in a tag.
func isTagByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '.' || c == '_' || c == '-'
}

// canStart tells whether a character of tags can be the first one.
func canStart(c byte) bool { return c != '.' && c != '-' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isReferrersList tells whether a tag is one of the OCI distribution spec's referrers tag schema (sha256-<hex>, the digest cut off after
// 64 characters): the list of what refers to a manifest, at a registry without the referrers API.
func isReferrersList(tag string) bool {
	algorithm, encoded, ok := strings.Cut(tag, "-")
	if !ok || algorithm != "sha256" && algorithm != "sha512" || len(encoded) != 64 {
		return false
	}
	for i := range len(encoded) {
		if c := encoded[i]; !isDigit(c) && (c < 'a' || 'f' < c) {
			return false
		}
	}
	return true
}
