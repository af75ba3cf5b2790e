// Package spelling suggests names that a user may have meant.
package spelling

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// maxWord is the length in bytes up to which similar words are searched.
const maxWord = 128

// Nearest returns the known names most similar to a word, at most `most` of them, the most similar first: those with a few different letters, and those
// that contain it or are contained in it. It ignores case.
func Nearest(word string, known []string, most int) []string {
	if len(word) > maxWord {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	word = strings.ToLower(word)
	limit := max(1, len(word)/3)
	for _, k := range known {
		name := strings.ToLower(k)
		switch n := len(name) - len(word); {
		case n > 0 && len(word) > 2 && strings.Contains(name, word), n < 0 && len(name) > 2 && strings.Contains(word, name):
			found = append(found, candidate{k, 1})
		case n > limit, n < -limit:
		default:
			if d := distance(word, name); d <= limit {
				found = append(found, candidate{k, d})
			}
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range found[:min(len(found), most)] {
		names = append(names, c.name)
	}
	return names
}

// Suggestion asks whether one of some names was meant, as an end to a sentence: `; did you mean "a", "b" or "c"?`. It is empty for no names.
func Suggestion(names []string) string {
	var b strings.Builder
	for i, name := range names {
		switch i {
		case 0:
			b.WriteString("; did you mean ")
		case len(names) - 1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(name))
	}
	if b.Len() > 0 {
		b.WriteByte('?')
	}
	return b.String()
}

// distance counts the bytes to insert, remove, replace or swap with their neighbour.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
