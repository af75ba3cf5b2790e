package imagelist

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	directive = regexp.MustCompile(`^#\s*(\w+)\s*=\s*(\S+)\s*$`)
	// heredoc matches a word that begins a here-document, as BuildKit has it.
	heredoc   = regexp.MustCompile(`^[0-9]*<<(-?)["']?([^<"']+)["']?$`)
	mountFrom = regexp.MustCompile(`(?:^|,)from=([^,]+)`)
)

// dockerfile reads the FROM instructions of a Dockerfile, and what COPY, ADD and RUN take from other images. before is how many lines precede the text.
func (f *finder) dockerfile(text string, before int) {
	d := &dockerfile{finder: f, args: map[string]string{}, stages: map[string]bool{}, escape: `\`}
	lines := strings.Split(text, "\n")
	directives := true
	for i := 0; i < len(lines) && !f.full(); i++ {
		line := lines[i]
		d.at = Place{f.file, before + i + 1, 1 + column(line, len(line)-len(strings.TrimLeft(line, " \t")))}
		if m := directive.FindStringSubmatch(line); m != nil && directives {
			switch strings.ToLower(m[1]) {
			case "escape":
				d.escape = m[2]
			case "syntax":
				f.reference(d.at, m[2])
			}
			continue
		}
		directives = false
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		instruction := d.joined(lines, &i)
		d.instruction(instruction)
		d.skip(instruction, lines, &i)
	}
}

type dockerfile struct {
	*finder
	at     Place
	escape string
	// args are those before the first FROM.
	args map[string]string
	// stages are their names, and n their number.
	stages map[string]bool
	n      int
}

// joined returns an instruction with its continuation lines, and leaves i at the last of them.
func (d *dockerfile) joined(lines []string, i *int) string {
	var b strings.Builder
	for ; *i < len(lines) && b.Len() < maxLine; *i++ {
		line := strings.TrimRight(lines[*i], " \t\r")
		if trimmed := strings.TrimSpace(line); b.Len() > 0 && (trimmed == "" || trimmed[0] == '#') {
			continue // comments and empty lines within an instruction
		}
		rest, goesOn := strings.CutSuffix(line, d.escape)
		b.WriteString(rest + " ")
		if !goesOn {
			break
		}
	}
	return b.String()
}

// skip leaves out the text of here-documents. What looks like one and has no end is none.
func (d *dockerfile) skip(instruction string, lines []string, i *int) {
	words := strings.Fields(instruction)
	if len(words) == 0 || !slices.Contains([]string{"RUN", "COPY", "ADD"}, strings.ToUpper(words[0])) {
		return
	}
	for _, word := range words[1:] {
		if *i+1 >= len(lines) {
			return
		}
		m := heredoc.FindStringSubmatch(word)
		if m == nil {
			continue
		}
		end := slices.IndexFunc(lines[*i+1:], func(line string) bool {
			if m[1] != "" {
				line = strings.TrimLeft(line, "\t")
			}
			return line == m[2]
		})
		*i += end + 1 // which is nothing where there is none
	}
}

func (d *dockerfile) instruction(text string) {
	words := strings.Fields(text)
	if len(words) > 0 && strings.EqualFold(words[0], "ONBUILD") {
		words = words[1:]
	}
	if len(words) < 2 {
		return
	}
	switch strings.ToUpper(words[0]) {
	case "ARG":
		if d.n == 0 {
			d.arg(words[1:])
		}
	case "FROM":
		d.from(words[1:])
	case "COPY", "ADD":
		for _, word := range words[1:] {
			if from, ok := strings.CutPrefix(word, "--from="); ok {
				d.other(from)
			} else if !strings.HasPrefix(word, "--") {
				return
			}
		}
	case "RUN":
		for _, word := range words[1:] {
			mount, ok := strings.CutPrefix(word, "--mount=")
			if m := mountFrom.FindStringSubmatch(mount); ok && m != nil {
				d.other(m[1])
			} else if !strings.HasPrefix(word, "--") {
				return
			}
		}
	}
}

func (d *dockerfile) arg(words []string) {
	for _, word := range words {
		if name, value, ok := strings.Cut(word, "="); ok {
			if value, ok = expand(strings.Trim(value, `"'`), d.args); ok {
				d.args[name] = value
			}
		}
	}
}

func (d *dockerfile) from(words []string) {
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	written := strings.Trim(words[0], `"'`)
	value, ok := expand(written, d.args)
	switch {
	case !ok:
		d.doubt(d.at, written, "has an ARG without a default: write the image that is meant into a list")
	case value == "":
		d.doubt(d.at, written, "is empty with the defaults of its ARGs")
	case strings.EqualFold(value, "scratch"), d.stages[strings.ToLower(value)]:
	default:
		d.written(value, written)
	}
	d.stages[strconv.Itoa(d.n)] = true
	d.n++
	if len(words) >= 3 && strings.EqualFold(words[1], "AS") {
		d.stages[strings.ToLower(words[2])] = true
	}
}

// written takes a reference that stands for what is written.
func (d *dockerfile) written(value, written string) { d.expanded(d.at, value, written) }

// other takes the stage or image that a COPY or a mount takes files from.
func (d *dockerfile) other(from string) {
	from = strings.Trim(from, `"'`)
	switch is, _ := formOf(from); {
	case d.stages[strings.ToLower(from)]:
	case is == formBare && !strings.Contains(from, "/"):
		d.doubt(d.at, from, "is the name of no stage before it: it is an image, or a context that the build is given")
	default:
		d.reference(d.at, from)
	}
}

// expanded takes a reference with its variables replaced.
func (f *finder) expanded(at Place, value, written string) {
	before := len(f.found.Images)
	f.reference(at, value)
	if len(f.found.Images) > before {
		f.found.Images[before].Text = written
	} else if n := len(f.found.Doubts); n > 0 && f.found.Doubts[n-1].Place == at {
		f.found.Doubts[n-1].Text = clipped(written)
	}
}

// maxExpanded limits what variables may make of a text, in bytes.
const maxExpanded = 4096

// expand replaces $NAME, ${NAME} and ${NAME:-DEFAULT} (also without the colon, and with what $${ begins left alone). ok is false if a
// variable has neither a value nor a default, or is written otherwise.
func expand(s string, values map[string]string) (_ string, ok bool) {
	if len(s) > maxExpanded {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '$' {
			b.WriteByte(s[i])
			i++
			continue
		}
		name, fallback, has, end := variable(s, i)
		if end < 0 {
			return "", false
		}
		value, set := values[name]
		if has && (value == "" || !set) {
			if value, ok = expand(fallback, values); !ok {
				return "", false
			}
			set = true
		}
		if b.WriteString(value); !set || b.Len() > maxExpanded {
			return "", false
		}
		i = end
	}
	return b.String(), true
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

// variable reads the variable at s[i], a '$': its name, its default if it has one, and where it ends; -1 if it is none that has a value here.
func variable(s string, i int) (name, fallback string, has bool, end int) {
	braced := strings.HasPrefix(s[i+1:], "{")
	start := i + 1
	if braced {
		start++
	}
	name = variableName.FindString(s[start:])
	if end = start + len(name); name == "" {
		return "", "", false, -1
	}
	if !braced {
		return name, "", false, end
	}
	rest := strings.TrimPrefix(s[end:], ":")
	switch {
	case strings.HasPrefix(s[end:], "}"):
		return name, "", false, end + 1
	case !strings.HasPrefix(rest, "-"):
		return "", "", false, -1
	}
	start = len(s) - len(rest) + 1
	for depth, at := 1, start; at < len(s); at++ {
		switch s[at] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return name, s[start:at], true, at + 1
			}
		}
	}
	return "", "", false, -1
}
