package web

import (
	"fmt"
	"strconv"
)

// sheet is a page of a list.
type sheet struct {
	// Whole is how many entries the list has, Size how many of them a page has, and Noun what one is.
	Whole, Size int
	Noun        string
	// Page counts from 1.
	Page int
}

// at returns the page that an address asks for: the first unless that is a number, and the last if there are fewer.
func (s sheet) at(page string) sheet {
	n, _ := strconv.Atoi(page) // 0 if it is no number
	s.Page = min(max(1, n), s.pages())
	return s
}

func (s sheet) pages() int { return max(1, (s.Whole+s.Size-1)/s.Size) }
func (s sheet) begin() int { return (s.Page - 1) * s.Size }
func (s sheet) end() int   { return min(s.Whole, s.Page*s.Size) }

// pager leads to the other pages of a list. Empty is where there is no such page.
type pager struct{ Text, Before, After string }

func (s sheet) pager(to func(page int) string) pager {
	p := pager{Text: number(int64(s.Whole), s.Noun)}
	if s.pages() > 1 {
		p.Text = fmt.Sprintf("%s to %s of %s", thousands(int64(s.begin()+1)), thousands(int64(s.end())), p.Text)
	}
	if s.Page > 1 {
		p.Before = to(s.Page - 1)
	}
	if s.Page < s.pages() {
		p.After = to(s.Page + 1)
	}
	return p
}
