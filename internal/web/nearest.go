package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxWord is the longest name, in bytes, for which near ones are looked for.
	maxWord    = 128
	maxNearest = 3
)

// UnknownJobError says that there is no job of that name.
type UnknownJobError struct {
	Job string
	// Nearest are names that may have been meant, the nearest first.
	Nearest []string
}

func (e *UnknownJobError) Error() string {
	text := fmt.Sprintf("there is no job %q", e.Job)
	for i, name := range e.Nearest {
		switch i {
		case 0:
			text += "; did you mean "
		case len(e.Nearest) - 1:
			text += " or "
		default:
			text += ", "
		}
		text += fmt.Sprintf("%q", name)
	}
	if len(e.Nearest) > 0 {
		text += "?"
	}
	return text
}

// nearest returns the names that are like a word, the likest first: those with a few letters different, and those that have it as a part.
func nearest(word string, jobs []JobStatus) []string {
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
	for _, j := range jobs {
		name := strings.ToLower(j.Job)
		switch n := len(name) - len(word); {
		case n > 0 && len(word) > 2 && strings.Contains(name, word), n < 0 && len(name) > 2 && strings.Contains(word, name):
			found = append(found, candidate{j.Job, 1})
		case n > limit, n < -limit:
		default:
			if d := distance(word, name); d <= limit {
				found = append(found, candidate{j.Job, d})
			}
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range found[:min(len(found), maxNearest)] {
		names = append(names, c.name)
	}
	return names
}

// distance counts the bytes to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
