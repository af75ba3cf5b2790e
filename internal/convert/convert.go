package convert

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"
)

// Tool is a program whose config can be read.
type Tool string

// The tools, by the names that they have on the command line.
const (
	Regsync     Tool = "regsync"
	Dregsy      Tool = "dregsy"
	ImageSyncer Tool = "image-syncer"
	Skopeo      Tool = "skopeo"
	Ocync       Tool = "ocync"
	AZ          Tool = "az" // lines with `az acr import` in scripts
)

// Tools returns all of them.
func Tools() []Tool { return []Tool{Regsync, Dregsy, ImageSyncer, Skopeo, Ocync, AZ} }

// Kind says what a file of the tool is.
func (t Tool) Kind() string {
	if t == AZ {
		return "a script with az acr import"
	}
	return "a " + string(t) + " config"
}

// File is a file to convert. Its name is for messages, and for comments without the folder.
type File struct {
	Name string
	Data []byte
}

// Options say what the files do not.
type Options struct {
	// From is the tool; empty to tell it from the content.
	From Tool
	// Target is the DESTINATION on skopeo's command line, host/path, which no other tool takes.
	Target string
	// Scoped is skopeo's --scoped: the target's path has the whole name of the source in it.
	Scoped bool
}

// Note names a setting that has no equivalent, or something that is left to do.
type Note struct {
	File string
	Line int    // from 1; 0 where it is about the file as a whole
	Key  string // in the source, such as sync[2].backup; may be empty
	Text string
}

// String returns the note with its place.
func (n Note) String() string {
	place := printable(n.File)
	if n.Line > 0 {
		place += fmt.Sprintf(":%d", n.Line)
	}
	if n.Key != "" {
		place += ": " + printable(n.Key)
	}
	return strings.TrimPrefix(place+": "+n.Text, ": ")
}

// Result is a config of dray.
type Result struct {
	Tool  Tool
	YAML  []byte
	Notes []Note
}

// Convert reads the config of another tool: one file, or the two of image-syncer in either order. The error is of the type
// Errors.
func Convert(files []File, options Options) (*Result, error) {
	inputs := make([]input, len(files))
	for i, file := range files {
		if inputs[i] = readInput(file, options.From); len(inputs[i].r.errs) > 0 {
			return nil, inputs[i].r.errs
		}
	}
	tool, err := chosen(inputs, options)
	if err != nil {
		return nil, Errors{err}
	}
	userinfo := userinfoOf(inputs)
	d := &document{tool: tool}
	for _, in := range inputs {
		d.files = append(d.files, printable(filepath.Base(in.r.file)))
	}
	d.read(inputs, options)
	d.check()
	errs := d.mistakes(inputs)
	if len(errs) == 0 {
		if err := d.settle(); err != nil {
			errs = Errors{err}
		} else {
			errs = d.mistakes(inputs) // something has to be left
		}
	}
	if len(errs) > 0 {
		return nil, userinfo.outOfErrors(errs)
	}
	d.hoist()
	var out emitter
	out.document(d)
	return &Result{Tool: tool, YAML: []byte(userinfo.outOf(out.String())), Notes: userinfo.outOfNotes(d.notes)}, nil
}

// input is a file that has been parsed.
type input struct {
	top   section
	r     *reader
	shape shape
	az    *script
}

// readInput reads a file of a tool, which may be empty.
func readInput(file File, from Tool) input {
	file.Data = readable(file.Data)
	if from == "" || from == AZ {
		if s := azScript(file.Data); s != nil {
			r := &reader{file: file.Name}
			return input{section{value: value{r: r}, fields: map[string]value{}, asked: map[string]bool{}}, r, shapeScript, s}
		}
	}
	if from == AZ {
		return input{r: &reader{file: file.Name, errs: Errors{{File: file.Name, Err: errors.New("has no line with az acr import"), Hint: "give a script that has one"}}}}
	}
	top, r := parse(file.Name, file.Data)
	if len(r.errs) > 0 {
		return input{r: r}
	}
	return input{top, r, recognize(top), nil}
}

// readable returns text as UTF-8 without a byte order mark, as Windows and PowerShell write it otherwise.
func readable(data []byte) []byte {
	for mark, order := range map[string]binary.ByteOrder{"\xff\xfe": binary.LittleEndian, "\xfe\xff": binary.BigEndian} {
		rest, ok := bytes.CutPrefix(data, []byte(mark))
		if !ok {
			continue
		}
		units := make([]uint16, len(rest)/2)
		for i := range units {
			units[i] = order.Uint16(rest[2*i:])
		}
		return []byte(string(utf16.Decode(units)))
	}
	return bytes.TrimPrefix(data, []byte("\ufeff"))
}

func (d *document) read(inputs []input, options Options) {
	top := inputs[0].top
	switch d.tool {
	case Regsync:
		d.regsync(top)
	case Dregsy:
		d.dregsy(top)
	case ImageSyncer:
		d.imageSyncer(inputs)
	case Skopeo:
		d.skopeo(top, options)
	case Ocync:
		d.ocync(top)
	case AZ:
		d.az(top, inputs[0].az)
	}
}

// mistakes are all of them, and where there is none that nothing is left to do.
func (d *document) mistakes(inputs []input) Errors {
	var errs Errors
	for _, in := range inputs {
		errs = append(errs, in.r.errs...)
	}
	live := slices.ContainsFunc(d.mappings, (*mapping).live)
	if len(errs) > 0 || live {
		return errs
	}
	why := errors.New("names no images")
	hint := "give the file that says what to copy"
	if len(d.mappings) > 0 {
		why, hint = errors.New("has nothing that dray can do"), "write a config by hand (see config.example.yaml); the reasons are:"
		for _, note := range d.notes {
			hint += "\n  " + note.String()
		}
	}
	return Errors{&Error{File: inputs[0].r.file, Err: why, Hint: hint}}
}

func chosen(inputs []input, options Options) (Tool, *Error) {
	if len(inputs) == 0 {
		return "", &Error{File: "dray convert", Err: errors.New("no file was given")}
	}
	first := inputs[0]
	fail := func(hint, format string, args ...any) *Error {
		return &Error{File: first.r.file, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	tool := options.From
	if tool == "" {
		tool = first.shape.tool()
	}
	switch {
	case tool == "" && first.shape == shapeDray:
		return "", fail("there is nothing to convert", "is already a dray config")
	case tool == "":
		return "", fail("name the tool with --from", "does not look like a config of any of %v", Tools())
	case !slices.Contains(Tools(), tool):
		return "", fail(fmt.Sprintf("write one of %v", Tools()), "%q is not a tool that dray can convert from", tool)
	case len(inputs) > 1 && tool != ImageSyncer, len(inputs) > 2:
		return "", fail("give one file; only image-syncer's credentials and images may be two", "there are %d files for %s", len(inputs), tool)
	case tool == Skopeo && options.Target == "":
		return "", fail("add --target HOST/PATH, the DESTINATION on skopeo's command line", "skopeo has the target on its command line, not in this file")
	case tool != Skopeo && (options.Target != "" || options.Scoped):
		return "", fail("leave out --target and --scoped", "%s has the target in its file", tool)
	}
	return tool, nil
}
