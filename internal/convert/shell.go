package convert

import (
	"regexp"
	"slices"
	"strings"
)

// word is a word of a shell's command, in parts: text, and what the shell puts in.
type word []part

// part is text, or a variable by its name, or what a shell works out by itself.
type part struct {
	text, name string
	// cut is an operator of a parameter expansion with its pattern, such as ##*/; odd marks one that has no equivalent.
	cut string
	odd bool
}

// command is a simple command with its place and the loops around it.
type command struct {
	line  int
	words []word
	loops []loop
	// under is what decides whether the command runs: "an if or case", or "a here-document"; empty for nothing.
	under string
}

// loop is a for loop over words; words is nil where they are not known.
type loop struct {
	name  string
	words []word
}

// script is what of a shell script matters here: its commands, and what is assigned to variables, as often as it is.
type script struct {
	commands []command
	assigned map[string][]word
	parts    int // that were worked out, which is bounded
}

// dialect says how a text is read: in YAML, $(name) is a variable of a pipeline; in PowerShell, a backquote continues a line.
type dialect struct{ pipeline bool }

// lexer cuts a text into commands. It reads what people write around az, not all of a shell's language.
type lexer struct {
	dialect
	text string
	at   int
	line int
	word word
	open bool // a word has begun, maybe an empty one
	now  command
	out  *script
	loop []loop
	// heredocs are the ends of here-documents whose text begins with the next line.
	heredocs []string
	// under is "a here-document" where the text is one, and branches is how many branches of if and case are open.
	under    string
	branches int
}

// maxLoop bounds how many words a loop goes over.
const maxLoop = 1000

// lex reads a script that begins in a line of its file.
func lex(text string, line int, d dialect, out *script) {
	l := &lexer{dialect: d, text: strings.ReplaceAll(text, "\r\n", "\n"), line: line, out: out}
	l.now.line = line
	l.run()
}

func (l *lexer) run() {
	for l.at < len(l.text) {
		l.step()
	}
	l.endCommand()
}

func (l *lexer) rest() string { return l.text[l.at:] }

func (l *lexer) skip(n int) {
	l.line += strings.Count(l.text[l.at:l.at+n], "\n")
	l.at += n
}

func (l *lexer) step() {
	rest := l.rest()
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "\\\n"):
		l.skip(2)
	case strings.HasPrefix(rest, "`\n"), strings.HasPrefix(rest, "^\n"):
		l.endWord()
		l.skip(2)
	case c == '\\' && len(rest) > 1:
		l.add(part{text: rest[1:2]})
		l.skip(2)
	case c == '\n' && len(l.heredocs) > 0:
		l.endCommand()
		l.skip(1)
		l.readHeredocs()
	case c == '\n' || c == ';' || c == '&' || c == '|' || c == '(' && !l.open || c == ')':
		l.endCommand()
		l.skip(1)
	case c == ' ' || c == '\t':
		l.endWord()
		l.skip(1)
	case c == '#' && !l.open:
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest)
		}
		l.skip(end)
	case c == '>' || c == '<':
		l.redirect()
	case l.under != "" && (c == '\'' || c == '"') && l.unclosed(c): // an apostrophe of a text
		l.add(part{text: rest[:1]})
		l.skip(1)
	case c == '\'':
		l.single()
	case c == '"':
		l.double()
	default:
		l.next(false)
	}
}

// redirect passes over a redirection and its file.
func (l *lexer) redirect() {
	if len(l.word) == 1 && strings.Trim(l.word[0].text, "0123456789") == "" { // 2>&1
		l.word, l.open = nil, false
	}
	l.endWord()
	if m := heredoc.FindStringSubmatch(l.rest()); m != nil && l.under == "" {
		l.heredocs = append(l.heredocs, m[1]+m[2]+m[3])
		l.skip(len(m[0]))
		return
	}
	n := len(l.rest()) - len(strings.TrimLeft(l.rest(), "<>&| \t"))
	l.skip(n)
	end := strings.IndexAny(l.rest(), " \t\n;&|)")
	if end < 0 {
		end = len(l.rest())
	}
	l.skip(end)
}

// heredoc begins a here-document: its end stands behind, maybe quoted.
var heredoc = regexp.MustCompile(`^<<-?[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|\\?([A-Za-z0-9_.-]+))`)

// readHeredocs reads the texts of here-documents, which may be scripts that somebody else runs.
func (l *lexer) readHeredocs() {
	for _, end := range l.heredocs {
		within := &lexer{dialect: l.dialect, line: l.line, out: l.out, loop: l.loop, under: "a here-document"}
		within.now.line = l.line
		begin := l.at
		for l.at < len(l.text) {
			line, _, more := strings.Cut(l.rest(), "\n")
			if strings.TrimLeft(line, "\t") == end {
				break
			}
			if more {
				line += "\n"
			}
			l.skip(len(line))
		}
		within.text = l.text[begin:l.at]
		within.run()
		line, _, _ := strings.Cut(l.rest(), "\n")
		l.skip(len(line))
	}
	l.heredocs = nil
}

// unclosed tells whether a quote is not closed within its line.
func (l *lexer) unclosed(quote byte) bool {
	line, _, _ := strings.Cut(l.rest()[1:], "\n")
	return strings.IndexByte(line, quote) < 0
}

func (l *lexer) single() {
	l.open = true
	end := strings.IndexByte(l.rest()[1:], '\'')
	if end < 0 {
		l.skip(len(l.rest()))
		return
	}
	l.add(part{text: l.rest()[1 : 1+end]})
	l.skip(end + 2)
}

func (l *lexer) double() {
	l.open = true
	l.skip(1)
	for l.at < len(l.text) {
		rest := l.rest()
		switch {
		case rest[0] == '"':
			l.skip(1)
			return
		case strings.HasPrefix(rest, "\\\n"):
			l.skip(2)
		case rest[0] == '\\' && len(rest) > 1 && strings.IndexByte("\"\\$`", rest[1]) >= 0:
			l.add(part{text: rest[1:2]})
			l.skip(2)
		default:
			l.next(true)
		}
	}
}

var (
	macro     = regexp.MustCompile(`^\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)`)
	template_ = regexp.MustCompile(`^\$\{\{\s*([^}]*?)\s*\}\}`)
	braced    = regexp.MustCompile(`^\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)((?:##?|%%?|:?[-=?+])[^{}]*)?\}`)
	bare      = regexp.MustCompile(`^\$(?:env:)?([A-Za-z_][A-Za-z0-9_]*)`)
	plainName = regexp.MustCompile(`^(?:[A-Za-z_]+\.)*([A-Za-z_][A-Za-z0-9_-]*)$`)
)

// next reads what stands for itself, or for a value.
func (l *lexer) next(quoted bool) {
	rest := l.rest()
	switch {
	case rest[0] == '$':
		l.dollar()
	case rest[0] == '`' && strings.Contains(rest[1:], "`"):
		l.add(part{odd: true})
		l.skip(strings.IndexByte(rest[1:], '`') + 2)
	default:
		stop := " \t\n;&|()<>'\"$`\\"
		if quoted {
			stop = "\"$`\\"
		}
		end := strings.IndexAny(rest[1:], stop)
		if end < 0 {
			end = len(rest) - 1
		}
		l.add(part{text: rest[:end+1]})
		l.skip(end + 1)
	}
}

func (l *lexer) dollar() {
	rest := l.rest()
	if m := template_.FindStringSubmatch(rest); m != nil {
		p := part{odd: true}
		if name := plainName.FindStringSubmatch(m[1]); name != nil {
			p = part{name: strings.ReplaceAll(name[1], "-", "_")}
		}
		l.add(p)
		l.skip(len(m[0]))
		return
	}
	if m := macro.FindStringSubmatch(rest); m != nil && l.pipeline {
		name := m[1]
		if strings.ContainsAny(name, ".-") { // as a pipeline sets it in the environment
			name = strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(name))
		}
		l.add(part{name: name})
		l.skip(len(m[0]))
		return
	}
	if strings.HasPrefix(rest, "$(") {
		l.add(part{odd: true})
		l.skip(substitution(rest))
		return
	}
	if m := braced.FindStringSubmatch(rest); m != nil {
		l.add(part{name: m[1], cut: m[2]})
		l.skip(len(m[0]))
		return
	}
	if m := bare.FindStringSubmatch(rest); m != nil {
		l.add(part{name: m[1]})
		l.skip(len(m[0]))
		return
	}
	if strings.HasPrefix(rest, "${") {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			end = len(rest) - 1
		}
		l.add(part{odd: true})
		l.skip(end + 1)
		return
	}
	if len(rest) > 1 && strings.IndexByte("0123456789@*#?!", rest[1]) >= 0 { // of the script's own arguments
		l.add(part{odd: true})
		l.skip(2)
		return
	}
	l.add(part{text: "$"})
	l.skip(1)
}

// substitution is the length of $(…); what is quoted in it closes nothing.
func substitution(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

func (l *lexer) add(p part) {
	l.open = true
	if n := len(l.word); n > 0 && p.name == "" && !p.odd && l.word[n-1].name == "" && !l.word[n-1].odd {
		l.word[n-1].text += p.text
		return
	}
	l.word = append(l.word, p)
}

func (l *lexer) endWord() {
	if l.open {
		if len(l.now.words) == 0 {
			l.now.line = l.line
		}
		l.now.words = append(l.now.words, l.word)
	}
	l.word, l.open = nil, false
}

var assignment = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)=`)

// endCommand takes a command apart into what belongs to the shell and what is run.
func (l *lexer) endCommand() {
	l.endWord()
	words, line := l.now.words, l.now.line
	l.now = command{line: l.line}
	for len(words) > 0 {
		first := words[0].literal()
		switch {
		case first == "for" && len(words) > 1:
			l.begin(words[1:])
			return
		case first == "while" || first == "until":
			l.loop = append(l.loop, loop{})
			words = words[1:]
		case first == "case":
			l.branches++
			return
		case (first == "fi" || first == "esac") && l.branches > 0:
			l.branches--
			return
		case first == "then":
			l.branches++
			words = words[1:]
		case first == "elif" && l.branches > 0: // its own then comes
			l.branches--
			words = words[1:]
		case first == "done" && len(l.loop) > 0:
			l.loop = l.loop[:len(l.loop)-1]
			return
		case slices.Contains([]string{"do", "if", "else", "elif", "!", "{", "time", "sudo", "exec", "export", "local", "readonly", "declare"}, first):
			words = words[1:]
		case len(words[0]) > 0 && assignment.MatchString(words[0][0].text):
			l.assign(words[0])
			words = words[1:]
		case (first == "read" || first == "mapfile") && len(words) > 1:
			for _, w := range words[1:] {
				l.out.assigned[w.literal()] = append(l.out.assigned[w.literal()], word{{odd: true}})
			}
			return
		case len(words) > 2 && words[1].literal() == "=" && len(words[0]) == 1 && words[0][0].name != "": // PowerShell
			name := words[0][0].name
			l.out.assigned[name] = append(l.out.assigned[name], words[2])
			return
		default:
			under := l.under
			if under == "" && l.branches > 0 {
				under = "an if or case"
			}
			l.out.commands = append(l.out.commands, command{line, words, slices.Clone(l.loop), under})
			return
		}
	}
}

// begin begins a for loop.
func (l *lexer) begin(words []word) {
	next := loop{name: words[0].literal()}
	if len(words) > 2 && words[1].literal() == "in" && len(words) < maxLoop {
		next.words = words[2:]
	}
	l.loop = append(l.loop, next)
}

func (l *lexer) assign(w word) {
	name := assignment.FindStringSubmatch(w[0].text)[1]
	value := slices.Clone(w)
	value[0].text = value[0].text[len(name)+1:]
	l.out.assigned[name] = append(l.out.assigned[name], value)
}

// literal is the text of a word; empty for one that has more than that.
func (w word) literal() string {
	if len(w) == 1 && w[0].name == "" && !w[0].odd {
		return w[0].text
	}
	return ""
}
