package tagfilter

// maxTag is the longest tag that the OCI distribution spec allows, in bytes.
const maxTag = 128

// isTag reports whether the OCI distribution spec allows the tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
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

// isTagByte reports whether the character can be in a tag.
func isTagByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '.' || c == '_' || c == '-'
}

// canStart reports whether a tag can start with the character.
func canStart(c byte) bool { return c != '.' && c != '-' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
