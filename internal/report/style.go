package report

import (
	"strings"
	"unicode/utf8"
)

// Style says how text is laid out. The zero value is right for a file or a pipe.
type Style struct {
	// Color turns on ANSI colours.
	Color bool
	// Width is the terminal's, in columns; explanations are wrapped to it. 0 wraps nothing.
	Width int
	// Shown says that what was imported has been shown already, by a [Progress].
	Shown bool
	// Verbose has each failure in a line of its own.
	Verbose bool
	// Config is what the commands that are suggested need to find the config, such as " -c FILE"; Names, with a space before each, are the
	// mappings that were asked for, empty for all.
	Config, Names string
}

// color is the parameter of an ANSI "select graphic rendition" sequence.
type color string

const (
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	bold   color = "1"
)

func (s Style) paint(c color, text string) string {
	if !s.Color || c == "" || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// minWrapped is the least room, in columns, in which wrapping still helps a reader.
const minWrapped = 30

// wrap breaks text between words so that it fits to the right of indent columns, where its first line starts already.
func (s Style) wrap(text string, indent int) string {
	room := s.Width - indent
	if s.Width <= 0 || room < minWrapped {
		return text
	}
	var b strings.Builder
	used := 0
	for _, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case used == 0:
		case used+1+length > room:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += length
	}
	return b.String()
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// Bold makes text stand out where there are colours.
func (s Style) Bold(text string) string { return s.paint(bold, text) }
