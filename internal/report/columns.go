package report

import (
	"strings"
	"unicode/utf8"
)

// cell is a text in a table, with its color, empty for none.
type cell struct {
	text  string
	color color
}

// cells are a line of a table.
type cells []cell

// heads are the first line of a table.
func heads(names ...string) cells {
	row := make(cells, 0, len(names))
	for _, name := range names {
		row = append(row, cell{name, bold})
	}
	return row
}

// minShortened is the least width of the column that is shortened on a narrow terminal, in columns.
const minShortened = 12

// columns writes a table whose last column may be of any width. On a narrow terminal the texts of one column are shortened in their middle.
func columns(b *strings.Builder, rows []cells, shortened int, style Style) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	widths[shortened] = min(widths[shortened], maxAligned)
	if style.Width > 0 {
		room := style.Width + widths[shortened] + 2
		for _, width := range widths {
			room -= width + 2
		}
		widths[shortened] = min(widths[shortened], max(minShortened, room))
	}
	for _, row := range rows {
		for i, c := range row {
			if i == shortened && style.Width > 0 {
				c.text = middle(c.text, widths[i])
			}
			b.WriteString(style.paint(c.color, c.text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(c.text))+2))
			}
		}
		b.WriteByte('\n')
	}
}
