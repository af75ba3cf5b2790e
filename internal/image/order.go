package image

import (
	"cmp"
	"strings"
)

// CompareTags orders tags naturally: v2 before v10.
func CompareTags(a, b string) int {
	restA, restB := a, b
	for restA != "" && restB != "" {
		partA, partB := run(restA), run(restB)
		restA, restB = restA[len(partA):], restB[len(partB):]
		c := cmp.Compare(partA, partB)
		if digit(partA[0]) && digit(partB[0]) {
			numberA, numberB := strings.TrimLeft(partA, "0"), strings.TrimLeft(partB, "0")
			c = cmp.Or(cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB))
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(restA), len(restB)), cmp.Compare(a, b))
}

// run returns the prefix of a text that consists of digits, or of non-digits.
func run(text string) string {
	for i := 1; i < len(text); i++ {
		if digit(text[i]) != digit(text[0]) {
			return text[:i]
		}
	}
	return text
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
