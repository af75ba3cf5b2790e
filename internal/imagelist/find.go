package imagelist

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/draysync/dray/internal/image"
)

const (
	// MaxFile is the size limit of a file, in bytes.
	MaxFile = 16 << 20
	// MaxFound is how many images and doubts a file may have.
	MaxFound = 20_000
	// maxLine limits a line that is not YAML, in bytes.
	maxLine = 64 << 10
)

// Place is where something was found. The column counts characters, from 1.
type Place struct {
	File      string
	Line, Col int
}

// String returns file:line:col.
func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Image is an image that a file names.
type Image struct {
	Place
	// Ref has a tag, a digest or both: latest where the file names none.
	Ref image.Reference
	// Text is the reference as it is written.
	Text string
}

// Doubt is what may be an image.
type Doubt struct {
	Place
	Text string
	// Why says what is missing, and what to do about it.
	Why string
}

// Found is what a file has, in its order.
type Found struct {
	Images []Image
	Doubts []Doubt
}

// Find finds the images in a file. Its kind follows from the name, and else from the content. paths say where else in YAML images are. The
// error is of a file that cannot be read as text, or is too large.
func Find(name string, data []byte, paths []Path) (Found, error) {
	f := &finder{file: name, paths: paths, known: map[entry]bool{}, seen: map[visit]struct{}{}}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > MaxFile:
		return Found{}, fmt.Errorf("is larger than %d MiB", MaxFile>>20)
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
		return Found{}, errors.New("is UTF-16 text, as PowerShell's > writes it: save it as UTF-8")
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return Found{}, errors.New("is not UTF-8 text")
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	switch kindOf(name, text) {
	case kindDockerfile:
		f.dockerfile(text, 0)
	case kindYAML:
		f.yaml(text)
	default:
		f.list(text)
	}
	if f.err != nil {
		return Found{}, f.err
	}
	return f.sorted(), nil
}

// finder collects what one file has.
type finder struct {
	file  string
	paths []Path
	found Found
	// known has what was found, since aliases lead to one place several times.
	known map[entry]bool
	seen  map[visit]struct{}
	// visited counts the nodes of a document.
	visited int
	err     error
}

type entry struct {
	Place
	text string
}

func (f *finder) full() bool {
	if len(f.found.Images)+len(f.found.Doubts) >= MaxFound && f.err == nil {
		f.err = fmt.Errorf("has more than %d images", MaxFound)
	}
	return f.err != nil
}

func (f *finder) image(at Place, ref image.Reference, text string) {
	if k := (entry{at, ref.String()}); !f.known[k] && !f.full() {
		f.known[k] = true
		f.found.Images = append(f.found.Images, Image{at, ref, text})
	}
}

func (f *finder) doubt(at Place, text, why string) {
	text = clipped(text)
	if k := (entry{at, text}); !f.known[k] && !f.full() {
		f.known[k] = true
		f.found.Doubts = append(f.found.Doubts, Doubt{at, text, why})
	}
}

// clipped returns the first line of a text, and not too much of it.
func clipped(text string) string {
	const most = 200
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// sorted returns what was found, in the order of the file.
func (f *finder) sorted() Found {
	slices.SortStableFunc(f.found.Images, func(a, b Image) int { return a.compare(b.Place) })
	slices.SortStableFunc(f.found.Doubts, func(a, b Doubt) int { return a.compare(b.Place) })
	return f.found
}

func (p Place) compare(other Place) int {
	if p.Line != other.Line {
		return p.Line - other.Line
	}
	return p.Col - other.Col
}

type kind int

const (
	kindList kind = iota
	kindYAML
	kindDockerfile
)

var (
	dockerfileName = regexp.MustCompile(`(?i)^(?:dockerfile|containerfile)(?:\..*)?$|\.(?:dockerfile|containerfile)$`)
	// firstWords are those of a Dockerfile, after comments.
	firstWords = regexp.MustCompile(`(?i)^(?:[ \t]*(?:#.*)?\n)*[ \t]*(?:FROM|ARG)[ \t]+\S`)
	yamlLine   = regexp.MustCompile(`(?m)^(?:---|\.\.\.|%YAML|[ \t]*(?:- +)*["']?[A-Za-z_][\w./-]*["']?[ \t]*:(?:[ \t]|$)|[ \t]*[\[{]|- )`)
)

func kindOf(name, text string) kind {
	base := filepath.Base(name)
	switch strings.ToLower(filepath.Ext(base)) {
	case ".yaml", ".yml", ".json":
		return kindYAML
	}
	switch {
	case dockerfileName.MatchString(base), firstWords.MatchString(text):
		return kindDockerfile
	case yamlLine.MatchString(text):
		return kindYAML
	}
	return kindList
}

// list reads a reference from each line.
func (f *finder) list(text string) {
	for i, line := range strings.Split(text, "\n") {
		if f.full() {
			return
		}
		entry := strings.TrimSpace(line)
		if at := strings.Index(" "+strings.ReplaceAll(entry, "\t", " "), " #"); at >= 0 {
			entry = strings.TrimSpace(entry[:at])
		}
		if entry == "" {
			continue
		}
		at := Place{f.file, i + 1, 1 + column(line, strings.Index(line, entry))}
		if strings.ContainsAny(entry, " \t") {
			f.doubt(at, entry, "has several words: a line of a list is one reference")
			continue
		}
		f.reference(at, entry)
	}
}

// column returns how many characters precede a byte of a line.
func column(line string, i int) int { return utf8.RuneCountInString(line[:max(i, 0)]) }

// reference takes a text that can be nothing but a reference.
func (f *finder) reference(at Place, text string) {
	written := strings.TrimPrefix(strings.TrimSpace(text), "docker://")
	if why := unresolved(written); why != "" {
		f.doubt(at, text, why)
		return
	}
	ref, err := image.ParseImage(written)
	switch {
	case err != nil:
		f.doubt(at, text, "is no reference: "+reason(err))
	case ref.IsLayout():
		f.doubt(at, text, "is a folder, and no image of a registry")
	default:
		f.image(at, ref, strings.TrimSpace(text))
	}
}

// reason returns an error without the reference that it repeats.
func reason(err error) string {
	if _, rest, ok := strings.Cut(err.Error(), `": `); ok {
		return rest
	}
	return err.Error()
}

// unresolved says why a text is not yet a reference, or is empty.
func unresolved(text string) string {
	switch {
	case strings.Contains(text, "{{"):
		return "is a template that was not rendered: give the output of helm template"
	case strings.Contains(text, "$("), strings.Contains(text, "$"), strings.Contains(text, "%{"):
		return "has a variable without a value in this file: give the file with the values filled in"
	}
	return ""
}
